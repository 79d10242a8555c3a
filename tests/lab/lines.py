# SPDX-License-Identifier: Apache-2.0
"""The two ends of connections that last: one answers, the other asks on each all the time.

Each end is a program of its own. ``python3 -I lines.py serve NAME HTTP_PORT LINES_PORT`` sends
every line back on LINES_PORT and, where HTTP_PORT is not 0, answers HTTP with NAME there; its queue
of new connections is long enough that none is lost in it. ``python3 -I lines.py keep ADDRESS PORT
COUNT`` opens COUNT connections and sends a line on each every 10 ms. It prints ``ready`` once each
was answered, stops at the end of its standard input after one more answer of each, and prints one
JSON object (``lasting.Kept`` says what is in it).
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter

LINE = b"podwatch\n"
INTERVAL_S = 0.01
READY_S = 10.0
ANSWER_S = 5.0
"""A line lost on the way is sent again after 0.2 s, 0.4 s and so on: who is silent so long is gone.
"""
_BACKLOG = 1024


async def serve(name: str, http_port: int, lines_port: int) -> None:
    """Answer until killed."""
    page = f"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n{name}\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(page)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (OSError, EOFError):  # the caller hung up first
            writer.close()

    async def send_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except OSError:  # reset
            pass
        writer.close()

    await asyncio.start_server(send_back, None, lines_port, backlog=_BACKLOG)
    if http_port:
        await asyncio.start_server(answer, None, http_port, backlog=_BACKLOG)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


class Connection:
    """One connection that is asked on all the time; `why` says how it broke, "" while it lives."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.longest = 0.0
        self.why = ""

    async def ask(self) -> None:
        """Send one line and wait until it is back."""
        began = time.monotonic()
        try:
            self._writer.write(LINE)
            async with asyncio.timeout(ANSWER_S):
                await self._writer.drain()
                if await self._reader.readline() != LINE:
                    self.why = "closed"
        except TimeoutError:  # an OSError, too
            self.why = "silent"
        except OSError as exc:
            self.why = type(exc).__name__
        self.longest = max(self.longest, time.monotonic() - began)

    async def last(self, stop: asyncio.Event) -> None:
        """Ask until it breaks, or is to stop: then once more."""
        is_last = False
        while not self.why and not is_last:
            is_last = stop.is_set()
            await self.ask()
            await asyncio.sleep(INTERVAL_S)
        self._writer.transport.abort()


async def keep(address: str, port: int, count: int) -> None:
    """Open the connections and keep them until standard input ends."""
    async with asyncio.timeout(READY_S):
        kept = [Connection(*await asyncio.open_connection(address, port)) for _ in range(count)]
        await asyncio.gather(*(connection.ask() for connection in kept))
    if any(connection.why for connection in kept):
        raise SystemExit(1)
    for connection in kept:
        connection.longest = 0.0
    stop = asyncio.Event()

    def on_input() -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            stop.set()

    asyncio.get_running_loop().add_reader(0, on_input)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*(connection.last(stop) for connection in kept))
    report = {
        "opened": count,
        "broken": sum(bool(connection.why) for connection in kept),
        "why": Counter(connection.why for connection in kept if connection.why),
        "longest_ms": round(max(connection.longest for connection in kept) * 1000, 1),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        asyncio.run(keep(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
