# SPDX-License-Identifier: Apache-2.0
"""Who holds which lease: netavark's lease file, and podman's answer about a network. Pure.

What is not understood in them is an error: a guess would become a reload.
"""

import json
from collections.abc import Mapping
from typing import Any

from podwatch.words.dhcp import Holder, Lease
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container
from podwatch.words.text import clean


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
            if not container.is_up or network not in networks:
                continue
            mac, address, leased = networks[network].get(key, ("", "", 0.0))
            found.append(
                Holder(key, container.title, network, mac, address, leased, container.is_paused)
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


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return clean(value) if isinstance(value, str) else ""


def _number(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else 0
