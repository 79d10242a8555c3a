# SPDX-License-Identifier: Apache-2.0
"""D-Bus messages are judged by their headers, whatever pieces they arrive in."""

import io
import struct
import tracemalloc
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.bus_messages import CALL, ERROR, RETURN, SIGNAL, Header, Messages, refusal
from tests.lab import stranger

import_module("podwatch.adapters.dbus")  # which sees to it that dbus_next does not load GLib
Message: Any = import_module("dbus_next.message").Message
MessageType: Any = import_module("dbus_next.constants").MessageType
Unmarshaller: Any = import_module("dbus_next._private.unmarshaller").Unmarshaller

FROM = bytes([stranger.SENDER, 1, ord("s"), 0]) + stranger.string(":1.9")
NAMES = st.sampled_from(["", ":1.7", ":1.42", "org.example.Service"])


@st.composite
def sent(draw: st.DrawFn) -> tuple[Header, bytes]:
    """A message of any kind, in either byte order, and what its header says."""
    fields: dict[int, str | int] = {}
    sender, destination = draw(NAMES), draw(NAMES)
    serial = draw(st.integers(0, 2**32 - 1))
    path, signature = draw(st.sampled_from(["", "/", "/a/b"])), draw(st.sampled_from(["", "a{sv}"]))
    interface, member = draw(st.sampled_from(["", "a.b"])), draw(st.sampled_from(["", "Do"]))
    for code, value in (
        (stranger.DESTINATION, destination),
        (stranger.PATH, path),
        (stranger.INTERFACE, interface),
        (stranger.MEMBER, member),
        (stranger.SIGNATURE, signature),
        (stranger.REPLY_SERIAL, serial),
        (stranger.SENDER, sender),
    ):
        if value:
            fields[code] = value
    kind, body = draw(st.sampled_from([*range(6), 255])), draw(st.binary(max_size=200))
    order, own = draw(st.sampled_from("<>")), draw(st.integers(1, 99))
    header = Header(kind, serial, destination, sender, len(body))
    if kind == CALL:
        header = Header(
            *header[:5],
            serial=own,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
        )
    return header, stranger.message(kind, own, fields, body, order)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut somewhere."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


class Even:
    """Wants messages with a body of an even length, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Header] = []

    def __call__(self, header: Header) -> bool:
        """Whether it is wanted."""
        self.asked.append(header)
        return header.body_bytes % 2 == 0


@given(st.lists(sent(), max_size=6), st.lists(st.integers(0, 5000)))
def test_what_is_wanted_comes_out_whole(
    messages: list[tuple[Header, bytes]], cuts: list[int]
) -> None:
    """In whatever pieces they arrive, the wanted ones come out as they were sent, and no others."""
    wanted = Even()
    inbox = Messages(wanted)
    stream = b"".join(data for _, data in messages)

    found = [each for piece in pieces(stream, cuts) for each in inbox.feed(piece)]

    assert wanted.asked == [header for header, _ in messages]
    assert found == [each for each in messages if each[0].body_bytes % 2 == 0]


@given(st.lists(sent(), max_size=3), st.binary(max_size=300), st.lists(st.integers(0, 900)))
def test_what_is_no_message_ends_it(
    messages: list[tuple[Header, bytes]], garbage: bytes, cuts: list[int]
) -> None:
    """Bytes of any kind are no message, or a message; nothing but ValueError is raised."""
    inbox = Messages(lambda _: True)
    try:
        for piece in pieces(b"".join(data for _, data in messages) + garbage, cuts):
            for _ in inbox.feed(piece):
                pass
    except ValueError:
        pass


@given(sent(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1))
def test_a_spoilt_header_is_read_or_left(
    message: tuple[Header, bytes], changes: list[tuple[int, int]]
) -> None:
    """Lengths and types of any value raise nothing but ValueError, and what follows is cut right.

    As far as the lengths of the whole are as they were.
    """
    data = bytearray(message[1])
    for place, value in changes:
        if len(data) > 16:
            data[16 + place % (len(data) - 16)] = value
    after = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.1"}, b"after")

    found = list(Messages(lambda _: True).feed(bytes(data) + after))

    assert found[-1] == (Header(SIGNAL, 0, "", ":1.1", 5), after)


@pytest.mark.parametrize(
    "spoilt",
    [b"x\4\0\1" + bytes(12), b"l\4\0\2" + bytes(12), b"B\4\0\1\xff\xff\xff\xff" + bytes(8)],
    ids=["byte order", "version", "length"],
)
def test_no_message_is_told_at_once(spoilt: bytes) -> None:
    """Another byte order, another version, and more than 128 MiB are no D-Bus message."""
    with pytest.raises(ValueError, match="D-Bus message"):
        list(Messages(lambda _: True).feed(spoilt))


def test_a_message_has_at_most_128_mib() -> None:
    """One of just that length may come; it is passed over while it arrives."""
    inbox = Messages(lambda _: False)
    assert list(inbox.feed(b"l\4\0\1" + struct.pack("<III", (1 << 27) - 16, 1, 0))) == []
    with pytest.raises(ValueError, match="longer"):
        list(Messages(lambda _: False).feed(b"l\4\0\1" + struct.pack("<III", 1 << 27, 1, 0)))


@pytest.mark.parametrize("length", [8193, 1_000_009])
def test_a_header_that_is_too_long_is_passed_over(length: int) -> None:
    """Fields of more than 8192 bytes are nobody's business, and the next message is read."""

    def message(fields_bytes: int, body: bytes = b"") -> bytes:
        path = "/" + "a" * (fields_bytes - 10)  # 4 for the field, 4 for its length, a zero
        return stranger.message(SIGNAL, 1, {stranger.PATH: path}, body)

    inbox = Messages(lambda _: True)
    short = message(8192)
    assert [data for _, data in inbox.feed(message(length, b"body") + short)] == [short]


