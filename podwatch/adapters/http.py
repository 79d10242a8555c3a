# SPDX-License-Identifier: Apache-2.0
"""One page over HTTP on a loopback address, for a Prometheus on the same host.

It answers GET of one path and nothing else, one request for each connection, and gives up on
whoever is slow. Every user of the host can connect: when all places are taken, the connection that
has said nothing for the longest time makes room, so that nobody keeps a scraper out.
"""

import asyncio
import socket
from collections.abc import Callable

from podwatch.words.errors import PodwatchError

_REQUEST_BYTES = 8192
MAX_REQUEST_S = 5.0
_AT_ONCE = 64
_TURN = 8
"""So many connections are accepted before the loop has another turn. asyncio reads a request some
four turns after its connection: well before so many others could push it out."""
_QUEUE = 1024
"""The kernel keeps so many more: a scraper's that it drops is tried again a second later."""


class Page:
    """Serves what `content` returns, as `content_type`, at `path`."""

    def __init__(self, path: str, content_type: str, content: Callable[[], str]) -> None:
        self._path = path
        self._type = content_type
        self._content = content
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, bool] = {}
        """The connections, the oldest first, and whether each has asked."""

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; the port (a free one for 0). Raises PodwatchError if it is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:  # EAFNOSUPPORT: the unit's RestrictAddressFamilies= forbids it
            raise PodwatchError(
                f"cannot listen on {host} port {port}: {exc.strerror}",
                hint="the service needs the drop-in /usr/share/podwatch/metrics-http.conf",
            ) from exc
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            self._server = await asyncio.start_server(
                self._answer, sock=sock, limit=_REQUEST_BYTES, backlog=_TURN
            )
            sock.listen(_QUEUE)
        except OSError as exc:
            sock.close()
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
        if len(self._open) >= _AT_ONCE:
            silent = (writer for writer, has_asked in self._open.items() if not has_asked)
            oldest = next(silent, next(iter(self._open)))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = False
        try:
            async with asyncio.timeout(MAX_REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                if writer in self._open:
                    self._open[writer] = True
                    writer.write(self._response(head.split(b"\r\n", 1)[0]))
                    writer.close()
                    await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # slow, gone, or no HTTP: not worth a word
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

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
