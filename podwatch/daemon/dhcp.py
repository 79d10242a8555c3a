# SPDX-License-Identifier: Apache-2.0
"""The DHCP loop: keeps the proxy's socket there and the leases renewed, beside the main loop.

It shares nothing with the main loop but what is told to the world, and one lock: they never reload
containers at the same time. Like there, events only say "look now".
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.journal import last_words
from podwatch.adapters.podman import reload_unit
from podwatch.adapters.systemd import Systemd
from podwatch.adapters.units import UnitWatch
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp_look import UNITS, DhcpLooker, section
from podwatch.daemon.heartbeat import lasting
from podwatch.daemon.pause import Pause
from podwatch.daemon.restore import Restorer
from podwatch.decide import dhcp
from podwatch.decide.dhcp import Act, DhcpDecision, DhcpMemory, DhcpVerdict, Fault
from podwatch.report.events import Event
from podwatch.report.logging import log
from podwatch.report.publish import Publisher
from podwatch.words.dhcp import DhcpSnapshot, Holder
from podwatch.words.errors import PodwatchError, Unreadable
from podwatch.words.text import lasted

_EVENTS = {
    Fault.UNREADABLE: Event.UNKNOWN,
    Fault.MISSING: Event.DHCP_BLOCKED,
    Fault.MASKED: Event.DHCP_BLOCKED,
    Fault.NOT_SERVING: Event.DHCP_DOWN,
    Fault.NOT_ENABLED: Event.DHCP_DOWN,
    Fault.LEASES: Event.DHCP_LEASES_LOST,
}

_STARTING_TRIES = 6
"""podman is asked so often, at growing pauses, who holds a lease that nobody up holds."""

_OF_DHCP = ("lease", "dhcp")
"""Words in what podman says when it was DHCP that failed."""


class DhcpLoop:
    """Looks, decides and acts on the DHCP proxy until it is told to stop."""

    def __init__(
        self,
        restorer: Restorer,
        systemd: Systemd | None,
        config: Config,
        publisher: Publisher,
        *,
        dry_run: bool = False,
    ) -> None:
        self.restorer = restorer
        self.publisher = publisher
        self.dry_run = dry_run
        self.pause: Callable[[], Pause | None] = lambda: None
        self.memory = DhcpMemory()
        self.woken = asyncio.Event()
        self.units = UnitWatch(UNITS, self.woken.set)
        self.looker = DhcpLooker(self.units, systemd, restorer.installed)
        self.files = DirectoryWatch((), self.woken.set)
        self._told: tuple[Fault | None, str] = (None, "")
        self._lost: set[str] = set()
        self._done = ""
        self._listening: asyncio.Task[None] | None = None
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take over a configuration, and look."""
        self.config = config
        self.limits = dhcp.Limits(
            backoff=config.dhcp.backoff,
            backoff_max=max(config.dhcp.backoff, config.dhcp.backoff_max),
        )
        self.woken.set()

    async def run(self) -> None:
        """Look for ever; ends only by being cancelled."""
        loop = asyncio.get_running_loop()
        try:
            self.files.attach(loop)
        except OSError as exc:
            self.publisher.complain(Unreadable(f"networks with DHCP are not noticed: {exc}"))
        try:
            async with asyncio.TaskGroup() as group:  # whichever dies takes the other along
                fresh = False
                while True:
                    fresh = await self._once(group, fresh=fresh)
        finally:
            self.files.close()

    async def _once(self, group: asyncio.TaskGroup, *, fresh: bool) -> bool:
        """One look and what follows from it; whether the next look has to ask podman anew."""
        self.woken.clear()
        if not self.config.dhcp.manage:
            self.memory = DhcpMemory()
            self.publisher.took_dhcp({})
            await self._rest(None)
            return False
        seen = await self.looker.look(fresh=fresh)
        self.files.follow(self.looker.watch)
        if seen.networks and self._listening is None and self.looker.systemd is not None:
            # Not before: where no network wants DHCP, systemd has nothing to tell.
            self._listening = group.create_task(lasting("units", self.units.run()), name="units")
        now = time.monotonic()
        self.memory, verdict, decision = dhcp.step(self.memory, seen, now, self.limits)
        self._tell(seen, verdict)
        pause = self.pause()
        held = self._held(pause) if decision.act else ""
        look_at = None if held else decision.look_at
        if not held and decision.act is Act.RENEW and decision.holder is not None:
            held = await self.restorer.holds_back(decision.holder.container_id)
            look_at = now + self.limits.backoff
        shown = replace(decision, why=held) if held else decision
        self.publisher.took_dhcp(section(seen, verdict, shown, self.looker.since, time.time()))
        if decision.act is Act.SERVE and self.looker.systemd is not None and not held:
            await self._serve(self.looker.systemd, seen, decision)
        elif decision.act is Act.RENEW and decision.holder is not None and not held:
            if not fresh:
                return True  # nobody is reloaded on old news
            await self._renew(decision.holder)
        else:
            ends = None if pause is None else now + pause.until - time.time() + 0.01
            tries = self.looker.unclaimed
            starts = now + 0.25 * 2**tries if 0 < tries <= _STARTING_TRIES else None
            free = now + self.limits.settle if self.looker.unasked else None
            at_last = [at for at in (look_at, ends, starts, free) if at is not None]
            await self._rest(min(at_last, default=None), slow=bool(seen.networks))
            # Nothing tells when a container is unpaused, or has started, or podman is done.
            return (
                self.looker.unasked
                or tries > 0
                or any(each.paused and not seen.is_known(each) for each in seen.holders or ())
            )
        return False

    def _held(self, pause: Pause | None) -> str:
        if pause is not None:
            return str(pause)
        if not self.config.restore.enabled:
            return "restoring is switched off (restore.enabled)"
        return "dry run: nothing is repaired" if self.dry_run else ""

    async def _serve(self, systemd: Systemd, seen: DhcpSnapshot, decision: DhcpDecision) -> None:
        proxy = seen.proxy
        done = []
        try:
            if decision.enable:
                await self.units.enable(proxy.socket)
                done.append("enabled")
            if decision.start or decision.restart:
                await systemd.start(
                    proxy.socket, also_reset=(proxy.service,), restart=decision.restart
                )
                done.append("restarted" if decision.restart else "started")
        except PodwatchError as exc:
            log(Event.DHCP_FAILED, f"{exc}; {exc.hint}" if exc.hint else str(exc))
        self._done = " and ".join(done)
        self.memory = dhcp.served(self.memory, time.monotonic(), self.limits)

    async def _renew(self, holder: Holder) -> None:
        began = time.monotonic()
        since = time.time()
        try:
            failure = await self.restorer.renew(holder.container_id)
            if failure and self.looker.systemd is not None:
                unit = reload_unit(holder.container_id)
                failure = await last_words(unit, since) or failure
        except PodwatchError as exc:
            failure = str(exc)
        now = time.monotonic()
        known = any(word in failure.lower() for word in _OF_DHCP)
        self.memory = dhcp.renewed(
            self.memory, holder.container_id, now, self.limits, failure=failure, by_dhcp=known
        )
        what = f"{holder.name}, network {holder.network}"
        if failure:
            log(Event.DHCP_FAILED, f"{what}: its lease was not renewed: {failure}")
        else:
            took = lasted(now - began)
            log(
                Event.DHCP_RENEWED,
                f"{what}: the lease of {holder.address or 'an address'} renewed in {took}",
            )

    def _tell(self, seen: DhcpSnapshot, verdict: DhcpVerdict) -> None:
        """Log what is wrong, and when it no longer is; the same thing, and the same lease, once."""
        done = self._done if seen.serving else ""
        if done:
            self._done = ""
            log(Event.DHCP_WELL, f"{seen.proxy.socket} listens: podwatch has {done} it")
        news = (verdict.fault, verdict.what if verdict.fault is not Fault.LEASES else "")
        before, self._told = self._told, news
        lost = {each.container_id for each in verdict.lost if verdict.fault is Fault.LEASES}
        lost_before, self._lost = self._lost, lost
        if news == before and lost <= lost_before:
            return
        if verdict.fault is not None:
            log(_EVENTS[verdict.fault], verdict.what, advice=verdict.advice)
        elif before[0] is not None and verdict.state is not None and not done:
            log(Event.DHCP_WELL, verdict.what)

    async def _rest(self, look_at: float | None, *, slow: bool = False) -> None:
        """Wait for a hint, or until it is time."""
        now = time.monotonic()
        due = [at for at in (look_at, now + self.config.look.interval if slow else None) if at]
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(min(due) - now, 0.0), self.woken.set) if due else None
        try:
            await self.woken.wait()
        finally:
            if timer is not None:
                timer.cancel()
        # What comes in a burst, as one start of a container does, is looked at together.
        await asyncio.sleep(0.05)
