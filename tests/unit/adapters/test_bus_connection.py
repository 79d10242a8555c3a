# SPDX-License-Identifier: Apache-2.0
"""A connection whose other end takes its time: nothing is lost, and nothing grows without end."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters import bus_connection, bus_socket
from podwatch.adapters.bus_connection import Connection, connected, fitted, unpacked
from podwatch.formats.bus_messages import CALL, Header
from tests.lab import stranger
from tests.unit.waiting import until

MessageBus: Any = import_module("dbus_next.aio.message_bus").MessageBus
BusType: Any = import_module("dbus_next.constants").BusType
Message: Any = import_module("dbus_next.message").Message
MessageType: Any = import_module("dbus_next.constants").MessageType
SIGNALS = 500
TEXT = "x" * 4000


class SlowBus:
    """A bus that says Hello, and reads what else is sent only once it may."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.heard = asyncio.Event()
        self.members: list[int] = []
        self.writer: asyncio.StreamWriter | None = None

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the other end of a connection; of one that only looks whether it is there, too."""
        if not await reader.readline():
            writer.close()
            return
        writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
        await reader.readline()
        await self._message(reader)
        hello: dict[int, str | int] = {stranger.REPLY_SERIAL: 1, stranger.SIGNATURE: "s"}
        writer.write(stranger.message(stranger.RETURN, 1, hello, stranger.string(":1.7")))
        self.writer = writer
        try:
            await self.may_read.wait()
            while True:
                self.members.append(await self._message(reader))
                self.heard.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _message(self, reader: asyncio.StreamReader) -> int:
        """Read a message; its first number."""
        head = await reader.readexactly(16)
        body, _, size = struct.unpack("<III", head[4:])
        data = await reader.readexactly(size + -size % 8 + body)
        return int.from_bytes(data[-body:][:4], "little") if body else 0

    def call(self, number: int) -> None:
        """Call whoever is connected."""
        assert self.writer is not None
        fields: dict[int, str | int] = {stranger.MEMBER: "Do", stranger.SENDER: ":1.9"}
        self.writer.write(stranger.message(stranger.CALL, number, fields))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clients look for the bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
    return tmp_path / "bus"


def use(path: Path, body: Callable[[SlowBus], Awaitable[None]]) -> None:
    """Run `body` with such a bus."""

    async def run() -> None:
        bus = SlowBus()
        server = await asyncio.start_unix_server(bus.talk, path, limit=1 << 12)
        async with asyncio.timeout(20):
            await body(bus)
            server.close()
            bus.may_read.set()
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(run())


def test_dbus_next_takes_a_full_socket_for_a_dead_one(path: Path) -> None:
    """That is why it does not write here: its own connection is gone, and nobody is told."""

    async def body(slow: SlowBus) -> None:
        bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        for number in range(SIGNALS):
            sent = bus.send(
                Message(
                    message_type=MessageType.SIGNAL,
                    path="/a",
                    interface="a.b",
                    member="C",
                    signature="us",
                    body=[number, TEXT],
                )
            )
            sent.add_done_callback(lambda future: future.cancelled() or future.exception())
        with pytest.raises(BlockingIOError):
            await bus.wait_for_disconnect()
        assert not bus.connected
        bus._stream.close()
        bus._sock.close()
        slow.may_read.set()

    use(path, body)


def test_what_the_socket_does_not_take_waits(path: Path) -> None:
    """However much is sent at once, all of it arrives in order when the other end reads."""

    async def body(slow: SlowBus) -> None:
        bus = await connected(timeout_s=5)
        for number in range(SIGNALS):
            bus.emit("/a", "a.b", "C", "us", [number, TEXT])
        await asyncio.sleep(0.1)  # nothing tells that a full socket is left alone
        assert bus.connected
        assert not bus.has_room.is_set()
        slow.may_read.set()
        await until(slow.heard, lambda: len(slow.members) == SIGNALS)
        assert slow.members == list(range(SIGNALS))
        assert bus.has_room.is_set()
        assert bus.connected
        bus.close()

    use(path, body)


def test_while_much_waits_nothing_is_read(path: Path) -> None:
    """Who asks for large answers and does not take them makes nothing grow; later it goes on."""

    async def body(slow: SlowBus) -> None:
        answered: list[int] = []
        bus: Connection | None = None

        def answer(call: Header, _data: bytes) -> None:
            assert bus is not None
            answered.append(call.serial)
            bus.answer(call, "us", [call.serial, TEXT * 25])

        bus = await connected(on_call=answer, timeout_s=5)
        for number in range(1, 101):
            slow.call(number)
        await bus_is_full(bus)
        most = bus_socket.MAX_SENT_BYTES  # of one message; here each has 100 KB
        waiting = bus._writer._waiting_bytes
        assert bus_connection.MAX_WAITING_BYTES < waiting < most
        assert len(answered) < 100
        slow.may_read.set()
        await until(slow.heard, lambda: len(slow.members) == 100)
        assert slow.members == answered == list(range(1, 101))
        bus.close()

    use(path, body)


async def bus_is_full(bus: Connection) -> None:
    """Wait until so much waits that nothing is read."""
    async with asyncio.timeout(10):
        while bus.has_room.is_set():
            await asyncio.sleep(0.01)


def test_what_waits_ends_with_the_connection(path: Path) -> None:
    """Whoever waits for room is told when there is no connection any more."""

    async def body(slow: SlowBus) -> None:
        bus = await connected(timeout_s=5)
        for number in range(SIGNALS):
            bus.emit("/a", "a.b", "C", "us", [number, TEXT])
        await bus_is_full(bus)
        bus.close()
        await bus.has_room.wait()
        with pytest.raises(EOFError):
            bus.emit("/a", "a.b", "C", "", [])
        slow.may_read.set()

    use(path, body)


@pytest.mark.parametrize(
    ("signature", "values"),
    [("s", [5]), ("u", [-1]), ("s", []), ("ss", ["one"]), ("s", ["x" * (17 << 20)])],
    ids=["type", "range", "none", "too few", "too large"],
)
def test_what_cannot_be_sent_is_not_begun(path: Path, signature: str, values: list[object]) -> None:
    """It is an error of the sender's, and the connection goes on."""

    async def body(slow: SlowBus) -> None:
        bus = await connected(timeout_s=5)
        with pytest.raises(ValueError, match=r"^not "):
            bus.emit("/a", "a.b", "C", signature, values)
        bus.emit("/a", "a.b", "C", "u", [7])
        slow.may_read.set()
        await until(slow.heard, lambda: slow.members == [7])
        bus.close()

    use(path, body)


