# SPDX-License-Identifier: Apache-2.0
"""nf_tables' messages, as bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.netlink_messages import (
    GETCHAIN,
    GETGEN,
    GETTABLE,
    GROUP,
    Change,
    Generation,
    Refusal,
    Touched,
    Transaction,
    ends_transaction,
    parse_messages,
    request,
)
from podwatch.words.cause import Writer

INET, IP = 1, 2
NEWRULE, DELRULE, NEWGEN = 6, 8, 15


def attribute(number: int, value: bytes) -> bytes:
    """One netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)


def message(code: int, body: bytes, *, family: int = INET, subsystem: int = 10) -> bytes:
    """One nfnetlink message."""
    body = struct.pack("=BBH", family, 0, 0) + body
    return struct.pack("=IHHII", 16 + len(body), subsystem << 8 | code, 0, 0, 0) + body


def rule(code: int, table: str, *, family: int = INET) -> bytes:
    """A rule's message: table, chain, and something longer that nobody needs."""
    return message(
        code,
        attribute(1, table.encode() + b"\0") + attribute(2, b"FORWARD\0") + attribute(4, b"x" * 90),
        family=family,
    )


def newgen(number: int, name: bytes = b"nft\0", pid: int = 812) -> bytes:
    """The message that ends a transaction."""
    return message(
        NEWGEN,
        attribute(1, struct.pack(">I", number))
        + attribute(2, struct.pack(">I", pid))
        + attribute(3, name),
        family=0,
    )


def changes(data: bytes) -> list[Change]:
    """What a fresh transaction makes of the messages."""
    transaction = Transaction()
    fed = [transaction.feed(each) for each in parse_messages(data)]
    return [each for each in fed if each is not None]


def test_a_datagram_holds_several_messages() -> None:
    """Messages of one datagram come out in their order, with family and table named as nft does."""
    data = rule(NEWRULE, "netavark") + rule(DELRULE, "filter", family=IP) + newgen(7)

    assert list(parse_messages(data)) == [
        Touched("inet netavark", deleted=False),
        Touched("ip filter", deleted=True),
        Generation(7, Writer("nft", 812)),
    ]


def test_a_transaction_ends_with_its_generation() -> None:
    """What was touched belongs to the generation that follows, and to no other."""
    data = rule(NEWRULE, "netavark") + rule(DELRULE, "netavark") + newgen(7) + newgen(8)

    assert changes(data) == [
        Change(7, Writer("nft", 812), frozenset({"inet netavark"}), frozenset({"inet netavark"})),
        Change(8, Writer("nft", 812)),
    ]


def test_a_table_of_which_nothing_was_deleted_is_only_touched() -> None:
    """Of two tables of one transaction that one is told as deleted from which was."""
    data = rule(NEWRULE, "netavark") + rule(DELRULE, "filter") + newgen(7)
    (change,) = changes(data)
    assert change.tables == {"inet netavark", "inet filter"}
    assert change.deleted == {"inet filter"}


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ([attribute(1, b"\0\0\1\2")], [Generation(258, Writer("", 0))]),
        ([attribute(1, bytes(8))], []),
        ([attribute(2, b"\0\0\1\2")], []),
        (
            [attribute(1, b"\0\0\1\2"), attribute(2, bytes(7) + b"\1")],
            [Generation(258, Writer("", 0))],
        ),
        ([], []),
    ],
    ids=["nobody", "long number", "no number", "long process", "nothing"],
)
def test_a_generation_has_a_number(attributes: list[bytes], found: list[Generation]) -> None:
    """Without one of four bytes it is none; who wrote it may be unknown."""
    assert list(parse_messages(message(NEWGEN, b"".join(attributes), family=0))) == found


def test_a_loss_forgets_what_was_collected() -> None:
    """After lost messages nothing collected before is told as part of a later transaction."""
    transaction = Transaction()
    for each in parse_messages(rule(NEWRULE, "netavark")):
        transaction.feed(each)
    transaction.forget()

    assert transaction.feed(Generation(9, Writer("nft", 1))) == Change(9, Writer("nft", 1))


def test_the_tables_of_a_transaction_are_bounded() -> None:
    """A transaction over thousands of tables is not kept in full: it says it overflowed."""
    transaction = Transaction()
    for number in (*range(1024), 0, 1023):
        transaction.feed(Touched(f"ip t{number}", deleted=False))
    overflowed = [transaction.overflowed]
    transaction.feed(Touched("ip t1024", deleted=False))
    overflowed.append(transaction.overflowed)

    change = transaction.feed(Generation(1, Writer("nft", 1)))
    assert change is not None
    assert len(change.tables) == 1024
    transaction.forget()
    assert [*overflowed, transaction.overflowed] == [False, True, False]


def test_a_hostile_name_is_made_harmless() -> None:
    """A process name or table name with control characters cannot reach a terminal."""
    data = rule(NEWRULE, "a\x1b[2J\nb") + newgen(7, b"\xff\x1b]0;x\x07\0")
    (change,) = changes(data)

    assert change.tables == {"inet a�[2J�b"}
    assert change.writer.name == "\ufffd\ufffd]0;x\ufffd"


