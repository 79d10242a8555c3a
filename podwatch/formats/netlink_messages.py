# SPDX-License-Identifier: Apache-2.0
"""nf_tables' netlink messages: bytes in, words out. Pure.

The kernel sends one message for each object a transaction added or deleted, and NEWGEN last, when
the new rules can be read (Linux net/netfilter/nf_tables_api.c, nf_tables_commit). An aborted
transaction sends nothing. This module reads the two attributes podwatch needs (whose table, and
who committed) and skips the rest: decoding rules would cost more than the look it causes.

Whatever the bytes are, nothing here raises: what cannot be read is left out.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from podwatch.formats import netlink
from podwatch.formats.netlink import attributes, text
from podwatch.words.cause import Writer

SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES, linux/netfilter/nfnetlink.h
GROUP = 7  # NFNLGRP_NFTABLES

GETTABLE, GETCHAIN = 1, 4  # linux/netfilter/nf_tables.h, enum nf_tables_msg_types
NEWGEN, GETGEN = 15, 16
_DELETIONS = frozenset({2, 5, 8, 11, 14, 20, 24})  # table, chain, rule, set, element, obj, flow
_ADDITIONS = frozenset({0, 3, 6, 9, 12, 18, 22})
_OF_A_TABLE = _DELETIONS | _ADDITIONS

_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
FAMILY_NUMBERS = {name: number for number, name in _FAMILIES.items()}
"""nft's names of the families and the kernel's numbers (linux/netfilter.h, NFPROTO_*)."""

_FAMILY = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id
_MAX_TABLES = 1024


@dataclass(frozen=True, slots=True)
class Touched:
    """One object of a table (as "family name") was added, or deleted."""

    table: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """A transaction ended, or the answer to a question for the generation.

    `writer` is who committed it, or who asked (Linux nf_tables_api.c, nf_tables_fill_gen_info).
    """

    number: int
    writer: Writer


@dataclass(frozen=True, slots=True)
class Refusal:
    """NLMSG_ERROR: the kernel's answer to a request; `errno` 0 is an acknowledgement."""

    errno: int


Message = Touched | Generation | Refusal


@dataclass(frozen=True, slots=True)
class Change:
    """One committed transaction: who committed it, and which tables it touched.

    `tables` and `deleted` hold "family name", e.g. "inet netavark"; `deleted` those of which any
    object was deleted. The writer's name is a hint: a process may call itself anything.
    """

    generation: int
    writer: Writer
    tables: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()


def parse_messages(data: bytes | memoryview) -> Iterator[Message]:
    """The messages in one datagram from a netfilter netlink socket.

    Stops at a message whose length cannot be; leaves out messages of other subsystems.
    """
    for kind, _, _, start, end in netlink.messages(data):
        message = _parse_message(kind, data, start, end)
        if message is not None:
            yield message


def ends_transaction(data: bytes) -> bool:
    """Whether a datagram is NEWGEN, which the kernel sends in one of its own."""
    kind, *_ = next(netlink.messages(data), (netlink.CUT,))
    return kind == SUBSYSTEM << 8 | NEWGEN


def _parse_message(kind: int, data: bytes | memoryview, at: int, end: int) -> Message | None:
    if kind == netlink.ERROR:
        return Refusal(netlink.error_number(data, at, end)) if end - at >= 4 else None
    if kind >> 8 != SUBSYSTEM or end - at < _FAMILY.size:
        return None
    code = kind & 0xFF
    family = data[at]
    at += _FAMILY.size
    if code == NEWGEN:
        return _generation(data, at, end)
    if code not in _OF_A_TABLE or family not in _FAMILIES:
        return None
    for number, start, stop in attributes(data, at, end):
        # The table's name is attribute 1 of every kind of object.
        if number == 1:
            return _touched(code, family, bytes(data[start:stop]))
    return None


@lru_cache(maxsize=64)
def _touched(code: int, family: int, name: bytes) -> Touched:
    """Kept for the next message: a transaction has one for each of its rules."""
    return Touched(f"{_FAMILIES[family]} {text(name, 0, len(name))}", code in _DELETIONS)


def _generation(data: bytes | memoryview, at: int, end: int) -> Generation | None:
    number, pid, name = None, 0, ""
    for attribute, start, stop in attributes(data, at, end):
        if attribute == 1 and stop - start == 4:
            number = int.from_bytes(data[start:stop], "big")
        elif attribute == 2 and stop - start == 4:
            pid = int.from_bytes(data[start:stop], "big")
        elif attribute == 3:
            name = text(data, start, stop)
    return None if number is None else Generation(number, Writer(name, pid))


class Transaction:
    """Collects what a transaction touched until NEWGEN ends it.

    `overflowed` says that it touched more tables than are kept: then nothing is known of it, and
    the answer is the same as to a lost message, an unconditional look.
    """

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._deleted: set[str] = set()
        self.overflowed = False

    def forget(self) -> None:
        """Messages were lost: what was collected belongs to no transaction any more."""
        self._tables.clear()
        self._deleted.clear()
        self.overflowed = False

    def feed(self, message: Message) -> Change | None:
        """Take one message; a Change when it ended a transaction."""
        if isinstance(message, Touched):
            if len(self._tables) >= _MAX_TABLES and message.table not in self._tables:
                self.overflowed = True
                return None
            self._tables.add(message.table)
            if message.deleted:
                self._deleted.add(message.table)
            return None
        if not isinstance(message, Generation):
            return None
        change = Change(
            message.number, message.writer, frozenset(self._tables), frozenset(self._deleted)
        )
        self._tables.clear()
        self._deleted.clear()
        return change


def request(
    code: int, *, family: str = "", table: str = "", chain: str = "", sequence: int = 1
) -> bytes:
    """A request for one thing: GETGEN, GETTABLE of one table, GETCHAIN of one chain.

    Raises KeyError for a family nft does not have.
    """
    body = _FAMILY.pack(FAMILY_NUMBERS[family] if family else 0, 0, 0)
    for number, value in ((1, table), (3, chain)):  # NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME
        if value:
            body += netlink.attribute(number, value.encode() + b"\0")
    return netlink.request(SUBSYSTEM << 8 | code, body, sequence=sequence)
