# SPDX-License-Identifier: Apache-2.0
"""The system bus' connection against buses that are no good."""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podwatch.adapters import dbus
from podwatch.adapters.bus_connection import MAX_BODY_BYTES
from podwatch.adapters.dbus import SystemBus
from podwatch.words.errors import BusUnavailable
from tests.lab import stranger

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


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say Hello, and then nothing any more."""
    await reader.readline()
    writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
    await reader.readline()
    answer: dict[int, str | int] = {stranger.REPLY_SERIAL: 1, stranger.SIGNATURE: "s"}
    writer.write(stranger.message(stranger.RETURN, 1, answer, stranger.string(":1.7")))
    await silent(reader, writer)


async def closed(server: asyncio.Server) -> None:
    """Wait until the server has closed its ends as well."""
    server.close()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


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


def answering(fields: dict[int, str | int], body: bytes) -> Talk:
    """A bus that says Hello, and answers everything else with such a message."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
        await reader.readline()
        hello: dict[int, str | int] = {stranger.SIGNATURE: "s"}
        for serial in range(1, 4):
            head = await reader.readexactly(16)
            rest, asked, size = struct.unpack("<III", head[4:])
            await reader.readexactly(size + -size % 8 + rest)
            said, told = (hello, stranger.string(":1.7")) if serial == 1 else (fields, body)
            answers = {**said, stranger.REPLY_SERIAL: asked}
            writer.write(stranger.message(stranger.RETURN, serial, answers, told))
        await silent(reader, writer)

    return talk


@pytest.mark.parametrize(
    ("fields", "body", "told"),
    [
        ({stranger.SIGNATURE: "av"}, bytes(MAX_BODY_BYTES + 4), "is not read"),
        ({stranger.SIGNATURE: "s", 100: "unheard of"}, stranger.string("x"), "cannot be read"),
    ],
    ids=["too large", "of a later D-Bus"],
)
def test_an_answer_that_is_not_read_ends_the_call(
    path: Path, fields: dict[int, str | int], body: bytes, told: str
) -> None:
    """An answer too large, or with words that dbus_next does not know, is told and not waited for.

    The connection goes on.
    """

    async def run() -> None:
        server = await asyncio.start_unix_server(answering(fields, body), path)
        bus = SystemBus(timeout_s=20.0)
        for _ in range(2):
            async with asyncio.timeout(10):
                with pytest.raises(BusUnavailable, match=told):
                    await bus.owner("org.example")
        bus.close()
        await closed(server)

    asyncio.run(run())


def test_a_call_that_was_given_up_leaves_nothing(path: Path) -> None:
    """Nothing waits any more for the answer to a call whose time was over."""

    async def run() -> None:
        server = await asyncio.start_unix_server(hanging, path)
        bus = SystemBus()
        for _ in range(3):
            with pytest.raises(BusUnavailable, match="no answer"):
                await bus.owner("org.example")
        assert bus._bus is not None
        assert not bus._bus._method_return_handlers
        bus.close()
        await closed(server)

    asyncio.run(run())


def test_glib_is_not_loaded() -> None:
    """Importing the adapter does not pull GLib in, installed or not, nor bar others from it."""
    assert "gi.repository.GLib" not in sys.modules
    assert sys.modules.get("gi", "absent") is not None
