# SPDX-License-Identifier: Apache-2.0
"""The program behind ``asking.Asking``: new HTTP exchanges at a steady pace, and what was heard.

It runs in the client's namespace as a process of its own (``python3 -I asker.py INTERVAL GIVE_UP
ADDRESS PORT...``). Each port gets a new connection at every interval, whatever became of the
earlier ones. It comes from a source port that was not used for ten minutes: what the kernel has
translated for a connection without an answer it keeps for up to four, and sends the next one of the
same ports there, too.

It prints ``ready``, and for each exchange one line: the port, when it was begun, sent and ended
(CLOCK_MONOTONIC seconds), and what was heard. That is ``=`` and the body of the answer, or one
word: ``refused``, ``unreachable``, ``reset``, ``silent`` where not even the connection was
answered, ``mute`` where it was and nothing came. It stops at the end of its standard input, after
the exchanges under way.
"""

import os
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass

SOURCES = range(1024, 65000)
PER_SECOND = 100
"""Where in SOURCES the clock begins moves on by so many: nobody asks more often."""

REQUEST = b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n"


@dataclass
class Exchange:
    """One exchange under way."""

    port: int
    begun: float
    sent: float
    connection: socket.socket
    connected: bool = False
    received: bytes = b""
    over: bool = False


class Asker:
    """Begins, carries on and gives up exchanges."""

    def __init__(self, interval: float, give_up: float, address: str, ports: list[int]) -> None:
        self.interval, self.give_up = interval, give_up
        self.address, self.ports = address, ports
        self.sources = dict.fromkeys(ports, int(time.monotonic() * PER_SECOND))
        self.selector = selectors.DefaultSelector()
        self.under_way: deque[Exchange] = deque()
        self.stopped = False

    def begin(self, port: int) -> None:
        """Begin one exchange with a port."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.from_another(connection, port)
        begun = time.monotonic()
        connection.connect_ex((self.address, port))
        exchange = Exchange(port, begun, time.monotonic(), connection)
        self.selector.register(connection, selectors.EVENT_WRITE, exchange)
        self.under_way.append(exchange)

    def from_another(self, connection: socket.socket, port: int) -> None:
        """Give a connection to a port a source port that has not been used for long."""
        for _ in SOURCES:
            self.sources[port] += 1
            try:
                connection.bind(("", SOURCES[self.sources[port] % len(SOURCES)]))
            except OSError:  # somebody else has it
                continue
            return

    def carry_on(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds and serve the exchanges that can go on."""
        for key, events in self.selector.select(max(timeout, 0.0)):
            exchange = key.data
            if exchange is None:
                if not os.read(key.fd, 4096):
                    self.selector.unregister(key.fd)
                    self.stopped = True
                continue
            try:
                if events & selectors.EVENT_WRITE:
                    exchange.connection.sendall(REQUEST)
                    exchange.connected = True
                    self.selector.modify(exchange.connection, selectors.EVENT_READ, exchange)
                    continue
                chunk = exchange.connection.recv(65536)
            except ConnectionRefusedError:
                self.end(exchange, "refused")
            except (ConnectionResetError, BrokenPipeError):
                self.end(exchange, "reset")
            except OSError:
                self.end(exchange, "unreachable")
            else:
                exchange.received += chunk
                if not chunk:
                    head, _, body = exchange.received.partition(b"\r\n\r\n")
                    good = b" 200 " in head.split(b"\r\n", 1)[0]
                    self.end(exchange, "=" + body.decode().strip() if good else "reset")

    def end(self, exchange: Exchange, heard: str) -> None:
        """Close an exchange and tell of it."""
        exchange.over = True
        self.selector.unregister(exchange.connection)
        exchange.connection.close()
        moments = exchange.begun, exchange.sent, time.monotonic()
        print(exchange.port, *moments, heard, flush=True)

    def give_up_old(self) -> None:
        """End the exchanges that were begun too long ago."""
        now = time.monotonic()
        while self.under_way and (
            self.under_way[0].over or now - self.under_way[0].begun > self.give_up
        ):
            exchange = self.under_way.popleft()
            if not exchange.over:
                self.end(exchange, "mute" if exchange.connected else "silent")

    def run(self) -> None:
        """Ask at a steady pace until standard input ends, then let what is under way finish."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        pace = self.interval / len(self.ports)  # the ports take turns, evenly over each interval
        due, turn = time.monotonic(), 0
        print("ready", flush=True)
        while not self.stopped:
            self.give_up_old()
            now = time.monotonic()
            if due <= now:
                self.begin(self.ports[turn % len(self.ports)])
                # Whoever was held up does not make up for it all at once.
                due, turn = max(due + pace, now - self.interval), turn + 1
            self.carry_on(due - time.monotonic())
        while self.under_way:
            self.carry_on(0.05)
            self.give_up_old()


if __name__ == "__main__":
    Asker(
        float(sys.argv[1]), float(sys.argv[2]), sys.argv[3], [int(port) for port in sys.argv[4:]]
    ).run()
