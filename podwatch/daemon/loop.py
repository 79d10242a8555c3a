# SPDX-License-Identifier: Apache-2.0
"""The loop: something happened, or it is time → look → judge → policy → restore → look again.

Watchers only say "look now". Everything else happens here, one look and one repair at a time, so
that there is never a second opinion on the state of the host. What is told to the world goes
through the Publisher.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from podwatch.adapters.files import read_proc
from podwatch.adapters.netlink import Change
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host, limits
from podwatch.daemon.pause import Pause, why_blocked
from podwatch.decide import policy
from podwatch.report.publish import Publisher
from podwatch.words.cause import (
    NO_CAUSE,
    WHILE_ABSENT,
    Cause,
    CauseKind,
    by_firewalld,
    by_writer,
    other,
    why_looked,
)
from podwatch.words.errors import PodwatchError, Unreadable
from podwatch.words.means import ABOUT_RULES, Method, Outcome
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import BlockedKind, Missing, Verdict

_FIREWALLD_TABLES = frozenset({"inet firewalld", "inet firewalld_policy_drop"})

_BY_PODMAN = frozenset({Method.RELOAD, Method.ESCALATE})
"""Means whose transactions netavark commits, under a name of nft's: nobody else's can be told."""

_QUICK = frozenset({Method.SYSCTLS, Method.SOURCES, Method.REPLAY})
_QUICK_S = 0.1
"""To tell a loss takes as long as one of these means, and would take a processor from it: it is
told when that is over, or after so long."""

_ACT_S = 300.0
"""More than a repair can take besides its reloads: a renewal before it, podman and tools asked."""

CENSUS_QUIET_S = 0.5
"""podman is asked for its containers when netavark's state has been the same for so long."""


@contextmanager
def _telling(tell: Callable[[], None], *, after_s: float) -> Iterator[None]:
    """Call `tell` once: when what is done inside is over, or `after_s` seconds from now."""
    todo = [tell]

    def tell_once() -> None:
        while todo:
            todo.pop()()

    timer = asyncio.get_running_loop().call_later(after_s, tell_once)
    try:
        yield
    finally:
        timer.cancel()
        tell_once()


