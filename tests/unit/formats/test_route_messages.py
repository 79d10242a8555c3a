# SPDX-License-Identifier: Apache-2.0
"""rtnetlink's messages, as bytes."""

import socket
import struct
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.route_messages import (
    AddressSeen,
    LinkSeen,
    RouteSeen,
    RuleSeen,
    Seen,
    addresses_request,
    links_request,
    parse_dump,
    route_request,
    rules_request,
    tells_of_a_setting,
)
from podwatch.formats.route_orders import mac_order
from tests.unit.formats import kernel
from tests.unit.formats.test_netlink_messages import attribute

QUESTION = 7
NEWLINK, NEWADDR, NEWROUTE = 16, 20, 24


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
        has_carrier=False,
    )
    assert found.seen == (wanted,)
    assert (found.ended, found.interrupted) == (0, False)


def test_the_other_end_of_a_veth() -> None:
    """Its index is told, and whether both ends are up."""
    head = struct.pack("=BxHiII", 0, 1, 2, 0x10001, 0)
    body = head + attribute(3, b"eth0\0") + attribute(5, struct.pack("=i", 77))
    (found,) = parse_dump(message(NEWLINK, body) + DONE, QUESTION).seen
    assert isinstance(found, LinkSeen)
    assert (found.name, found.peer, found.has_carrier) == ("eth0", 77, True)


def test_a_namespace_is_only_asked_about() -> None:
    """The question for another namespace's links is RTM_GETLINK: one to change it would move the
    host's own interface into the container."""
    question = links_request(QUESTION, 9)
    _, kind, flags, _, _ = struct.unpack_from("=IHHII", question)
    assert (kind, flags) == (18, 0x301)
    assert question.endswith(attribute(46, struct.pack("=i", 9)))


@pytest.mark.parametrize("attributes", [[(4, 4)], [(10, 8), (37, 8)]], ids=["other", "long"])
def test_of_a_link_numbers_and_lengths_of_attributes_count(
    attributes: list[tuple[int, int]],
) -> None:
    """Neither another number of four bytes nor a longer one is taken for bridge or namespace."""
    body = link("eth0", 2, *(attribute(number, b"\1" * size) for number, size in attributes))
    (found,) = parse_dump(message(NEWLINK, body) + DONE, QUESTION).seen

    assert isinstance(found, LinkSeen)
    assert (found.master, found.netns_id) == (0, None)


def test_the_kernel_tells_of_links_and_addresses() -> None:
    """Of lo and of every other link and address of this machine, to the end of each dump."""

    def dumped(question: bytes) -> list[Seen]:
        data = kernel.asked(
            socket.NETLINK_ROUTE, question, lambda piece: parse_dump(piece, 9).ended is not None
        )
        pieces = [parse_dump(piece, 9) for piece in data]
        assert (pieces[-1].ended, {piece.interrupted for piece in pieces}) == (0, {False})
        return [item for piece in pieces for item in piece.seen]

    links = [found for found in dumped(links_request(9)) if isinstance(found, LinkSeen)]
    assert {(found.index, found.name) for found in links} == set(socket.if_nameindex())
    for found in links:
        folder = Path("/sys/class/net", found.name)
        assert found.is_up == bool(int((folder / "flags").read_text(), 16) & 1)
        assert found.mac == (folder / "address").read_text().strip()
    own = AddressSeen(socket.if_nametoindex("lo"), ip_interface("127.0.0.1/8"))
    assert own in dumped(addresses_request(9))
    assert own.index in [
        found.index
        for found in dumped(route_request(9, ip_address("127.0.0.1")))
        if isinstance(found, RouteSeen)
    ]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (NEWLINK, link("", 5)),
        (NEWLINK, bytes(15)),
        (NEWADDR, bytes(7)),
        (NEWADDR, struct.pack("=BBBBI", 2, 33, 0, 0, 5) + attribute(1, bytes(4))),
        (NEWADDR, struct.pack("=BBBBI", 2, 8, 0, 0, 5) + attribute(1, bytes(16))),
        (NEWADDR, struct.pack("=BBBBI", 10, 8, 0, 0, 5) + attribute(1, bytes(4))),
        (NEWADDR, struct.pack("=BBBBI", 10, 129, 0, 0, 5) + attribute(1, bytes(16))),
        (NEWADDR, struct.pack("=BBBBI", 7, 8, 0, 0, 5) + attribute(1, bytes(4))),
        (NEWADDR, struct.pack("=BBBBI", 2, 8, 0, 0, 5) + attribute(3, b"eth0")),
        (NEWROUTE, bytes(11)),
        (28, bytes(40)),
    ],
    ids=[
        "no name",
        "half a link",
        "half an address",
        "prefix",
        "six for four",
        "four for six",
        "prefix of six",
        "family",
        "label",
        "half a route",
        "neighbour",
    ],
)
def test_what_makes_no_sense_is_left_out(kind: int, body: bytes) -> None:
    """One that lacks its name, its address or its end, or is of another kind; the next is read."""
    found = parse_dump(message(NEWLINK, VETH) + message(kind, body), QUESTION)
    assert [type(item) for item in found.seen] == [LinkSeen]


