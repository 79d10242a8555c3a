# SPDX-License-Identifier: Apache-2.0
"""The DHCP loop: keeps the proxy's socket there and the leases renewed, beside the main loop.

It shares nothing with the main loop but what is reported, and one lock: the two never reload
containers at the same time. As there, events only say "look now". What is done, and what is waited
for, is decided in `podwatch.decide.dhcp`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.journal import last_words
from podwatch.adapters.podman import reload_unit
from podwatch.adapters.units import UnitWatch
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp_look import UNITS, DhcpLooker, Units
from podwatch.daemon.heartbeat import lasting
from podwatch.daemon.hints import Watcher
from podwatch.daemon.installed import Installed
from podwatch.daemon.pause import Pause, why_blocked
from podwatch.decide import dhcp
from podwatch.decide.dhcp import Act, DhcpDecision, DhcpMemory
from podwatch.report.dhcp import DhcpReport, Document
from podwatch.words.dhcp import DhcpSnapshot, Holder
from podwatch.words.errors import PodwatchError, Unreadable

_BURST_S = 0.05
"""What comes in a burst, as one start of a container does, is looked at together."""


class Looker(Protocol):
    """Who looks at DHCP; `watch` are the directories to listen to after a look."""

    watch: tuple[Path, ...]

    async def look(self, *, fresh: bool) -> DhcpSnapshot:
        """Look once; `fresh` asks podman even if nothing seems to have changed. Never raises."""


class Renewer(Protocol):
    """Who reloads the network of one container, in turn with whoever else reloads."""

    async def holds_back(self, container_id: str) -> str:
        """Why a container must not be reloaded for its lease now; "" when it may."""

    async def renew(self, container_id: str) -> str:
        """Reload it; "" when that worked, else the reason. Raises PodwatchError."""


class ProxyUnits(Units, Watcher, Protocol):
    """The proxies' units, read and heard of."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Listen for ever: what is returned ends only by an error."""


class Starter(Protocol):
    """Who enables and starts units."""

    async def enable(self, name: str) -> None:
        """Have the unit started at every boot. Raises PodwatchError."""

    async def start(self, name: str, *, also_reset: Sequence[str], restart: bool) -> None:
        """Start or restart a unit; failures before are forgotten. Raises PodwatchError."""


