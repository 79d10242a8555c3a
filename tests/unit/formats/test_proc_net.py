# SPDX-License-Identifier: Apache-2.0
"""Reading /proc/net."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.proc_net import (
    advertised,
    default_gateways,
    default_routes,
    parse_bound,
    parse_listening,
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
)


def test_sockets_that_others_reach() -> None:
    """Listening sockets count, those on loopback and mere connections do not."""
    assert list(parse_listening(TCP, "tcp")) == [(8080, "tcp", "1")]
    assert list(parse_listening(TCP6, "tcp")) == [(8081, "tcp", "8")]


def test_sockets_on_loopback_keep_a_port_of_the_host() -> None:
    """They are told where they are asked for."""
    ports = [port for port, _, _ in parse_listening(TCP + TCP6, "tcp", loopback=True)]
    assert ports == [8080, 80, 8081, 81]


def test_default_routes() -> None:
    """A route to everywhere is told from one to a network, for both versions."""
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    default = "eth0\t00000000\t020200C0\t0003\t0\t0\t0\t00000000\n"
    assert list(default_routes(head + default, 4)) == ["eth0"]
    assert not list(default_routes(head + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n", 4))
    zeros = "0" * 32
    assert list(default_routes(f"{zeros} 00 {zeros} 00 {zeros} 0400 1 0 3 eth0\n", 6)) == ["eth0"]
    assert not list(default_routes(f"{zeros} 00 {zeros} 00 {zeros} ffffffff 1 0 200200 lo\n", 6))


@given(st.text())
def test_nothing_raises(text: str) -> None:
    """Whatever is printed, reading it goes well."""
    list(parse_listening(f"\n{text}", "tcp"))
    list(default_routes(text, 4))


def test_what_is_bound_where() -> None:
    """Addresses of both families, as a machine of this byte order writes them (seen)."""
    v4, v6 = "0132590A", "000050FD000000000000000001000000"
    rest = "0:0 07 0:0 0:0 0 0 0 1"
    text = f"{HEAD} 5348: {v4}:0035 {rest}\n 5348: {v6}:0035 {rest}\n 1: what:0035 {rest}\n\n"

    assert list(parse_bound(text)) == [(ip_address("10.89.50.1"), 53), (ip_address("fd50::1"), 53)]


def test_gateways_of_default_routes() -> None:
    """Interface and gateway of each; one that needs no gateway has none."""
    rest = "0003\t0\t0\t100\t00000000"
    text = (
        "Iface\tDestination\tGateway\n"
        f"eth0\t00000000\t020200C0\t{rest}\ntun0\t00000000\t00000000\t{rest}\n"
    )
    assert list(default_gateways(text)) == [("eth0", ip_address("192.0.2.2"))]


def test_who_heard_a_router() -> None:
    """Interfaces with a route that a router advertised, as the kernel marks them (RTF_ADDRCONF)."""
    zeros = "0" * 32
    line = f"{zeros} 40 {zeros} 00 {zeros} 00000100 00000001 00000000"
    text = f"{line} 004c0001 eth0\n{line} 00300001 podman1\n{line} what? eth1\n"
    assert advertised(text) == {"eth0"}
