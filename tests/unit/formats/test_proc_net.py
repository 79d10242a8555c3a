# SPDX-License-Identifier: Apache-2.0
"""Reading /proc/net."""

from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.proc_net import (
    advertised,
    default_gateways,
    default_gateways_v6,
    default_routes,
    parse_bound,
    parse_listening,
    route_links,
    routes_within,
)

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
TCP = (
    f"{HEAD}"
    "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1\n"
    "   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1\n"
    "   2: 020A590A:CDD0 020200C0:1B58 06 00000000:00000000 03:0000144E 00000000 0 0 0\n"
)
TCP6 = (
    f"{HEAD}"
    "   0: 00000000000000000000000000000000:1F91 0:0 0A 0:0 0:0 0 0 0 8\n"
    "   1: 00000000000000000000000001000000:0051 0:0 0A 0:0 0:0 0 0 0 9\n"
    "   2: 000050FD00000000000000000000007F:1F92 0:0 0A 0:0 0:0 0 0 0 7\n"
)


def test_sockets_that_others_reach() -> None:
    """Listening sockets count, those on loopback and mere connections do not."""
    assert list(parse_listening(TCP, "tcp")) == [(8080, "tcp", "1")]
    assert list(parse_listening(TCP6, "tcp")) == [(8081, "tcp", "8"), (8082, "tcp", "7")]


def test_a_udp_socket_is_in_another_state() -> None:
    """One that is bound takes datagrams; a line that was cut is left out."""
    rest = "00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0"
    udp = f"{HEAD} 5: 00000000:0202 {rest} 5 2\n 6: 00000000:0203 {rest}\n 7: 00000000:x {rest} 5\n"
    assert list(parse_listening(udp, "udp")) == [(514, "udp", "5")]


def test_sockets_on_loopback_keep_a_port_of_the_host() -> None:
    """They are told where they are asked for."""
    ports = [port for port, _, _ in parse_listening(TCP + TCP6, "tcp", loopback=True)]
    assert ports == [8080, 80, 8081, 81, 8082]


ZEROS = "0" * 32
ROUTE4 = "eth0\t00000000\t020200C0\t0003\t0\t0\t0\t00000000"
ROUTE6 = f"{ZEROS} 00 {ZEROS} 00 {ZEROS} 0400 1 0 3 eth0"


@pytest.mark.parametrize(
    ("version", "line", "names"),
    [
        (4, f"{ROUTE4}\t0\t0\t0", ["eth0"]),
        (4, ROUTE4, ["eth0"]),
        (4, ROUTE4.rpartition("\t")[0], []),
        (4, "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask", []),
        (4, "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF", []),
        (4, "eth0\t00000000\t020200C0\t0003\t0\t0\t0\t00000080", []),
        (4, ROUTE6, []),
        (6, ROUTE6, ["eth0"]),
        (6, ROUTE6.rpartition(" ")[0], []),
        (6, f"{ROUTE6} x", []),
        (6, ROUTE6.replace(" 00 ", " 40 ", 1), []),
        (6, f"{ZEROS} 00 {ZEROS} 00 {ZEROS} ffffffff 1 0 200200 lo", []),
        (6, f"{ROUTE4}\t0\t0\t0", []),
        (4, f"eth0 00 0 0 0 0 0 00 {ZEROS} eth1", []),
        (4, "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0", []),
        (6, f"{ZEROS} 00000000 {ZEROS} 00 {ZEROS} 0 1 00000000 3 eth0", []),
    ],
)
def test_default_routes(version: int, line: str, names: list[str]) -> None:
    """A route to everywhere is told from one to a network, and the two files from each other."""
    assert list(default_routes(f"{line}\n", version)) == names
    if version == 4:
        assert len(list(default_gateways(f"{line}\n"))) == len(names)


def test_every_route_has_a_link() -> None:
    """The first line is a heading, and one that is cut is no route."""
    text = f"Iface\tDestination\tand\tso\ton\t1\t2\t3\n{ROUTE4}\neth1\t0\n"
    assert list(route_links(text)) == ["eth0"]