@pytest.mark.parametrize(
    "field",
    [
        bytes([stranger.REPLY_SERIAL, 1, ord("s"), 0]) + stranger.string(":1.9"),
        bytes([stranger.DESTINATION, 1, ord("u"), 0]) + bytes(4),
        bytes([stranger.SENDER, 1, ord("u"), 0]) + bytes(4),
        stranger.padded(FROM, 8) + FROM,
        FROM[:-1],
        bytes([stranger.SENDER, 1, ord("s"), 0]) + struct.pack("<I2sx", 2, b"\xff\xff"),
        bytes([stranger.PATH, 1, ord("x"), 0]) + bytes(8),
    ],
    ids=["serial", "destination", "sender", "twice", "cut", "no text", "type"],
)
def test_a_header_that_makes_no_sense_is_passed_over(field: bytes) -> None:
    """Who sent it must be one text, and what it answers a number; the next message is read."""
    head = b"l\4\0\1" + struct.pack("<III", 0, 1, len(field))
    good = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.9"})

    found = Messages(lambda _: True).feed(stranger.padded(head + field, 8) + good)
    assert [data for _, data in found] == [good]


def test_texts_that_nobody_asks_for_are_not_read() -> None:
    """A path may be anything: that is for whoever unpacks the message."""
    field = bytes([stranger.PATH, 1, ord("o"), 0]) + struct.pack("<I2sx", 2, b"\xff\xff")
    head = b"l\4\0\1" + struct.pack("<III", 0, 1, len(field))
    ((header, _),) = Messages(lambda _: True).feed(stranger.padded(head + field, 8))
    assert header == Header(SIGNAL, 0, "", "", 0)


def test_what_is_passed_over_ends_where_it_ends() -> None:
    """Of the message behind one that nobody wants not a byte is lost, whichever piece it is in."""
    unwanted = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.2"}, b"12345")
    good = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.1"}, b"body")
    for cut in range(len(unwanted) + len(good)):
        inbox = Messages(lambda header: header.sender == ":1.1")
        data = unwanted + good
        found = [*inbox.feed(data[:cut]), *inbox.feed(data[cut:])]
        assert found == [(Header(SIGNAL, 0, "", ":1.1", 4), good)]