def test_texts_are_made_such_as_the_bus_takes() -> None:
    """It ends a connection that sends a NUL, or what is not UTF-8."""
    assert fitted("sas(sa{sv})", ["a\0", ["\ud800"], ["ü", {"x\0": ("s", "\0")}]])[:2] == [
        "a\N{REPLACEMENT CHARACTER}",
        ["?"],
    ]
    ((text, variants),) = fitted("(sa{sv})", [["ü", {"x\0": ("as", ["\0"])}]])
    assert text == "ü"
    ((name, variant),) = variants.items()
    assert name == "x\N{REPLACEMENT CHARACTER}"
    assert (variant.signature, variant.value) == ("as", ["\N{REPLACEMENT CHARACTER}"])


def test_values_that_are_cut_off_are_an_error() -> None:
    """A call whose body is shorter than its signature says has no values."""
    fields: dict[int, str | int] = {stranger.PATH: "/", stranger.MEMBER: "Do"}
    whole = stranger.message(
        CALL, 1, {**fields, stranger.SIGNATURE: "ss"}, stranger.strings("a", "b")
    )
    header = Header(CALL, 0, "", "", 0, signature="ss")
    assert unpacked(header, whole) == ["a", "b"]
    for data in (
        stranger.message(CALL, 1, {**fields, stranger.SIGNATURE: "ss"}, stranger.strings("a")),
        stranger.message(CALL, 1, {**fields, stranger.SIGNATURE: "ss"}),
        whole[:-3],
    ):
        with pytest.raises(ValueError, match="not 'ss'"):
            unpacked(header, data)
