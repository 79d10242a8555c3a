# SPDX-License-Identifier: Apache-2.0
"""The kernel's nf_tables over raw netlink: who changed the ruleset, and is a table there.

This is how podwatch hears of a loss within milliseconds and without polling. It owns the
sockets; what the bytes mean is in `podwatch.formats.netlink_messages`.

A receiver that is too slow loses messages: the kernel says so once, with ENOBUFS, and NEWGEN may
be among the lost (seen: Linux 6.18, 20,000 rules in one transaction). So an overrun means "look,
whatever happened". NETLINK_NO_ENOBUFS would hide it and is not set.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

from podwatch.adapters import namespace
from podwatch.formats.netlink_messages import (
    FAMILY_NUMBERS,
    GETCHAIN,
    GETGEN,
    GETTABLE,
    GROUP,
    Change,
    Generation,
    Message,
    Refusal,
    Touched,
    Transaction,
    ends_transaction,
    parse_messages,
    request,
)
from podwatch.words.cause import Writer
from podwatch.words.errors import RulesUnreadable

__all__ = ["Change", "NftablesWatch", "chain_exists", "generation", "table_exists"]

NETLINK_NETFILTER = 12
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 8 * 1024 * 1024
"""Room for a transaction of more than 10,000 rules while the loop is busy with a look."""

_DATAGRAM = 256 * 1024
_AT_ONCE = 16
_BATCH_BYTES = 1 << 20
_TIMEOUT_S = 1.0
_NO_PERMISSION = "podwatch needs CAP_NET_ADMIN in this network namespace: run it as root"


class NftablesWatch:
    """Says when a transaction was committed in this network namespace.

    `on_change` gets each Change; `on_overrun` is called when messages were lost, after which
    nothing short of a look tells what the ruleset is, and the next Change may name tables of the
    transaction whose end was lost. Both are called from the loop and must not block.
    `received` counts datagrams, `overruns` losses.

    `identify` is asked for more about the writer of each transaction on a table called `table`,
    before anything else is done with the transaction: its writer is about to end.
    """

    def __init__(
        self,
        on_change: Callable[[Change], None],
        on_overrun: Callable[[], None],
        *,
        identify: Callable[[Writer], Writer] = lambda writer: writer,
        table: str = "",
    ) -> None:
        self.received = 0
        self.overruns = 0
        self._on_change = on_change
        self._on_overrun = on_overrun
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._buffer = memoryview(bytearray(_DATAGRAM))
        self._transaction = Transaction()
        self._identify = identify
        self._mark = table.encode() + b"\0"
        self._marked = False
        self._identified: dict[int, Writer] = {}
        self._failed: asyncio.Future[None] | None = None

    def open(self) -> socket.socket:
        """Start to listen, on this socket; what happens from here on is not missed.

        Raises RulesUnreadable where the kernel refuses: no CAP_NET_ADMIN, or no nf_tables.
        """
        if self._socket is not None:
            return self._socket
        sock = _open_socket()
        try:
            sock.settimeout(0)
            _enlarge(sock)
            sock.bind((0, 1 << (GROUP - 1)))
        except OSError as exc:
            sock.close()
            raise _wrapped("listen to nftables' notifications", exc) from exc
        self._socket = sock
        self._transaction.forget()
        return sock

    def close(self) -> None:
        """Stop to listen. May be called more than once."""
        if self._socket is None:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop = None
        self._socket.close()
        self._socket = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Listen, and have `loop` call `drain` whenever there is something to read.

        What is returned ends with RulesUnreadable when the socket cannot be read any more: nothing
        is heard then. Raises as `open` does.
        """
        sock = self.open()
        self._loop = loop
        self._failed = loop.create_future()
        loop.add_reader(sock, self.drain)
        return self._failed

    def describe(self) -> str:
        """Whether it listens, and how often it was too slow for the kernel."""
        if self._socket is None:
            return "not listening"
        if not self.overruns:
            return "listening"
        return f"listening, {self.overruns} times too slow for the kernel"

    def drain(self) -> None:
        """Read until there is nothing more, or until others on the loop deserve a turn.

        The loop calls again while something is left.
        """
        for _ in range(_AT_ONCE):
            try:
                batch, more = self._receive()
            except OSError as exc:
                self._fail(exc)
                return
            for datagram in batch:
                if self._socket is None:  # closed by a callback
                    return
                if datagram is None:
                    self._lost()
                    continue
                for message in parse_messages(datagram):
                    self._take(message)
            if not more:
                return

    def _receive(self) -> tuple[list[bytes | None], bool]:
        """What is waiting (None for what was lost), and whether there is more of it.

        Only read and glanced at: parsing it first would give the writer the time to end.
        """
        batch: list[bytes | None] = []
        held = 0
        while self._socket is not None and held < _BATCH_BYTES:
            try:
                size, _, flags, sender = self._socket.recvmsg_into([self._buffer])
            except BlockingIOError:
                return batch, False
            except InterruptedError:
                continue
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                batch.append(None)
                continue
            self.received += 1
            held += max(size, 512)
            if sender[0] != 0:  # not from the kernel: port 0 is the kernel's alone
                continue
            if flags & socket.MSG_TRUNC:
                batch.append(None)
                continue
            datagram = bytes(self._buffer[:size])
            self._glance(datagram)
            batch.append(datagram)
        return batch, self._socket is not None

    def _glance(self, datagram: bytes) -> None:
        if not ends_transaction(datagram):
            self._marked = self._marked or self._mark in datagram
        elif self._marked:
            self._marked = False
            for message in parse_messages(datagram):
                if isinstance(message, Generation):
                    self._identified[message.number] = self._identify(message.writer)

    def _take(self, message: Message) -> None:
        change = self._transaction.feed(message)
        if change is None:
            return
        if change.generation in self._identified:
            change = replace(change, writer=self._identified.pop(change.generation))
        if self._transaction.overflowed:
            self._lost()
        self._on_change(change)

    def _fail(self, exc: OSError) -> None:
        self.close()
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(_wrapped("read nftables' notifications", exc))

    def _lost(self) -> None:
        self.overruns += 1
        self._transaction.forget()
        self._on_overrun()


