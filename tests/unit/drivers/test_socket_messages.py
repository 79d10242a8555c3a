# SPDX-License-Identifier: Apache-2.0
"""sock_diag's messages: what is told of bound sockets, and that nothing breaks on garbage."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from podwatch.drivers.socket_messages import parse_bound


def message(kind: int, body: bytes = b"") -> bytes:
    """One netlink message."""
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def bound(port: int, inode: int) -> bytes:
    """The kernel's account of one bound socket, struct inet_diag_msg."""
    body = bytearray(72)
    body[4:6] = port.to_bytes(2, "big")
    body[68:72] = struct.pack("=I", inode)
    return message(20, bytes(body))


def test_ports_and_inodes_until_the_end() -> None:
    """Each socket's port and inode is told, and the end of the answer."""
    whole = bound(8080, 77) + bound(443, 78) + message(3, bytes(4))

    assert list(parse_bound(whole)) == [(8080, "77"), (443, "78"), None]
    assert list(parse_bound(bound(8080, 77))) == [(8080, "77")]  # more comes in the next datagram


def test_a_refusal_ends_the_answer() -> None:
    """A kernel that does not know the question has no sockets to tell of."""
    assert list(parse_bound(message(2, bytes(20)))) == [None]


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_nothing_is_raised(data: bytes) -> None:
    """Garbage and cut messages end the answer."""
    assert len(list(parse_bound(data))) <= 5


@given(st.integers(0, 71))
def test_a_cut_message_tells_nothing(length: int) -> None:
    """A message too short for a socket is passed over."""
    assert list(parse_bound(message(20, bytes(length)))) == []
