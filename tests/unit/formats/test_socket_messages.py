# SPDX-License-Identifier: Apache-2.0
"""sock_diag's messages: what is told of bound sockets, and that nothing breaks on garbage."""

import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats import netlink
from podwatch.formats.socket_messages import (
    Listener,
    bound_request,
    listeners_request,
    parse_bound,
    parse_listeners,
)
from tests.unit.formats import kernel

NETLINK_SOCK_DIAG = 4  # linux/netlink.h


def message(kind: int, body: bytes = b"") -> bytes:
    """One netlink message."""
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def bound(port: int, inode: int) -> bytes:
    """The kernel's account of one bound socket, struct inet_diag_msg."""
    body = bytearray(72)
    body[4:6] = port.to_bytes(2, "big")
    body[68:72] = struct.pack("=I", inode)
    return message(20, bytes(body))


def test_the_question_for_bound_sockets() -> None:
    """TCP (6) of a family in the state 13, TCP_BOUND_INACTIVE of net/tcp_states.h."""
    asked = bound_request(socket.AF_INET6)
    assert struct.unpack_from("=IHHII", asked) == (len(asked), 20, 0x301, 1, 0)
    # struct inet_diag_req_v2: family, protocol, extensions, padding, states, and no socket's id.
    assert asked[16:] == struct.pack("=BBBBI48x", socket.AF_INET6, 6, 0, 0, 1 << 13)


def test_ports_and_inodes_until_the_end() -> None:
    """Each socket's port and inode is told, and the end of the answer."""
    other = message(21, bytes(72))
    whole = bound(8080, 77) + other + bound(443, 78) + message(3, bytes(4)) + bound(1, 1)

    assert list(parse_bound(whole)) == [(8080, "77"), (443, "78"), None]
    assert list(parse_bound(bound(8080, 77))) == [(8080, "77")]  # more comes in the next datagram


def test_a_refusal_ends_the_answer() -> None:
    """A kernel that does not know the question has no sockets to tell of."""
    assert list(parse_bound(message(2, bytes(20)))) == [None]
    assert list(parse_bound(bound(8080, 77) + bound(443, 78)[:-1])) == [(8080, "77"), None]


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_nothing_is_raised(data: bytes) -> None:
    """Garbage and cut messages end the answer."""
    assert len(list(parse_bound(data))) <= 5


@pytest.mark.parametrize("length", [0, 71])
def test_a_cut_message_tells_nothing(length: int) -> None:
    """A message too short for a socket is passed over."""
    assert list(parse_bound(bound(8080, 77) + message(20, bytes(length)))) == [(8080, "77")]


def listener(name: bytes, inode: int, device: int) -> bytes:
    """The kernel's account of one unix socket that listens, struct unix_diag_msg and attributes."""
    padded = name + bytes(-len(name) % 4)
    attributes = struct.pack("=HH", 4 + len(name), 0) + padded
    attributes += struct.pack("=HHII", 12, 1, inode, device)
    return message(20, struct.pack("=BBBBI8x", 1, 1, 10, 0, 99) + attributes)


def test_listeners_have_a_name_and_a_file() -> None:
    """Each listener's name, inode and device is told; the end of the answer, or its refusal."""
    whole = listener(b"/run/a\0", 7, 9 << 20 | 0xFFFFE) + listener(b"/run/b", 9, 67)
    found = [Listener("/run/a", 7, (9, 0xFFFFE)), Listener("/run/b", 9, (0, 67))]

    assert parse_listeners(whole) == (found, None)
    assert parse_listeners(whole + message(3, bytes(4))) == (found, 0)
    assert parse_listeners(message(2, struct.pack("=i", -2) + bytes(16))) == ([], 2)
    abstract = message(20, bytes(16) + struct.pack("=HH4s", 8, 0, b"\0abc"))
    assert parse_listeners(abstract) == ([], None)


@pytest.mark.parametrize(
    "attributes",
    [
        [(1, struct.pack("=II", 7, 1))],
        [(0, b"/run/a"), (1, bytes(12))],
        [(0, b"/run/a"), (2, bytes(8))],
        [(0, b""), (1, bytes(8))],
    ],
    ids=["no name", "long file", "no file", "empty name"],
)
def test_a_listener_without_name_or_file_is_left_out(attributes: list[tuple[int, bytes]]) -> None:
    """Nobody can connect to it by a path; the next one is told."""
    body = b"".join(netlink.attribute(number, value) for number, value in attributes)
    data = message(20, bytes(16) + body) + listener(b"/run/b", 9, 67)
    assert parse_listeners(data) == ([Listener("/run/b", 9, (0, 67))], None)


def test_a_cut_answer_has_ended() -> None:
    """What was told before it counts."""
    cut = listener(b"/run/b", 9, 67)[:-1]
    found = [Listener("/run/a", 7, (8, 1))]
    assert parse_listeners(listener(b"/run/a", 7, 8 << 20 | 1) + cut) == (found, 0)


def test_the_question_for_listeners() -> None:
    """Unix sockets in the state 10, TCP_LISTEN, with their names and files (linux/unix_diag.h)."""
    asked = listeners_request()
    assert struct.unpack_from("=IHHII", asked) == (len(asked), 20, 0x301, 1, 0)
    # struct unix_diag_req: family, protocol, padding, states, inode, what to show, a cookie.
    assert asked[16:] == struct.pack("=BBHIIIII", 1, 0, 0, 1 << 10, 0, 3, 0, 0)


def test_the_kernel_tells_of_a_socket_that_listens(tmp_path: Path) -> None:
    """By its path, and by the inode and device of its file; not before it listens."""

    def told() -> list[Listener]:
        data = kernel.asked(
            NETLINK_SOCK_DIAG, listeners_request(), lambda piece: parse_listeners(piece)[1] == 0
        )
        found = [listener for piece in data for listener in parse_listeners(piece)[0]]
        return [listener for listener in found if listener.name == str(path)]

    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert told() == []
        server.listen()
        (found,) = told()
    assert found.inode == path.stat().st_ino & 0xFFFFFFFF


@given(st.binary(max_size=300))
def test_listeners_of_garbage_are_none(data: bytes) -> None:
    """Whatever the bytes are, nothing is raised, and no end is made up of a negative number."""
    found, ended = parse_listeners(data)
    assert len(found) <= 10
    assert ended is None or isinstance(ended, int)
