# SPDX-License-Identifier: Apache-2.0
"""What the netlink messages of all families have in common: header, attributes, texts. Pure.

What is in the messages is the matter of nf_tables' (`netlink_messages`), rtnetlink's
(`route_messages`) and sock_diag's (`socket_messages`). The numbers are of linux/netlink.h.

Whatever the bytes are, nothing here raises: what cannot be read is left out.
"""

import struct
from collections.abc import Collection, Iterator

from podwatch.words.text import clean

ERROR, DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300  # NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP

CUT = -1
"""The kind of a message whose length cannot be, and which therefore is the last."""

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
_MAX_TEXT_BYTES = 256  # NFT_NAME_MAXLEN, the longest name of all families


def messages(data: bytes | memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """(kind, flags, sequence, start, end) of each message in one datagram.

    What follows its header is from `start` to `end`. The last one's kind is CUT where its length
    cannot be. (Tuples: a flush of 10,000 rules has as many messages.)
    """
    at, end = 0, len(data)
    while end - at >= _HEADER.size:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        start = at + _HEADER.size
        if length < _HEADER.size or length > end - at:
            yield CUT, 0, 0, start, start
            return
        yield kind, flags, sequence, start, at + length
        at += (length + 3) & ~3


def attributes(data: bytes | memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of each attribute, until one whose length cannot be."""
    while end - at >= _ATTRIBUTE.size:
        length, number = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or length > end - at:
            return
        yield number & 0x3FFF, at + _ATTRIBUTE.size, at + length  # without the flags, NLA_F_*
        at += (length + 3) & ~3


def find(
    data: bytes | memoryview, at: int, end: int, wanted: Collection[int]
) -> dict[int, tuple[int, int]]:
    """(start, end) of the attributes of the wanted types, each the last of its type.

    As `attributes`, in half the time where few of many are wanted: a link has some forty.
    """
    found = {}
    while end - at >= _ATTRIBUTE.size:
        length, number = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or length > end - at:
            break
        if number & 0x3FFF in wanted:
            found[number & 0x3FFF] = at + _ATTRIBUTE.size, at + length
        at += (length + 3) & ~3
    return found


def text(data: bytes | memoryview, start: int, end: int) -> str:
    """An attribute's value as text that can be shown anywhere."""
    raw = bytes(data[start : min(end, start + _MAX_TEXT_BYTES)])
    return clean(raw.partition(b"\0")[0].decode("utf-8", "replace"))


def error_number(data: bytes | memoryview, start: int, end: int) -> int:
    """The error that an ERROR or DONE tells of; 0 where there is none, or it does not say."""
    return -_NUMBER.unpack_from(data, start)[0] if end - start >= _NUMBER.size else 0


def request(kind: int, body: bytes, *, flags: int = REQUEST, sequence: int = 1) -> bytes:
    """A message to the kernel."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def attribute(number: int, value: bytes) -> bytes:
    """One attribute, padded for the next one."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value + bytes(-len(value) % 4)