@dataclass
class Hints:
    """What the watchers said since the last look."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    urgent: bool = False
    of_firewalld: bool = False
    cause: Cause = NO_CAUSE

    def take(self) -> bool:
        """Forget the hints: the look that begins now sees what they were about.

        Whether it has to hear firewalld for that.
        """
        self.woken.clear()
        of_firewalld, self.of_firewalld = self.of_firewalld, False
        self.urgent = False
        return of_firewalld


class Loop:
    """Looks, decides and restores until it is told to stop."""

    def __init__(
        self, host: Host, config: Config, publisher: Publisher, *, dry_run: bool = False
    ) -> None:
        self.host = host
        self.publisher = publisher
        self.dry_run = dry_run
        self.hints = Hints(cause=WHILE_ABSENT)
        self.memory = policy.Memory()
        self.last_look = policy.NEVER
        self.pause: Callable[[], Pause | None] = lambda: None
        self.changes = 0  # transactions on our table
        self._acting = False
        self._act_ends = policy.NEVER
        self._meanwhile = NO_CAUSE
        self._own_name = read_proc("/proc/self/comm").decode().strip()
        self._look_cost = 0.0
        self._census: asyncio.Task[None] | None = None
        self._census_failed: tuple[object, float] = (None, policy.NEVER)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take over a configuration; the next step goes by it."""
        self.config = config
        self.limits = limits(config)
        self.host.configure(config)

    # What the watchers call.

    def on_change(self, change: Change) -> None:
        """Somebody committed an nftables transaction."""
        tables = self.host.looker.tables
        if not change.tables <= _FIREWALLD_TABLES | tables:
            self._others_changed(change.deleted)
        if not change.tables & (_FIREWALLD_TABLES | tables):
            return
        ours = not change.tables.isdisjoint(tables)
        self.changes += ours
        deleted = not change.deleted.isdisjoint(tables)
        if self._acting:
            if ours and change.writer.name not in self.host.looker.writers | {self._own_name}:
                self._meanwhile = by_writer(change.writer)
            return
        if ours:
            now = time.monotonic()
            self.memory = policy.hinted(self.memory, now)
            self.host.looker.census = self.host.looker.census.doubted(now)
        self._wake(by_writer(change.writer), urgent=deleted or not ours, names_cause=deleted)

    def _others_changed(self, deleted: frozenset[str] = frozenset()) -> None:
        """Somebody else's rules may shut the networks out: look when the looker wants to."""
        now = time.monotonic()
        due = self.host.looker.others_changed(now, deleted)
        if due is not None:
            asyncio.get_running_loop().call_later(due - now, self.hints.woken.set)

    def on_overrun(self) -> None:
        """The kernel had more to tell than we could read: anything may have changed."""
        self.changes += 1
        self._others_changed()
        self._wake(other("more changes than could be followed"), urgent=True)

    def on_firewalld(self, told: str, *, restarts: bool) -> None:
        """firewalld said something; `restarts` where netavark's own units start their work."""
        if restarts:
            now = time.monotonic()
            works = self.publisher.has_neighbours
            settle_until = now + self.limits.settle if works else policy.NEVER
            self.memory = policy.hinted(self.memory, now, settle_until=settle_until)
        self.hints.of_firewalld = True
        self._wake(by_firewalld(told), urgent=True, names_cause=restarts)

    def on_runtime(self) -> None:
        """A container started or ended, on whatever network."""
        self._take_census()

    def _wake(self, cause: Cause, *, urgent: bool, names_cause: bool = False) -> None:
        weak = self.hints.cause.kind in (CauseKind.OTHER, CauseKind.UNKNOWN)
        if names_cause or not self.hints.cause or (weak and cause):
            self.hints.cause = cause
        self.hints.urgent = self.hints.urgent or urgent
        self.hints.woken.set()

    # The loop.

    async def run(self) -> None:
        """Look for ever; ends only by being cancelled."""
        while True:
            await self._once()

    async def _once(self) -> None:
        """Look, decide, act, and rest until the next look is due."""
        hurries = not self.hints.take()
        began, worked = time.monotonic(), time.process_time()
        pause = self.pause()
        changes = self.changes
        snapshot = await self.host.looker.look(paused=self._blocked(pause), hurries=hurries)
        if not snapshot.paused and self._blocked(self.pause()):
            return  # whoever paused meanwhile breaks what this look has seen
        snapshot, verdict = self.host.looker.judged(snapshot)
        now = time.monotonic()
        took = now - began
        self._look_cost = time.process_time() - worked
        self.last_look = now
        self.memory, decision = policy.step(
            self.memory,
            verdict,
            now,
            self.limits,
            can_replay=self._can_replay(snapshot, verdict),
        )
        told, told_at = self._due(verdict, decision, now)
        tells, cause = bool(told.missing) or not verdict.missing, self.hints.cause
        if tells and now >= told_at:  # what is lost from now on has a cause of its own
            self.hints.cause = NO_CAUSE

        def tell() -> None:
            if tells:
                self.publisher.looked(snapshot, told, decision, cause=cause, took_s=took, at=now)
            self._keep_copy(snapshot, verdict, decision.method)
            self._take_census()

        if decision.method is not None and not self.dry_run:
            began = time.monotonic()
            with _telling(tell, after_s=_QUICK_S if decision.method in _QUICK else 0.0):
                outcome = await self._act(decision.method, decision, snapshot, verdict, changes)
                ended = time.monotonic()
            if outcome.outdated:
                await self._rest(now)
            else:
                self.publisher.acted(outcome, took_s=ended - began)
            return
        tell()
        # It may be over since this look began, which nothing else will tell.
        pause_ends = None if pause is None else pause.ends_at(now)
        looker = self.host.looker
        again_at = (looker.census.again_at, looker.others_due)
        at_last = (decision.look_at, told_at, pause_ends, *again_at)
        due = [at for at in at_last if at is not None and at > now]
        await self._rest(min(due, default=None))

    def _blocked(self, pause: Pause | None) -> str:
        return why_blocked(pause, enabled=self.config.restore.enabled)

    def _can_replay(self, snapshot: Snapshot, verdict: Verdict) -> bool:
        return bool(verdict.missing_rules) and self.host.copy.covers(snapshot, verdict.rules)

    def _due(
        self, verdict: Verdict, decision: policy.Decision, now: float
    ) -> tuple[Verdict, float]:
        """What may be told of a verdict now, and when the rest may: a time past if all may.

        netavark writes its state before its rules, so for some milliseconds at each start of a
        container something is missing. It is a loss once it is acted on, or stays.
        """
        busy = any(each.kind is BlockedKind.BUSY for each in verdict.blocked)
        stays = self.limits.busy_cap if busy else self.limits.quiet
        due: list[Missing] = []
        later = policy.NEVER
        for missing, since, methods in (
            (verdict.missing_sysctls, self.memory.sysctls_since, {Method.SYSCTLS}),
            (verdict.missing_sources, self.memory.sources_since, {Method.SOURCES}),
            (verdict.missing_rules, self.memory.rules_since, ABOUT_RULES),
        ):
            if since is None or decision.method in methods or now >= since + stays:
                due += missing
            else:
                later = max(later, since + stays)
        return replace(verdict, missing=tuple(due)), later

    def _keep_copy(self, snapshot: Snapshot, verdict: Verdict, method: Method | None) -> None:
        """Copy the rules, but for those that somebody is in the middle of changing."""
        whole = not (verdict.missing_rules or verdict.has_duplicates)
        if whole or not (snapshot.busy or method is Method.REPLAY):
            try:
                self.host.copy.take(snapshot, verdict.rules, whole=whole)
            except PodwatchError as exc:
                self.publisher.complain(exc)

    async def _act(
        self,
        method: Method,
        decision: policy.Decision,
        snapshot: Snapshot,
        verdict: Verdict,
        changes: int,
    ) -> Outcome:
        """Restore by one means; `changes` is the number of transactions before the look."""
        self._acting, self._meanwhile = True, NO_CAUSE
        began = time.monotonic()
        restore = self.config.restore
        rounds = len(decision.container_ids) // restore.at_once + 1
        self._act_ends = began + rounds * restore.timeout + _ACT_S
        try:
            outcome = await self.host.restorer.restore(
                method, decision, snapshot, verdict, self.publisher.progress
            )
            # What we did ourselves is in the socket by now: it is no news.
            self.host.drain()
        finally:
            self._acting = False
        now = time.monotonic()
        if outcome.outdated:  # somebody else is at it: what has to wait for quiet waits
            self.memory = policy.hinted(self.memory, now)
            return outcome
        self.memory = policy.acted(self.memory, decision, now, self.limits, done=outcome.done)
        # Who else uses iptables does so under the same name: those are told by their number.
        others = self.changes - changes - outcome.transactions
        undone = method is Method.REPLAY and others > 0
        if undone or (self._meanwhile and method not in _BY_PODMAN):  # somebody else was at it too
            self.memory = policy.hinted(self.memory, now)
            self.hints.cause = self._meanwhile or self.hints.cause
        return outcome

    async def _rest(self, look_at: float | None) -> None:
        """Wait for a hint, or until it is time; never look more often than is cheap."""
        due = self.last_look + self.config.look.interval
        if look_at is not None:
            due = min(due, look_at)
        loop = asyncio.get_running_loop()
        timer = loop.call_at(loop.time() + max(0.0, due - time.monotonic()), self.hints.woken.set)
        try:
            await self.hints.woken.wait()
        finally:
            timer.cancel()
        # By CPU time: while a look waits for a firewalld that reloads, it costs nothing.
        spacing = self._look_cost if self.hints.urgent else 4 * self._look_cost
        pause = self.last_look + min(spacing, 1.0) - time.monotonic()
        if pause > 0 and time.monotonic() < due:
            await asyncio.sleep(pause)

    # podman's containers: names, and who is not running any more.

    def _take_census(self) -> None:
        looker = self.host.looker
        busy = self._census is not None and not self._census.done()
        if busy or not looker.wants_census:
            return
        stamp, failed_at = self._census_failed
        again_at = failed_at + self.config.look.interval / 2
        if looker.expected.stamp == stamp and time.monotonic() < again_at:
            return
        self._census = asyncio.create_task(self._ask_podman(), name="census")

    async def _ask_podman(self) -> None:
        state = self.host.looker.expected
        stamp: object = None
        while stamp != state.stamp:
            stamp = state.stamp
            await asyncio.sleep(CENSUS_QUIET_S)
        try:
            await self.host.restorer.refresh_census()
        except Unreadable as exc:
            self._census_failed = stamp, time.monotonic()
            self.publisher.complain(exc)
            return
        self._wake(why_looked("podman's containers were listed"), urgent=False)

    def look_now(self, why: str) -> None:
        """Look although nothing is known to have changed on the host."""
        self._wake(why_looked(why), urgent=True)

    def on_surroundings(self) -> None:
        """A setting or a route was changed: what a reload had to wait for may be there now."""
        self.memory = policy.hinted(self.memory, time.monotonic())
        self.look_now("a setting or a route was changed")

    def on_sysctl(self) -> None:
        """Somebody set a sysctl."""
        self._wake(other("a sysctl was set"), urgent=True)

    def is_alive(self) -> bool:
        """Whether a look is not overdue: the loop neither hangs nor has ended."""
        if self._acting:
            return time.monotonic() < self._act_ends
        return time.monotonic() - self.last_look < self.config.look.interval + 60

    def stop(self) -> None:
        """Stop what runs beside the loop."""
        if self._census is not None:
            self._census.cancel()
