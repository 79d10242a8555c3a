# SPDX-License-Identifier: Apache-2.0
"""rtnetlink's two kinds of sockets: one hears notifications, on the loop, one asks questions.

What they are about is for their owners. The kernel's usual buffer overflows when a few containers
are reloaded; SO_RCVBUFFORCE passes net.core.rmem_max, for which it needs CAP_NET_ADMIN.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from types import TracebackType
from typing import Self

from podwatch.adapters import namespace
from podwatch.formats.route_messages import Seen, parse_dump
from podwatch.words.errors import LinksUnreadable, Unreadable

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_BUFFER_BYTES = 4 * 1024 * 1024
_DATAGRAM = 32768
_AT_ONCE = 256
_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_GET_STRICT_CHK = 12  # linux/netlink.h, since Linux 4.20: before, targets are passed over
_ANSWER_BYTES = 64 * 1024
_TIMEOUT_S = 1.0
_TRIES = 10


class Notifications:
    """Those of some groups, a mask of them; each datagram of the kernel's is handed to `take`.

    `lost` is called when the kernel had more to tell than could be read. `what` is heard, in words.
    `opened` gives the socket, None for one in the networks' namespace.
    """

    def __init__(
        self,
        groups: int,
        what: str,
        take: Callable[[memoryview], None],
        lost: Callable[[], None],
        opened: Callable[[int], socket.socket] | None = None,
    ) -> None:
        self.overruns = 0
        self._opened = opened
        self._groups = groups
        self._what = what
        self._take = take
        self._lost = lost
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed: asyncio.Future[None] | None = None
        self._buffer = memoryview(bytearray(_DATAGRAM))

    @property
    def listens(self) -> bool:
        """Whether it hears anything."""
        return self._socket is not None

    def fileno(self) -> int:
        """The descriptor that it hears by; -1 where it hears nothing."""
        return -1 if self._socket is None else self._socket.fileno()

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Begin to listen. What is returned ends with Unreadable when nothing is heard any more.

        Raises Unreadable when the kernel refuses.
        """
        try:
            sock = (self._opened or namespace.networks().netlink)(socket.NETLINK_ROUTE)
            try:
                sock.settimeout(0)
                _enlarge(sock)
                sock.bind((0, self._groups))
            except OSError:
                sock.close()
                raise
        except OSError as exc:
            raise Unreadable(f"cannot listen to {self._what}: {exc.strerror}") from exc
        self._socket, self._loop, self._failed = sock, loop, loop.create_future()
        loop.add_reader(sock, self.drain)
        return self._failed

    def close(self) -> None:
        """Stop listening. May be called more than once."""
        if self._socket is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def describe(self) -> str:
        """Whether it listens, and how often it was too slow for the kernel."""
        if self._socket is None:
            return "not listening"
        if not self.overruns:
            return "listening"
        return f"listening, {self.overruns} times too slow for the kernel"

    def drain(self) -> None:
        """Read what the kernel has told, until there is nothing more or others deserve a turn."""
        for _ in range(_AT_ONCE):
            try:
                if self._socket is None:
                    return
                size, sender = self._socket.recvfrom_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    self._fail(exc)
                    return
                self.overruns += 1
                self._lost()
                continue
            if sender[0] == 0:  # from the kernel
                self._take(self._buffer[:size])

    def _fail(self, exc: OSError) -> None:
        self.close()
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(Unreadable(f"cannot hear {self._what}: {exc.strerror}"))


def _enlarge(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)


_numbers = count(1)


class Questions:
    """A socket for a few questions, one after the other, in the networks' namespace or in `where`.

    Where that is not there, every answer is empty.
    """

    def __init__(self, where: namespace.Own | None = None) -> None:
        where = where or namespace.networks()
        self._number = 0
        self._buffer = memoryview(bytearray(_ANSWER_BYTES))
        self._opened = ExitStack()
        self._socket: socket.socket | None = None
        if not where.is_there:
            return
        try:
            self._socket = self._opened.enter_context(where.question(_NETLINK_ROUTE))
        except OSError as exc:
            raise _wrapped("open an rtnetlink socket", exc.errno) from exc
        try:
            self._socket.settimeout(_TIMEOUT_S)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        except OSError as exc:
            self._opened.__exit__(type(exc), exc, exc.__traceback__)
            raise _wrapped("ask rtnetlink", exc.errno) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._opened.__exit__(kind, exc, trace)

    def order(self, order: Callable[[int], bytes]) -> None:
        """Change something. Raises LinksUnreadable where the kernel refuses."""
        self.ask(order, "change a link")

    def ask(self, question: Callable[[int], bytes], what: str) -> list[Seen]:
        """The whole answer to a question, which is given its number; `what` is done, in words.

        Raises Refused for the kernel's own refusal, LinksUnreadable where there is no answer.
        """
        if self._socket is None:
            return []
        for _ in range(_TRIES):
            self._number = next(_numbers)
            found: list[Seen] = []
            is_whole, refusal = True, None
            try:
                self._socket.sendto(question(self._number), (0, 0))
                while refusal is None:
                    size, sender = self._socket.recvfrom_into(self._buffer)
                    if sender[0] == 0:
                        piece = parse_dump(self._buffer[:size], self._number)
                        found += piece.seen
                        is_whole = is_whole and not piece.interrupted
                        refusal = piece.ended
            except OSError as exc:
                raise _wrapped(what, exc.errno) from exc
            if refusal:
                raise Refused(what, refusal)
            if is_whole:
                return found
        raise LinksUnreadable(f"cannot {what}: they change faster than they can be read")


class Refused(LinksUnreadable):
    """The kernel's own refusal, with its number."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(str(_wrapped(what, number)))
        self.errno = number


def _wrapped(what: str, number: int | None) -> LinksUnreadable:
    reason = os.strerror(number) if number else "no answer in time"
    return LinksUnreadable(f"cannot {what}: {reason}")
