# SPDX-License-Identifier: Apache-2.0
"""sock_diag's messages: what is told of bound sockets, and that nothing breaks on garbage."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.socket_messages import Listener, parse_bound, parse_listeners


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


def listener(name: bytes, inode: int, device: int) -> bytes:
    """The kernel's account of one unix socket that listens, struct unix_diag_msg and attributes."""
    padded = name + bytes(-len(name) % 4)
    attributes = struct.pack("=HH", 4 + len(name), 0) + padded
    attributes += struct.pack("=HHII", 12, 1, inode, device)
    return message(20, struct.pack("=BBBBI8x", 1, 1, 10, 0, 99) + attributes)


def test_listeners_have_a_name_and_a_file() -> None:
    """Each listener's name, inode and device is told; the end of the answer, or its refusal."""
    whole = listener(b"/run/a\0", 7, 8 << 20 | 1) + listener(b"/run/b", 9, 67)
    found = [Listener("/run/a", 7, (8, 1)), Listener("/run/b", 9, (0, 67))]

    assert parse_listeners(whole) == (found, None)
    assert parse_listeners(whole + message(3, bytes(4))) == (found, 0)
    assert parse_listeners(message(2, struct.pack("=i", -2) + bytes(16))) == ([], 2)
    abstract = message(20, bytes(16) + struct.pack("=HH4s", 8, 0, b"\0abc"))
    assert parse_listeners(abstract) == ([], None)


@given(st.binary(max_size=300))
def test_listeners_of_garbage_are_none(data: bytes) -> None:
    """Whatever the bytes are, nothing is raised, and no end is made up of a negative number."""
    found, ended = parse_listeners(data)
    assert len(found) <= 10
    assert ended is None or isinstance(ended, int)
