# SPDX-License-Identifier: Apache-2.0
"""One connection to the system bus. The only module that knows dbus_next.

Anybody may send anything to a connection, so each message is judged by its header
(`podwatch.formats.bus_messages`) before it is unpacked. Only these kinds are let in: answers to
calls that were made here; signals to everybody that come from the bus itself or from the owner of
the one name that is followed; and calls, where somebody is there to answer them.

What dbus_next does badly is dealt with here. It unpacks whatever comes, of any size, on the loop,
and keeps every signature that it ever met. Its writing is replaced (`bus_socket`); while much waits
to be written, nothing is read. A dead bus leaks its descriptor unless it is disconnected before the
next connection is made.
"""

import asyncio
import io
import xml.etree  # noqa: F401 - within which dbus_next looks for what is kept from it
from collections.abc import Callable, Sequence
from typing import Any

from podwatch.adapters.bus_socket import Writer, knock
from podwatch.adapters.spared import spared
from podwatch.formats.bus_messages import (
    CALL,
    ERROR,
    NO_REPLY,
    RETURN,
    SIGNAL,
    Header,
    Messages,
    refusal,
)
from podwatch.words.errors import BusUnavailable

# dbus_next (0.2.3) loads GLib where it is installed, as on every host with firewalld: 4 MB and
# 13 ms that podwatch has no use for; it does without where gi cannot be imported. And it loads an
# XML parser, 0.4 MB, for introspection, which is never asked of it here.
with spared({"gi": None, "xml.etree.ElementTree": {"Element": object}}):
    from dbus_next._private.unmarshaller import Unmarshaller
    from dbus_next.aio.message_bus import MessageBus
    from dbus_next.constants import BusType, MessageFlag, MessageType
    from dbus_next.message import Message
    from dbus_next.signature import SignatureTree, Variant

MAX_BODY_BYTES = 1 << 20
"""More than firewalld says of 10,000 sources, and not a second to unpack."""

MAX_CALL_BYTES = 4096
"""Of what is asked here: more than any name takes."""

MAX_WAITING_BYTES = 1 << 20
"""While more than this waits to be sent, nothing is read: nobody makes it grow by asking."""

DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
TOO_LARGE = "org.freedesktop.DBus.Error.LimitsExceeded"

_CHUNK_BYTES = 1 << 16
_CHUNK_OF_CALLS_BYTES = 1 << 12
_SLICE_S = 0.002
NAME_CHANGED = "NameOwnerChanged"


OnCall = Callable[[Header, bytes], None]
"""Gets each call that comes in, as a whole: see `unpacked`."""

WantsCall = Callable[[Header], bool]
"""Whether a call is read at all; what it says no to it has refused, or nobody waits for."""

OnSignal = Callable[[str, str, str, list[Any]], None]
"""Gets the sender, interface, member and body of each signal."""


