# SPDX-License-Identifier: Apache-2.0
"""D-Bus messages, cut out of what the bus sends by their headers: bytes in, wanted ones out. Pure.

Anybody may address a message to a connection of the system bus: match rules are for broadcasts
alone, and a message may have 32 MiB (dbus-daemon's system.conf, max_message_size). Its header says
who sent it and to what end. What nobody asked for is passed over while it arrives: it is neither
kept nor unpacked, which in Python takes half a minute and half a gigabyte.

The format is that of the D-Bus specification 0.43, "Message Format".
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
"""Types of messages; those of any other are to be ignored."""

FIELDS_LIMIT_BYTES = 8192
"""Longer headers are not read. Names have 255 bytes; a path of systemd's has less than 1,000."""

_FIXED_BYTES = 16
_MAX_BYTES = 1 << 27
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL = 1, 2, 3, 4, 5
_DESTINATION, _SENDER, _SIGNATURE = 6, 7, 8
_ALWAYS = frozenset({_DESTINATION, _SENDER})
_OF_CALLS = _ALWAYS | {_PATH, _INTERFACE, _MEMBER, _SIGNATURE}
_STRINGS = frozenset(b"os")
_ORDERS = {ord("l"): "<", ord("B"): ">"}
_MOST_KNOWN, _SHORT_BYTES = 64, 512
_TWO_NUMBERS = {order: struct.Struct(f"{order}II") for order in _ORDERS.values()}
_THREE_NUMBERS = {order: struct.Struct(f"{order}III") for order in _ORDERS.values()}
_NUMBERS = {order: struct.Struct(f"{order}I") for order in _ORDERS.values()}


NO_REPLY = 1
MAY_ASK = 4
"""Flags of a call: no answer is wanted; polkit may ask the person for a password."""


class Header(NamedTuple):
    """What a message says of itself; "" and 0 for what it does not say.

    The fields from `serial` on are read of calls alone.
    """

    kind: int
    reply_serial: int
    destination: str
    sender: str
    body_bytes: int
    serial: int = 0
    flags: int = 0
    path: str = ""
    interface: str = ""
    member: str = ""
    signature: str = ""


class Messages:
    """A connection's messages, in whatever pieces they arrive.

    `wanted` is asked once for each message, as soon as its header is there. A message is kept as a
    whole only if it was wanted, so how much memory a message may take is for `wanted` to say.
    """

    def __init__(self, wanted: Callable[[Header], bool]) -> None:
        self._wanted = wanted
        self._kept = bytearray()
        self._known: dict[tuple[str, bytes], Header] = {}
        self._passed_over = 0
        self._header: Header | None = None
        self._needed_bytes = _FIXED_BYTES

    def feed(self, data: bytes) -> Iterator[tuple[Header, bytes]]:
        """The wanted messages that `data` completes.

        What follows a message is looked at only when the next one is asked for: `wanted` knows
        what the caller learnt from those before. Raises ValueError for what is no D-Bus message;
        nothing can be read of the connection any more.
        """
        dropped = min(self._passed_over, len(data))
        self._passed_over -= dropped
        kept = self._kept
        kept += memoryview(data)[dropped:]
        while len(kept) >= self._needed_bytes:
            if self._header is None:
                order, fields, whole = _lengths(kept)
                header = None
                if fields <= FIELDS_LIMIT_BYTES:
                    if len(kept) < _FIXED_BYTES + fields:
                        return
                    header = self._read(kept, order, fields)
                if header is None or not self._wanted(header):
                    self._passed_over = max(whole - len(kept), 0)
                    del kept[:whole]
                else:
                    self._header, self._needed_bytes = header, whole
            else:
                done = self._header, bytes(kept[: self._needed_bytes])
                del kept[: self._needed_bytes]
                self._header, self._needed_bytes = None, _FIXED_BYTES
                yield done

    def _read(self, data: bytearray, order: str, fields: int) -> Header | None:
        """A header, as `_read`; a flood says the same over and over, but for the numbers."""
        if data[1] != CALL or fields > _SHORT_BYTES:
            return _read(data, order, fields)
        said = bytes(data[_FIXED_BYTES : _FIXED_BYTES + fields])
        known = self._known.get((order, said))
        if known is None:
            header = _read(data, order, fields)
            if header is not None:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[order, said] = header
            return header
        body, serial = _TWO_NUMBERS[order].unpack_from(data, 4)
        return Header(CALL, *known[1:4], body, serial, data[2], *known[7:])