@pytest.mark.parametrize("byte", [17, 19], ids=["length of the signature", "its end"])
def test_a_field_without_a_signature_of_one_letter_is_passed_over(byte: int) -> None:
    """Its header is not read any further; the next message is."""
    good = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.9"})
    spoilt = bytearray(good)
    spoilt[byte] ^= 2

    found = list(Messages(lambda _: True).feed(bytes(spoilt) + good))
    assert [data for _, data in found] == [good]


def test_a_large_body_takes_no_memory() -> None:
    """Of 31 MB that nobody wants nothing is kept; what was behind them is there."""
    body = stranger.large_body()
    large = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.9"}, body)
    after = stranger.message(SIGNAL, 1, {stranger.SENDER: ":1.1"}, b"")
    del body
    inbox = Messages(lambda header: header.sender == ":1.1")
    view = memoryview(large)
    tracemalloc.start()
    try:
        for at in range(0, len(large), 1 << 16):
            assert list(inbox.feed(bytes(view[at : at + (1 << 16)]))) == []
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 1 << 20
    assert [data for _, data in inbox.feed(after)] == [after]


def test_what_was_learnt_from_one_counts_for_the_next() -> None:
    """The second of two messages in one piece is judged after the first has been taken."""
    known = {":1.1"}
    inbox = Messages(lambda header: header.sender in known)
    one, two = (stranger.message(SIGNAL, 1, {stranger.SENDER: name}) for name in (":1.1", ":1.2"))
    taken = []
    for header, _ in inbox.feed(one + two):
        taken.append(header.sender)
        known.add(":1.2")

    assert taken == [":1.1", ":1.2"]


def test_headers_are_those_that_dbus_next_writes() -> None:
    """What a well-kept library marshals is read, every field of it."""
    message = Message(
        message_type=MessageType.ERROR,
        destination=":1.5",
        path="/a",
        interface="b.c",
        member="d",
        error_name="e.f",
        reply_serial=77,
        signature="sa{sv}",
        body=["text", {}],
        serial=3,
    )
    ((header, _),) = Messages(lambda _: True).feed(bytes(message._marshall()))

    assert header[:4] == (3, 77, ":1.5", "")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(CALL, "METHOD_CALL"), (RETURN, "METHOD_RETURN"), (ERROR, "ERROR"), (SIGNAL, "SIGNAL")],
)
def test_kinds_have_the_numbers_of_the_specification(kind: int, name: str) -> None:
    """They are those that the library writes."""
    assert kind == MessageType[name].value


@given(st.integers(1, 2**32 - 1), st.text(), st.sampled_from([":1.9", ":1.1234"]))
def test_a_refusal_is_read_as_it_was_meant(serial: int, text: str, sender: str) -> None:
    """By a library that others use; what no message may hold is replaced."""
    call = Header(CALL, 0, "", sender, 0, serial=serial)
    name = "org.podwatch1.Error.Busy"
    data = refusal(7, call, name, text)
    message = Unmarshaller(io.BytesIO(data)).unmarshall()
    assert (message.message_type, message.serial) == (MessageType.ERROR, 7)
    assert (message.reply_serial, message.destination) == (serial, sender)
    assert (message.error_name, message.signature) == (name, "s")
    assert message.body == [text.encode("utf-8", "replace").decode().replace("\0", "?")]


def test_what_is_said_again_is_read_again() -> None:
    """Calls that differ only in their numbers and flags do so in what is read of them, too."""
    asked: list[Header] = []

    def wanted(header: Header) -> bool:
        asked.append(header)
        return False

    messages = Messages(wanted)
    fields: dict[int, str | int] = {stranger.PATH: "/a", stranger.MEMBER: "Do"}
    for number in range(1, 200):
        other = {**fields, stranger.SENDER: f":1.{number % 90}"}
        data = bytearray(stranger.message(CALL, number, other, bytes(number)))
        data[2] = number % 8
        assert list(messages.feed(bytes(data))) == []
        assert asked[-1] == Header(
            CALL, 0, "", f":1.{number % 90}", number, number, number % 8, "/a", "", "Do", ""
        )
        assert len(messages._known) <= 64
