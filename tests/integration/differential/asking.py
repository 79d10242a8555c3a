# SPDX-License-Identifier: Apache-2.0
"""Little servers in network namespaces, and questions to them: many at once, in one loop.

A server's answer says where it was reached and whom it sees: it tells what became of both
addresses of the question. Every question comes from a port of its own, so that no connection that
is tracked already carries it.

A kernel need not have SCTP. So its first two packets, INIT and INIT ACK (RFC 9260, 3.3.2 and
3.3.3), are made here, sent and received raw: conntrack takes them for what they are, and NAT
changes their addresses, ports and checksum.
"""

import errno
import itertools
import os
import resource
import selectors
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab.client import socket_in

NO_ANSWER = "no answer"
AT_ONCE = 4000
"""So many questions are under way at a time."""
LONG_S, SHORT_S = 10.0, 0.4
"""So long nothing may be heard while an answer is sure to come, and while none is."""

_KINDS = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_RAW, 132),
}
_INIT, _INIT_ACK, _COOKIE = 1, 2, 7


@dataclass(frozen=True)
class Ask:
    """Someone (the name of a namespace) asks a port of an address."""

    who: str
    address: str
    port: int
    protocol: str = "tcp"
    name: str = ""
    """What is asked of a name server, whose answer is an address."""

    def __str__(self) -> str:
        name = f" for {self.name}" if self.name else ""
        return f"{self.who} asks {self.address} {self.protocol} {self.port}{name}"


@dataclass
class _Question:
    """One that is under way, from its `own` port."""

    ask: Ask
    socket: socket.socket
    own: int = 0
    heard: bytes = b""


class World:
    """Servers, and who asks them; a context manager."""

    def __init__(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._selector = selectors.DefaultSelector()
        self._namespaces: dict[str, int] = {}
        self._servers: list[socket.socket] = []
        self._ports = itertools.cycle(range(20000, 60000))

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        self._selector.close()
        for descriptor in self._namespaces.values():
            os.close(descriptor)

    def enter(self, name: str, namespace: Path) -> None:
        """Know a network namespace by this name."""
        self._namespaces[name] = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)

    def serve(self, name: str, address: str, ports: Collection[int], protocol: str) -> None:
        """Answer at ports of an address there."""
        if protocol == "sctp":
            server = self._socket(name, address, protocol)
            server.bind((address, 0))
            self._listen(server, partial(_answer_sctp, server, name, address, ports))
            return
        for port in ports:
            server = self._socket(name, address, protocol)
            server.bind((address, port))
            if protocol == "tcp":
                server.listen(AT_ONCE)
            answer = _answer_tcp if protocol == "tcp" else _answer_udp
            self._listen(server, partial(answer, server, f"{name} at {address} {port}"))

    def ask(
        self, asks: Iterable[Ask], sure: Collection[Ask] = (), else_s: float = SHORT_S
    ) -> dict[Ask, str]:
        """What came of each question; those that are `sure` of an answer get all the time."""
        left, found = list(asks), dict[Ask, str]()
        while left:
            found.update(self._ask(left[:AT_ONCE], sure, else_s))
            left = left[AT_ONCE:]
        return found

    def _ask(self, asks: list[Ask], sure: Collection[Ask], else_s: float) -> dict[Ask, str]:
        found: dict[Ask, str] = {}
        under_way: dict[Ask, _Question] = {}
        for ask in asks:
            question = _Question(ask, self._socket(ask.who, ask.address, ask.protocol))
            failure = self._begin(question)
            if failure:
                found[ask] = failure
                question.socket.close()
            else:
                under_way[ask] = question
                # Who is asked over TCP says its answer unasked, but for name servers.
                is_silent = ask.protocol == "tcp" and not ask.name
                event = selectors.EVENT_READ if is_silent else selectors.EVENT_WRITE
                self._selector.register(question.socket, event, question)
        while under_way:
            ready = self._selector.select(else_s if under_way.keys().isdisjoint(sure) else LONG_S)
            if not ready:
                break
            for key, events in ready:
                question = key.data
                if not isinstance(question, _Question):
                    question()
                elif (outcome := self._go_on(question, events)) is not None:
                    found[question.ask] = outcome
                    self._forget(under_way.pop(question.ask))
        for ask, question in under_way.items():
            found[ask] = NO_ANSWER
            self._forget(question)
        return found

    def _begin(self, question: _Question) -> str:
        """Connect; why that cannot be done, or ""."""
        ask, asker = question.ask, question.socket
        question.own = next(self._ports)
        if ask.protocol == "sctp":
            return ""  # if connected it would hear of refusals that are not its own: by address
        asker.bind(("", question.own))
        code = asker.connect_ex((ask.address, ask.port))
        return "" if code in (0, errno.EINPROGRESS) else _failure(OSError(code, ""))

    def _go_on(self, question: _Question, events: int) -> str | None:
        """Say or hear what there is to say or hear; the outcome, once there is one."""
        try:
            if events & selectors.EVENT_WRITE:
                words, to = _words(question), (question.ask.address, 0)
                if question.ask.protocol == "sctp":
                    question.socket.sendto(words, to)
                else:
                    question.socket.send(words)
                self._selector.modify(question.socket, selectors.EVENT_READ, question)
                return None
            return _heard(question)
        except OSError as exc:
            return _failure(exc)

    def _socket(self, name: str, address: str, protocol: str) -> socket.socket:
        kind, number = _KINDS[protocol]
        made = socket_in(self._namespaces[name], kind, address, number)
        made.settimeout(0)
        return made

    def _listen(self, server: socket.socket, answer: Callable[[], None]) -> None:
        self._servers.append(server)
        self._selector.register(server, selectors.EVENT_READ, answer)

    def _forget(self, question: _Question) -> None:
        self._selector.unregister(question.socket)
        question.socket.close()


