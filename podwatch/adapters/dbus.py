# SPDX-License-Identifier: Apache-2.0
"""The system bus, kept connected. The only module that knows dbus_next.

Anybody may send anything to a connection, so each message is judged by its header
(`podwatch.formats.bus_messages`) before it is unpacked. Only two kinds are let in: answers to calls
that were made here, and signals to everybody that come from the bus itself or from the owner of the
one name that is followed.

What dbus_next does badly is dealt with here. It unpacks whatever comes, of any size, on the loop. A
call on a dead bus waits for ever: every call has a time limit. A dead bus leaks its descriptor
unless it is disconnected before the next connection is made. Proxy objects introspect firewalld's
very large interfaces: plain messages are sent instead.
"""

import asyncio
import io
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podwatch.formats.bus_messages import ERROR, RETURN, SIGNAL, Header, Messages
from podwatch.words.errors import BusUnavailable

# dbus_next (0.2.3) loads GLib where it is installed, as on every host with firewalld: 4 MB and
# 13 ms that podwatch has no use for. It does without where gi cannot be imported.
_had_gi = "gi" in sys.modules
sys.modules.setdefault("gi", None)  # type: ignore[arg-type]

from dbus_next._private.unmarshaller import Unmarshaller  # noqa: E402
from dbus_next.aio.message_bus import MessageBus  # noqa: E402
from dbus_next.constants import BusType, MessageFlag, MessageType  # noqa: E402
from dbus_next.message import Message  # noqa: E402

if not _had_gi:
    del sys.modules["gi"]

CALL_TIMEOUT_S = 2.0
MAX_BODY_BYTES = 1 << 20
"""More than firewalld says of 10,000 sources, and not a second to unpack."""

_RETRY_S = 30.0
_CHUNK_BYTES = 1 << 16
_SOCKET = Path("/run/dbus/system_bus_socket")
DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
_CHANGED = "NameOwnerChanged"