def refusal(serial: int, call: Header, error: str, text: str) -> bytes:
    """The error that answers a call. It is written without a library: a flood gets many."""
    body = _string(text)
    fields = b"".join(
        (
            _field(_ERROR_NAME, b"s", _string(error)),
            _field(_REPLY_SERIAL, b"u", struct.pack("<I", call.serial)),
            _field(_DESTINATION, b"s", _string(call.sender)),
            bytes([_SIGNATURE, 1]) + b"g\0\1s\0",
        )
    )
    head = struct.pack(
        "<4sIII", bytes([ord("l"), ERROR, NO_REPLY, 1]), len(body), serial, len(fields)
    )
    return head + fields + bytes(-len(fields) % 8) + body


def _field(code: int, kind: bytes, value: bytes) -> bytes:
    return bytes([code, 1]) + kind + b"\0" + value + bytes(-(4 + len(value)) % 8)


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "replace").replace(b"\0", b"?")
    return struct.pack("<I", len(data)) + data + b"\0"


def _lengths(data: bytearray) -> tuple[str, int, int]:
    """Byte order, length of the header's fields, and of the whole message."""
    order = _ORDERS.get(data[0], "")
    if not order or data[3] != 1:
        raise ValueError("no D-Bus message")
    body, _, fields = _THREE_NUMBERS[order].unpack_from(data, 4)
    whole: int = _FIXED_BYTES + fields + -fields % 8 + body
    if whole > _MAX_BYTES:
        raise ValueError("a D-Bus message that is longer than any may be")
    return order, fields, whole


def _read(data: bytearray, order: str, fields: int) -> Header | None:
    """A header; none if it cannot be read, or says a thing twice."""
    number = _NUMBERS[order].unpack_from
    texts = _OF_CALLS if data[1] == CALL else _ALWAYS
    found: dict[int, int | str] = {}
    at, end = _FIXED_BYTES, _FIXED_BYTES + fields
    try:
        while at < end:
            at += -at % 8
            code, signature_bytes, kind, nul = data[at : at + 4]
            if signature_bytes != 1 or nul or code in found:
                return None
            at += 4
            value: int | str
            if kind in _STRINGS:
                (size,) = number(data, at)
                at += 4 + size + 1
                value = data[at - size - 1 : at - 1].decode() if code in texts else ""
            elif kind == ord("g"):
                size = data[at]
                at += 1 + size + 1
                value = data[at - size - 1 : at - 1].decode() if code in texts else ""
            elif kind == ord("u"):
                (value,) = number(data, at)
                at += 4
            else:
                return None
            found[code] = value
    except (ValueError, IndexError, struct.error):
        return None
    if at != end:
        return None
    serial = found.pop(_REPLY_SERIAL, 0)
    said = {code: value for code, value in found.items() if isinstance(value, str)}
    if not isinstance(serial, int) or not (texts & found.keys()) <= said.keys():
        return None
    destination, sender = said.get(_DESTINATION, ""), said.get(_SENDER, "")
    header = Header(data[1], serial, destination, sender, number(data, 4)[0])
    if header.kind != CALL:
        return header
    return header._replace(
        serial=number(data, 8)[0],
        flags=data[2],
        path=said.get(_PATH, ""),
        interface=said.get(_INTERFACE, ""),
        member=said.get(_MEMBER, ""),
        signature=said.get(_SIGNATURE, ""),
    )
