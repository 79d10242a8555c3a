# SPDX-License-Identifier: Apache-2.0
"""Which networks want DHCP, and who holds which lease: podman's, netavark's and CNI's files. Pure.

Network configurations and lease files are somebody else's; what is not understood in them is passed
over where it can only mean "no DHCP here", and an error where a guess would become a reload.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from podwatch.words.dhcp import Backend, Holder, Lease
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container
from podwatch.words.text import clean

NETWORK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}")
"""podman's own rule (common libnetwork/types/define.go), and short enough for a unit's name."""


def parse_backend(text: str) -> tuple[str, str]:
    """(network_backend, network_config_dir) of one containers.conf; "" for what it does not set.

    Raises StateUnreadable for what is not TOML.
    """
    try:
        section = tomllib.loads(text).get("network")
    except (ValueError, RecursionError) as exc:  # ValueError: or a number of 5000 digits
        raise StateUnreadable(f"not TOML: {exc}") from exc
    given = section if isinstance(section, dict) else {}
    return _text(given, "network_backend"), _text(given, "network_config_dir")


def choose_backend(named: str, *, netavark: bool, cni: bool) -> Backend:
    """The backend in use: the one that is named, or else what Podman takes where none is.

    Podman 3 knows no other than CNI and writes nowhere that it uses it; Podman 6 none but netavark
    (common libnetwork/network/interface.go). `netavark` says whether that program is installed,
    `cni` whether CNI has a network.
    """
    if not named:
        return Backend.CNI if cni and not netavark else Backend.NETAVARK
    return Backend.CNI if named == Backend.CNI else Backend.NETAVARK


def netavark_network(text: str) -> str:
    """The name of the network in a file of /etc/containers/networks if it wants DHCP, else "".

    macvlan without a subnet and unmanaged bridges alike (common libnetwork/netavark/config.go,
    netavark src/network/core_utils.rs: ipam_options.driver).
    """
    data = _object(text)
    ipam = data.get("ipam_options")
    wants = isinstance(ipam, dict) and ipam.get("driver") == "dhcp"
    return _name(data) if wants else ""


def cni_network(text: str) -> str:
    """The name of the network in a CNI .conflist if one of its plugins wants DHCP, else ""."""
    data = _object(text)
    plugins = data.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else [data]:
        ipam = plugin.get("ipam") if isinstance(plugin, dict) else None
        if isinstance(ipam, dict) and ipam.get("type") == "dhcp":
            return _name(data)
    return ""


def parse_leases(text: str) -> dict[str, Lease]:
    """netavark's lease file by MAC address, of any version; an empty one holds none.

    The proxy truncates the file and goes on writing where it was: NUL bytes stand in front
    (netavark src/dhcp_proxy/cache.rs, 1.6 to 1.17). Raises StateUnreadable for anything else.
    """
    text = text.lstrip("\0").strip()
    if not text:
        return {}
    leases = {}
    for mac, found in _object(text).items():
        first = found[0] if isinstance(found, list) and found else None
        if not isinstance(first, dict):
            raise StateUnreadable(f"{mac[:40]!r} has no list of leases")
        leases[clean(mac).lower()] = Lease(
            _text(first, "yiaddr"), _number(first, "lease_time"), _number(first, "t1")
        )
    return leases


def parse_network_inspect(text: str) -> dict[str, tuple[str, str]]:
    """(MAC, address) by container id, of one `podman network inspect NAME` (Podman 5 and later).

    Raises StateUnreadable for anything but its JSON list.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, list) or not all(isinstance(network, dict) for network in data):
        raise StateUnreadable("not a list of networks")
    found = {}
    for network in data:
        if "containers" not in network:
            raise StateUnreadable("Podman before 5 does not say which containers are on a network")
        containers = network["containers"]
        for key, place in containers.items() if isinstance(containers, dict) else ():
            interfaces = place.get("interfaces") if isinstance(place, dict) else None
            for one in interfaces.values() if isinstance(interfaces, dict) else ():
                if isinstance(one, dict):
                    found[clean(key)] = (_text(one, "mac_address").lower(), _first_address(one))
    return found


def holders(
    containers: Mapping[str, Container],
    networks: Mapping[str, Mapping[str, tuple[str, str, float]]],
) -> tuple[Holder, ...]:
    """Who holds a lease: the containers that are up, on each of the networks that want DHCP.

    `networks` has for each of those, by container id, (MAC, address, when CNI had its lease). One
    that is being started, or has ended, is none.
    """
    found = []
    for key, container in containers.items():
        for network in container.networks:
            if not container.up or network not in networks:
                continue
            mac, address, leased = networks[network].get(key, ("", "", 0.0))
            found.append(
                Holder(key, container.title, network, mac, address, leased, container.paused)
            )
    return tuple(sorted(found, key=lambda holder: (holder.name, holder.network)))


def _first_address(interface: Mapping[str, Any]) -> str:
    subnets = interface.get("subnets")
    for subnet in subnets if isinstance(subnets, list) else ():
        if isinstance(subnet, dict) and (address := _text(subnet, "ipnet").partition("/")[0]):
            return address
    return ""


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise StateUnreadable("not a JSON object")
    return data


def _name(data: Mapping[str, Any]) -> str:
    name = _text(data, "name")
    if NETWORK_NAME.fullmatch(name) is None:
        raise StateUnreadable(f"name is {name[:80]!r}, not a network's name")
    return name


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return clean(value) if isinstance(value, str) else ""


def _number(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
