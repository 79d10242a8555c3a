# SPDX-License-Identifier: Apache-2.0
"""rtnetlink's messages, as bytes."""

import struct
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.route_messages import (
    NEWADDR,
    NEWLINK,
    NEWROUTE,
    AddressSeen,
    LinkSeen,
    RouteSeen,
    addresses_request,
    links_request,
    mac_order,
    parse_dump,
    route_request,
    tells_of_a_setting,
)
from tests.unit.formats.test_netlink_messages import attribute

QUESTION = 7


def message(kind: int, body: bytes, *, flags: int = 2, question: int = QUESTION) -> bytes:
    """One message of a dump."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, question, 0) + body


def link(name: str, index: int, *attributes: bytes) -> bytes:
    """The body of a link that is up."""
    head = struct.pack("=BxHiII", 0, 1, index, 1, 0)
    return head + attribute(3, name.encode() + b"\0") + b"".join(attributes)


VETH = link(
    "veth0",
    5,
    attribute(10, struct.pack("=i", 2)),
    attribute(37, struct.pack("=i", 0)),
    attribute(18, attribute(1, b"veth\0")),
    attribute(1, bytes(range(6))),
)
DONE = message(3, struct.pack("=i", 0))


def test_a_link_is_read() -> None:
    """Name, index, state, master, kind, the other end's namespace and the MAC."""
    found = parse_dump(message(NEWLINK, VETH) + DONE, QUESTION)
    wanted = LinkSeen(
        name="veth0",
        index=5,
        is_up=True,
        master=2,
        kind="veth",
        netns_id=0,
        mac="00:01:02:03:04:05",
    )
    assert found.seen == (wanted,)
    assert (found.ended, found.interrupted) == (0, False)


def test_of_a_link_the_numbers_of_the_attributes_count() -> None:
    """Another attribute of four bytes is taken neither for the bridge nor for the namespace."""
    body = link("eth0", 2, attribute(4, struct.pack("=i", 1500)))
    (found,) = parse_dump(message(NEWLINK, body) + DONE, QUESTION).seen

    assert isinstance(found, LinkSeen)
    assert (found.master, found.netns_id) == (0, None)


def test_of_a_point_to_point_link_the_own_address_counts() -> None:
    """IFA_ADDRESS is the other end's there, whichever comes first."""
    head = struct.pack("=BBBBI", 2, 24, 0, 0, 5)
    other, own = attribute(1, bytes([10, 0, 0, 9])), attribute(2, bytes([10, 0, 0, 1]))
    for body in (head + other + own, head + own + other):
        found = parse_dump(message(NEWADDR, body), QUESTION)
        assert found.seen == (AddressSeen(5, ip_interface("10.0.0.1/24")),)
        assert found.ended is None


def test_what_answers_another_question_is_passed_over() -> None:
    """The rest of a dump that was given up is no answer to the next question."""
    late = message(NEWLINK, VETH, question=6) + message(3, bytes(4), question=6)
    assert parse_dump(late, QUESTION).seen == ()
    assert parse_dump(late, QUESTION).ended is None


def test_an_interrupted_dump_says_so() -> None:
    """The kernel marks one message after a change, whichever that is."""
    data = message(NEWLINK, VETH, flags=0x12) + DONE
    assert parse_dump(data, QUESTION).interrupted


def test_a_refusal_is_told_by_its_number() -> None:
    """NLMSG_ERROR ends the dump with the kernel's error."""
    assert parse_dump(message(2, struct.pack("=i", -22)), QUESTION).ended == 22


def test_nothing_is_ever_asked_to_be_changed() -> None:
    """Whatever is asked, the message is a question: RTM_GET*, as a dump."""
    for data in (
        links_request(1),
        addresses_request(1),
        addresses_request(1, 4),
    ):
        _, kind, flags, number, _ = struct.unpack_from("=IHHII", data)
        assert kind in (18, 22)
        assert (flags, number) == (0x301, 1)


@given(st.binary(max_size=80), st.integers(0, 70))
def test_no_bytes_raise(noise: bytes, at: int) -> None:
    """Garbage, alone or within a message, is left out."""
    parse_dump(noise, QUESTION)
    parse_dump(message(NEWLINK, noise) + message(NEWADDR, noise), QUESTION)
    parse_dump(message(NEWLINK, VETH[:at] + noise + VETH[at:]), QUESTION)


def test_an_order_is_for_a_link_of_the_host() -> None:
    """It names the link by its index and holds the MAC, and no namespace at all."""
    order = mac_order(QUESTION, 5, "00:01:02:03:04:05")

    assert struct.unpack_from("=IHHII", order) == (len(order), 19, 5, QUESTION, 0)
    assert struct.unpack_from("=BxHiII", order, 16) == (0, 0, 5, 0, 0)
    assert order[32:] == attribute(1, bytes(range(6)))


def test_a_question_for_a_route() -> None:
    """Destination, source and the link it came in by, each in full length."""
    to, source = ip_address("192.0.2.2"), ip_address("10.89.0.2")
    asked = route_request(QUESTION, to, source, 5)

    assert struct.unpack_from("=IHHII", asked) == (len(asked), 26, 5, QUESTION, 0)
    assert asked[16:28] == struct.pack("=8BI", 2, 32, 32, 0, 0, 0, 0, 0, 0)
    assert asked[28:] == b"".join(
        (attribute(1, to.packed), attribute(2, source.packed), attribute(3, struct.pack("=i", 5)))
    )
    v6 = route_request(QUESTION, ip_address("fd00::2"))
    assert v6[16:28] == struct.pack("=8BI", 10, 128, 0, 0, 0, 0, 0, 0, 0)


def test_the_way_of_a_packet_is_read() -> None:
    """The link it goes by; none of a route that leads nowhere."""
    by = attribute(4, struct.pack("=i", 3))
    for kind, index in ((1, 3), (6, 0), (7, 0), (8, 0)):
        head = struct.pack("=8BI", 2, 32, 0, 0, 254, 2, 0, kind, 0)
        found = parse_dump(message(NEWROUTE, head + by) + message(2, bytes(4)), QUESTION)
        assert (found.seen, found.ended) == ((RouteSeen(index),), 0)


def netconf(*numbers: int, kind: int = 80) -> bytes:
    """RTM_NEWNETCONF with these attributes: 1 is the interface, 2 forwarding, 3 rp_filter."""
    body = bytes(4) + b"".join(attribute(number, bytes(4)) for number in numbers)
    return message(kind, body, question=0)


def test_one_changed_setting_is_news() -> None:
    """Forwarding or rp_filter of an interface, also behind what is none."""
    assert tells_of_a_setting(netconf(1, 2))
    assert tells_of_a_setting(netconf(1, 3))
    assert tells_of_a_setting(netconf(1, 2, 3, 4, 5) + netconf(1, 2))


@pytest.mark.parametrize(
    "data",
    [netconf(1, 2, 3, 4, 5), netconf(1, 2, 3), netconf(1, 4), netconf(1), netconf(1, 2, kind=81)],
    ids=["a new link", "two settings", "another setting", "none", "one that goes"],
)
def test_other_settings_are_no_news(data: bytes) -> None:
    """A new link tells of all settings at once; the others are not watched this way."""
    assert not tells_of_a_setting(data)
