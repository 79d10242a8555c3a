# SPDX-License-Identifier: Apache-2.0
"""The system bus' socket: where it is, whether somebody listens, and what waits to be sent on it.

dbus_next 0.2.3 (and dbus_fast, which came of it) takes a full socket for a dead connection: whoever
asks for more than the socket holds makes it deaf, and the bus goes on as if it were there. Here
what the socket does not take yet waits. It also leaves a descriptor behind where nobody listens.
"""

import asyncio
import os
import socket
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from podwatch.words.errors import BusUnavailable

MAX_SENT_BYTES = 16 << 20
"""The bus ends a connection that sends a message of more than 32 MiB."""

_SOCKET = Path("/run/dbus/system_bus_socket")


class Written(Protocol):
    """The connection that is written to."""

    unique_name: Any
    """None until the bus has said Hello."""

    def on_waiting(self, waiting_bytes: int) -> None:
        """So much waits to be sent."""

    def on_dead(self, exc: Exception) -> None:
        """Nothing can be sent any more."""


class Writer:
    """What waits to be sent, and is sent as the socket takes it: in place of dbus_next's writer."""

    def __init__(self, bus: Written, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._bus = bus
        self._sock = sock
        self._loop = loop
        self._waiting: deque[tuple[memoryview, asyncio.Future[None] | None]] = deque()
        self._waiting_bytes = 0
        self._is_called = False

    def schedule_write(self, msg: Any = None, future: "asyncio.Future[None] | None" = None) -> None:
        """Send this message, and what waited until the bus had said Hello."""
        if msg is not None:
            data = memoryview(msg if isinstance(msg, bytes) else bytes(msg._marshall()))
            if len(data) > MAX_SENT_BYTES:
                raise ValueError(f"a message of {len(data)} bytes")
            self._waiting.append((data, future))
            self._waiting_bytes += len(data)
            self._bus.on_waiting(self._waiting_bytes)
        if self._bus.unique_name and not self._is_called:
            self._is_called = True
            self._loop.add_writer(self._sock, self._write)

    def clear(self) -> None:
        """Send nothing any more."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if future is not None:
                future.cancel()

    def _write(self) -> None:
        try:
            while self._waiting:
                data, future = self._waiting[0]
                sent = self._sock.send(data)
                self._waiting_bytes -= sent
                if sent < len(data):
                    self._waiting[0] = data[sent:], future
                    break
                self._waiting.popleft()
                if future is not None and not future.done():
                    future.set_result(None)
            else:
                self._is_called = False
                self._loop.remove_writer(self._sock)
        except (BlockingIOError, InterruptedError):
            pass  # it is called again when the socket takes more
        except Exception as exc:  # the connection is dead
            self._bus.on_dead(exc)
            return
        self._bus.on_waiting(self._waiting_bytes)


def knock() -> None:
    """Raise BusUnavailable where nobody listens; without a cause where there is no bus.

    MessageBus connects in its constructor: where that fails it leaves its descriptor behind, and
    where the bus is too busy to take the connection it blocks the loop.
    """
    path = _path()
    if path == str(_SOCKET) and not _SOCKET.exists():
        raise BusUnavailable(f"no system bus: {_SOCKET} does not exist")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(path)
        except OSError as exc:
            raise BusUnavailable(
                f"the system bus does not answer: {path}: {exc.strerror}",
                hint="systemctl status dbus.socket dbus.service",
            ) from exc


def _path() -> str:
    """The system bus' socket; "" where its address is no path."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "").partition(";")[0]
    if not address:
        return str(_SOCKET)
    kind, _, options = address.partition(":")
    paths = [option[5:] for option in options.split(",") if option.startswith("path=")]
    return paths[0] if kind == "unix" and paths else ""
