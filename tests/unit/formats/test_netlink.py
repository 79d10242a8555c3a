# SPDX-License-Identifier: Apache-2.0
"""What all netlink messages have in common, as bytes."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats import netlink
from tests.unit.formats import kernel


def test_a_request_is_header_and_body() -> None:
    """Length, kind, flags, sequence and the kernel as who is asked; numbers in the host's order."""
    asked = netlink.request(20, b"body", flags=netlink.DUMP, sequence=7)
    assert asked == struct.pack("=IHHII", 20, 20, 0x300, 7, 0) + b"body"
    assert netlink.request(1, b"") == struct.pack("=IHHII", 16, 1, 1, 1, 0)
    assert netlink.request(1, b"", flags=netlink.ACK)[6:8] == struct.pack("=H", 4)


@pytest.mark.parametrize(
    ("flags", "last"),
    [
        (netlink.REQUEST | netlink.DUMP, netlink.DONE),
        (netlink.REQUEST | netlink.ACK, netlink.ERROR),
    ],
    ids=["dump", "acknowledged"],
)
def test_the_kernel_answers_as_it_is_asked(flags: int, last: int) -> None:
    """A dump (here RTM_GETLINK) ends with DONE, one answer with the ERROR that says 0."""
    lo = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("lo"), 0, 0)
    question = netlink.request(18, lo, flags=flags, sequence=7)

    def ends(data: bytes) -> bool:
        return any(kind in (2, 3) for kind, *_ in netlink.messages(data))

    data = b"".join(kernel.asked(socket.NETLINK_ROUTE, question, ends))
    *_, (kind, _, sequence, start, end) = netlink.messages(data)
    assert (kind, sequence) == (last, 7)
    assert netlink.error_number(data, start, end) == 0


def test_each_message_of_a_datagram_is_found() -> None:
    """One that is not a multiple of four bytes long is padded, and the next one follows."""
    data = netlink.request(2, b"abcde", flags=4, sequence=8)
    data += bytes(3) + netlink.request(3, b"", flags=5, sequence=9)
    assert list(netlink.messages(data)) == [(2, 4, 8, 16, 21), (3, 5, 9, 40, 40)]
    assert list(netlink.messages(b"")) == list(netlink.messages(bytes(15))) == []


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_length_that_cannot_be_ends_the_datagram(length: int) -> None:
    """Shorter than its header, or longer than what is left: nothing of it is told."""
    whole = netlink.request(2, b"", flags=4, sequence=8)
    cut = struct.pack("=I", length) + whole[4:]
    found = list(netlink.messages(whole + cut))
    assert found == [(2, 4, 8, 16, 16), (netlink.CUT, 0, 0, 32, 32)]
    assert netlink.CUT == -1, "no kind of a message, which has 16 bits"


def test_attributes_are_padded_and_read_back() -> None:
    """Each with its number, without the kernel's flags for nested ones, and its value alone."""
    data = netlink.attribute(3, b"abcde") + netlink.attribute(0x8001, b"") + b"\0\0"
    assert data[:12] == struct.pack("=HH", 9, 3) + b"abcde\0\0\0"
    for whole in (data, data[:-2]):
        found = [(n, data[start:end]) for n, start, end in netlink.attributes(data, 0, len(whole))]
        assert found == [(3, b"abcde"), (1, b"")]


@pytest.mark.parametrize("length", [3, 9])
def test_an_attribute_whose_length_cannot_be_ends_them(length: int) -> None:
    """Shorter than its own header, or longer than the message."""
    data = bytes(4) + struct.pack("=HH", length, 1) + b"abcd"
    assert list(netlink.attributes(data, 4, len(data))) == []


def test_a_text_ends_at_its_nul_and_can_be_shown() -> None:
    """What stands behind it, what is no UTF-8, and what is too long for a name is left out."""
    assert netlink.text(b"xxweb\0left", 2, 10) == "web"
    assert netlink.text(b"a\xff\x1b", 0, 3) == "a\ufffd\ufffd"
    assert netlink.text(b"a" * 300, 0, 300) == "a" * 256


def test_an_error_is_the_kernels_negative_number() -> None:
    """It is turned into errno's; 0 where the message is too short to say."""
    data = bytes(4) + struct.pack("=i", -2)
    assert netlink.error_number(data, 4, 8) == 2
    assert netlink.error_number(data[:7], 4, 7) == 0


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_nothing_is_raised(data: bytes) -> None:
    """Messages and attributes of garbage lie within it."""
    for _, _, _, start, end in netlink.messages(data):
        assert start <= end <= len(data)
        assert all(first <= last <= end for _, first, last in netlink.attributes(data, start, end))
