# SPDX-License-Identifier: Apache-2.0
"""The name server at looks, and the repair of one: what is asked once more right before it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon import names as daemon_names
from podwatch.daemon.installed import Installed
from podwatch.daemon.names import Names
from podwatch.words.errors import RestoreFailed, Unreadable
from podwatch.words.links import Links
from podwatch.words.names import HUNG_S, Entry, NameServer, Place, Served
from podwatch.words.network import Endpoint, FirewallDriver, Setup
from podwatch.words.snapshot import Part, Unknown

V4 = ip_address("10.89.50.1")
AT_53: Place = (V4, 53)
HERE = Links({}, {"podman1": (ip_interface("10.89.50.1/24"),)})
APP = Served("app", "/run/app", (V4,), (Entry("web"),))
WELL = NameServer("/run/aardvark.pid", 7, "aardvark-dns", (7,), (APP,), {AT_53: 0})
DEAD = replace(WELL, name="", running=(), sockets={})
PROGRAM = Path("/usr/lib/podman/aardvark-dns")


class FakeHost:
    """aardvark-dns, podman's lock and who starts things; all that Names is handed of a host.

    `after` is what is seen once it was started; `done` is what was done, in order.
    """

    def __init__(self, server: NameServer | None, after: NameServer | None = WELL) -> None:
        self.server, self.after = server, after
        self.command: tuple[str, ...] = ("aardvark-dns", "--config", "/run", "-p", "53", "run")
        self.links, self.program, self.dns_port = HERE, PROGRAM, 53
        self.now, self.error, self.held, self.is_own = 100.0, "", False, True
        self.done: list[str] = []

    def read(self, *, scan: bool = False) -> NameServer | None:
        """What is seen; looked for among all processes with `scan`."""
        if self.error:
            raise Unreadable(self.error, hint="look there")
        if scan:
            self.done.append("scan, held" if self.held else "scan")
        return self.server

    def serves(self, pid: int) -> bool:
        """Whether it is alive."""
        return self.server is not None and pid in self.server.running

    def hang_up(self, pid: int) -> bool:
        """SIGHUP."""
        self.done.append(f"SIGHUP {pid}")
        return self.is_own

    @contextmanager
    def keeping_off(self) -> Iterator[None]:
        """podman waits."""
        self.held = True
        yield
        self.held = False

    def read_files(self) -> dict[str, Any]:
        """No network has one."""
        return {}

    def read_program(self, name: str) -> Path | None:
        """Where it is."""
        assert name == "aardvark-dns"
        return self.program

    def read_dns_port(self) -> int:
        """As configured."""
        return self.dns_port

    async def start(self, program: Path, port: int) -> None:
        """Start it."""
        self.done.append(f"start {program} {port}, {'held' if self.held else 'free'}")
        self.server = self.after

    async def mend(self) -> None:
        """Write the pid file."""
        self.done.append("mend")

    async def _hang_up(self) -> None:
        """SIGHUP, by a unit."""
        self.done.append("hang up")

    @property
    def names(self) -> Names:
        """What is under test, on this host."""
        fake: Any = self
        server: Any = SimpleNamespace(start=self.start, mend=self.mend, hang_up=self._hang_up)
        installed = Installed(Paths(), fake, fake, fake, server)
        return Names(
            installed, aardvark=fake, read_links=lambda: self.links, clock=lambda: self.now
        )

    def mended(self, setup: Setup | None = None) -> str:
        """What came of the repair."""
        return asyncio.run(self.names.mend(setup))


def test_what_cannot_be_read_is_unknown() -> None:
    """It is no loss, and makes nothing else unknown."""
    host, unknown = FakeHost(WELL), list[Unknown]()
    host.error = "cannot read /run"

    assert host.names.read(None, unknown) is None
    (part,) = unknown
    assert (part.part, part.what, part.why) == (Part.NAMES, "aardvark-dns", "cannot read /run")
    assert part.hint == "look there"


def test_without_files_there_is_none() -> None:
    """And nothing is unknown."""
    unknown: list[Unknown] = []
    assert FakeHost(None).names.read(None, unknown) is None
    assert unknown == []


AT_1053 = Setup(FirewallDriver.NFTABLES, {}, (Endpoint("web", "a", "app", (), dns_port=1053),))


@pytest.mark.parametrize(
    ("command", "setup", "port"),
    [("-p 2053 run", AT_1053, 2053), ("run", AT_1053, 1053), ("run", None, 3053)],
)
def test_the_port_is_that_of_whoever_knows(command: str, setup: Setup | None, port: int) -> None:
    """How it was started, then what netavark wrote, then the configuration. Others are left out."""
    host = FakeHost(replace(WELL, sockets={(V4, port): 5, (V4, 54): 5}))
    host.command, host.dns_port = tuple(command.split()), 3053
    found = host.names.read(setup, [])

    assert found is not None
    assert (found.port, found.sockets) == (port, {(V4, port): 5})


def deaf(*waiting: int, every_s: float = 20.0, **facts: Any) -> list[float]:
    """For how long it reads nothing, at looks so far apart that find so many bytes."""
    host, found = FakeHost(WELL), []
    names = host.names
    for bytes_ in waiting:
        host.server = replace(WELL, sockets={AT_53: bytes_}, **facts)
        seen = names.read(None, [])
        assert seen is not None
        found.append(seen.deaf_s)
        host.now += every_s
    return found


def test_queries_that_stay_unread_are_counted_from_the_first() -> None:
    """While none is read: bytes that get fewer, or are gone, begin anew."""
    assert deaf(0, 5, 5, 9) == [0.0, 0.0, 20.0, 40.0]
    assert deaf(5, 4, 4) == [0.0, 0.0, 20.0]
    assert deaf(5, 0, 5, 5) == [0.0, 0.0, 0.0, 20.0]
    assert deaf(5, 5, running=()) == [0.0, 0.0]


def test_sockets_of_others_are_not_its_own() -> None:
    """On an address that is none of its networks'."""
    host = FakeHost(replace(WELL, sockets={(ip_address("127.0.0.53"), 53): 9}))
    names = host.names
    for _ in range(2):
        seen = names.read(None, [])
        host.now += 60
    assert seen is not None
    assert seen.deaf_s == 0.0


