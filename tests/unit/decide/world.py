# SPDX-License-Identifier: Apache-2.0
"""A world for the policy to act in: what is missing, what forbids repairs, and a clock.

The real policy decides; the world looks when the policy asks for it or something happens, in no
time, and keeps a diary. Whether a means works is for the test to say.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

from podwatch.decide.decision import Decision, Limits, Memory
from podwatch.decide.kinds import KINDS, kind_of
from podwatch.decide.policy import acted, hinted, step
from podwatch.words.means import Method
from podwatch.words.snapshot import Part, Unknown
from podwatch.words.verdict import (
    Blocked,
    BlockedKind,
    Missing,
    MissingKind,
    Notice,
    State,
    Verdict,
    WarningKind,
)

EVERYONE = ("aa", "bb", "cc")
TWICE = Notice(WarningKind.DUPLICATES, "twice")

SLOW_LOOK_S = 60.0
"""The loop looks at least so often, whatever the policy asks for."""

THINGS = {
    "sysctl": Missing(MissingKind.SYSCTL, "sysctl", "net/ipv4/ip_forward=1"),
    "source": Missing(MissingKind.SOURCE, "source", "10.88.0.0/16", container_ids=("aa",)),
    "rule": Missing(MissingKind.RULE, "rule", "accept", container_ids=("aa",)),
    "stuck": Missing(MissingKind.RULE, "stuck", "drop", container_ids=("aa",), reloadable=False),
    "late": Missing(MissingKind.RULE, "late", "accept", container_ids=("cc",)),
    "table": Missing(MissingKind.TABLE, "table", "table", container_ids=("aa", "bb")),
}


def verdict(
    *missing: Missing,
    blocked: Iterable[BlockedKind] = (),
    unknown: Iterable[Part] = (),
    warnings: tuple[Notice, ...] = (),
) -> Verdict:
    """A verdict with these things missing; the policy does not read its state."""
    return Verdict(
        State.LOST if missing else State.OK,
        missing,
        warnings,
        tuple(Blocked(kind, f"held by {kind}") for kind in blocked),
        tuple(Unknown(part, "it", "hangs") for part in unknown),
        all_container_ids=EVERYONE,
    )


@dataclass(frozen=True)
class Event:
    """After `delay` seconds: things get lost or come back, holds and unknowns begin or end."""

    delay: float
    lose: frozenset[str] = frozenset()
    heal: bool = False
    holds: frozenset[BlockedKind] | None = None
    unknown: frozenset[Part] | None = None
    twice: bool | None = None
    copy: bool | None = None
    hint: bool = False
    settle: bool = False


@dataclass(frozen=True)
class Attempt:
    """What becomes of a means: how long it takes, whether it goes through, whether it heals."""

    lasts: float
    done: bool
    heals: bool


@dataclass(frozen=True)
class Entry:
    """One look in the diary: what was seen at `at`, and what was decided."""

    at: float
    verdict: Verdict
    decision: Decision
    ended: float


@dataclass
class World:
    """The policy's memory, and all that it may see."""

    limits: Limits
    attempts: Iterable[Attempt]
    now: float = 0.0
    memory: Memory = field(default_factory=Memory)
    lost: set[str] = field(default_factory=set)
    holds: frozenset[BlockedKind] = frozenset()
    unknown: frozenset[Part] = frozenset()
    twice: bool = False
    copy: bool = False
    diary: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn_to(self.attempts)

    def turn_to(self, attempts: Iterable[Attempt]) -> None:
        """From now on the means have these outcomes, one after another and over again."""
        self._attempts: Iterator[Attempt] = cycle(attempts)

    def live(self, events: Iterable[Event], rest_s: float) -> list[Entry]:
        """Let `events` happen one after another, then time pass; the diary of all looks."""
        for event in events:
            self._pass(self.now + event.delay)
            self._happen(event)
            self._look()
        self._pass(self.now + rest_s)
        return self.diary

    def seen(self) -> Verdict:
        """What a look says now: what is unknown is not called missing."""
        hidden = {
            name
            for name, thing in THINGS.items()
            if self.unknown & {Part.SETUP, kind_of(thing.kind).part}
        }
        return verdict(
            *(THINGS[name] for name in sorted(self.lost - hidden)),
            blocked=sorted(self.holds),
            unknown=sorted(self.unknown),
            warnings=(TWICE,) if self.twice else (),
        )

    def _happen(self, event: Event) -> None:
        self.lost |= event.lose
        if event.heal:
            self.lost.clear()
        self.holds = self.holds if event.holds is None else event.holds
        self.unknown = self.unknown if event.unknown is None else event.unknown
        self.twice = self.twice if event.twice is None else event.twice
        self.copy = self.copy if event.copy is None else event.copy
        if event.hint or event.lose or event.heal:
            settle = self.now + self.limits.settle if event.settle else self.now
            self.memory = hinted(self.memory, self.now, settle_until=settle)

    def _pass(self, until: float) -> None:
        while True:
            due = self.diary[-1].decision.look_at if self.diary else None
            slow = (self.diary[-1].ended if self.diary else self.now) + SLOW_LOOK_S
            at = slow if due is None else min(due, slow)
            if at > until:
                break
            self.now = max(self.now, at)
            self._look()
        self.now = max(self.now, until)

    def _look(self) -> None:
        """Look once, and do what is decided; what comes next is a look at once."""
        seen, at = self.seen(), self.now
        self.memory, decision = step(
            self.memory,
            seen,
            at,
            self.limits,
            can_replay=self.copy and bool(seen.missing_rules),
        )
        if decision.method is not None:
            self._act(decision)
        self.diary.append(Entry(at, seen, decision, self.now))
        recent = self.diary[-50:]
        assert len(recent) < 50 or recent[0].at < self.now, f"no end of looks: {recent[-3:]}"

    def _act(self, decision: Decision) -> None:
        attempt = next(self._attempts)
        self.now += attempt.lasts
        self.memory = acted(self.memory, decision, self.now, self.limits, done=attempt.done)
        if not (attempt.done and attempt.heals):
            return
        kind = next(kind for kind in KINDS if decision.method in kind.means)
        healed = {name for name in self.lost if THINGS[name].kind in kind.words}
        self.lost -= healed - ({"stuck"} if decision.method is Method.RELOAD else set())
        self.twice = self.twice and decision.method not in (Method.REPLAY, Method.ESCALATE)
