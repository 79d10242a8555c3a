# SPDX-License-Identifier: Apache-2.0
"""The program behind ``watch.Watch``: new HTTP exchanges at a steady pace, and when each was
answered.

It runs in the namespace to ask from as a process of its own (``python3 -I exchanges.py INTERVAL
GIVE_UP GREETING ADDRESS,PORT...``; with a GREETING nothing is asked, and it is the answer), so that
nothing the test does slows it down. Each port gets a *new* connection at every interval, whatever
became of the earlier ones: the kernel repeats a lost SYN only after a second, so a prober that
waits for its connection would see a loss of 10 ms as one of 1000. It prints ``ready`` once every
port has answered, stops at the end of its standard input, waits for the exchanges under way and
prints one JSON object (``watch.PortReport`` says what is in it).
"""

import json
import os
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field

REQUEST = b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n"
READY_S = 10.0
"""How long a port may take to give its first answer, in seconds."""


@dataclass
class Port:
    """One watched port and what is known of it; all moments are CLOCK_MONOTONIC seconds."""

    address: str
    port: int
    last_answer: float
    answered: int = 0
    failed: int = 0
    longest: float = 0.0
    longest_from: float = 0.0
    first_failure: float | None = None
    last_failure: float | None = None

    def reset(self, now: float) -> None:
        """Forget what was counted: the watch begins ``now``."""
        self.answered = self.failed = 0
        self.longest, self.longest_from, self.last_answer = 0.0, now, now
        self.first_failure = self.last_failure = None

    def on_answer(self, now: float) -> None:
        """Count an exchange that was answered in full at ``now``."""
        self.answered += 1
        self.on_silence_until(now)
        self.last_answer = now

    def on_failure(self, begun: float) -> None:
        """Count an exchange, begun at ``begun``, that had no answer."""
        self.failed += 1
        self.first_failure = begun if self.first_failure is None else min(self.first_failure, begun)
        self.last_failure = begun if self.last_failure is None else max(self.last_failure, begun)

    def on_silence_until(self, now: float) -> None:
        """Note that nothing was answered from the last answer until ``now``."""
        if now - self.last_answer > self.longest:
            self.longest, self.longest_from = now - self.last_answer, self.last_answer


@dataclass
class Exchange:
    """One HTTP exchange under way."""

    port: Port
    begun: float
    connection: socket.socket
    received: bytes = b""
    over: bool = False


@dataclass
class Prober:
    """Begins, carries on and gives up exchanges."""

    ports: list[Port]
    interval: float
    give_up: float
    greeting: bytes = b""
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    under_way: deque[Exchange] = field(default_factory=deque)
    stopped: float = 0.0

    def begin(self, port: Port) -> None:
        """Begin one exchange with a port."""
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        exchange = Exchange(port, time.monotonic(), connection)
        connection.connect_ex((port.address, port.port))
        self.selector.register(connection, selectors.EVENT_WRITE, exchange)
        self.under_way.append(exchange)

    def carry_on(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds and serve the exchanges that can go on."""
        for key, events in self.selector.select(max(timeout, 0.0)):
            exchange = key.data
            if exchange is None:
                self.on_input(key.fd)
                continue
            try:
                if events & selectors.EVENT_WRITE:
                    if not self.greeting:
                        exchange.connection.sendall(REQUEST)
                    self.selector.modify(exchange.connection, selectors.EVENT_READ, exchange)
                    continue
                chunk = exchange.connection.recv(65536)
            except OSError:  # refused, reset or unreachable
                self.end(exchange)
                continue
            if chunk:
                exchange.received += chunk
            else:
                self.end(exchange)

    def on_input(self, descriptor: int) -> None:
        """Take the end of standard input as the order to stop."""
        if not os.read(descriptor, 4096):
            self.selector.unregister(descriptor)
            self.stopped = time.monotonic()

    def end(self, exchange: Exchange) -> None:
        """Close an exchange and count it."""
        now = time.monotonic()
        exchange.over = True
        self.selector.unregister(exchange.connection)
        exchange.connection.close()
        if exchange.received.split(b"\n", 1)[0].strip().endswith(self.greeting or b" 200 OK"):
            exchange.port.on_answer(now)
        else:
            exchange.port.on_failure(exchange.begun)

    def give_up_old(self, now: float) -> None:
        """End the exchanges that were begun too long ago."""
        while self.under_way and (
            self.under_way[0].over or now - self.under_way[0].begun > self.give_up
        ):
            exchange = self.under_way.popleft()
            if not exchange.over:
                self.end(exchange)

    def run(self) -> None:
        """Probe at a steady pace until standard input ends, then let what is under way finish."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        pace = self.interval / len(self.ports)  # the ports take turns, evenly over each interval
        start = due = time.monotonic()
        turn, ready = 0, False
        while not self.stopped:
            now = time.monotonic()
            self.give_up_old(now)
            while due <= now:
                self.begin(self.ports[turn % len(self.ports)])
                due, turn = due + pace, turn + 1
            if not ready and now - start > READY_S:
                raise SystemExit(1)
            if not ready and all(port.answered for port in self.ports):
                ready = True
                for port in self.ports:
                    port.reset(now)
                sys.stdout.write("ready\n")
                sys.stdout.flush()
            self.carry_on(due - time.monotonic())
        while self.under_way:
            self.carry_on(0.05)
            self.give_up_old(time.monotonic())
        for port in self.ports:
            port.on_silence_until(max(self.stopped, port.last_answer))


def main(arguments: list[str]) -> None:
    """Watch the ports named on the command line."""
    now = time.monotonic()
    ports = []
    for argument in arguments[3:]:
        address, _, port = argument.rpartition(",")
        ports.append(Port(address, int(port), now))
    Prober(ports, float(arguments[0]), float(arguments[1]), arguments[2].encode()).run()
    report = {
        f"{port.address},{port.port}": {
            "exchanges": port.answered + port.failed,
            "failures": port.failed,
            "longest_ms": port.longest * 1000,
            "longest_from": port.longest_from,
            "first_failure": port.first_failure,
            "last_failure": port.last_failure,
        }
        for port in ports
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
