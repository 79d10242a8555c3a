# SPDX-License-Identifier: Apache-2.0
"""The network configurations the real netavark is run over, and podman's way of saying them.

netavark reads one JSON document for each container: its networks, its addresses there and its
published ports (netavark 1.14 src/network/types.rs, NetworkOptions). The documents here are made
from a few words each; addresses and ids follow from the names.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any


@dataclass(frozen=True)
class Net:
    """A bridge network as `podman network create` would make it."""

    name: str
    subnets: tuple[str, ...]
    bridge: str = ""
    id: str = ""
    isolate: str = ""
    internal: bool = False
    dns: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def network_id(self) -> str:
        """A 64 digit id, as podman's are."""
        return self.id or hashlib.sha256(self.name.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """This network in a container's document."""
        options = dict(self.options)
        if self.isolate:
            options["isolate"] = self.isolate
        return {
            "name": self.name,
            "id": self.network_id,
            "driver": "bridge",
            "network_interface": self.bridge or f"br-{self.name}"[:15],
            "subnets": [
                {"subnet": subnet, "gateway": str(ip_network(subnet)[1])} for subnet in self.subnets
            ],
            "ipv6_enabled": any(":" in subnet for subnet in self.subnets),
            "internal": self.internal,
            "dns_enabled": self.dns,
            "ipam_options": {"driver": "host-local"},
            "options": options,
        }


@dataclass(frozen=True)
class Port:
    """One `--publish`."""

    host: int
    container: int
    protocol: str = "tcp"
    count: int = 1
    host_ip: str = ""

    def document(self) -> dict[str, Any]:
        """This port in a container's document."""
        return {
            "host_ip": self.host_ip,
            "host_port": self.host,
            "container_port": self.container,
            "protocol": self.protocol,
            "range": self.count,
        }


@dataclass(frozen=True)
class Box:
    """One container; `place` is where in each subnet its address is."""

    name: str
    networks: tuple[Net, ...]
    ports: tuple[Port, ...] = ()
    place: int = 10

    @property
    def container_id(self) -> str:
        """A 64 digit id, as podman's are."""
        return hashlib.sha256(f"container {self.name}".encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """What podman would write to netavark's standard input."""
        document: dict[str, Any] = {
            "container_id": self.container_id,
            "container_name": self.name,
            "networks": {
                net.name: {
                    "interface_name": f"eth{number}",
                    "static_ips": [str(ip_network(subnet)[self.place]) for subnet in net.subnets],
                }
                for number, net in enumerate(self.networks)
            },
            "network_info": {net.name: net.document() for net in self.networks},
        }
        if self.ports:
            document["port_mappings"] = [port.document() for port in self.ports]
        return document


@dataclass(frozen=True)
class Configuration:
    """Containers to set up one after another on one host."""

    name: str
    boxes: tuple[Box, ...]
    dns_port: int = 53

    def __str__(self) -> str:
        return self.name


PODMAN = Net(
    "podman",
    ("10.88.0.0/16",),
    bridge="podman0",
    id="2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
)
FOUR = Net("four", ("10.89.1.0/24",))
SIX = Net("six", ("fd10:1::/64",))
DUAL = Net("dual", ("10.89.2.0/24", "fd10:2::/64"))
NORMAL = Net("normal", ("10.89.3.0/24", "fd10:3::/64"), isolate="true")
STRICT = Net("strict", ("10.89.4.0/24", "fd10:4::/64"), isolate="strict")
# netavark 2.0 and later isolate strictly what does not say otherwise.
OPEN = Net("open", ("10.89.10.0/24", "fd10:10::/64"), isolate="false")
DNS = Net("dns", ("10.89.5.0/24", "fd10:5::/64"), dns=True)
DNS_FOUR = Net("dns4", ("10.89.6.0/24",), dns=True)
INTERNAL = Net("internal", ("10.89.7.0/24",), internal=True)
INTERNAL_DNS = Net("internaldns", ("10.89.8.0/24",), internal=True, dns=True)
OUTBOUND = Net(
    "outbound",
    ("10.89.9.0/24", "fd10:9::/64"),
    options={"outbound_addr4": "192.0.2.9", "outbound_addr6": "2001:db8::9"},
)
MANY = Net("many", ("10.90.0.0/24", "10.90.1.0/24", "fd11::/64", "fd11:1::/64", "10.90.2.0/25"))
ODD = Net("odd", ("10.91.16.0/20", "fd12:0:0:50::/60"))
TIGHT = Net("tight", ("10.92.0.16/28", "fd13::1:0/112"))
LONG = Net("a-network-with-a-name-" + "n" * 180, ("10.93.0.0/24",), bridge="exactly15-chars")

ANY_FOUR, ANY_SIX = "0.0.0.0", "::"  # noqa: S104 - only told to netavark, nothing listens
WEB = Port(8080, 80)
DNS_UDP = Port(5353, 53, "udp")
SIGNALS = Port(2905, 2905, "sctp")
RANGE = Port(9000, 9100, count=5)
UDP_RANGE = Port(10000, 10000, "udp", count=3)


def _one(name: str, net: Net, *ports: Port, dns_port: int = 53) -> Configuration:
    return Configuration(name, (Box("web", (net,), ports),), dns_port)


def _host_ips(*addresses: str) -> tuple[Port, ...]:
    return tuple(
        Port(8000 + number, 80, protocol, host_ip=address)
        for number, (address, protocol) in enumerate(
            (address, protocol) for address in addresses for protocol in ("tcp", "udp")
        )
    )


def _three(number: int) -> tuple[Port, ...]:
    return tuple(Port(number, number, protocol) for protocol in ("tcp", "udp", "sctp"))


EVERYTHING = (
    WEB,
    DNS_UDP,
    SIGNALS,
    RANGE,
    *_host_ips("192.0.2.1", "2001:db8::1", ANY_FOUR, ANY_SIX),
)

BUSY_HOST = Configuration(
    "busy host",
    (
        Box("one", (PODMAN,), (WEB,), 10),
        Box("two", (PODMAN,), (Port(8081, 80),), 11),
        Box("quiet", (PODMAN,), (), 12),
        Box("all", (DUAL,), EVERYTHING[1:], 10),
        Box("safe", (NORMAL,), (Port(8082, 80, host_ip="127.0.0.1"),), 10),
        Box("safest", (STRICT,), (Port(8083, 80), UDP_RANGE), 10),
        Box("named", (DNS,), (Port(8084, 80),), 10),
        Box("both", (DUAL, FOUR), (Port(8085, 80),), 13),
        Box("open", (OPEN,), (Port(8086, 80),), 10),
    ),
    1053,
)
"""Everything at once: what the mutations are made on."""

APART = Net("apart", ("10.89.11.0/24", "fd10:11::/64"), isolate="true")

EVERY_WAY = Configuration(
    "every way",
    (
        *BUSY_HOST.boxes,
        Box("apart", (APART,), (Port(8087, 80),)),
        Box("between", (APART, DUAL), (Port(8088, 80),), 15),
        Box("outbound", (OUTBOUND,), (Port(8089, 80),)),
        Box("inside", (INTERNAL,), (Port(8090, 80),)),
        Box("gated", (PODMAN,), (Port(8091, 80, host_ip="10.88.0.1"), *_three(7)), 13),
        Box("many", (MANY,), (Port(8092, 80),)),
    ),
    1053,
)
"""Whoever a packet can come from or go to, and whom it must not reach."""

CONFIGURATIONS = (
    _one("nothing published", FOUR),
    _one("tcp", FOUR, WEB),
    _one("udp", FOUR, DNS_UDP),
    _one("sctp", FOUR, SIGNALS),
    _one("the same port of three protocols", FOUR, *_three(7)),
    _one("range", FOUR, RANGE),
    _one("udp range on one address", DUAL, Port(6000, 6100, "udp", 4, "192.0.2.1")),
    _one("range of zero", FOUR, Port(8080, 80, count=0)),
    _one("first and last port", FOUR, Port(1, 65535), Port(65535, 1), Port(65533, 65530, "udp", 3)),
    _one("host ip v4", DUAL, *_host_ips("192.0.2.1")),
    _one("host ip v6", DUAL, *_host_ips("2001:db8::1")),
    _one("host ips that are written in odd ways", DUAL, *_host_ips("2001:DB8:0:0:1::", "::1")),
    _one("host ip of the other family only", FOUR, *_host_ips("2001:db8::1", ANY_SIX)),
    _one(
        "one port on several addresses",
        DUAL,
        *(Port(8080, 80, host_ip=h) for h in ("127.0.0.1", "192.0.2.1", "2001:db8::1", "::1")),
    ),
    _one("wildcard v4", DUAL, *_host_ips(ANY_FOUR)),
    _one("wildcard v6", DUAL, *_host_ips(ANY_SIX)),
    _one("both wildcards", DUAL, *(Port(8080, 80, host_ip=h) for h in (ANY_FOUR, ANY_SIX))),
    _one("dual stack", DUAL, *EVERYTHING),
    _one("v6 only", SIX, *EVERYTHING),
    _one("isolation normal", NORMAL, WEB),
    _one("isolation strict", STRICT, WEB),
    _one("several subnets", MANY, *EVERYTHING),
    _one("odd prefixes", ODD, *EVERYTHING),
    _one("tight prefixes", TIGHT, *EVERYTHING),
    _one("dns on port 53", DNS, WEB),
    _one("dns redirected", DNS, WEB, dns_port=1053),
    _one("dns redirected, nothing published", DNS, dns_port=1053),
    _one("dns redirected, v4 only", DNS_FOUR, DNS_UDP, dns_port=1053),
    _one("dns port without dns", FOUR, WEB, dns_port=1053),
    _one("internal", INTERNAL, WEB),
    _one("internal with dns", INTERNAL_DNS, WEB, dns_port=1053),
    _one("outbound address", OUTBOUND, WEB),
    _one("long names", LONG, WEB),
    _one("the default network", PODMAN, WEB),
    Configuration(
        "several containers",
        tuple(
            Box(f"c{n}", (DUAL,), (Port(8000 + n, 80), Port(9000 + 9 * n, 1, "udp", 3)), 10 + n)
            for n in range(4)
        ),
    ),
    Configuration(
        "one container publishes, its neighbour does not",
        (Box("loud", (PODMAN,), (WEB,), 10), Box("quiet", (PODMAN,), (), 11)),
    ),
    Configuration(
        "one container on three networks", (Box("web", (FOUR, DUAL, STRICT), EVERYTHING),)
    ),
    Configuration("internal beside open", (Box("web", (FOUR, INTERNAL), (WEB,)),)),
    Configuration(
        "all isolations, the open network last",
        (Box("n", (NORMAL,), (WEB,)), Box("s", (STRICT,)), Box("o", (OPEN,)), Box("p", (DUAL,))),
    ),
    Configuration(
        "all isolations, the open network first",
        (Box("o", (OPEN,)), Box("s", (STRICT,), (WEB,)), Box("n", (NORMAL,))),
    ),
    Configuration(
        "dns redirected on two networks",
        (Box("a", (DNS,), (WEB,)), Box("b", (DNS,), (), 11), Box("c", (DNS_FOUR,), (SIGNALS,))),
        1053,
    ),
    BUSY_HOST,
)