@pytest.mark.parametrize(
    ("to", "mask", "within"),
    [
        ("0400580A", "FFFFFFFF", True),
        ("0000580A", "00FFFFFF", True),
        ("0000580A", "0000FFFF", False),
        ("0000590A", "00FFFFFF", False),
        ("00000000", "00000000", False),
        ("0000580A", "zz", False),
        ("0100580A", "0000FFFF", False),
    ],
)
def test_a_route_for_a_part_of_a_network(to: str, mask: str, *, within: bool) -> None:
    """Is for less than the subnet; what makes no sense is none."""
    text = f"Iface\n*\t{to}\t0\t0\t0\t0\t0\t{mask}\t0\n"
    assert routes_within(text, [IPv4Network("10.88.0.0/16")]) is within


@given(st.text())
def test_nothing_raises(text: str) -> None:
    """Whatever is printed, reading it goes well."""
    list(parse_listening(f"\n{text}", "tcp"))
    list(default_routes(text, 4))
    list(route_links(text))
    routes_within(text, [IPv4Network("10.88.0.0/16")])


def test_what_is_bound_where() -> None:
    """Addresses of both families as this machine writes them (seen), and the bytes that wait."""
    v4, v6 = "0132590A", "000050FD000000000000000001000000"
    rest = "0:0 07 0:9C0 0:0 0 0 0 1"
    text = (
        f"{HEAD} 5348: {v4}:0035 {rest}\n 5348: {v6}:0035 0:0 07 0:0 0:0 0 0 0 1\n"
        f" 1: what:0035 {rest}\n 1:\n 1: {v4}00:0035 {rest}\n 1: {v4}\n"
        f" 1: {v4}:0035 0:0 07 what 0:0\n\n"
    )

    assert list(parse_bound(text)) == [
        ((ip_address("10.89.50.1"), 53), 0x9C0),
        ((ip_address("fd50::1"), 53), 0),
    ]


def test_gateways_of_default_routes() -> None:
    """Interface and gateway of each; one that needs no gateway has none."""
    rest = "0003\t0\t0\t100\t00000000"
    text = (
        "Iface\tDestination\tGateway\n"
        f"eth0\t00000000\t020200C0\t{rest}\ntun0\t00000000\t00000000\t{rest}\n"
        f"eth1\t00000000\t020200C000\t{rest}\neth1\t00000000\tx\t{rest}\n"
    )
    assert list(default_gateways(text)) == [("eth0", ip_address("192.0.2.2"))]


def test_gateways_of_default_routes_of_ipv6() -> None:
    """As for IPv4; the route of lo that rejects what has no other is none."""
    by = "fe800000000000000000000000000001"
    rest = "00000064 00000001 00000000 00000003"
    told = f"{ZEROS} 00 {ZEROS} 00 {by} {rest} eth0\n{ZEROS} 00 {ZEROS} 00 {ZEROS} {rest} tun0\n"
    others = f"{ZEROS} 00 {ZEROS} 00 {by} {rest} lo\n{ZEROS} 40 {ZEROS} 00 {by} {rest} eth1\n"
    others += f"{ZEROS} 00 {ZEROS} 00 what? {rest} eth2\n{ZEROS} 00 {ZEROS} 00 {by} {rest}\n"
    assert list(default_gateways_v6(told + others)) == [("eth0", ip_address("fe80::1"))]


def test_who_heard_a_router() -> None:
    """Interfaces with a route that a router advertised, as the kernel marks them (RTF_ADDRCONF)."""
    line = f"{ZEROS} 40 {ZEROS} 00 {ZEROS} 00000100 00000001 00000000"
    told = f"{line} 004c0001 eth0\n{line} 00440001 eth2\n"
    others = f"{line} 00300001 podman1\n{line} what? eth1\n{line} 00440001 eth3 x\n{line}\n"
    assert advertised(told + others) == {"eth0", "eth2"}