class SystemBus:
    """A connection to the system bus that comes back by itself.

    `on_signal` gets (sender, interface, member, body) of every signal that one of `rules` matches
    and the owner of the name `follow` sent, and of the bus's own signal when the name changes
    hands. `on_state` gets True when the bus is connected, False when it has gone. `timeout_s`
    limits each call.
    """

    def __init__(
        self,
        follow: str = "",
        rules: Sequence[str] = (),
        on_signal: Callable[[str, str, str, list[Any]], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._follow = follow
        self._rules = list(rules)
        self._on_signal = on_signal
        self._on_state = on_state
        self._timeout_s = CALL_TIMEOUT_S if timeout_s is None else timeout_s
        self._bus: _Connection | None = None
        self._running: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.problem = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether there is a connection that works."""
        return self._bus is not None and self._bus.connected

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Stay connected on this loop: what is returned never ends by itself."""
        self._running = loop.create_task(self.run(), name=self._follow)
        return self._running

    def detach(self) -> None:
        """Give the connection up, and make no other."""
        if self._running is not None:
            self._running.cancel()
        self.close()

    async def run(self) -> None:
        """Stay connected for ever; an absent bus is normal, and tried at growing intervals."""
        pause = 0.2
        while True:
            try:
                bus = await self._connected()
            except BusUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_S)
                continue
            pause = 0.2
            if self._on_state:
                self._on_state(True)  # noqa: FBT003 - a callback's one argument
            await bus.ended.wait()
            self._drop(bus)
            self.problem = "the system bus went away"
            if self._on_state:
                self._on_state(False)  # noqa: FBT003 - a callback's one argument
            await asyncio.sleep(pause)

    async def connect(self) -> object:
        """Connect if need be; what is returned is another for each connection.

        Raises BusUnavailable.
        """
        return await self._connected()

    def close(self) -> None:
        """Give the connection up; a later call makes another."""
        if self._bus is not None:
            self._drop(self._bus)

    async def _connected(self) -> "_Connection":
        async with self._turn:
            if self._bus is not None and self._bus.connected:
                return self._bus
            self.close()
            path = _socket_path()
            if path == str(_SOCKET) and not _SOCKET.exists():
                self.problem = f"no system bus: {_SOCKET} does not exist"
                raise BusUnavailable(self.problem)
            self._knock(path)
            bus: _Connection | None = None
            try:
                bus = _Connection(self._follow)  # opens the socket, or raises OSError
                await asyncio.wait_for(bus.connect(), self._timeout_s)
                bus.add_message_handler(self._received)
                self._bus = bus
                if self._follow:
                    changes = f"sender='{DBUS}',member='{_CHANGED}',arg0='{self._follow}'"
                    for rule in (f"type='signal',{changes}", *self._rules):
                        await self._send(bus, DBUS, DBUS_PATH, DBUS, "AddMatch", "s", [rule])
                    await self._owner(bus, self._follow)
            except Exception as exc:  # connection errors of many types, from sockets and dbus_next
                if bus is not None:
                    self._drop(bus)
                self.problem = f"the system bus does not answer: {exc!r}"
                raise BusUnavailable(self.problem) from exc
            self.problem = ""
            return bus

    def _knock(self, path: str) -> None:
        """Raise BusUnavailable where nobody listens.

        MessageBus connects in its constructor: where that fails it leaves its descriptor behind,
        and where the bus is too busy to take the connection it blocks the loop.
        """
        if not path:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.connect(path)
            except OSError as exc:
                self.problem = f"the system bus does not answer: {path}: {exc.strerror}"
                raise BusUnavailable(
                    self.problem, hint="systemctl status dbus.socket dbus.service"
                ) from exc

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        returns: str | None = None,
    ) -> list[Any]:
        """Call a method and return its results. Never starts the service.

        Raises BusUnavailable, whose `hint` is the D-Bus error's name where the service refused;
        and where the results are of other types than the signature `returns`, if it is given.
        """
        bus = await self._connected()
        return await self._send(
            bus, destination, path, interface, member, signature, list(body), returns
        )

    async def owner(self, name: str) -> str:
        """The unique name of a service's owner; "" when nobody owns it. Raises BusUnavailable."""
        return await self._owner(await self._connected(), name)

    async def _owner(self, bus: "_Connection", name: str) -> str:
        before = bus.changes
        try:
            found = await self._send(
                bus, DBUS, DBUS_PATH, DBUS, "GetNameOwner", "s", [name], returns="s"
            )
        except BusUnavailable as exc:
            if not exc.hint.endswith("NameHasNoOwner"):
                raise
            found = [""]
        if name == self._follow and bus.changes == before:  # what was heard meanwhile is newer
            bus.owner = str(found[0])
        return str(found[0])

    async def _send(
        self,
        bus: "_Connection",
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str,
        body: list[Any],
        returns: str | None = None,
    ) -> list[Any]:
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
            flags=MessageFlag.NO_AUTOSTART,
        )
        try:
            reply = await asyncio.wait_for(bus.call(message), self._timeout_s)
        except TimeoutError:
            raise BusUnavailable(
                f"{destination}: {member}: no answer after {self._timeout_s:g} s"
            ) from None
        except (EOFError, OSError) as exc:
            raise BusUnavailable(f"{destination}: {member}: the bus went away") from exc
        finally:
            bus.forget(message.serial)
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

    def _received(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and self._on_signal is not None:
            self._on_signal(
                str(message.sender), str(message.interface), str(message.member), message.body
            )

    def _drop(self, bus: "_Connection") -> None:
        bus.close()
        if self._bus is bus:
            self._bus = None


class _Connection(MessageBus):
    """dbus_next's connection, but for how it reads: by the header first, a piece at a time.

    The rest of the loop has its turn after each piece, however much is sent.
    """

    def __init__(self, follow: str) -> None:
        super().__init__(bus_type=BusType.SYSTEM)
        self._follow = follow
        self._closed = False
        self._messages = Messages(self._is_wanted)
        self.owner = ""
        self.changes = 0
        self.ended = asyncio.Event()

    def send(self, msg: Message) -> Any:
        """As dbus_next's, but on a dead connection it raises and does not wait for ever."""
        if not self.connected:
            raise EOFError
        return super().send(msg)

    def forget(self, serial: int) -> None:
        """Wait for the answer to a call no longer."""
        self._method_return_handlers.pop(serial, None)

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

    def _is_wanted(self, header: Header) -> bool:
        if header.kind == SIGNAL:
            return (
                not header.destination
                and header.sender != ""
                and header.sender in (DBUS, self.owner)
                and header.body_bytes <= MAX_BODY_BYTES
            )
        if header.kind not in (RETURN, ERROR):
            return False
        if header.reply_serial not in self._method_return_handlers:
            return False
        if header.body_bytes > MAX_BODY_BYTES:
            self._refuse(header, f"an answer of {header.body_bytes} bytes is not read")
            return False
        return True

    def _message_reader(self) -> None:
        try:
            data = self._sock.recv(_CHUNK_BYTES)
            if not data:
                raise EOFError
            for header, message in self._messages.feed(data):
                self._take(header, message)
        except BlockingIOError:
            pass
        except Exception as exc:  # whatever it is, nothing can be read of this connection any more
            self._finalize(exc)

    def _take(self, header: Header, data: bytes) -> None:
        try:
            message = Unmarshaller(io.BytesIO(data)).unmarshall()
        except Exception as exc:  # dbus_next raises many, also for what a later D-Bus may say
            self._refuse(header, f"its answer cannot be read: {exc!r}")
            return
        if (header.sender, message.member, message.signature) == (DBUS, _CHANGED, "sss"):
            name, _, owner = message.body
            if name == self._follow:
                self.owner, self.changes = owner, self.changes + 1
        self._on_message(message)

    def _refuse(self, header: Header, why: str) -> None:
        """End the call that a message would have answered."""
        waiting = self._method_return_handlers.pop(header.reply_serial, None)
        if waiting is not None:
            error = Message(
                message_type=MessageType.ERROR,
                error_name="org.freedesktop.DBus.Error.LimitsExceeded",
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
        self.ended.set()


def _socket_path() -> str:
    """The system bus' socket; "" where its address is no path."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "").partition(";")[0]
    if not address:
        return str(_SOCKET)
    kind, _, options = address.partition(":")
    paths = [option[5:] for option in options.split(",") if option.startswith("path=")]
    return paths[0] if kind == "unix" and paths else ""
