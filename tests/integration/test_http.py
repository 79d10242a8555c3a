# SPDX-License-Identifier: Apache-2.0
"""The page over HTTP, asked by real clients, polite and otherwise."""

import asyncio
from contextlib import suppress

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


def test_slow_clients_do_not_hold_up_others() -> None:
    """Connections that say nothing use up the places; a later one is served once they are gone."""

    async def ask() -> bytes:
        page = Page("/metrics", "text/plain", lambda: "up 1\n")
        port = await page.listen("127.0.0.1", 0)
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        assert await _ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        for _, writer in silent:
            await _close(writer)
        async with asyncio.timeout(10):
            while not (answer := await _ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")):
                await asyncio.sleep(0.01)
        page.close()
        return answer

    assert b"up 1\n" in asyncio.run(ask())


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
