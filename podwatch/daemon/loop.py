# SPDX-License-Identifier: Apache-2.0
"""The loop: something happened, or it is time → look → judge → policy → restore → look again.

Watchers only say "look now", by the Hints. Everything else happens here, one look and one repair at
a time, so that there is never a second opinion on the state of the host. What the watchers said is
taken over before a step of the policy, after a repair, and while nothing is done: never in the
middle of a look. What is told to the world goes through the Publisher.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from podwatch.daemon.config import Config
from podwatch.daemon.hints import Hints
from podwatch.daemon.host import Host, limits
from podwatch.daemon.pause import Pause, why_blocked
from podwatch.decide import policy
from podwatch.decide.kinds import is_quick
from podwatch.report.publish import Publisher
from podwatch.words.cause import NO_CAUSE
from podwatch.words.errors import PodwatchError, Unreadable
from podwatch.words.means import BY_PODMAN, Method, Outcome
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Verdict

_QUICK_S = 0.1
"""To report a loss takes as long as a quick means, and would take a processor from it: it is
reported when that is over, or after so long."""

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


class Loop:
    """Looks, decides and restores until it is cancelled.

    `pause` says which pause is going on. `clock` counts seconds, as the running event loop does.
    """

    def __init__(
        self,
        host: Host,
        hints: Hints,
        config: Config,
        publisher: Publisher,
        *,
        pause: Callable[[], Pause | None] = lambda: None,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.hints = hints
        self.publisher = publisher
        self.pause = pause
        self.dry_run = dry_run
        self.clock = clock
        self.memory = policy.Memory()
        self.last_look = policy.NEVER
        self._act_ends: float | None = None
        """When a repair that is under way is overdue; None while there is none."""
        self._look_cost = 0.0
        self._census: asyncio.Task[None] | None = None
        self._census_failed: tuple[object, float] = (None, policy.NEVER)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take over a configuration; the next step goes by it."""
        self.config = config
        self.limits = limits(config)
        self.host.configure(config)

    async def run(self) -> None:
        """Look for ever; ends only by being cancelled."""
        while True:
            await self._once()

    async def _once(self) -> None:
        """Look, decide, act, and rest until the next look is due."""
        hurries = not self.hints.begin_look()
        began, worked = self.clock(), time.process_time()
        pause = self.pause()
        transactions = self.hints.transactions
        snapshot = await self.host.looker.look(paused=self._blocked(pause), hurries=hurries)
        if not snapshot.paused and self._blocked(self.pause()):
            return  # whoever paused meanwhile breaks what this look has seen
        snapshot, verdict = self.host.looker.judged(snapshot)
        self.hints.follow(self.host.looker.tables)
        now = self.last_look = self.clock()
        self._look_cost = time.process_time() - worked
        decision = self._step(snapshot, verdict, now)
        told, told_at = policy.due(self.memory, verdict, decision, now, self.limits)
        tells, cause = bool(told.missing) or not verdict.missing, self.hints.cause
        if tells and now >= told_at:  # what is lost from now on has a cause of its own
            self.hints.cause = NO_CAUSE

        def tell() -> None:
            if tells:
                self.publisher.looked(
                    snapshot, told, decision, cause=cause, took_s=now - began, at=now
                )
            self._keep_copy(snapshot, verdict, decision.method)
            self._take_census()

        if decision.method is not None and not self.dry_run:
            await self._act(decision.method, decision, snapshot, verdict, transactions, tell)
            return
        tell()
        # It may be over since this look began, which nothing else will tell.
        pause_ends = None if pause is None else pause.ends_at(now)
        looker = self.host.looker
        again_at = (looker.census.again_at, looker.others_due)
        at_last = (decision.look_at, told_at, pause_ends, *again_at)
        due = [at for at in at_last if at is not None and at > now]
        await self._rest(min(due, default=None))

    def _step(self, snapshot: Snapshot, verdict: Verdict, now: float) -> policy.Decision:
        """What to do, after all that was said until now."""
        self._take_hints()
        self.memory, decision = policy.step(
            self.memory, verdict, now, self.limits, can_replay=self._can_replay(snapshot, verdict)
        )
        return decision

    def _take_hints(self) -> None:
        """Take over what the watchers said."""
        heard, looker = self.hints.take(), self.host.looker
        if heard.changed_at is not None:
            settle_until = policy.NEVER
            if heard.restarted_at is not None and self.publisher.has_neighbours:
                settle_until = heard.restarted_at + self.limits.settle
            self.memory = policy.hinted(self.memory, heard.changed_at, settle_until=settle_until)
        if heard.rules_at is not None:
            looker.census = looker.census.doubted(heard.rules_at)
        if heard.others_at is not None:
            due = looker.others_changed(heard.others_at, heard.deleted)
            if due is not None:
                wait_s = due - self.clock()
                asyncio.get_running_loop().call_later(wait_s, self.hints.want_look)
        if heard.runtime:
            self._take_census()

    def _blocked(self, pause: Pause | None) -> str:
        return why_blocked(pause, enabled=self.config.restore.enabled)

    def _can_replay(self, snapshot: Snapshot, verdict: Verdict) -> bool:
        return bool(verdict.missing_rules) and self.host.copy.covers(snapshot, verdict.rules)

    def _keep_copy(self, snapshot: Snapshot, verdict: Verdict, method: str | None) -> None:
        """Copy the rules, but for those that somebody is in the middle of changing."""
        whole = not (verdict.missing_rules or verdict.has_duplicates)
        if whole or not (snapshot.busy or method is Method.REPLAY):
            try:
                self.host.copy.take(snapshot, verdict.rules, whole=whole)
            except PodwatchError as exc:
                self.publisher.complain(exc)

    async def _act(
        self,
        method: str,
        decision: policy.Decision,
        snapshot: Snapshot,
        verdict: Verdict,
        transactions: int,
        tell: Callable[[], None],
    ) -> None:
        """Restore by one means, and tell: first the loss, then what came of it.

        `transactions` is their number before the look.
        """
        began = self.clock()
        with _telling(tell, after_s=_QUICK_S if is_quick(method) else 0.0):
            outcome = await self._restore(method, decision, snapshot, verdict)
            ended = self.clock()
            self._take_hints()
            if outcome.outdated:  # somebody else is at it: what has to wait for quiet waits
                self.memory = policy.hinted(self.memory, ended)
            else:
                self._acted(method, decision, outcome, transactions, ended)
        if outcome.outdated:
            await self._rest(self.last_look)
        else:
            self.publisher.acted(outcome, took_s=ended - began)

    async def _restore(
        self, method: str, decision: policy.Decision, snapshot: Snapshot, verdict: Verdict
    ) -> Outcome:
        restore = self.config.restore
        rounds = len(decision.container_ids) // restore.at_once + 1
        self._act_ends = self.clock() + rounds * restore.timeout + _ACT_S
        try:
            with self.hints.repairing(self.host.looker.writers):
                outcome = await self.host.restorer.restore(
                    method, decision, snapshot, verdict, self.publisher.progress
                )
                # What we did ourselves is in the socket by now: it is no news.
                self.host.looker.changes()
        finally:
            self._act_ends = None
        return outcome

    def _acted(
        self,
        method: str,
        decision: policy.Decision,
        outcome: Outcome,
        transactions: int,
        now: float,
    ) -> None:
        """Remember what came of a repair, and whether somebody else was at it, too."""
        self.memory = policy.acted(self.memory, decision, now, self.limits, done=outcome.done)
        meanwhile = self.hints.meanwhile
        # Who else uses iptables does so under the same name: those are told by their number.
        others = self.hints.transactions - transactions - outcome.transactions
        undone = method is Method.REPLAY and others > 0
        # What netavark commits for podman is under a name of nft's: nobody else's can be told.
        if undone or (meanwhile and method not in BY_PODMAN):
            self.memory = policy.hinted(self.memory, now)
            self.hints.cause = meanwhile or self.hints.cause

    async def _rest(self, look_at: float | None) -> None:
        """Wait for a hint, or until it is time; never look more often than is cheap."""
        due = self.last_look + self.config.look.interval
        if look_at is not None:
            due = min(due, look_at)
        while not self.hints.wants_look and (wait_s := due - self.clock()) > 0:
            await self.hints.rung(wait_s)
            self._take_hints()
        # By CPU time: while a look waits for a firewalld that reloads, it costs nothing.
        spacing = self._look_cost if self.hints.urgent else 4 * self._look_cost
        pause = self.last_look + min(spacing, 1.0) - self.clock()
        if pause > 0 and self.clock() < due:
            await asyncio.sleep(pause)

    # podman's containers: names, and who is not running any more.

    def _take_census(self) -> None:
        looker = self.host.looker
        busy = self._census is not None and not self._census.done()
        if busy or not looker.wants_census:
            return
        stamp, failed_at = self._census_failed
        again_at = failed_at + self.config.look.interval / 2
        if looker.expected.stamp == stamp and self.clock() < again_at:
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
            self._census_failed = stamp, self.clock()
            self.publisher.complain(exc)
            return
        self.hints.on_census()

    def is_alive(self) -> bool:
        """Whether a look is not overdue: the loop neither hangs nor has ended."""
        if self._act_ends is not None:
            return self.clock() < self._act_ends
        return self.clock() - self.last_look < self.config.look.interval + 60

    def stop(self) -> None:
        """Stop what runs beside the loop."""
        if self._census is not None:
            self._census.cancel()