class Connection(MessageBus):
    """dbus_next's connection, but for how it reads and writes.

    It reads by the header first, a piece at a time: the rest of the loop has its turn after each
    piece, however much is sent. A piece of calls is what comes within two milliseconds: most of a
    flood is refused by the headers, and who waits behind it does not wait for long. `has_room` is
    set while little waits to be sent.
    """

    def __init__(
        self,
        follow: str = "",
        on_call: OnCall | None = None,
        on_signal: OnSignal | None = None,
        wants_call: WantsCall = lambda _: True,
    ) -> None:
        super().__init__(bus_type=BusType.SYSTEM)
        self._follow = follow
        self._on_call = on_call
        self._wants_call = wants_call
        self._on_signal = on_signal
        self._closed = False
        self._chunk_bytes = _CHUNK_OF_CALLS_BYTES if on_call else _CHUNK_BYTES
        self._messages = Messages(self._is_wanted)
        self._writer: Any = Writer(self, self._sock, self._loop)
        self.owner = ""
        self.changes = 0
        self.ended = asyncio.Event()
        self.has_room = asyncio.Event()
        self.has_room.set()

    def send(self, msg: Message) -> Any:
        """As dbus_next's, but on a dead connection it raises and does not wait for ever."""
        if not self.connected:
            raise EOFError
        return super().send(msg)

    async def ask(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        timeout_s: float,
        returns: str | None = None,
        starts: bool = False,
        interactive: bool = False,
    ) -> list[Any]:
        """Call a method and return its results; see SystemBus.call. Raises BusUnavailable."""
        flags = MessageFlag.NONE if starts else MessageFlag.NO_AUTOSTART
        if interactive:
            flags |= MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=fitted(signature, body),
            flags=flags,
        )
        try:
            reply = await asyncio.wait_for(self.call(message), timeout_s)
        except TimeoutError:
            raise BusUnavailable(
                f"{destination}: {member}: no answer after {timeout_s:g} s"
            ) from None
        except (EOFError, OSError) as exc:
            raise BusUnavailable(f"{destination}: {member}: the bus went away") from exc
        finally:
            self._method_return_handlers.pop(message.serial, None)
        if reply is None:
            return []
        if reply.message_type is MessageType.ERROR:
            said = reply.body[0] if reply.body else ""
            raise BusUnavailable(f"{destination}: {member}: {said}", hint=str(reply.error_name))
        if returns is not None and reply.signature != returns:
            raise BusUnavailable(
                f"{destination}: {member}: answered {reply.signature!r}, not {returns!r}"
            )
        return list(reply.body)

    def answer(self, call: Header, signature: str = "", values: Sequence[Any] = ()) -> None:
        """Send the results of a call, if its caller wants them.

        Raises ValueError for what is not of these types, and EOFError on a dead connection.
        """
        if not call.flags & NO_REPLY:
            self._send_fitted(
                signature,
                values,
                message_type=MessageType.METHOD_RETURN,
                destination=call.sender,
                reply_serial=call.serial,
            )

    def refuse(self, call: Header, error: str, text: str) -> None:
        """Answer a call by an error. Raises EOFError on a dead connection."""
        if call.flags & NO_REPLY:
            return
        if not self.connected:
            raise EOFError
        self._writer.schedule_write(refusal(self.next_serial(), call, error, text))

    def emit(
        self, path: str, interface: str, member: str, signature: str, values: Sequence[Any]
    ) -> None:
        """Send a signal to everybody. Raises as `answer` does."""
        self._send_fitted(
            signature,
            values,
            message_type=MessageType.SIGNAL,
            path=path,
            interface=interface,
            member=member,
        )

    def _send_fitted(self, signature: str, values: Sequence[Any], **fields: Any) -> None:
        try:
            self.send(Message(signature=signature, body=fitted(signature, values), **fields))
        except EOFError:
            raise
        except Exception as exc:  # dbus_next raises many for values that are not of their types
            raise ValueError(f"not {signature!r}: {exc}") from exc

    def close(self) -> None:
        """Disconnect and close the descriptor, once."""
        if self._closed:
            return
        self._closed = True
        try:
            self.disconnect()
        except Exception:  # noqa: S110 - it is dead already; only its descriptor is of interest
            pass
        self._finalize()
        # disconnect() leaves closing to the garbage collector, whose time may be far off.
        for closable in (self._stream, self._sock):
            try:
                closable.close()
            except (OSError, ValueError):
                pass  # what was not flushed went nowhere

    def on_waiting(self, waiting_bytes: int) -> None:
        """So much waits to be sent. While it is much, nothing is read."""
        if self._disconnected:
            return
        if waiting_bytes > MAX_WAITING_BYTES and self.has_room.is_set():
            self.has_room.clear()
            self._loop.remove_reader(self._fd)
        elif waiting_bytes <= MAX_WAITING_BYTES // 2 and not self.has_room.is_set():
            self.has_room.set()
            self._loop.add_reader(self._fd, self._message_reader)

    def on_dead(self, exc: Exception) -> None:
        """Nothing can be sent any more."""
        self._finalize(exc)

    def _is_wanted(self, header: Header) -> bool:
        if header.kind == SIGNAL:
            is_to_all = not header.destination or (self._on_call and header.sender == DBUS)
            return (
                bool(is_to_all)
                and header.sender != ""
                and header.sender in (DBUS, self.owner)
                and header.body_bytes <= MAX_BODY_BYTES
            )
        if header.kind == CALL and self._on_call and header.sender:
            if header.body_bytes > MAX_CALL_BYTES:
                self.refuse(
                    header, TOO_LARGE, f"A call has {MAX_CALL_BYTES} bytes of values at most."
                )
                return False
            return self._wants_call(header)
        if header.kind not in (RETURN, ERROR):
            return False
        if header.reply_serial not in self._method_return_handlers:
            return False
        if header.body_bytes > MAX_BODY_BYTES:
            self._give_up(header, f"an answer of {header.body_bytes} bytes is not read")
            return False
        return True

    def _message_reader(self) -> None:
        ends_at = self._loop.time() + (_SLICE_S if self._on_call else 0.0)
        try:
            while True:
                data = self._sock.recv(self._chunk_bytes)
                if not data:
                    raise EOFError
                for header, message in self._messages.feed(data):
                    self._take(header, message)
                is_over = self._disconnected or not self.has_room.is_set()
                if is_over or self._loop.time() >= ends_at:
                    break
        except BlockingIOError:
            pass
        except Exception as exc:  # whatever it is, nothing can be read of this connection any more
            self._finalize(exc)

    def _take(self, header: Header, data: bytes) -> None:
        if header.kind == CALL:
            if self._on_call is not None:
                self._on_call(header, data)
            return
        try:
            message = Unmarshaller(io.BytesIO(data)).unmarshall()
        except Exception as exc:  # dbus_next raises many, also for what a later D-Bus may say
            self._give_up(header, f"its answer cannot be read: {exc!r}")
            return
        if (header.sender, message.member, message.signature) == (DBUS, NAME_CHANGED, "sss"):
            name, _, owner = message.body
            if name == self._follow:
                self.owner, self.changes = owner, self.changes + 1
        if header.kind != SIGNAL:
            self._on_message(message)
        elif self._on_signal is not None:
            interface, member = str(message.interface), str(message.member)
            self._on_signal(header.sender, interface, member, message.body)

    def _give_up(self, header: Header, why: str) -> None:
        """End the call that a message would have answered."""
        waiting = self._method_return_handlers.pop(header.reply_serial, None)
        if waiting is not None:
            error = Message(
                message_type=MessageType.ERROR,
                error_name=TOO_LARGE,
                reply_serial=header.reply_serial,
                sender=header.sender,
                signature="s",
                body=[why],
            )
            waiting(error, None)

    def _finalize(self, err: Exception | None = None) -> None:
        """Forget the descriptor, whose number will be another's, and tell who waits."""
        super()._finalize(err or EOFError())
        if self._disconnect_future.done() and not self._disconnect_future.cancelled():
            self._disconnect_future.exception()  # or asyncio complains that nobody asked for it
        self._writer.clear()
        self.has_room.set()
        self.ended.set()


