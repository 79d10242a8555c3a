# SPDX-License-Identifier: Apache-2.0
"""One page over HTTP on a loopback address, for a Prometheus on the same host.

It answers GET of one path and nothing else, one request for each connection, a few connections at a
time, and gives up on whoever is slow: a scraper cannot hold up the daemon.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from podwatch.words.errors import PodwatchError

_REQUEST_BYTES = 8192
_LIMIT_S = 5.0
_AT_ONCE = 8


class Page:
    """Serves what `content` returns, as `content_type`, at `path`."""

    def __init__(self, path: str, content_type: str, content: Callable[[], str]) -> None:
        self._path = path
        self._type = content_type
        self._content = content
        self._server: asyncio.Server | None = None
        self._open = 0

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; the port (a free one for 0). Raises PodwatchError if it is taken."""
        try:
            self._server = await asyncio.start_server(
                self._answer, host, port, limit=_REQUEST_BYTES
            )
        except OSError as exc:
            raise PodwatchError(
                f"cannot listen on {host} port {port}: {exc.strerror}",
                hint="another program has it: set metrics.listen to a free port",
            ) from exc
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _AT_ONCE:
                async with asyncio.timeout(_LIMIT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head.split(b"\r\n", 1)[0]))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # slow, gone, or no HTTP: not worth a word
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            status, body = "405 Method Not Allowed", ""
        elif path != self._path.encode():
            status, body = "404 Not Found", f"see {self._path}\n"
        else:
            status, body = "200 OK", self._content()
        data = body.encode()
        head = (
            f"HTTP/1.0 {status}\r\nContent-Type: {self._type}\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (data if method != b"HEAD" else b"")
