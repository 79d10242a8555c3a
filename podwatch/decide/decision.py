# SPDX-License-Identifier: Apache-2.0
"""What the policy is made of: its numbers, its memory, what a verdict means to it, its decision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from podwatch.decide.kinds import KINDS, RULES, Kind
from podwatch.words.means import Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import Blocked, BlockedKind, Missing, Verdict

QUIET_CAP_S = 30.0
"""A reload that somebody flushes away half-way can take its container off the network for good, so
while somebody is at it a reload waits this long."""

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy's numbers; times in seconds."""

    methods: frozenset[str] = frozenset(Method)
    quiet: float = 0.3  # nobody changes anything for so long before a reload
    quiet_cap: float = QUIET_CAP_S  # but a loss waits no longer than this for it
    settle: float = 1.5  # netavark's own reload units get so long to do their work
    hold_cap: float = 10.0  # a firewalld reload that takes longer is stuck
    busy_cap: float = 2.0  # podman's lock held longer than this does not stop a replay
    calm: float = 3.0  # rules do not flap any more when nothing was undone for so long
    backoff: float = 1.0
    backoff_max: float = 300.0
    duplicates: bool = True  # put right what is there twice, when it has been quiet for `calm`
    limit: int = 10  # reloads and escalations in any window
    replay_limit: int = 100
    replay_burst: int = 5
    window: float = 300.0
    give_way: float = 30.0  # what is lost again so soon after its repair is somebody's will


@dataclass(frozen=True, slots=True)
class Tries:
    """What is remembered of one kind of thing: since when it is missing, and what was tried.

    `count` are the tries that did not end the loss; of the rules, reloads and escalations alone.
    The next one comes at `next_at` at the earliest.
    """

    since: float | None = None
    count: int = 0
    next_at: float = NEVER


@dataclass(frozen=True, slots=True)
class Memory:
    """What the policy remembers between steps. Moments are -inf where there was none."""

    kinds: Mapping[str, Tries] = field(default_factory=dict)  # by the kind's name
    blocked_since: float | None = None
    foreign_at: float = NEVER  # somebody else changed something
    settle_until: float = NEVER
    unknowns: int = 0
    # Of kinds that give way, by Missing.thing: when it was put right, and what is left alone.
    mended: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    left: frozenset[tuple[str, str, str]] = frozenset()
    seen: Mapping[tuple[str, str, str], float] = field(default_factory=dict)  # since when lost
    # Of the rules alone:
    tried: tuple[str, ...] = ()  # in this incident, since somebody else last changed anything
    rounds: tuple[float, ...] = ()  # reloads and escalations
    reloaded: frozenset[str] = frozenset()  # by them
    replays: tuple[float, ...] = ()
    next_replay: float = NEVER

    def of(self, kind: Kind) -> Tries:
        """What is remembered of a kind."""
        return self.kinds.get(kind.name, Tries())

    def noting(self, kind: Kind, tries: Tries) -> "Memory":
        """The memory with this remembered of a kind."""
        return replace(self, kinds={**self.kinds, kind.name: tries})


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now about `missing`, and when to look again at the latest.

    `look_at` is None where nothing is to be done before something happens. A replay without
    anything missing takes away what is there twice.
    """

    method: str | None
    why: str
    look_at: float | None = None
    container_ids: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One verdict at one moment, as the policy goes by it."""

    verdict: Verdict
    now: float
    limits: Limits
    can_replay: bool
    missing: Mapping[str, tuple[Missing, ...]]  # by the kind's name
    unknown: frozenset[Part]
    blocked: Mapping[BlockedKind, Blocked]

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        now: float,
        limits: Limits,
        *,
        can_replay: bool,
        kinds: Iterable[Kind] = KINDS,
    ) -> "Case":
        """The case of a verdict at `now`."""
        return cls(
            verdict,
            now,
            limits,
            can_replay,
            {kind.name: kind.of(verdict.missing) for kind in kinds},
            frozenset(unknown.part for unknown in verdict.unknown),
            {blocked.kind: blocked for blocked in verdict.blocked},
        )

    @property
    def lost_rules(self) -> tuple[Missing, ...]:
        """What is missing of the rules, and what closes a way."""
        return self.missing.get(RULES.name, ())

    @property
    def is_changing(self) -> bool:
        """Whether podman is in the middle of a change, and not only kept from one."""
        busy = self.blocked.get(BlockedKind.BUSY)
        return busy is not None and not busy.only_reload

    def since(self, moment: float | None) -> float:
        """A moment, or now where there was none."""
        return self.now if moment is None else moment
