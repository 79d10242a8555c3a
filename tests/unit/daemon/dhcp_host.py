# SPDX-License-Identifier: Apache-2.0
"""A host with one macvlan network, for the DHCP loop: what it sees changes by what it does.

It stands for everything the loop is handed: the looker, systemd and its units, the renewer of
leases, and the status document.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podwatch.adapters.inotify import DirectoryWatch
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp import DhcpLoop
from podwatch.daemon.pause import Pause
from podwatch.report.dhcp import DhcpReport
from podwatch.words.dhcp import Backend, DhcpSnapshot, Holder, Lease, Unit
from podwatch.words.errors import PodwatchError
from tests.unit.waiting import until

WEB = Holder("a" * 64, "web", "lan", "02:00:00:00:00:01", "192.0.2.7")
WELL = DhcpSnapshot(
    Backend.NETAVARK,
    ("lan",),
    Unit("loaded", "active", "enabled"),
    Unit("loaded", "active", "enabled", pid=7, started=100.0),
    path_exists=True,
    listening=True,
    leases={WEB.mac: Lease(WEB.address, 120, 60)},
    holders=(WEB,),
)
STOPPED = replace(WELL, socket=replace(WELL.socket, active="inactive"), listening=False)
FORGOTTEN = replace(WELL, leases={})
NO_NETWORK = DhcpSnapshot(Backend.NETAVARK)


@dataclass
class FakeHost:
    """What is there, what was done to it in order, and what was reported.

    `refuses` is why systemd starts nothing, `unwilling` why no container may be reloaded now,
    `silent` why a reload fails, and `noted` what the journal has about it.
    """

    seen: DhcpSnapshot = WELL
    pause: Pause | None = None
    refuses: PodwatchError | None = None
    unwilling: str = ""
    silent: str | PodwatchError = ""
    noted: str = ""
    watch: tuple[Path, ...] = ()
    done: list[str] = field(default_factory=list)
    sections: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self, *, fresh: bool) -> DhcpSnapshot:
        """What is there."""
        self.note("ask and look" if fresh else "look")
        return replace(self.seen, fresh=fresh)

    async def read(self, name: str) -> Unit:
        """Nobody reads a unit here but the looker, which this stands for."""
        raise NotImplementedError(name)

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Listen to systemd for ever."""
        self.note("listen")
        return loop.create_future()

    def close(self) -> None:
        """Stop listening."""

    def describe(self) -> str:
        """It listens."""
        return "connected"

    async def enable(self, name: str) -> None:
        """Enable the proxy's socket."""
        self.note(f"enable {name}")
        self.seen = replace(self.seen, socket=replace(self.seen.socket, file="enabled"))

    async def start(self, name: str, *, also_reset: Sequence[str], restart: bool) -> None:
        """Start it."""
        self.note(f"{'restart' if restart else 'start'} {name}, reset {', '.join(also_reset)}")
        if self.refuses is not None:
            raise self.refuses
        socket = replace(self.seen.socket, active="active")
        self.seen = replace(self.seen, socket=socket, listening=True, path_exists=True)

    async def holds_back(self, container_id: str) -> str:
        """Whether the container may be reloaded."""
        assert container_id == WEB.container_id
        return self.unwilling

    async def renew(self, container_id: str) -> str:
        """Reload it: the proxy knows its lease then."""
        assert container_id == WEB.container_id
        self.note("renew")
        if isinstance(self.silent, PodwatchError):
            raise self.silent
        if not self.silent:
            self.seen = replace(self.seen, leases=WELL.leases)
        return self.silent

    async def last_words(self, unit: str, since: float) -> str:
        """What the journal has of the reload."""
        self.note(f"read {unit.replace(WEB.container_id, 'ID')}")
        assert since > 1e9, "seconds since the epoch"
        return self.noted

    def took_dhcp(self, section: dict[str, Any]) -> None:
        """The status document's section."""
        self.sections.append(section)
        self.heard.set()

    def complain(self, error: PodwatchError) -> None:
        """What podwatch goes without."""
        self.complaints.append(str(error))

    def note(self, what: str) -> None:
        """Something was done."""
        self.done.append(what)
        self.heard.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until this is so, which only something done or reported can change."""
        await until(self.heard, is_so)

    def loop(
        self,
        config: Config | None = None,
        files: DirectoryWatch | None = None,
        *,
        dry_run: bool = False,
        systemd: bool = True,
    ) -> DhcpLoop:
        """The loop on this host, for which a lease is lost as soon as it is not known."""
        woken = asyncio.Event()
        loop = DhcpLoop(
            woken,
            self,
            files or DirectoryWatch((), woken.set),
            self if systemd else None,
            self if systemd else None,
            self,
            DhcpReport(self),
            config or Config(),
            pause=lambda: self.pause,
            dry_run=dry_run,
            last_words=self.last_words,
        )
        loop.limits = replace(loop.limits, settle=0.0)
        return loop
