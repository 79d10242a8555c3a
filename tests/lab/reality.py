# SPDX-License-Identifier: Apache-2.0
"""Which ways of a host's containers are really open: each of them tried, from the client and from
within the containers' network namespaces.

Nothing here asks podwatch. What there is to try is read from podman: published ports, the way out,
each neighbour of a network by address and by name. Silence takes time, so all are tried at once.
"""

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from tests.lab.client import CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6, greeted_as, socket_in
from tests.lab.host import Host

SILENCE_S = 1.0
"""How long an answer may take, in seconds."""
_AT_ONCE = 24
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (what podman calls it)
_ECHO = {socket.AF_INET: (socket.IPPROTO_ICMP, 8), socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128)}
"""The protocol of an echo request and its type (RFC 792, RFC 4443)."""


Answer = TypeVar("Answer")


@dataclass(frozen=True, order=True)
class Way:
    """One way: `kind` is in, out, neighbour or name; `to` the port, address or name it leads to.

    `key` is the port and protocol of a way in.
    """

    kind: str
    container: str
    container_id: str
    to: str
    is_v6: bool = False
    key: tuple[int, str] | tuple[()] = ()
    network: str = ""

    def __str__(self) -> str:
        arrow = "←" if self.kind == "in" else "→"
        return f"{self.kind}: {self.container} {arrow} {self.to}"


@dataclass(frozen=True)
class Inhabitant:
    """A running container: its process, its networks that are bridges, its published ports."""

    name: str
    id: str
    pid: int
    networks: dict[str, dict[str, Any]]
    ports: dict[str, list[dict[str, str]]]

    @property
    def has_v6(self) -> bool:
        """Whether it has an IPv6 address."""
        return any(entry["GlobalIPv6Address"] for entry in self.networks.values())


def really(host: Host) -> dict[Way, bool]:
    """Try every way; whether each is open."""
    networks = {network["name"]: network for network in _inspected(host, "network", "ls")}
    there = [
        Inhabitant(
            found["Name"],
            found["Id"],
            found["State"]["Pid"],
            {
                name: entry
                for name, entry in (found["NetworkSettings"].get("Networks") or {}).items()
                if networks.get(name, {}).get("driver") == "bridge"
            },
            found["NetworkSettings"].get("Ports") or {},
        )
        for found in _inspected(host, "container", "ps")
    ]
    tries: dict[Way, Callable[[], bool]] = {}
    for container in there:
        if container.networks:
            tries.update(_ports(host, container))
            tries.update(_ways_out(host, container, networks))
            tries.update(_neighbours(host, container, there, networks))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(tries, pool.map(lambda attempt: attempt(), tries.values()), strict=True))


def _inspected(host: Host, noun: str, *listing: str) -> list[dict[str, Any]]:
    """What podman knows of all its networks or running containers."""
    lists = f"podman {noun} {' '.join(listing)} -q"
    said = host.shell(f"{lists} | xargs -r podman {noun} inspect").stdout
    found: list[dict[str, Any]] = json.loads(said or "[]")
    return found


def _ports(host: Host, container: Inhabitant) -> Iterator[tuple[Way, Callable[[], bool]]]:
    """Each published port that the client can ask, over each address family."""
    for inside, bound in container.ports.items():
        protocol = inside.partition("/")[2]
        for place in bound or ():
            port, only = int(place["HostPort"]), place["HostIp"]
            for address in (HOST_V4, *([HOST_V6] if container.has_v6 else [])):
                if only in (*_EVERYWHERE, address):
                    to = f"{_bracketed(address)}:{port}/{protocol}"
                    way = _way("in", container, to, address, key=(port, protocol))
                    yield way, partial(_answers, host, port, address, protocol)


def _answers(host: Host, port: int, address: str, protocol: str) -> bool:
    if protocol == "udp":
        return host.client.udp(port, address, timeout=SILENCE_S) is not None
    return host.client.http(port, address, SILENCE_S) is not None