def _answer_tcp(server: socket.socket, where: str) -> None:
    connection, peer = server.accept()
    with connection:
        connection.send(f"{where} sees {peer[0]}".encode())


def _answer_udp(server: socket.socket, where: str) -> None:
    _, peer = server.recvfrom(4096)
    server.sendto(f"{where} sees {peer[0]}".encode(), peer)


def _answer_sctp(server: socket.socket, name: str, address: str, ports: Collection[int]) -> None:
    packet, peer = server.recvfrom(4096)
    source, port, kind, said = _parsed(packet, address)
    if kind == _INIT and port in ports:
        (tag,) = struct.unpack_from("!I", said)
        text = f"{name} at {address} {port} sees {peer[0]}".encode()
        server.sendto(_sctp(port, source, tag, _INIT_ACK, text), (peer[0], 0))


def _words(question: _Question) -> bytes:
    ask = question.ask
    if ask.protocol == "sctp":
        return _sctp(question.own, ask.port, 0, _INIT, b"")
    if not ask.name:
        return b"?"
    labels = b"".join(bytes([len(label)]) + label.encode() for label in ask.name.split("."))
    query = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + labels + struct.pack("!B2H", 0, 1, 1)
    return (struct.pack("!H", len(query)) if ask.protocol == "tcp" else b"") + query


def _heard(question: _Question) -> str | None:
    ask = question.ask
    said, peer = question.socket.recvfrom(65536)
    if ask.protocol == "sctp":
        source, port, kind, words = _parsed(said, ask.address)
        if (peer[0], source, port, kind) != (ask.address, ask.port, question.own, _INIT_ACK):
            return None
        return words[20:].rstrip(b"\0").decode()
    question.heard += said
    if ask.name:
        start = 2 if ask.protocol == "tcp" else 0
        is_whole = not start or len(question.heard) >= 2 + int.from_bytes(question.heard[:2])
        return _resolved(question.heard[start:]) if is_whole or not said else None
    return question.heard.decode() if not said or ask.protocol == "udp" else None


def _resolved(message: bytes) -> str:
    flags, _, answers = struct.unpack_from("!3H", message, 2)
    # The address of the first answer is at its end, and nothing follows the answers.
    found = socket.inet_ntoa(message[-4:]) if answers else ""
    return f"code {flags & 15}, {answers} addresses {found}"


def _sctp(source: int, port: int, tag: int, kind: int, text: bytes) -> bytes:
    """An INIT or INIT ACK; what is said is its cookie."""
    words = text + b"\0" * (-len(text) % 4)
    fixed = struct.pack("!IIHHI", source, 65536, 1, 1, 1)
    said = fixed + (struct.pack("!HH", _COOKIE, 4 + len(words)) + words if words else b"")
    chunk = struct.pack("!BBH", kind, 0, 4 + len(said)) + said
    checksum = _crc32c(struct.pack("!HHII", source, port, tag, 0) + chunk)
    return struct.pack("!HHI", source, port, tag) + struct.pack("<I", checksum) + chunk


def _parsed(packet: bytes, address: str) -> tuple[int, int, int, bytes]:
    """The ports of a packet, and the kind and the value of its first chunk."""
    start = 0 if ":" in address else (packet[0] & 15) * 4  # of IPv4 the header comes, too
    source, port = struct.unpack_from("!HH", packet, start)
    return source, port, packet[start + 12], packet[start + 16 :]


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _failure(failure: OSError) -> str:
    if failure.errno == errno.ECONNREFUSED:
        return "refused"
    return os.strerror(failure.errno or 0)