async def connected(
    follow: str = "",
    on_call: OnCall | None = None,
    on_signal: OnSignal | None = None,
    wants_call: WantsCall = lambda _: True,
    *,
    timeout_s: float,
) -> Connection:
    """A new connection to the system bus. Raises BusUnavailable; without a cause: there is none."""
    knock()
    bus: Connection | None = None
    try:
        bus = Connection(
            follow, on_call, on_signal, wants_call
        )  # opens the socket, or raises OSError
        await asyncio.wait_for(bus.connect(), timeout_s)
    except Exception as exc:  # connection errors of many types, from sockets and dbus_next
        if bus is not None:
            bus.close()
        raise BusUnavailable(f"the system bus does not answer: {exc!r}") from exc
    return bus


def unpacked(call: Header, data: bytes) -> list[Any]:
    """The values of a call, whose signature was judged by its header. Raises ValueError."""
    try:
        message = Unmarshaller(io.BytesIO(data)).unmarshall()
    except Exception as exc:  # dbus_next raises many
        raise ValueError(f"not {call.signature!r}: {exc!r}") from exc
    values = list(message.body) if message is not None else []
    if message is None or len(values) != len(message.signature_tree.types):
        raise ValueError(f"not {call.signature!r}")
    return values


def fitted(signature: str, values: Sequence[Any]) -> list[Any]:
    """These values as dbus_next wants them: a variant is given as (signature, value).

    The bus ends a connection that sends a text which is not UTF-8 or has a NUL in it. Raises
    ValueError.
    """
    types = SignatureTree._get(signature).types
    return [_fitted(kind, value) for kind, value in zip(types, values, strict=True)]


def _fitted(kind: Any, value: Any) -> Any:
    letter, inner = kind.token, kind.children
    if letter == "s":
        return _sound(value)
    if letter == "v" and isinstance(value, tuple):
        signature, one = value
        return Variant(signature, fitted(signature, [one])[0])
    if letter == "(":
        return [_fitted(each, one) for each, one in zip(inner, value, strict=True)]
    if letter != "a" or isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        of_key, of_value = inner[0].children
        return {_fitted(of_key, key): _fitted(of_value, one) for key, one in value.items()}
    return [_fitted(inner[0], one) for one in value]


def _sound(text: Any) -> Any:
    if not isinstance(text, str) or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
