# SPDX-License-Identifier: Apache-2.0
"""Podman's network configurations, netavark's and CNI's: what each network is made of. Pure."""

import json
import re
from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from typing import Any

from podwatch.words.errors import StateUnreadable
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass, Interface, Subnet
from podwatch.words.text import clean

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}")
"""podman's own rule (common libnetwork/types/define.go), and short enough for a unit's name."""

_SPECIAL = ("vrf", "vlan")
"""What podwatch does not know how to give a bridge that it makes anew (netavark 1.8, 1.14)."""

_DRIVERS = {
    kind.value: kind
    for kind in (ContainerClass.BRIDGE, ContainerClass.MACVLAN, ContainerClass.IPVLAN)
}


def netavark_file(text: str) -> NetworkFile:
    """A file of /etc/containers/networks.

    Its format is that of `podman network inspect`. A macvlan without a subnet and an unmanaged
    bridge may want DHCP (common libnetwork/netavark/config.go, netavark
    src/network/core_utils.rs). Raises StateUnreadable for anything else.
    """
    data = _named(text)
    kind = _DRIVERS.get(str(data.get("driver")), ContainerClass.UNKNOWN)
    found = data.get("options")
    options = found if isinstance(found, dict) else {}
    if kind is ContainerClass.BRIDGE:
        if options.get("mode") == "unmanaged":
            kind = ContainerClass.UNMANAGED
        elif data.get("internal") is True:
            kind = ContainerClass.INTERNAL
    return NetworkFile(
        data["name"],
        kind,
        str(data.get("network_interface") or ""),
        tuple(_subnets(data.get("subnets"))),
        data.get("dns_enabled") is True,
        _wants_dhcp(data["name"], data.get("ipam_options"), "driver"),
        tuple(_gateways(data.get("subnets"))),
        any(options.get(name) for name in _SPECIAL),
        _mtu(options.get("mtu")),
    )


def cni_file(text: str) -> NetworkFile:
    """A file of /etc/cni/net.d: the first plugin that makes an interface decides of what kind.

    Podman's internal networks are bridges that neither are a gateway nor masquerade (podman
    libpod/network/cni, 3 and 4). The network wants DHCP if any of its plugins does. Raises
    StateUnreadable for anything else.
    """
    data = _named(text)
    found = data.get("plugins")
    plugins = [
        plugin
        for plugin in (found if isinstance(found, list) else [data])
        if isinstance(plugin, dict)
    ]
    wants_dhcp = any(_wants_dhcp(data["name"], plugin.get("ipam"), "type") for plugin in plugins)
    for plugin in plugins:
        kind = _DRIVERS.get(str(plugin.get("type")))
        if kind is ContainerClass.BRIDGE and not (plugin.get("isGateway") or plugin.get("ipMasq")):
            kind = ContainerClass.INTERNAL
        if kind is not None:
            interface = str(plugin.get("bridge") or plugin.get("master") or "")
            return NetworkFile(data["name"], kind, interface, wants_dhcp=wants_dhcp)
    return NetworkFile(data["name"], ContainerClass.UNKNOWN, wants_dhcp=wants_dhcp)


def _wants_dhcp(name: str, ipam: object, key: str) -> bool:
    wants = isinstance(ipam, dict) and ipam.get(key) == "dhcp"
    return wants and _NAME.fullmatch(name) is not None


def _subnets(found: object) -> list[Subnet]:
    subnets = []
    for subnet in found if isinstance(found, list) else ():
        try:
            subnets.append(ip_network(str(subnet["subnet"]), strict=False))
        except (ValueError, TypeError, KeyError):
            continue
    return subnets


def _gateways(found: object) -> Iterator[Interface]:
    """The addresses that netavark gives a bridge (netavark src/network/bridge.rs)."""
    for subnet in found if isinstance(found, list) else ():
        try:
            length = ip_network(str(subnet["subnet"]), strict=False).prefixlen
            if subnet.get("gateway"):
                yield ip_interface((str(subnet["gateway"]), length))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


def _mtu(found: object) -> int:
    said = str(found)
    return int(said) if re.fullmatch("[0-9]{1,5}", said) else 0


def _named(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise StateUnreadable("not a network with a name")
    return {**data, "name": clean(data["name"])}
