# SPDX-License-Identifier: Apache-2.0
"""The loop: something happened, or it is time → look → judge → policy → restore → look again.

Watchers only say "look now", by the Hints. Everything else happens here, one look and one repair at
a time, so that there is never a second opinion on the state of the host. What the watchers said is
taken over before a step of the policy, after a repair, and while nothing is done: never in the
middle of a look. What is told to the world goes through the Publisher.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podwatch.daemon.config import Config
from podwatch.daemon.guard import Guard
from podwatch.daemon.hints import Hints
from podwatch.daemon.host import Host, limits
from podwatch.daemon.pause import Pause, why_blocked
from podwatch.daemon.reporting import reporting
from podwatch.decide import policy
from podwatch.decide.decision import NEVER, Decision, Memory
from podwatch.decide.kinds import LINKS, NAMES, is_quick
from podwatch.decide.ways import with_ways
from podwatch.report.publish import Publisher
from podwatch.words.cause import NO_CAUSE, Cause
from podwatch.words.errors import PodwatchError
from podwatch.words.means import BY_PODMAN, Method, Outcome
from podwatch.words.snapshot import Part, Snapshot
from podwatch.words.verdict import Verdict
from podwatch.words.way import Way

_QUICK_S = 0.1
"""To report a loss takes as long as a quick means, and would take a processor from it: it is
reported when that is over, or after so long."""

_ROUTES_S = 0.5
"""Routes of others may change all the time: where packets go is asked so long after, not before."""

_PODMAN_S = 0.5
"""So long a look waits for podman to be done with a network: what is seen before that may be half
of it, and is not acted on. One that takes longer is looked at while it works."""

_DONE_S = 0.01
"""How often it is asked meanwhile, as nothing tells, whether podman is done: that takes 20 µs."""

_STOPPED_S = 1.5
"""The same, where containers have stopped: longer than podman takes to say who runs."""

_ACT_S = 300.0
"""More than a repair can take besides its reloads: a renewal before it, podman and tools asked."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look saw and how it was judged, between two moments of the clock.

    `transactions` is their number before it, `cause` what was to blame and `pause` the pause that
    was going on then. A glance saw the links and the name server alone: all else is as at the look
    before. `of_podman`: all that was said may be podman's own doing.
    """

    snapshot: Snapshot
    verdict: Verdict
    began: float
    ended: float
    transactions: int
    pause: Pause | None
    cause: Cause
    is_glance: bool = False
    of_podman: bool = False


class Loop:
    """Looks, decides and restores until it is cancelled.

    `guard` takes in what was seen. `pause` says which pause is going on. `clock` counts seconds, as
    the running event loop does.
    """

    def __init__(
        self,
        host: Host,
        hints: Hints,
        config: Config,
        publisher: Publisher,
        *,
        guard: Guard | None = None,
        pause: Callable[[], Pause | None] = lambda: None,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.hints = hints
        self.publisher = publisher
        self.guard = guard
        self.pause = pause
        self.dry_run = dry_run
        self.clock = clock
        self.memory = Memory()
        self.last_look = NEVER
        self._act_ends: float | None = None
        """When a repair that is under way is overdue; None while there is none."""
        self._look_cost = 0.0
        self._seen: _Look | None = None
        self._asks_routes = False
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
        """Look, decide, report, act; where nothing is done, rest until the next look is due."""
        while (job := self.hints.take_job()) is not None:
            with self._repairing(_ACT_S):
                await job()
        parts = self.hints.take_glance()
        glanced = self._glance(parts) if parts else None
        if glanced is not None:
            look, decision = glanced
        else:
            found = await self._look()
            if found is None:
                return
            look, decision = found, self._decide(found)
        report, rest_at = self._report(look, decision)
        if decision.method is not None and not self.dry_run:
            await self._act(decision.method, decision, look, report)
        else:
            report()
            await self._rest(self._next_look(look, decision, rest_at))

    async def _look(self) -> _Look | None:
        """See and judge; None where whoever paused meanwhile breaks what was seen."""
        seen = self._seen if self.hints.of_census_alone else None
        of_podman = self.hints.can_wait
        hurries = not self.hints.begin_look()
        began, worked = self.clock(), time.process_time()
        pause, transactions, cause = self.pause(), self.hints.transactions, self.hints.cause
        paused, snapshot = self._blocked(pause), None
        if seen is not None and seen.snapshot.paused == paused:
            snapshot = self.host.looker.with_census(seen.snapshot)
        if snapshot is None:
            snapshot = await self.host.looker.look(
                paused=paused, hurries=hurries, of_podman=of_podman
            )
        if not snapshot.paused and self._blocked(self.pause()):
            return None
        snapshot, verdict = self.host.looker.judged(snapshot)
        if self.guard is not None:
            self.guard.seen(snapshot, verdict)
            if self._seen is not None and self._seen.verdict.missing_rules:
                await self.guard.count()
        self.hints.follow(self.host.looker.tables)
        self.last_look = self.clock()
        self._look_cost = time.process_time() - worked
        self._seen = _Look(
            snapshot,
            verdict,
            began,
            self.last_look,
            transactions,
            pause,
            cause,
            of_podman=of_podman,
        )
        return self._seen

    def _glance(self, parts: Collection[Part]) -> tuple[_Look, Decision] | None:
        """What to do about links, or the name server, where all else was whole at the last look.

        They are put right in less time than a whole look takes, and what else may be lost does
        not depend on it: the look that follows sees it. None where there is nothing to do so.
        """
        seen, began, pause = self._seen, self.clock(), self.pause()
        if seen is None or seen.verdict.missing or self.dry_run:
            return None
        if self._blocked(pause) != seen.snapshot.paused:
            return None
        found = self.host.looker.glance(seen.snapshot, seen.verdict, parts)
        if found is None:
            return None
        transactions, now = self.hints.transactions, self.clock()
        look = _Look(*found, began, now, transactions, pause, self.hints.cause, is_glance=True)
        memory, decision = policy.step(
            self.memory, look.verdict, now, self.limits, kinds=(LINKS, NAMES)
        )
        if decision.method is None:
            return None
        self.memory, self._seen = memory, None
        return look, decision

    def _decide(self, look: _Look) -> Decision:
        """What to do, after all that was said until now."""
        self._take_hints()
        can_replay = bool(look.verdict.missing_rules) and self.host.copy.covers(
            look.snapshot, look.verdict.rules
        )
        self.memory, decision = policy.step(
            self.memory, look.verdict, look.ended, self.limits, can_replay=can_replay
        )
        return decision

    def _report(self, look: _Look, decision: Decision) -> tuple[Callable[[], None], float]:
        """What reports a look, and from when on what it has to keep back may be reported."""
        due, rest_at = policy.due(self.memory, look.verdict, decision, look.ended, self.limits)
        is_news, cause = bool(due.missing) or not look.verdict.missing, self.hints.cause
        # Who did something in the middle of a look that found all whole is to blame at the next.
        is_next = not look.verdict.missing and cause is not look.cause
        if is_news and look.ended >= rest_at and not is_next:
            self.hints.cause = NO_CAUSE  # what is lost from now on has a cause of its own

        def report() -> None:
            self._ask_podman()
            self.host.permanent.look_soon(look.snapshot, look.verdict.setup, acts=not self.dry_run)
            if is_news:
                took_s = look.ended - look.began
                told = with_ways(due, self._ways(look, due, decision))
                self.publisher.looked(
                    look.snapshot, told, decision, cause=cause, took_s=took_s, at=look.ended
                )
            if not look.is_glance:
                self._keep_copy(look.snapshot, look.verdict, decision.method)

        return report, rest_at

    def _ways(self, look: _Look, due: Verdict, decision: Decision) -> tuple[Way, ...]:
        """The ways to report: those of before, where the look after a quick repair shows them anew.

        So, too, while something is kept back that may be about to come, and where podman alone was
        at work: it is asked who runs now, and a look follows.
        """
        is_held_back = len(due.missing) < len(look.verdict.missing)
        acts = decision.method is not None and not self.dry_run
        is_asked = look.of_podman and not look.verdict.missing and self.host.containers.is_asking
        if is_held_back or is_asked or (acts and is_quick(decision.method or "")):
            return self.host.ways.known(look.verdict)
        return self.host.ways.of(look.snapshot, look.verdict)

    def _next_look(self, look: _Look, decision: Decision, rest_at: float) -> float | None:
        """When to look again at the latest; None: when something happens."""
        # A pause may be over since the look began, which nothing else will tell.
        pause_ends = None if look.pause is None else look.pause.ends_at(look.ended)
        again_at, due_at = self.host.containers.again_at, self.host.surroundings.due_at
        times = (decision.look_at, rest_at, pause_ends, again_at, due_at)
        return min((at for at in times if at is not None and at > look.ended), default=None)

    def _take_hints(self) -> None:
        """Take over what the watchers said."""
        heard = self.hints.take()
        if heard.changed_at is not None:
            settle_until = NEVER
            if heard.restarted_at is not None and self.host.surroundings.has_netavarks_units:
                settle_until = heard.restarted_at + self.limits.settle
            self.memory = policy.hinted(self.memory, heard.changed_at, settle_until=settle_until)
        if heard.rules_at is not None:
            self.host.containers.doubt(heard.rules_at)
        if heard.others_at is not None:
            due = self.host.surroundings.changed(heard.others_at, heard.deleted)
            if due is not None:
                wait_s = due - self.clock()
                asyncio.get_running_loop().call_later(wait_s, self.hints.want_look)
        if heard.runtime:
            self._ask_podman()
        if heard.permanent:
            self.host.permanent.look_again()
        if heard.routes and not self._asks_routes:
            self._asks_routes = True
            asyncio.get_running_loop().call_later(_ROUTES_S, self._ask_routes)

    def _ask_routes(self) -> None:
        """Look where packets go another way than at the last look."""
        self._asks_routes = False
        if self.host.looker.is_outdated():
            self.hints.on_surroundings()

    def _ask_podman(self) -> None:
        """Have podman asked for its containers, where something started or ended since."""
        self.host.containers.ask_soon(
            self.hints.on_census, self.publisher.complain, again_s=self.config.look.interval / 2
        )

    def _blocked(self, pause: Pause | None) -> str:
        return why_blocked(pause, enabled=self.config.restore.enabled)

    def _keep_copy(self, snapshot: Snapshot, verdict: Verdict, method: str | None) -> None:
        """Copy the rules, but for those that somebody is in the middle of changing."""
        whole = not (verdict.missing_rules or verdict.has_duplicates)
        if whole or not (snapshot.busy or method == Method.REPLAY):
            try:
                self.host.copy.take(snapshot, verdict.rules, whole=whole)
            except PodwatchError as exc:
                self.publisher.complain(exc)

    async def _act(
        self, method: str, decision: Decision, look: _Look, report: Callable[[], None]
    ) -> None:
        """Restore by one means, and report: first the loss, then what came of it."""
        began = self.clock()
        with reporting(report, after_s=_QUICK_S if is_quick(method) else 0.0):
            outcome = await self._restore(method, decision, look)
            ended = self.clock()
            self._take_hints()
            if outcome.outdated:  # somebody else is at it: what has to wait for quiet waits
                self.memory = policy.hinted(self.memory, ended)
            else:
                self._remember(method, decision, outcome, look.transactions, ended)
        if outcome.outdated:
            await self._rest(self.last_look)
        else:
            self.publisher.acted(outcome, took_s=ended - began)

    async def _restore(self, method: str, decision: Decision, look: _Look) -> Outcome:
        restore = self.config.restore
        rounds = len(decision.container_ids) // restore.at_once + 1
        with self._repairing(rounds * restore.timeout + _ACT_S):
            return await self.host.restorer.restore(
                method, decision, look.snapshot, look.verdict, self.publisher.progress
            )

    @contextmanager
    def _repairing(self, limit_s: float) -> Iterator[None]:
        """Change the host meanwhile, which takes `limit_s` seconds at most."""
        self._act_ends = self.clock() + limit_s
        try:
            with self.hints.repairing(self.host.looker.writers):
                yield
                # What we did ourselves is in the socket by now: it is no news.
                self.host.looker.changes()
                self.host.looker.wires.changes()
        finally:
            self._act_ends = None

    def _remember(
        self,
        method: str,
        decision: Decision,
        outcome: Outcome,
        transactions: int,
        now: float,
    ) -> None:
        """Remember what came of a repair, and whether somebody else was at it, too."""
        self.memory = policy.acted(self.memory, decision, now, self.limits, done=outcome.done)
        meanwhile = self.hints.meanwhile
        # Every program that calls iptables has the same name for the kernel. So transactions are
        # counted: those that podwatch did not commit are somebody else's.
        others = self.hints.transactions - transactions - outcome.transactions
        undone = method == Method.REPLAY and others > 0
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
        await self._let_podman_finish()

    async def _let_podman_finish(self) -> None:
        """Wait while podman changes a network, where nothing is lost and all else can wait, too.

        Where a container has stopped and none has come, until podman has said who runs: one look
        is enough for both.
        """
        if self._seen is None or self._seen.verdict.missing:
            return
        began, limit_s, worked = self.clock(), _PODMAN_S, False
        while self.hints.can_wait and (left_s := began + limit_s - self.clock()) > 0:
            if self.host.looker.podman_works():
                worked = True
                await asyncio.sleep(_DONE_S)
            elif worked and not self.hints.has_census and self.host.expected.has_only_fewer():
                limit_s = _STOPPED_S
                await self.hints.rung(left_s)
            else:
                return
            self._take_hints()

    def is_alive(self) -> bool:
        """Whether a look is not overdue: the loop neither hangs nor has ended."""
        if self._act_ends is not None:
            return self.clock() < self._act_ends
        return self.clock() - self.last_look < self.config.look.interval + 60
