# SPDX-License-Identifier: Apache-2.0
"""The page over HTTP, asked by real clients, polite and otherwise."""

import asyncio
import os
import socket
import threading
from collections import deque
from contextlib import ExitStack, suppress

import pytest

from podwatch.adapters.http import Page
from podwatch.words.errors import PodwatchError

pytestmark = pytest.mark.integration


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:  # closed before all of the request was read
        return b""
    finally:
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


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

    async def ask() -> bytes:
        page = Page("/metrics", "text/plain", lambda: "up 1\n")
        port = await page.listen("127.0.0.1", 0)
        try:
            return await _ask(port, request_)
        finally:
            page.close()

    head, _, found = asyncio.run(ask()).partition(b"\r\n\r\n")
    assert status in head.split(b"\r\n")[0]
    assert found == body


_GET = b"GET /metrics HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("said", [b"", b"GET /metrics HT", _GET], ids=["nothing", "half", "all"])
def test_slow_clients_do_not_keep_others_out(said: bytes) -> None:
    """A thousand connections that say nothing, or half, or never read: the page is there at once.

    No more of them stay open than there are places.
    """
    page = Page("/metrics", "text/plain", lambda: "up 1\n" * 100_000)

    async def ask() -> tuple[bytes, int]:
        port = await page.listen("127.0.0.1", 0)
        before = len(os.listdir("/proc/self/fd"))
        with ExitStack() as clients:
            for _ in range(1000):
                client = clients.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                client.settimeout(0)
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
                with suppress(ConnectionError):
                    client.send(said)
            answer = await _ask(port, _GET)
            held = len(os.listdir("/proc/self/fd")) - before - 1000
        page.close()
        return answer, held

    answer, held = asyncio.run(ask())
    assert answer.endswith(b"up 1\n")
    assert held <= 65


def test_a_flood_of_connections_does_not_keep_others_out() -> None:
    """While somebody connects as fast as he can, ten scrapes in a row are answered in full."""
    over = threading.Event()

    def flood(port: int) -> None:
        held: deque[socket.socket] = deque()
        while not over.is_set():
            held.append(socket.socket())
            held[-1].settimeout(0)
            held[-1].connect_ex(("127.0.0.1", port))
            if len(held) > 200:
                held.popleft().close()
        for each in held:
            each.close()

    async def ask() -> list[bytes]:
        page = Page("/metrics", "text/plain", lambda: "up 1\n")
        port = await page.listen("127.0.0.1", 0)
        before = len(os.listdir("/proc/self/fd"))
        thread = threading.Thread(target=flood, args=(port,))
        thread.start()
        try:
            return [await _ask(port, _GET) for _ in range(10)]
        finally:
            over.set()
            thread.join()
            async with asyncio.timeout(30):
                while len(os.listdir("/proc/self/fd")) > before:
                    await asyncio.sleep(0.01)
            page.close()

    assert all(each.endswith(b"up 1\n") for each in asyncio.run(ask()))


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