def test_other_subsystems_are_left_out() -> None:
    """A conntrack message on the same family of sockets is not taken for one of nf_tables."""
    data = message(NEWRULE, attribute(1, b"x\0"), subsystem=1) + rule(NEWRULE, "t")
    assert list(parse_messages(data)) == [Touched("inet t", deleted=False)]


@pytest.mark.parametrize(
    "cut",
    [
        struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -2)[:-1],
        struct.pack("=IHHII", 16, 10 << 8 | NEWGEN, 0, 0, 0),
        message(NEWRULE, attribute(1, b"x\0"), family=4),
        message(NEWRULE, attribute(2, b"x\0")),
    ],
    ids=["error without number", "nothing", "family", "no table"],
)
def test_a_message_without_what_it_tells_of_is_left_out(cut: bytes) -> None:
    """One that is too short, of a family that nft does not have, or without a table's name."""
    whole = struct.pack("=I", len(cut)) + cut[4:]
    assert list(parse_messages(rule(NEWRULE, "t") + whole)) == [Touched("inet t", deleted=False)]


def test_a_refusal_carries_its_errno() -> None:
    """NLMSG_ERROR comes out as the positive errno the kernel answered."""
    data = struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -2) + bytes(16)
    bare = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1)

    assert list(parse_messages(data + bare)) == [Refusal(2), Refusal(1)]


def test_requests_are_read_by_the_same_rules() -> None:
    """A request has the kernel's layout: whole words, and the lengths add up."""
    for data in (request(GETGEN), request(GETTABLE, family="inet", table="netavark")):
        (length,) = struct.unpack_from("=I", data)
        assert length == len(data)
        assert length % 4 == 0


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    """No bytes whatever make the parser raise."""
    list(parse_messages(data))


@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_a_damaged_datagram_is_survived(at: int, damage: bytes) -> None:
    """A real datagram with bytes overwritten anywhere makes the parser raise nothing."""
    data = bytearray(rule(NEWRULE, "netavark") + rule(DELRULE, "netavark") + newgen(7))
    data[at : at + len(damage)] = damage

    changes(bytes(data))


ADDED = (0, 3, 6, 9, 12, 18, 22)
DELETED = (2, 5, 8, 11, 14, 20, 24)


@pytest.mark.parametrize(
    ("code", "deleted"), [*((code, False) for code in ADDED), *((code, True) for code in DELETED)]
)
def test_every_message_of_an_object_names_its_table(code: int, *, deleted: bool) -> None:
    """Of tables, chains, rules, sets, elements, objects and flow tables (nf_tables.h)."""
    assert list(parse_messages(rule(code, "netavark"))) == [Touched("inet netavark", deleted)]


@pytest.mark.parametrize(
    "code", sorted(set(range(34)) - {0, 3, 6, 9, 12, 18, 22} - {15} - {2, 5, 8, 11, 14, 20, 24})
)
def test_a_question_touches_nothing(code: int) -> None:
    """The numbers between them ask, trace or reset: they change no table."""
    assert list(parse_messages(rule(code, "netavark"))) == []


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "inet"), (2, "ip"), (3, "arp"), (5, "netdev"), (7, "bridge"), (10, "ip6")],
)
def test_families_have_the_kernels_numbers(number: int, name: str) -> None:
    """A family is told and asked for by its NFPROTO number (linux/netfilter.h)."""
    data = rule(NEWRULE, "t", family=number)
    assert list(parse_messages(data)) == [Touched(f"{name} t", deleted=False)]
    assert request(GETTABLE, family=name)[16] == number


def test_requests_have_the_kernels_numbers() -> None:
    """GETTABLE, GETCHAIN and GETGEN are messages 1, 4 and 16 of subsystem 10."""
    codes = [struct.unpack_from("=IH", request(code))[1] for code in (GETTABLE, GETCHAIN, GETGEN)]
    assert codes == [10 << 8 | 1, 10 << 8 | 4, 10 << 8 | 16]
    assert GROUP == 7


def test_a_request_for_a_chain_names_table_and_chain() -> None:
    """NFTA_CHAIN_TABLE is attribute 1, NFTA_CHAIN_NAME attribute 3; a request asks once."""
    asked = request(GETCHAIN, family="ip", table="nat", chain="POSTROUTING", sequence=5)
    assert asked[20:] == attribute(1, b"nat\0") + attribute(3, b"POSTROUTING\0")
    assert struct.unpack_from("=IHHII", asked) == (len(asked), 10 << 8 | 4, 1, 5, 0)
    asked = request(GETGEN)
    assert struct.unpack("=IHHIIBBH", asked) == (20, 10 << 8 | 16, 1, 1, 0, 0, 0, 0)


def test_only_a_generation_ends_a_transaction() -> None:
    """NEWGEN of nf_tables does; a rule's message, another subsystem's and half a header do not."""
    assert ends_transaction(newgen(7))
    assert not ends_transaction(rule(NEWRULE, "netavark"))
    assert not ends_transaction(message(NEWGEN, b"", subsystem=11))
    assert not ends_transaction(newgen(7)[:15])
