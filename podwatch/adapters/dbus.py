# SPDX-License-Identifier: Apache-2.0
"""The system bus, kept connected. The only module that knows dbus_next.

dbus_next's traps, absorbed here: a call on a bus that died waits for ever (every call has a time
limit), a dead bus must be disconnected before the next is made or it leaks its descriptor, and
proxies introspect firewalld's very large interfaces (plain messages are sent instead).
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podwatch.words.errors import BusUnavailable

# dbus_next (0.2.3) loads GLib where it is installed, as on every host with firewalld: 4 MB and
# 13 ms that podwatch has no use for. It does without where gi cannot be imported.
_had_gi = "gi" in sys.modules
sys.modules.setdefault("gi", None)  # type: ignore[arg-type]

from dbus_next.aio.message_bus import MessageBus  # noqa: E402
from dbus_next.constants import BusType, MessageFlag, MessageType  # noqa: E402
from dbus_next.message import Message  # noqa: E402

if not _had_gi:
    del sys.modules["gi"]

CALL_TIMEOUT_S = 2.0
_RETRY_S = 30.0
_SOCKET = Path("/run/dbus/system_bus_socket")
_DBUS = "org.freedesktop.DBus"


class SystemBus:
    """A connection to the system bus that comes back by itself.

    `on_signal` gets (sender, interface, member, body) of every signal matched by `rules`;
    `on_state` is told when the bus is there and when it has gone.
    """

    def __init__(
        self,
        rules: Sequence[str] = (),
        on_signal: Callable[[str, str, str, list[Any]], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self._rules = list(rules)
        self._on_signal = on_signal
        self._on_state = on_state
        self._bus: MessageBus | None = None
        self._turn = asyncio.Lock()
        self.problem = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether there is a living connection."""
        return self._bus is not None and self._bus.connected

    async def run(self) -> None:
        """Stay connected for ever; an absent bus is normal and asked for again, ever rarer."""
        pause = 0.2
        while True:
            try:
                bus = await self.connect()
            except BusUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_S)
                continue
            pause = 0.2
            if self._on_state:
                self._on_state(True)  # noqa: FBT003 - a callback's one argument
            try:
                await bus.wait_for_disconnect()
            except Exception:  # noqa: S110 - the bus went away, or sent what dbus_next cannot read
                pass
            self._drop(bus)
            self.problem = "the system bus went away"
            if self._on_state:
                self._on_state(False)  # noqa: FBT003 - a callback's one argument
            await asyncio.sleep(pause)

    async def connect(self) -> MessageBus:
        """The living connection, made now if there is none. Raises BusUnavailable."""
        async with self._turn:
            if self._bus is not None and self._bus.connected:
                return self._bus
            path = _socket_path()
            if path == str(_SOCKET) and not _SOCKET.exists():
                self.problem = f"no system bus: {_SOCKET} does not exist"
                raise BusUnavailable(self.problem)
            self._knock(path)
            bus: MessageBus | None = None
            try:
                bus = MessageBus(bus_type=BusType.SYSTEM)  # opens the socket, or raises OSError
                await asyncio.wait_for(bus.connect(), CALL_TIMEOUT_S)
                bus.add_message_handler(self._received)
                self._bus = bus
                for rule in self._rules:
                    await self._send(
                        bus, _DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", [rule]
                    )
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
        bus = await self.connect()
        return await self._send(
            bus, destination, path, interface, member, signature, list(body), returns
        )

    async def owner(self, name: str) -> str:
        """The unique name of a service's owner; "" when nobody owns it. Raises BusUnavailable."""
        try:
            found = await self.call(
                _DBUS, "/org/freedesktop/DBus", _DBUS, "GetNameOwner", "s", [name], returns="s"
            )
        except BusUnavailable as exc:
            if exc.hint.endswith("NameHasNoOwner"):
                return ""
            raise
        return str(found[0])

    async def _send(
        self,
        bus: MessageBus,
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
            reply = await asyncio.wait_for(bus.call(message), CALL_TIMEOUT_S)
        except TimeoutError:
            raise BusUnavailable(
                f"{destination}: {member}: no answer after {CALL_TIMEOUT_S:g} s"
            ) from None
        except (EOFError, OSError) as exc:
            raise BusUnavailable(f"{destination}: {member}: the bus went away") from exc
        if reply is None:
            return []
        if reply.message_type is MessageType.ERROR:
            told = reply.body[0] if reply.body else ""
            raise BusUnavailable(f"{destination}: {member}: {told}", hint=str(reply.error_name))
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

    def _drop(self, bus: MessageBus) -> None:
        try:
            bus.disconnect()
        except Exception:  # noqa: S110 - it is dead already; only its descriptor is of interest
            pass
        # disconnect() leaves closing to the garbage collector, whose time may be far off. The loop
        # has to forget the descriptor first: its number will be another's.
        loop = asyncio.get_running_loop()
        loop.remove_reader(bus._fd)
        loop.remove_writer(bus._fd)
        for each in (bus._stream, bus._sock):
            try:
                each.close()
            except (OSError, ValueError):
                pass  # what was not flushed went nowhere
        if self._bus is bus:
            self._bus = None


def _socket_path() -> str:
    """The system bus' socket; "" where its address is no path."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "").partition(";")[0]
    if not address:
        return str(_SOCKET)
    kind, _, options = address.partition(":")
    paths = [each[5:] for each in options.split(",") if each.startswith("path=")]
    return paths[0] if kind == "unix" and paths else ""