def test_what_no_event_tells_is_found_at_the_heartbeat() -> None:
    """Another file, a socket less, one that hangs; not that a query came in."""
    host = FakeHost(WELL)
    names = host.names
    names.read(None, [])

    assert not names.are_others(None)
    host.server = replace(WELL, sockets={AT_53: 768})
    assert not names.are_others(None)
    host.now += HUNG_S
    assert names.are_others(None)
    assert not names.are_others(None)
    host.server = WELL
    assert names.are_others(None)
    host.server = replace(WELL, sockets={})
    assert names.are_others(None)
    host.server = None
    assert names.are_others(None)
    assert not names.are_others(None)


def test_one_that_has_ended_since_the_last_look_is_waited_for_by_nobody() -> None:
    """It is told by its process alone; where none ran, none has ended."""
    host = FakeHost(WELL)
    names = host.names
    assert not names.has_ended()
    names.read(None, [])
    assert not names.has_ended()
    host.server = DEAD
    assert names.has_ended()
    names.read(None, [])
    assert not names.has_ended()


def test_one_that_has_ended_is_started_while_podman_waits() -> None:
    """All processes are looked through once more first, and whether it runs afterwards."""
    host = FakeHost(DEAD)
    assert host.mended() == "aardvark-dns was started again (7)"
    assert host.done == ["scan, held", f"start {PROGRAM} 53, held", "scan, held"]
    assert not host.held


def test_one_that_runs_by_now_is_not_started() -> None:
    """It is named, or told to listen."""
    host = FakeHost(replace(WELL, named=8))
    assert host.mended() == "/run/aardvark.pid names 7 again"
    host.server = WELL
    assert host.mended() == "aardvark-dns (7) was told to listen on all its addresses"
    assert host.done == ["scan, held", "mend", "scan, held", "SIGHUP 7"]


def test_another_users_is_told_to_listen_by_a_unit() -> None:
    """Root's, where podwatch is not root: the signal is root's to send."""
    host = FakeHost(WELL)
    host.is_own = False
    assert host.mended() == "aardvark-dns (7) was told to listen on all its addresses"
    assert host.done == ["scan, held", "SIGHUP 7", "hang up"]


@pytest.mark.parametrize("server", [None, replace(DEAD, served=())])
def test_where_nobody_asks_for_names_nothing_is_started(server: NameServer | None) -> None:
    """Its last container has stopped since the look."""
    host = FakeHost(server)
    assert host.mended() == "no container asks for names any more"
    assert host.done in ([], ["scan, held"])


@pytest.mark.parametrize(
    ("server", "links", "why"),
    [
        (replace(WELL, running=(7, 9)), HERE, "aardvark-dns runs 2 times"),
        (DEAD, Links(), "cannot be started: 10.89.50.1 of network app is not there"),
        (replace(DEAD, sockets={AT_53: 0}), HERE, "port 53 of 10.89.50.1 is taken"),
    ],
)
def test_what_would_fail_is_not_begun(server: NameServer, links: Links, why: str) -> None:
    """A start that fails leaves a pid file that names nobody."""
    host = FakeHost(server)
    host.links = links
    with pytest.raises(RestoreFailed, match=why):
        host.mended()
    assert host.done == ["scan, held"]


def test_what_is_not_installed_is_not_started() -> None:
    """And that is said."""
    host = FakeHost(DEAD)
    nothing: Any = None
    host.program = nothing
    with pytest.raises(RestoreFailed, match="aardvark-dns is not installed"):
        host.mended()


@pytest.mark.parametrize("after", [None, DEAD])
def test_one_that_ends_at_once_was_not_restored(after: NameServer | None) -> None:
    """Whatever the unit said."""
    with pytest.raises(RestoreFailed, match="was started, and does not run"):
        FakeHost(DEAD, after).mended()


def test_who_looks_once_sees_whether_a_query_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some wait: for a moment, and no longer than until one is read."""
    monkeypatch.setattr(daemon_names, "_AGAIN_S", 0.001)
    monkeypatch.setattr(daemon_names, "HUNG_ONCE_S", 0.0)

    def hangs(*waiting: int) -> bool:
        host = FakeHost(replace(WELL, sockets={AT_53: waiting[0]}))
        names = host.names
        names.read(None, [])
        host.server = replace(WELL, sockets={AT_53: waiting[-1]})
        asyncio.run(names.listen(None))
        seen = names.read(None, [])
        assert seen is not None
        return seen.hangs and bool(seen.sockets[AT_53])

    assert hangs(5, 5)
    assert not hangs(5, 0)
    assert not hangs(0, 0)
