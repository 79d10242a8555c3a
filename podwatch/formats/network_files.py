# SPDX-License-Identifier: Apache-2.0
"""Podman's network configurations, netavark's and CNI's: what kind of network each is. Pure.

Beside them aardvark-dns' own files: on which addresses it listens.
"""

import json
import tomllib
from ipaddress import ip_address, ip_network
from typing import Any

from podwatch.words.errors import StateUnreadable
from podwatch.words.gates import NetworkFile
from podwatch.words.network import Address, ContainerClass, Subnet
from podwatch.words.text import clean

_DRIVERS = {
    kind.value: kind
    for kind in (ContainerClass.BRIDGE, ContainerClass.MACVLAN, ContainerClass.IPVLAN)
}


def netavark_file(text: str) -> NetworkFile:
    """A file of /etc/containers/networks.

    Its format is that of `podman network inspect`. Raises StateUnreadable for anything else.
    """
    data = _named(text)
    kind = _DRIVERS.get(str(data.get("driver")), ContainerClass.UNKNOWN)
    options = data.get("options")
    if kind is ContainerClass.BRIDGE:
        if isinstance(options, dict) and options.get("mode") == "unmanaged":
            kind = ContainerClass.UNMANAGED
        elif data.get("internal") is True:
            kind = ContainerClass.INTERNAL
    return NetworkFile(
        data["name"],
        kind,
        str(data.get("network_interface") or ""),
        tuple(_subnets(data.get("subnets"))),
        data.get("dns_enabled") is True,
    )


def cni_file(text: str) -> NetworkFile:
    """A file of /etc/cni/net.d: the first plugin that makes an interface decides.

    Podman's internal networks are bridges that neither are a gateway nor masquerade (podman
    libpod/network/cni, 3 and 4). Raises StateUnreadable for anything else.
    """
    data = _named(text)
    plugins = data.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else [data]:
        kind = _DRIVERS.get(str(plugin.get("type"))) if isinstance(plugin, dict) else None
        if kind is ContainerClass.BRIDGE and not (plugin.get("isGateway") or plugin.get("ipMasq")):
            kind = ContainerClass.INTERNAL
        if kind is not None:
            interface = str(plugin.get("bridge") or plugin.get("master") or "")
            return NetworkFile(data["name"], kind, interface)
    return NetworkFile(data["name"], ContainerClass.UNKNOWN)


def parse_listens(text: str) -> tuple[Address, ...]:
    """The addresses in the first line of a file of aardvark-dns'; none if it makes no sense.

    "10.89.0.1,fd00::1", and after a blank the servers it asks (aardvark-dns src/config/mod.rs).
    """
    first = text.split("\n", 1)[0].split(" ", 1)[0]
    try:
        return tuple(ip_address(part) for part in first.split(",") if part)
    except ValueError:
        return ()


def _subnets(found: object) -> list[Subnet]:
    subnets = []
    for subnet in found if isinstance(found, list) else ():
        try:
            subnets.append(ip_network(str(subnet["subnet"]), strict=False))
        except (ValueError, TypeError, KeyError):
            continue
    return subnets


def _named(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise StateUnreadable("not a network with a name")
    return {**data, "name": clean(data["name"])}


def dns_bind_port(text: str) -> int | None:
    """The port that a containers.conf(5) gives to aardvark-dns; None where it sets none.

    0 stands for netavark's own, 53. Raises StateUnreadable for what is no such file.
    """
    try:
        section = tomllib.loads(text).get("network")
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not TOML: {exc}") from exc
    port = section.get("dns_bind_port") if isinstance(section, dict) else None
    return port if isinstance(port, int) and not isinstance(port, bool) else None
