# SPDX-License-Identifier: Apache-2.0
"""An incident: one loss, from the look that found it to the look that found everything back.

Its `line` is the one canonical line that the journal and `podwatch status` tell of it: what was
lost, who did it, how it was restored, and how long that took. Everybody may read it, and `public`:
command lines stand in the history alone.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from podwatch.decide.kinds import KINDS, Kind, reported
from podwatch.words.cause import Cause, CauseKind
from podwatch.words.text import counted, lasted, listed
from podwatch.words.verdict import Verdict


def by_guard(carried: int) -> str:
    """What the guard did while something was lost, as the end of a sentence; "" for nothing."""
    verb = "was" if carried == 1 else "were"
    new = counted(carried, "new connection")
    return f"; {new} {verb} carried by the guard meanwhile" if carried > 0 else ""


_INSIDE = ("counts", "kinds", "told")
MAX_SENTENCES = 2000
"""Sentences of an incident at most, so that a store of them stays bounded."""


@dataclass
class Incident:
    """What was missing (in sentences and in numbers), why, what was tried, and how it ended.

    `counts` says how much of each kind of thing was missing, by the kind's name. `methods` are the
    means tried. `told` is what closes a way and is not podwatch's to mend: then nothing is missing.
    `began` and `restored_at` are seconds since the epoch. `missing`, `counts` and `containers` grow
    when a later look finds more of it. `carried` are the connections that the guard forwarded
    meanwhile. `verified` is True when a look after the last attempt found
    everything there.
    """

    began: float
    cause: Cause
    missing: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    containers: int = 0
    tried: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    restored_at: float | None = None
    verified: bool = False
    took_ms: int = 0
    line: str = ""
    told: list[str] = field(default_factory=list)
    carried: int = 0
    kinds: Sequence[Kind] = KINDS

    def __post_init__(self) -> None:
        self.counts = {kind.name: 0 for kind in reported(self.kinds)} | self.counts

    def note(self, verdict: Verdict) -> None:
        """Take in what a look found missing; what was known already is not counted twice."""
        known = set(self.missing)
        fresh = dict.fromkeys(loss.what for loss in verdict.missing)
        self.missing += [what for what in fresh if what not in known][: MAX_SENTENCES - len(known)]
        touched: set[str] = set()
        for kind in self.kinds:
            lost = kind.of(verdict.missing)
            is_whole = any(loss.kind == kind.whole for loss in lost)
            number = verdict.expected_rules if is_whole else len(lost)
            self.counts[kind.name] = max(self.counts[kind.name], number)
            if kind.is_of_containers:
                touched.update(key for loss in lost for key in loss.container_ids)
                if any(not loss.container and not loss.network for loss in lost):
                    touched.update(verdict.all_container_ids)  # of use to all
        self.containers = max(self.containers, len(touched))

    def only(self, verdict: Verdict) -> None:
        """Be reported with no more than this: the rest is another incident's from now on."""
        self.missing, self.containers = [], 0
        self.counts = dict.fromkeys(self.counts, 0)
        self.note(verdict)

    def end(self, now: float, took_s: float) -> None:
        """Everything is there again, as a look at `now` found, `took_s` seconds after it began."""
        self.over(now, took_s)
        how = "; ".join(self.attempts[-5:]) or "by somebody else"
        # What was lost while nobody looked was lost for longer.
        since = " of podwatch's start" if self.cause.kind is CauseKind.ABSENT else ""
        self.line = (
            f"restored {self.amount} in {lasted(self.took_ms / 1000)}{since}, verified: "
            f"{listed(self.missing)}; cause: {self.cause.text or 'not known'}; how: {how}"
            f"{by_guard(self.carried)}"
        )

    def over(self, now: float, took_s: float) -> None:
        """A look at `now` found nothing of it any more, `took_s` seconds after it began."""
        self.restored_at = now
        self.verified = True
        self.took_ms = max(0, round(took_s * 1000))

    def public(self) -> dict[str, Any]:
        """What everybody may know of it, as status.SHAPE["last_incident"] describes it."""
        cause = {"cause": self.cause.text, "by": self.cause.label, "process": self.cause.facts}
        own = {key: value for key, value in vars(self).items() if key not in _INSIDE}
        return {**own, **self.counts, **cause}

    @property
    def attempts(self) -> list[str]:
        """What was tried, in order; what was tried again at once is told with its number."""
        runs = ((what, len(list(same))) for what, same in itertools.groupby(self.tried))
        return [what if number == 1 else f"{what} ({number} times)" for what, number in runs]

    @property
    def things(self) -> str:
        """What was missing, in the plural: "rules" too for what goes with them."""
        lost = [kind for kind in reported(self.kinds) if self.counts[kind.name]]
        if not lost or any(kind.is_by_writers for kind in lost):
            return "rules"
        return lost[0].plural

    @property
    def amount(self) -> str:
        """How much was missing: "42 rules of 8 containers and 1 trusted source"."""
        parts = []
        for kind in reported(self.kinds):
            if number := self.counts[kind.name]:
                whose = kind.is_of_containers and self.containers
                of = f" of {counted(self.containers, 'container')}" if whose else ""
                parts.append(kind.counted(number) + of)
        return " and ".join(parts)
