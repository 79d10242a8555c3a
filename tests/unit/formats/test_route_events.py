# SPDX-License-Identifier: Apache-2.0
"""What is read of rtnetlink's notifications."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.netlink import attribute
from podwatch.formats.route_events import LinkEvent, parse_events


def message(kind: int, body: bytes, port: int = 0) -> bytes:
    """A notification, asked for by the socket with that port."""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, port) + body


def link(flags: int = 0x10043, *, family: int = 0, master: int = 0) -> bytes:
    """The body of a message about veth0, whose index is 4."""
    body = struct.pack("=BxHiII", family, 1, 4, flags, 0) + attribute(3, b"veth0\0")
    return body + (attribute(10, struct.pack("=i", master)) if master else b"")


def test_a_link_as_it_is_now() -> None:
    """Whether it is up, has a carrier, and whose port it is."""
    (event,) = parse_events(message(16, link(0x1003, master=3)))
    assert event.link is not None
    assert (event.index, event.link.name, event.link.master) == (4, "veth0", 3)
    assert (event.link.is_up, event.link.has_carrier, event.is_loss) == (True, False, False)
    (event,) = parse_events(message(16, link(0x10042)))
    assert event.link is not None
    assert (event.link.is_up, event.link.has_carrier) == (False, True)


def test_a_link_that_is_gone() -> None:
    """Only its index counts: its name may be another's by then."""
    assert list(parse_events(message(17, link()))) == [LinkEvent(4, is_loss=True)]


def test_what_a_bridge_says_of_its_ports_once_more_is_passed_over() -> None:
    """AF_BRIDGE messages repeat what the others tell."""
    assert list(parse_events(message(17, link(family=7)) + message(16, link(family=7)))) == []


@pytest.mark.parametrize(("kind", "is_loss"), [(20, False), (21, True)])
def test_an_address_and_who_asked_for_it(kind: int, *, is_loss: bool) -> None:
    """The port of the asker's socket stands in the header."""
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 3)
    assert list(parse_events(message(kind, body, port=9799))) == [
        LinkEvent(3, is_address=True, is_loss=is_loss, asked_by=9799)
    ]


def test_an_address_that_each_link_has_is_told_apart() -> None:
    """fe80:: comes and goes with the link."""
    (event,) = parse_events(message(21, struct.pack("=BBBBI", 10, 64, 0, 253, 3)))
    assert event == LinkEvent(3, is_address=True, is_loss=True, on_link=True)


@pytest.mark.parametrize(("kind", "is_loss"), [(24, False), (25, True)])
def test_a_route_by_its_link(kind: int, *, is_loss: bool) -> None:
    """One that goes by no link is nobody's, nor is one of another table than the main one."""
    body = struct.pack("=8BI", 2, 24, 0, 0, 254, 2, 253, 1, 0)
    by = attribute(1, bytes(4)) + attribute(4, struct.pack("=i", 3))
    assert list(parse_events(message(kind, body + by, port=7))) == [
        LinkEvent(3, is_address=True, is_loss=is_loss, asked_by=7)
    ]
    assert list(parse_events(message(kind, body))) == []
    local = struct.pack("=8BI", 2, 32, 0, 0, 255, 2, 254, 2, 0)
    assert list(parse_events(message(kind, local + by))) == []


def test_routes_that_each_link_has_are_passed_over() -> None:
    """Of IPv6: a container's start makes some, and no subnet of Podman's is one of them."""

    def told(to: str) -> list[LinkEvent]:
        body = struct.pack("=8BI", 10, 64, 0, 0, 254, 2, 0, 1, 0)
        by = attribute(1, ip_address(to).packed) + attribute(4, struct.pack("=i", 3))
        return list(parse_events(message(25, body + by)))

    assert told("fd10:89:10::") == [LinkEvent(3, is_address=True, is_loss=True)]
    assert told("fe80::") == told("ff00::") == []


def test_messages_of_other_kinds_are_passed_over() -> None:
    """A neighbour, for example."""
    assert list(parse_events(message(28, bytes(40)) + message(17, link()))) == [
        LinkEvent(4, is_loss=True)
    ]


@given(st.binary(max_size=60), st.sampled_from([16, 17, 20, 21, 24, 25]))
def test_no_bytes_raise(noise: bytes, kind: int) -> None:
    """Garbage, alone or within a message, is left out."""
    list(parse_events(noise))
    list(parse_events(message(kind, noise)))


def test_a_port_that_a_bridge_tells_of() -> None:
    """Whether it is isolated: of the rest the other messages tell."""
    for isolated in (True, False):
        inner = attribute(1, b"\x03") + attribute(33, bytes([isolated]))
        body = struct.pack("=BxHiII", 7, 1, 4, 0, 0) + attribute(12 | 0x8000, inner)
        assert list(parse_events(message(16, body))) == [LinkEvent(4, isolated=isolated)]


def test_a_rule_for_routing_is_of_no_link() -> None:
    """It may concern all."""
    for kind in (32, 33):
        assert list(parse_events(message(kind, bytes(12)))) == [LinkEvent(0, is_address=True)]