def _ways_out(
    host: Host, container: Inhabitant, networks: dict[str, dict[str, Any]]
) -> Iterator[tuple[Way, Callable[[], bool]]]:
    """Over each address family the way to the client, which sees the host's address."""
    if all(networks[name]["internal"] for name in container.networks):
        return
    families = [("IPv4", CLIENT_V4, HOST_V4), ("IPv6", CLIENT_V6, HOST_V6)]
    for family, called, seen_as in families if container.has_v6 else families[:1]:
        way = _way("out", container, family, called)
        yield way, partial(_is_seen_as, host, container, called, seen_as)


def _neighbours(
    host: Host,
    container: Inhabitant,
    there: list[Inhabitant],
    networks: dict[str, dict[str, Any]],
) -> Iterator[tuple[Way, Callable[[], bool]]]:
    """Each other container of its networks by address, and by name where its network has names."""
    for network, own in container.networks.items():
        for other in there:
            entry = other.networks.get(network)
            if entry is None or other is container:
                continue
            for address in filter(None, (entry["IPAddress"], entry["GlobalIPv6Address"])):
                way = _way("neighbour", container, f"{other.name} {address}", address, network)
                yield way, partial(_within, host, container, echoes, address)
            for server in filter(None, (own["Gateway"], own["IPv6Gateway"])):
                if networks[network]["dns_enabled"]:
                    way = _way("name", container, f"{other.name} by {server}", server, network)
                    right = entry["IPAddress"]
                    yield way, partial(_knows, host, container, server, other.name, right)


def _is_seen_as(host: Host, container: Inhabitant, called: str, seen_as: str) -> bool:
    return _within(host, container, greeted_as, called) == seen_as


def _knows(host: Host, container: Inhabitant, server: str, name: str, address: str) -> bool:
    return address in _within(host, container, resolved, server, name)


def _within(
    host: Host, container: Inhabitant, ask: Callable[..., Answer], *arguments: str
) -> Answer:
    """Ask from within a container's network namespace."""
    namespace = os.open(host.root / f"proc/{container.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return ask(namespace, *arguments)
    finally:
        os.close(namespace)


def echoes(namespace: int, address: str) -> bool:
    """Whether an address answers a ping from this network namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    protocol, kind = _ECHO[family]
    with socket_in(namespace, socket.SOCK_DGRAM, address, protocol) as pings:
        pings.settimeout(SILENCE_S)
        try:
            pings.sendto(struct.pack("!BBHHH", kind, 0, 0, 0, 1), (address, 0))
            return bool(pings.recv(64))
        except OSError:  # unreachable, or out of time
            return False


def resolved(namespace: int, server: str, name: str) -> set[str]:
    """The IPv4 addresses that a name server tells of a container's name; none if it is silent."""
    labels = b"".join(
        bytes([len(part)]) + part.encode() for part in f"{name}.dns.podman".split(".")
    )
    query = os.urandom(2) + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket_in(namespace, socket.SOCK_DGRAM, server) as datagrams:
        datagrams.settimeout(SILENCE_S)
        try:
            datagrams.connect((server, 53))
            datagrams.send(query)
            answer = datagrams.recv(4096)
        except OSError:  # refused, unreachable, or out of time
            return set()
    count, at, found = struct.unpack_from("!H", answer, 6)[0], len(query), set()
    for _ in range(count):  # each: its name as a pointer or in full, type, class, TTL, length, data
        while answer[at] and answer[at] < 0xC0:
            at += 1 + answer[at]
        at += 2 if answer[at] else 1
        kind, _, _, length = struct.unpack_from("!HHIH", answer, at)
        if (kind, length) == (1, 4):
            found.add(socket.inet_ntoa(answer[at + 10 : at + 14]))
        at += 10 + length
    return found


def _way(
    kind: str,
    container: Inhabitant,
    to: str,
    address: str,
    network: str = "",
    key: tuple[int, str] | tuple[()] = (),
) -> Way:
    return Way(kind, container.name, container.id, to, ":" in address, key, network)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
