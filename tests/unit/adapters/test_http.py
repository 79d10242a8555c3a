# SPDX-License-Identifier: Apache-2.0
"""The page over HTTP, asked by real clients, polite and otherwise."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

import pytest

from podwatch.adapters.http import Page
from podwatch.words.errors import PodwatchError

GET = b"GET /metrics HTTP/1.1\r\n\r\n"
MAX_AT_ONCE = 64


async def ask(port: int, request: bytes) -> bytes:
    """What is answered on a connection of its own; nothing where that is closed unread."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:  # closed before all of the request was read
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def serve(body: Callable[[int], Awaitable[None]], content: str = "up 1\n") -> None:
    """Run `body` with the port of a page."""

    async def run() -> None:
        page = Page("/metrics", "text/plain", lambda: content)
        port = await page.listen("127.0.0.1", 0)
        try:
            await body(port)
        finally:
            page.close()
            page.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b" 200 ", b"up 1\n"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", b" 200 ", b"up 1\n"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b" 200 ", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b" 404 ", b"see /metrics\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b" 405 ", b""),
        (b"nonsense\r\n\r\n", b" 405 ", b""),
        (b"no end", b"", b""),
        (b"x" * 100_000, b"", b""),
    ],
)
def test_requests(request_: bytes, status: bytes, body: bytes) -> None:
    """The page is answered, everything else refused, and what is no HTTP gets nothing."""

    async def run(port: int) -> None:
        head, _, found = (await ask(port, request_)).partition(b"\r\n\r\n")
        assert status in head.split(b"\r\n")[0]
        assert found == body

    serve(run)


def test_an_answer_says_its_type_and_its_length() -> None:
    """In bytes, not in letters; the connection is closed after it."""

    async def run(port: int) -> None:
        head, _, body = (await ask(port, GET)).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "HTTP/1.0 200 OK"
        length = f"Content-Length: {len(body)}"
        assert set(lines[1:]) == {"Content-Type: text/plain", length, "Connection: close"}
        assert body.decode() == "up 1 →\n"

    serve(run, "up 1 →\n")


@pytest.mark.parametrize("said", [b"", b"GET /metrics HT"], ids=["nothing", "half"])
def test_who_says_nothing_makes_room(said: bytes) -> None:
    """When all places are taken, the oldest that has not asked is closed, and the others stay."""

    async def run(port: int) -> None:
        with ExitStack() as clients:
            silent = [clients.enter_context(socket.socket()) for _ in range(MAX_AT_ONCE)]
            for client in silent:
                client.connect(("127.0.0.1", port))
                client.sendall(said)
                client.settimeout(0)
                for _ in range(3):
                    await asyncio.sleep(0)
            assert (await ask(port, GET)).endswith(b"up 1\n")
            assert _is_closed(silent[0])
            assert not _is_closed(silent[1])
            assert not _is_closed(silent[-1])

    serve(run)


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_port_that_is_taken_is_told() -> None:
    """Another program on the port is an error that names it, not the daemon's end."""

    async def listen() -> None:
        first = Page("/", "text/plain", str)
        port = await first.listen("127.0.0.1", 0)
        try:
            await Page("/", "text/plain", str).listen("127.0.0.1", port)
        finally:
            first.close()

    with pytest.raises(PodwatchError, match=r"cannot listen on 127\.0\.0\.1 port") as caught:
        asyncio.run(listen())
    assert "metrics.listen" in caught.value.hint
