# SPDX-License-Identifier: Apache-2.0
"""What podman says it set up, for a netavark that keeps no state of its own (before 1.9). Pure.

Three of podman's answers tell it together: `podman network ls`, `podman ps` (which alone keeps a
range of ports together) and `podman container inspect` (which alone has addresses).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from podwatch.formats.podman_json import containers_of
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import (
    Address,
    Container,
    Endpoint,
    FirewallDriver,
    Interface,
    Isolation,
    Network,
    PortMapping,
    Setup,
    Subnet,
)
from podwatch.words.text import printable

_SET_UP = frozenset({"running", "paused", "initialized", "stopping"})


def parse_setup(text: str) -> tuple[Setup, dict[str, Container]]:
    """What is set up, and podman's containers by id.

    `text` are, one behind the other, the JSON lists of `podman network ls --format json` and
    `podman ps --all --pod --ns --format json`, and what `podman container inspect` prints of each
    container, as a list or one by one, of Podman 4 and later.
    Raises StateUnreadable for anything else.
    """
    lists = list(_lists(text))
    if len(lists) < 2:
        raise StateUnreadable("podman did not list its networks and containers")
    try:
        listed = [network for network in lists[0] if isinstance(network, dict)]
        if any("Plugins" in network for network in listed):
            raise StateUnreadable("Podman 3 has no netavark: CNI's cache tells what is set up")
        networks = {_text(network, "name"): network for network in listed}
        containers = containers_of(lists[1])
        if len(containers) != len(lists[1]):
            raise StateUnreadable("podman listed something else than containers")
        ports = {_text(container, "Id"): _mappings(container) for container in lists[1]}
        endpoints = tuple(
            endpoint
            for answer in lists[2:]
            for inspected in answer
            for endpoint in _endpoints(inspected, networks, ports)
        )
        told = {_text(inspected, "Id"): inspected for answer in lists[2:] for inspected in answer}
        containers = {
            key: _with_place(container, told.get(key, {}), ports.get(key, ()))
            for key, container in containers.items()
        }
        for container in containers.values():
            if container.is_up and container.networks and container.id not in told:
                raise StateUnreadable(f"podman did not tell of container {container.id[:12]}")
        joined = {endpoint.network_name for endpoint in endpoints}
        return (
            Setup(
                FirewallDriver.IPTABLES,
                {
                    _text(network, "id"): _network(network)
                    for name, network in networks.items()
                    if name in joined
                },
                endpoints,
            ),
            containers,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StateUnreadable(f"podman's answer makes no sense: {exc!r}") from exc


def _with_place(
    container: Container, data: Mapping[str, Any], ports: tuple[PortMapping, ...]
) -> Container:
    """The container with what podman tells of its network when it is asked for it alone."""
    conmon = data.get("State", {}).get("ConmonPid")
    return replace(
        container,
        mode=_text(data.get("HostConfig", {}), "NetworkMode"),
        sandbox=_text(data.get("NetworkSettings", {}), "SandboxKey"),
        conmon=max(conmon, 0) if isinstance(conmon, int) else 0,
        ports=ports,
    )


def with_dns_port(setup: Setup, port: int) -> Setup:
    """The setup where containers' questions to port 53 are redirected to `port` of aardvark-dns.

    netavark 1.4 src/firewall/varktables/types.rs: of each gateway of a container's network, whether
    names are served there or not.
    """
    if port == 53:
        return setup
    return replace(
        setup,
        networks={key: replace(network, dns_port=port) for key, network in setup.networks.items()},
        endpoints=tuple(replace(endpoint, dns_port=port) for endpoint in setup.endpoints),
    )


def _lists(text: str) -> Iterator[list[Any]]:
    decoder = json.JSONDecoder()
    rest = text.lstrip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError) as exc:
            raise StateUnreadable(f"podman printed something else than JSON: {exc}") from exc
        if isinstance(value, dict):
            value = [value]
        if value is not None and not isinstance(value, list):
            raise StateUnreadable("podman printed JSON, but not a list")
        yield value or []
        rest = rest[end:].lstrip()


def _network(data: Mapping[str, Any]) -> Network:
    options = data.get("options") or {}
    return Network(
        id=_text(data, "id"),
        bridge=_text(data, "network_interface"),
        subnets=tuple(_subnets(data)),
        isolation=_isolation(str(options.get("isolate", "false"))),
        gateways=tuple(_gateways(data)),
    )


def _subnets(data: Mapping[str, Any]) -> Iterator[Subnet]:
    for subnet in data.get("subnets") or ():
        yield ip_network(subnet["subnet"], strict=False)


def _isolation(word: str) -> Isolation:
    if word == "strict":
        return Isolation.STRICT
    return Isolation.NORMAL if word == "true" else Isolation.NEVER


def _endpoints(
    data: Mapping[str, Any],
    networks: Mapping[str, Mapping[str, Any]],
    ports: Mapping[str, tuple[PortMapping, ...]],
) -> Iterator[Endpoint]:
    """A container's places on bridges that netavark manages; none for a member of a pod."""
    if data["State"]["Status"] not in _SET_UP or data["HostConfig"]["NetworkMode"] != "bridge":
        return
    key = _text(data, "Id")
    for name, place in (data["NetworkSettings"].get("Networks") or {}).items():
        network = networks.get(name)
        if network is None:
            raise StateUnreadable(f"container {key[:12]} is on network {name}, which is not listed")
        options = network.get("options") or {}
        unmanaged = options.get("mode") == "unmanaged"
        if network.get("driver") != "bridge" or network.get("internal") is True or unmanaged:
            continue
        addresses = tuple(_addresses(place, tuple(_subnets(network))))
        if addresses:
            yield Endpoint(
                container_id=key,
                network_id=_text(network, "id"),
                network_name=printable(name),
                addresses=addresses,
                port_mappings=ports.get(key) or None,
                dns_servers=tuple(gateway.ip for gateway in _gateways(network)),
            )


def _gateways(data: Mapping[str, Any]) -> Iterator[Interface]:
    for subnet in data.get("subnets") or ():
        if subnet.get("gateway"):
            length = ip_network(subnet["subnet"], strict=False).prefixlen
            yield ip_interface((subnet["gateway"], length))


def _addresses(
    place: Mapping[str, Any], subnets: tuple[Subnet, ...]
) -> Iterator[tuple[Address, Subnet]]:
    for key in ("IPAddress", "GlobalIPv6Address"):
        if place.get(key):
            address = ip_address(place[key])
            subnet = next((subnet for subnet in subnets if address in subnet), None)
            if subnet is None:
                raise StateUnreadable(f"{address} is in none of its network's subnets")
            yield address, subnet


def _mappings(data: Mapping[str, Any]) -> tuple[PortMapping, ...]:
    """The published ports of one container, as podman 4 and later list them."""
    return tuple(
        PortMapping(
            host_port=int(mapping["host_port"]),
            container_port=int(mapping["container_port"]),
            protocol=protocol,
            count=max(int(mapping.get("range") or 1), 1),
            host_ip=ip_address(mapping["host_ip"]) if mapping.get("host_ip") else None,
        )
        for mapping in data.get("Ports") or ()
        for protocol in str(mapping.get("protocol") or "tcp").split(",")
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return printable(value) if isinstance(value, str) else ""
