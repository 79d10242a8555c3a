# SPDX-License-Identifier: Apache-2.0
"""Containers that come and go on one port, and what the client has to hear at each moment.

A lane owns one port. It starts a container there, ends it in one of many ways, and now and then has
the host itself listen on the port in between. Each moment at which it is clear who has to answer is
a Spell; what the client heard in it is compared afterwards.
"""

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.installed import Installed
from tests.lab.asking import Exchange
from tests.lab.client import HOST_V4, socket_in
from tests.lab.containers import IMAGE, web_command
from tests.lab.machine import until

NOBODY = "refused"
"""What is heard where nobody listens."""
THE_HOST = "the-host"
RELOADS, HOSTS = 0.25, 0.4
"""How often a container is reloaded, and how often the host itself listens after one."""
_STATE = "/run/containers/networks/firewall/ports"
_SERVED_AFTER = 3
"""So many more connections the host answers after a spell: whoever began in it is among them."""


@dataclass(frozen=True)
class Spell:
    """From when to when it was clear what a port answers: `heard`, as an Exchange has it.

    `heard` is "" where it is not clear: somebody is coming or going. `what` says what happens.
    """

    port: int
    what: str
    heard: str
    began: float
    ended: float


def wrong(spells: Iterable[Spell], exchanges: Iterable[Exchange]) -> list[str]:
    """A sentence for each exchange that was begun in a spell and heard anything else.

    A container's server has a short queue, and may be too busy to answer: there only another's
    answer is wrong.
    """
    found = []
    for spell, exchange in within(spells, exchanges):
        is_sure = spell.heard in (NOBODY, f"={THE_HOST}") or exchange.heard.startswith("=")
        if spell.heard and is_sure and exchange.heard != spell.heard:
            found.append(
                f"port {spell.port}, {1000 * (exchange.begun - spell.began):.0f} ms after "
                f"{spell.what}: {exchange.heard!r}, not {spell.heard!r}"
            )
    return found


def within(
    spells: Iterable[Spell], exchanges: Iterable[Exchange]
) -> Iterator[tuple[Spell, Exchange]]:
    """Each spell with each exchange that was begun in it."""
    by_port: dict[int, list[Exchange]] = {}
    for exchange in exchanges:
        by_port.setdefault(exchange.port, []).append(exchange)
    for spell in spells:
        for exchange in by_port.get(spell.port, ()):
            if spell.began < exchange.begun and exchange.sent < spell.ended:
                yield spell, exchange


def told(spells: Iterable[Spell], exchanges: Iterable[Exchange]) -> str:
    """What was heard, by what happened: a line each."""
    heard: dict[str, Counter[str]] = {}
    for spell, exchange in within(spells, exchanges):
        kind = "an answer" if exchange.heard.startswith("=") else exchange.heard
        heard.setdefault(spell.what, Counter())[kind] += 1
    return "\n".join(f"{what}: {dict(counter)}" for what, counter in sorted(heard.items()))


