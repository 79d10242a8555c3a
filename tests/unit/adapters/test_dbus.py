# SPDX-License-Identifier: Apache-2.0
"""The system bus' connection against buses that are no good."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podwatch.adapters import dbus
from podwatch.adapters.dbus import SystemBus
from podwatch.words.errors import BusUnavailable

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and answer nothing."""
    while await reader.read(4096):
        pass
    writer.close()


async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Authenticate, then send what is no message."""
    await reader.readline()
    writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
    await reader.readline()
    writer.write(os.urandom(4096))
    await silent(reader, writer)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clients look for the bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
    monkeypatch.setattr(dbus, "CALL_TIMEOUT_S", 0.2)
    return tmp_path / "bus"


@pytest.mark.parametrize("talk", [silent, rubbish])
def test_a_bus_that_does_not_speak_is_unavailable(path: Path, talk: Talk) -> None:
    """Whatever the other end does, connecting ends in time and leaves no descriptor."""

    async def body() -> None:
        server = await asyncio.start_unix_server(talk, path)
        bus = SystemBus()
        before = -1
        for _ in range(5):
            with pytest.raises(BusUnavailable):
                await bus.connect()
            await asyncio.sleep(0.05)  # for the server to close its ends
            count = len(os.listdir("/proc/self/fd"))
            before = count if before < 0 else before
        assert len(os.listdir("/proc/self/fd")) <= before
        assert not bus.connected
        assert "does not answer" in bus.problem
        server.close()

    asyncio.run(body())


def test_a_bus_that_takes_no_more_connections_does_not_block(path: Path) -> None:
    """A full backlog is an answer, not a wait: the loop is not held up."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
            with pytest.raises(BusUnavailable, match="does not answer"):
                asyncio.run(SystemBus().connect())  # which would have no end


def test_running_survives_an_absent_bus(path: Path) -> None:
    """run() goes on where nobody listens, and where the socket is left over."""

    async def body() -> None:
        bus = SystemBus()
        task = asyncio.ensure_future(bus.run())
        await asyncio.sleep(0.1)
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(str(path))
        await asyncio.sleep(0.5)
        assert not task.done()
        assert bus.problem
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(body())


def test_glib_is_not_loaded() -> None:
    """Importing the adapter does not pull GLib in, installed or not, nor bar others from it."""
    assert "gi.repository.GLib" not in sys.modules
    assert sys.modules.get("gi", "absent") is not None