@dataclass(eq=False)
class DhcpLoop:
    """Looks, decides and acts on the DHCP proxy until it is cancelled.

    Whoever sets `woken` wants a look. `units` and `systemd` are None on a host without systemd.
    `last_words` asks the journal for what a unit's program wrote last.
    """

    woken: asyncio.Event
    looker: Looker
    files: DirectoryWatch
    units: ProxyUnits | None
    systemd: Starter | None
    renewer: Renewer
    report: DhcpReport
    config: Config
    pause: Callable[[], Pause | None]
    dry_run: bool
    last_words: Callable[[str, float], Awaitable[str]] = last_words
    memory: DhcpMemory = field(default_factory=DhcpMemory)
    limits: dhcp.Limits = field(init=False)
    _listening: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.configure(self.config)

    @classmethod
    def on_host(
        cls,
        installed: Installed,
        systemd: Starter | None,
        renewer: Renewer,
        config: Config,
        document: Document,
        *,
        woken: asyncio.Event,
        pause: Callable[[], Pause | None],
        dry_run: bool,
    ) -> "DhcpLoop":
        """The loop of this host, with systemd's signals to wake it beside what others set."""
        units = None if systemd is None else UnitWatch(UNITS, woken.set)
        return cls(
            woken,
            DhcpLooker(units, installed),
            DirectoryWatch((), woken.set, lacking="networks with DHCP are not noticed"),
            units,
            systemd,
            renewer,
            DhcpReport(document),
            config,
            pause=pause,
            dry_run=dry_run,
        )

    def configure(self, config: Config) -> None:
        """Take over a configuration, and look."""
        self.config = config
        self.limits = dhcp.Limits(
            backoff=config.dhcp.backoff,
            backoff_max=max(config.dhcp.backoff, config.dhcp.backoff_max),
            slow=config.look.interval,
        )
        self.woken.set()

    async def run(self) -> None:
        """Look for ever; ends only by being cancelled."""
        try:
            self.files.attach(asyncio.get_running_loop())
        except Unreadable as exc:
            self.report.complain(exc)
        try:
            async with asyncio.TaskGroup() as group:  # whichever dies takes the other along
                fresh = False
                while True:
                    fresh = await self._once(group, fresh=fresh)
        finally:
            self.files.close()
            if self.units is not None:
                self.units.close()

    async def _once(self, group: asyncio.TaskGroup, *, fresh: bool) -> bool:
        """One look and what follows from it; whether the next look has to ask podman anew."""
        self.woken.clear()
        if not self.config.dhcp.manage:
            self.memory = DhcpMemory()
            self.report.unmanaged()
            await self._rest(None)
            return False
        seen = await self.looker.look(fresh=fresh)
        self.files.follow(self.looker.watch)
        if seen.networks and self._listening is None and self.units is not None:
            # Not before: where no network wants DHCP, systemd has nothing to tell.
            listening = lasting("units", self.units.attach(asyncio.get_running_loop()))
            self._listening = group.create_task(listening, name="units")
        decision = await self._decide(seen)
        if decision.act is Act.SERVE:
            await self._serve(seen, decision)
        elif decision.act is Act.RENEW and decision.holder is not None:
            await self._renew(decision.holder)
        elif decision.act is None:
            await self._rest(decision.look_at)
        return decision.fresh

    async def _decide(self, seen: DhcpSnapshot) -> DhcpDecision:
        """What to do about what was seen; reported, too."""
        pause, now = self.pause(), time.monotonic()
        enabled = self.config.restore.enabled
        self.memory, verdict, decision = dhcp.step(
            self.memory,
            seen,
            now,
            self.limits,
            blocked=why_blocked(pause, enabled=enabled, dry_run=self.dry_run),
            pause_ends=None if pause is None else pause.ends_at(now),
        )
        self.report.judged(seen, verdict)
        if decision.holder is not None:
            why = await self.renewer.holds_back(decision.holder.container_id)
            if why:
                decision = dhcp.held_back(seen, why, now, self.limits)
        self.report.decided(seen, verdict, decision)
        return decision

    async def _serve(self, seen: DhcpSnapshot, decision: DhcpDecision) -> None:
        """Enable the proxy's socket, and start or restart it, as decided."""
        proxy, done, error = seen.proxy, list[str](), None
        try:
            if decision.enable and self.systemd is not None:
                await self.systemd.enable(proxy.socket)
                done.append("enabled")
            if (decision.start or decision.restart) and self.systemd is not None:
                await self.systemd.start(
                    proxy.socket, also_reset=(proxy.service,), restart=decision.restart
                )
                done.append("restarted" if decision.restart else "started")
        except PodwatchError as exc:
            error = exc
        self.report.served(done, error)
        self.memory = dhcp.served(self.memory, time.monotonic(), self.limits)

    async def _renew(self, holder: Holder) -> None:
        """Reload one container for its lease."""
        began = time.monotonic()
        since = time.time()
        try:
            failure = await self.renewer.renew(holder.container_id)
            if failure and self.systemd is not None:
                unit = reload_unit(holder.container_id)
                failure = await self.last_words(unit, since) or failure
        except PodwatchError as exc:
            failure = str(exc)
        now = time.monotonic()
        self.memory = dhcp.renewed(
            self.memory, holder.container_id, now, self.limits, failure=failure
        )
        self.report.renewed(holder, now - began, failure)

    async def _rest(self, look_at: float | None) -> None:
        """Wait for a hint, or until this moment of time.monotonic()."""
        wait_s = None if look_at is None else look_at - time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.woken.wait()
        await asyncio.sleep(_BURST_S)