@dataclass
class Lane:
    """One port, its containers, and what has happened there so far.

    `held` says whether the guard holds a port; None where nobody asks.
    """

    there: Installed
    port: int
    chance: random.Random
    held: Callable[[int], bool] | None = None
    name: str = ""
    """The container that has the port; "" where none has it."""
    is_lost: bool = False
    """Whether its rules were lost: until they are back nobody knows what is heard."""
    spells: list[Spell] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What was wrong with what the guard held."""
    events: Counter[str] = field(default_factory=Counter)
    _stopped: str = ""
    _now: tuple[str, str] = "", ""
    _since: float = field(default_factory=time.monotonic)

    def run(self, events: int) -> None:
        """Let so many things happen, and end with nobody on the port."""
        while self.events.total() < events:
            self.begin()
            if self.chance.random() < RELOADS:
                self.happen("network reload", self._reload, f"={self.name}")
                self._wait()
            self.end()
            if self.chance.random() < HOSTS:
                self.listen()
        self.clear()

    def begin(self) -> None:
        """A container comes: a new one, or the one that was stopped."""
        if self._stopped:
            self.name, self._stopped = self._stopped, ""
            self.happen("start", lambda: self._podman("start", self.name), "")
        else:
            self.name = f"c{self.port}-{self.events.total()}"
            self.happen("run", self._run, "")
        self._has_to_hold(expected=True)
        self.until_answering()
        self._wait()

    def end(self) -> None:
        """The container goes, in one way or another."""
        ways = {
            "stop": self._stop,
            "rm -f": self._remove,
            "kill": self._kill,
            "crash": self._crash,
            "crash with conmon": self._crash_whole,
        }
        what = self.chance.choice(list(ways))
        self.happen(what, ways[what], NOBODY)
        self._has_to_hold(expected=False)
        self._wait()

    def listen(self) -> None:
        """The host itself listens on the port for a moment."""
        self.over()
        with listening(self.there, self.port) as service:
            self.becomes("the host listens", f"={THE_HOST}")
            self._wait()
            self.over()
            service.serve_more()
        self.becomes("the host ended", NOBODY)

    def clear(self) -> None:
        """Remove what is left."""
        self.over()
        left = self.name or self._stopped
        self._podman("rm", "-f", "-t0", "--ignore", *([left] if left else ["none"]))
        self.name = self._stopped = ""

    def happen(self, what: str, action: Callable[[], object], heard: str) -> None:
        """What was clear ends, something happens, and then this is `heard`; "": that is not clear.

        What is heard meanwhile is written down in brackets.
        """
        self.over()
        if self.name:  # whoever has asked is answered before it goes
            self.there.host.client.http(self.port, timeout=0.3)
        self._now, self._since = (f"({what})", ""), time.monotonic()
        action()
        self.over()
        self.events[what] += 1
        self.becomes(what, heard)

    def until_answering(self) -> None:
        """Wait until the container's server is up: that takes longer than `podman run`."""
        client = self.there.host.client
        self.there.until(lambda: client.http(self.port, timeout=0.3) == self.name, "answering")
        self.is_lost = False
        self.becomes("running", f"={self.name}")

    def becomes(self, what: str, heard: str) -> None:
        """From now on this is `heard`."""
        self._now, self._since = (what, heard), time.monotonic()

    def over(self) -> None:
        """What was clear until now is so no longer."""
        now = time.monotonic()
        self.spells.append(Spell(self.port, *self._now, self._since, now))
        self._now, self._since = ("", ""), now

    def _has_to_hold(self, *, expected: bool) -> None:
        held = self.held
        if held is not None and held(self.port) is not expected:
            began = time.monotonic()
            until(lambda: held(self.port) is expected, 5.0)
            self.remarks.append(
                f"port {self.port} after {self._now[0]}: the guard "
                f"{'does not hold' if expected else 'holds'} it, for "
                f"{1000 * (time.monotonic() - began):.0f} ms more"
            )

    def _wait(self) -> None:
        time.sleep(self.chance.uniform(0.05, 0.3))  # how long it stays so is what varies

    # What happens.

    def _podman(self, *arguments: str) -> str:
        return self.there.host.podman(*arguments)

    def _run(self) -> None:
        options = ["--detach", "--stop-signal=SIGKILL", f"--publish={self.port}:80"]
        self._podman("run", "--name", self.name, *options, IMAGE, *web_command(self.name))

    def _reload(self) -> None:
        self._podman("network", "reload", self.name)

    def _stop(self) -> None:
        self._podman("stop", "-t0", self.name)
        self.name, self._stopped = "", self.name

    def _remove(self) -> None:
        self._podman("rm", "-f", "-t0", self.name)
        self.name = ""

    def _kill(self) -> None:
        key = self._inspect("{{.Id}}")
        self._podman("kill", self.name)
        self._until_torn_down(key)
        self._remove()

    def _crash(self) -> None:
        key, pid = self._inspect("{{.Id}} {{.State.Pid}}").split()
        self.there.host.run(f"kill -9 {pid}")
        self._until_torn_down(key)
        self._remove()

    def _crash_whole(self) -> None:
        """conmon dies first: nobody is left to take the network down but podman, when asked."""
        self.crash_with_conmon()
        remove = ["podman", "rm", "-f", "-t0", self.name]  # fails once, as conmon is missing
        run = self.there.host.run
        self.there.until(lambda: run(remove, check=False).code == 0, "removed")
        self.name = ""

    def crash_with_conmon(self) -> None:
        """Kill the container and its conmon: its state and its rules stay."""
        pids = self._inspect("{{.State.ConmonPid}} {{.State.Pid}}")
        self.there.host.run(f"kill -9 {pids}")

    def _inspect(self, what: str) -> str:
        return self._podman("inspect", "--format", what, self.name)

    def _until_torn_down(self, key: str) -> None:
        """Wait until netavark's state of a container has gone."""
        place = Path(f"{self.there.host.root}{_STATE}")
        self.there.until(lambda: not list(place.glob(f"*_{key}")), "torn down")


class Service:
    """The host's own service on one port, served by a thread until it is closed."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._answered = 0
        self._ended = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def serve_more(self) -> None:
        """Answer a few more connections."""
        enough = self._answered + _SERVED_AFTER
        until(lambda: self._answered >= enough, 5.0)

    def close(self) -> None:
        """Listen no more."""
        self._ended = True
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        self._listener.settimeout(0.1)
        while not self._ended:
            with suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(1.0)
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{THE_HOST}\n".encode("ascii"))
                self._answered += 1


@contextmanager
def listening(there: Installed, port: int) -> Iterator[Service]:
    """Have the host itself answer a port, as a service of its own would."""
    namespace = os.open(f"/proc/{there.host.leader}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        listener = socket_in(namespace, socket.SOCK_STREAM, HOST_V4)
    finally:
        os.close(namespace)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST_V4, port))
    listener.listen(64)
    service = Service(listener)
    try:
        yield service
    finally:
        service.close()