def table_exists(family: str, name: str) -> bool:
    """Whether one table exists, by NFT_MSG_GETTABLE: microseconds, and no process.

    `family` is nft's name of it ("inet"). Raises RulesUnreadable for every answer but yes and no.
    """
    return _exists(GETTABLE, family, name)


def chain_exists(family: str, table: str, name: str) -> bool:
    """Whether one chain exists, by NFT_MSG_GETCHAIN; otherwise as `table_exists`."""
    return _exists(GETCHAIN, family, table, name)


def _exists(code: int, family: str, table: str, chain: str = "") -> bool:
    if family not in FAMILY_NUMBERS:
        raise RulesUnreadable(f"no such nftables family: {family!r}")
    if not namespace.is_there():
        return False
    what = f"{'chain' if chain else 'table'} {family} {table} {chain}".rstrip()
    answer = _ask(request(code, family=family, table=table, chain=chain), what)
    if isinstance(answer, Refusal):
        if answer.errno == errno.ENOENT:
            return False
        raise _wrapped(f"ask for {what}", OSError(answer.errno, ""))
    return True


def generation() -> int:
    """The ruleset's generation: it grows by one with each transaction of this namespace.

    0 where there is no such namespace now. Raises RulesUnreadable where the kernel does not tell.
    """
    if not namespace.is_there():
        return 0
    answer = _ask(request(GETGEN), "the ruleset's generation")
    if isinstance(answer, Generation):
        return answer.number
    number = answer.errno if isinstance(answer, Refusal) else errno.EBADMSG
    raise _wrapped("ask for the ruleset's generation", OSError(number, ""))


def _ask(message: bytes, what: str) -> Message:
    try:
        with namespace.networks().question(NETLINK_NETFILTER) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.sendto(message, (0, 0))
            for answer in _answers(sock):
                if isinstance(answer, Touched | Generation) or answer.errno:
                    return answer
    except OSError as exc:
        raise _wrapped(f"ask for {what}", exc) from exc
    raise RulesUnreadable(f"the kernel did not answer the question for {what}")


def _answers(sock: socket.socket) -> Iterator[Message]:
    for _ in range(8):
        data, sender = sock.recvfrom(16384)
        if sender[0] == 0:
            yield from parse_messages(data)


def _open_socket() -> socket.socket:
    try:
        return namespace.networks().netlink(NETLINK_NETFILTER)
    except OSError as exc:
        raise _wrapped("open a netfilter netlink socket", exc) from exc


def _enlarge(sock: socket.socket) -> None:
    """SO_RCVBUFFORCE passes net.core.rmem_max, for which it needs CAP_NET_ADMIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _wrapped(what: str, exc: OSError) -> RulesUnreadable:
    number = exc.errno or 0
    reason = os.strerror(number) if number else str(exc)
    hint = ""
    if number in (errno.EPERM, errno.EACCES):
        hint = _NO_PERMISSION
    elif number in (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.EAFNOSUPPORT):
        hint = "does this kernel have nf_tables? modprobe nf_tables"
    return RulesUnreadable(f"cannot {what}: {reason}", hint=hint)
