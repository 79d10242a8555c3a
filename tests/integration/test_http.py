# SPDX-License-Identifier: Apache-2.0
"""The page over HTTP, while a thousand clients mean ill."""

import asyncio
import os
import socket
import threading
from collections import deque
from contextlib import ExitStack, suppress

import pytest

from podwatch.adapters.http import Page
from tests.unit.adapters.test_http import ask as _ask

pytestmark = pytest.mark.integration


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
        for connection in held:
            connection.close()

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

    assert all(answer.endswith(b"up 1\n") for answer in asyncio.run(ask()))
