# SPDX-License-Identifier: Apache-2.0
"""libcni's cache of what CNI's plugins answered: texts in, words out. Pure.

There is one file for each network of each container, in /var/lib/cni/results; the plugins
themselves take from it what they remove again (containernetworking/cni libcni/api.go, cniCacheV1).
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from podwatch.words.errors import StateUnreadable
from podwatch.words.network import (
    Address,
    BadFile,
    Endpoint,
    FirewallDriver,
    Interface,
    Isolation,
    Network,
    PortMapping,
    Setup,
    Subnet,
)
from podwatch.words.text import clean, printable


@dataclass(frozen=True, slots=True)
class Joined:
    """One container on one network, as one file of the cache says it."""

    network: Network
    endpoint: Endpoint


def parse_result(text: str) -> Joined | None:
    """One file of /var/lib/cni/results; None for a network that is not a bridge.

    Raises StateUnreadable for anything that is not such a file.
    """
    try:
        data = json.loads(text)
        config = json.loads(base64.b64decode(data["config"]))
        plugins = {plugin["type"]: plugin for plugin in config.get("plugins") or [config]}
        bridge = plugins.get("bridge")
        if bridge is None:
            return None
        name = printable(str(data["networkName"]))
        key = printable(str(data["containerId"]))
        addresses = tuple(_addresses(data["result"]))
        mappings = (data.get("capabilityArgs") or {}).get("portMappings") or ()
        if "portmap" not in plugins:
            mappings = ()
        same_bridge = plugins.get("firewall", {}).get("ingressPolicy") == "same-bridge"
        network = Network(
            id=name,
            bridge=printable(str(bridge.get("bridge") or "cni0")),
            subnets=tuple(subnet for _, subnet in addresses),
            isolation=Isolation.NORMAL if same_bridge else Isolation.NEVER,
            # Podman 3 and 4 make internal networks so (libpod/network/cni).
            internal=not (bridge.get("isGateway") or bridge.get("ipMasq")),
            masquerades=bool(bridge.get("ipMasq")),
            gateways=tuple(_gateways(data["result"])) if bridge.get("isGateway") else (),
        )
        endpoint = Endpoint(
            container_id=key,
            network_id=name,
            network_name=name,
            addresses=addresses,
            port_mappings=tuple(_mapping(mapping) for mapping in mappings) or None,
            internal="firewall" not in plugins,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise StateUnreadable(f"not a file of libcni's cache: {exc!r}") from exc
    return Joined(network, endpoint)


def setup_of(joined: tuple[Joined, ...], bad_files: tuple[BadFile, ...] = ()) -> Setup:
    """The setup that the files make up together."""
    return Setup(
        FirewallDriver.CNI,
        {place.network.id: place.network for place in joined},
        tuple(place.endpoint for place in joined),
        bad_files,
    )


def parse_lease(text: str) -> tuple[str, str, str, str]:
    """(container id, network, MAC, address) of one file of /var/lib/cni/results.

    For a network that wants DHCP: its plugin's answer has what was leased. Raises StateUnreadable
    for anything else than a file of libcni's cache.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise StateUnreadable("not a JSON object")
    result = data.get("result")
    if data.get("kind") != "cniCacheV1" or not isinstance(result, dict):
        raise StateUnreadable("not a result that CNI cached")
    mac = address = ""
    for interface in result.get("interfaces") or ():
        if isinstance(interface, dict) and interface.get("sandbox"):
            mac = _text(interface, "mac").lower()
    for ip in result.get("ips") or ():
        if isinstance(ip, dict) and not address:
            address = _text(ip, "address").partition("/")[0]
    return _text(data, "containerId"), _text(data, "networkName"), mac, address


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    return clean(value) if isinstance(value, str) else ""


def _addresses(result: dict[str, Any]) -> Iterator[tuple[Address, Subnet]]:
    for ip in result.get("ips") or ():
        interface = ip_interface(ip["address"])
        yield interface.ip, interface.network


def _gateways(result: dict[str, Any]) -> Iterator[Interface]:
    for ip in result.get("ips") or ():
        if ip.get("gateway"):
            yield ip_interface((ip["gateway"], ip_interface(ip["address"]).network.prefixlen))


def _mapping(data: dict[str, Any]) -> PortMapping:
    host_ip = data.get("hostIP")
    return PortMapping(
        host_port=int(data["hostPort"]),
        container_port=int(data["containerPort"]),
        protocol=str(data["protocol"]),
        host_ip=ip_address(host_ip) if host_ip else None,
    )