def test_of_a_point_to_point_link_the_own_address_counts() -> None:
    """IFA_ADDRESS is the other end's there, whichever comes first."""
    head = struct.pack("=BBBBI", 2, 24, 0, 0, 5)
    other, own = attribute(1, bytes([10, 0, 0, 9])), attribute(2, bytes([10, 0, 0, 1]))
    for body in (head + other + own, head + own + other):
        found = parse_dump(message(NEWADDR, body), QUESTION)
        assert found.seen == (AddressSeen(5, ip_interface("10.0.0.1/24")),)
        assert found.ended is None


@pytest.mark.parametrize("address", ["10.89.0.1/32", "fd00::1/128", "fe80::1/64"])
def test_addresses_of_both_families_are_read(address: str) -> None:
    """A link that is not point-to-point has IFA_ADDRESS alone where it is of IPv6."""
    wanted = ip_interface(address)
    family = {4: 2, 6: 10}[wanted.version]
    body = struct.pack("=BBBBI", family, wanted.network.prefixlen, 0, 0, 5)
    body += attribute(1, wanted.packed)
    assert parse_dump(message(NEWADDR, body), QUESTION).seen == (AddressSeen(5, wanted),)


@pytest.mark.parametrize(("flags", "is_used"), [(0x80, True), (0x08, False), (0x40, False)])
def test_an_address_that_another_host_has_is_not_used(flags: int, *, is_used: bool) -> None:
    """Nor is one of which that is not known yet (IFA_F_DADFAILED, IFA_F_TENTATIVE)."""
    wanted = ip_interface("fd00::1/64")
    body = struct.pack("=BBBBI", 10, 64, flags, 0, 5) + attribute(1, wanted.packed)
    assert parse_dump(message(NEWADDR, body), QUESTION).seen == (AddressSeen(5, wanted, is_used),)


def test_what_answers_another_question_is_passed_over() -> None:
    """The rest of a dump that was given up is no answer to the next question."""
    late = message(NEWLINK, VETH, question=6) + message(3, bytes(4), question=6)
    assert parse_dump(late, QUESTION).seen == ()
    assert parse_dump(late, QUESTION).ended is None


def test_an_interrupted_dump_says_so() -> None:
    """The kernel marks one message after a change, whichever that is."""
    data = message(NEWLINK, VETH, flags=0x10) + DONE
    assert parse_dump(data, QUESTION).interrupted
    assert not parse_dump(message(NEWLINK, VETH, flags=0xFFEF) + DONE, QUESTION).interrupted


def test_a_refusal_is_told_by_its_number() -> None:
    """NLMSG_ERROR ends the dump with the kernel's error."""
    assert parse_dump(message(2, struct.pack("=i", -22)), QUESTION).ended == 22


def test_nothing_is_ever_asked_to_be_changed() -> None:
    """Whatever is asked, the message is a question: RTM_GET*, as a dump."""
    all_addresses = bytes(8)
    in_namespace = all_addresses + attribute(10, struct.pack("=i", 4))  # IFA_TARGET_NETNSID
    without_statistics = attribute(29, struct.pack("=i", 8))  # IFLA_EXT_MASK
    for data, kind, body in (
        (links_request(1), 18, bytes(16) + without_statistics),
        (addresses_request(1), 22, all_addresses),
        (addresses_request(1, 4), 22, in_namespace),
    ):
        assert struct.unpack_from("=IHHII", data) == (len(data), kind, 0x301, 1, 0)
        assert data[16:] == body


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
    assert v6[28:] == attribute(1, ip_address("fd00::2").packed)


def test_the_way_of_a_packet_is_read() -> None:
    """The link it goes by; none of a route that leads nowhere."""
    by = attribute(4, struct.pack("=i", 3))
    others = attribute(1, bytes([192, 0, 2, 2])) + attribute(4, bytes(8))
    for kind, index in ((1, 3), (2, 3), (5, 3), (6, 0), (7, 0), (8, 0), (9, 3)):
        head = struct.pack("=8BI", 2, 32, 0, 0, 254, 2, 0, kind, 0)
        found = parse_dump(message(NEWROUTE, head + by + others) + message(2, bytes(4)), QUESTION)
        assert (found.seen, found.ended) == ((RouteSeen(index, ip_network("192.0.2.2/32")),), 0)
    assert parse_dump(message(NEWROUTE, bytes(12)), QUESTION).seen == (RouteSeen(0),)


def test_a_rule_for_routing_by_its_priority() -> None:
    """The kernel's first one has none; a question is of one IP version."""
    rules = message(32, bytes(12)) + message(32, bytes(12) + attribute(6, struct.pack("=I", 100)))
    assert parse_dump(rules, QUESTION).seen == (RuleSeen(0), RuleSeen(100))
    assert [rules_request(1, version)[16:] for version in (4, 6)] == [
        bytes([family]) + bytes(11) for family in (2, 10)
    ]


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
    [
        netconf(1, 2, 3, 4, 5),
        netconf(1, 2, 3),
        netconf(1, 4),
        netconf(1),
        netconf(2, 3),
        netconf(1, 2, kind=81),
    ],
    ids=["a new link", "two settings", "another", "none", "no interface", "one that goes"],
)
def test_other_settings_are_no_news(data: bytes) -> None:
    """A new link tells of all settings at once; the others are not watched this way."""
    assert not tells_of_a_setting(data)
