# SPDX-License-Identifier: Apache-2.0
"""Which losses are one incident, and when each begins and ends.

One that lasts must hide no other: what is lost together is one incident, what is lost while another
has come to rest is one of its own, and of an incident whose rest nobody is at any more, what came
back is ended by itself. So each loss is told once when it is found, and once when it is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from podwatch.decide.kinds import KINDS, Kind, kind_of
from podwatch.report.incident import Incident
from podwatch.words.cause import NO_CAUSE, Cause
from podwatch.words.means import BY_PODMAN, Outcome
from podwatch.words.snapshot import Part
from podwatch.words.text import lasted
from podwatch.words.verdict import Missing, Verdict

STORM_S = 5.0
"""What is lost so soon after an incident began is a part of it."""

_APART_S = 0.001
"""`began` names an incident in the history: two of one moment are told apart."""

_Key = tuple[str, str, str]
"""A loss by its word, chain and detail: what is the same at the next look."""


@dataclass
class _Open:
    """An incident that is going on: its losses, and since when by a clock that never goes back."""

    incident: Incident
    since: float
    losses: dict[_Key, Missing] = field(default_factory=dict)
    reloaded: bool = False
    """Whether it was reloaded for since the last look: that makes losses of its own."""


@dataclass(frozen=True)
class Changes:
    """What a look changed: incidents that began, ended, or go on with less than before."""

    began: tuple[Incident, ...] = ()
    ended: tuple[Incident, ...] = ()
    rest: tuple[Incident, ...] = ()


class Incidents:
    """The incidents that are going on; `newest` is the one that began last, over or not."""

    def __init__(self, kinds: Sequence[Kind] = KINDS) -> None:
        self.kinds = kinds
        self.newest: Incident | None = None
        self._open: list[_Open] = []
        self._named = 0.0

    @property
    def going_on(self) -> tuple[Incident, ...]:
        """Those that are not over."""
        return tuple(entry.incident for entry in self._open)

    def looked(
        self, verdict: Verdict, cause: Cause, *, now: float, at: float, at_rest: bool
    ) -> Changes:
        """Take in a look at `now`, in seconds since the epoch.

        `at` is the same moment in seconds of a clock that never goes back. `at_rest` says that
        nothing is done about what is missing in the next moment.
        """
        missing = {_key(loss): loss for loss in verdict.missing}
        for entry in self._open:
            self._follow(entry, missing, verdict)
        ended: list[Incident] = []
        rest: list[Incident] = []
        storm = [entry.incident for entry in self._open if at - entry.since < STORM_S]
        for entry in list(self._open):
            back = {
                key for key in entry.losses if self._is_back(entry.losses[key], missing, verdict)
            }
            if len(back) == len(entry.losses):
                self._open.remove(entry)
                ended.append(entry.incident)
            elif back and at_rest:
                rest.append(self._parted(entry, back, verdict))
                ended.append(entry.incident)
            else:
                continue
            entry.incident.end(now, at - entry.since)
        known = {key for entry in self._open for key in entry.losses}
        fresh = {key: loss for key, loss in missing.items() if key not in known}
        if fresh and storm and not cause:  # during a repair, who did it is not always heard
            cause = storm[-1].cause
        began = self._begin(fresh, verdict, cause, now, at) if fresh else ()
        for entry in self._open:
            entry.reloaded = False
        return Changes(began, tuple(ended), tuple(rest))

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """A means of restoring was tried: it is a part of the story of those it was meant for."""
        told = f"{outcome.detail} in {lasted(took_s)}"
        if not outcome.done:
            told = outcome.held or f"{outcome.method} failed"
        for entry in self._open:
            if any(outcome.method in self._kind(key).means for key in entry.losses):
                entry.incident.methods.append(outcome.method)
                entry.incident.tried.append(told)
                entry.reloaded = outcome.method in BY_PODMAN

    def _follow(self, whole: _Open, missing: Mapping[_Key, Missing], verdict: Verdict) -> None:
        """A table that is there again with half of its rules is not back: those are lost still."""
        tables = [
            key for key in whole.losses if key not in missing and key[0] == self._kind(key).whole
        ]
        known = {key for entry in self._open for key in entry.losses}
        rest = {
            key: loss
            for key, loss in missing.items()
            if key not in known and key[0] in self._kind(key).in_whole
        }
        if tables and rest:
            for key in tables:
                del whole.losses[key]
            whole.losses.update(rest)
            whole.incident.note(_only(verdict, rest.values()))

    def _begin(
        self,
        fresh: Mapping[_Key, Missing],
        verdict: Verdict,
        cause: Cause,
        now: float,
        at: float,
    ) -> tuple[Incident, ...]:
        """Make what is lost newly a part of an incident that is in motion, or one of its own."""
        moving = [entry for entry in self._open if at - entry.since < STORM_S or entry.reloaded]
        if moving:
            moving[-1].losses.update(fresh)
            moving[-1].incident.note(_only(verdict, moving[-1].losses.values()))
            return ()
        if cause.writer and not any(self._kind(key).is_by_writers for key in fresh):
            cause = NO_CAUSE
        begun = _Open(Incident(self._name(now), cause, kinds=self.kinds), at, dict(fresh))
        begun.incident.note(_only(verdict, fresh.values()))
        self._open.append(begun)
        self.newest = begun.incident
        return (begun.incident,)

    def _parted(self, whole: _Open, back: set[_Key], verdict: Verdict) -> Incident:
        """Let what is not back go on as an incident of its own, and return that.

        What was tried is told of what came back: it brought nothing of the rest.
        """
        before = whole.incident
        stays = {key: loss for key, loss in whole.losses.items() if key not in back}
        goes_on = Incident(self._name(before.began), before.cause, kinds=self.kinds)
        goes_on.note(_only(verdict, stays.values()))
        before.only(_only(verdict, [whole.losses[key] for key in back]))
        self._open[self._open.index(whole)] = _Open(goes_on, whole.since, stays)
        return goes_on

    def _is_back(self, loss: Missing, missing: Mapping[_Key, Missing], verdict: Verdict) -> bool:
        """Whether a look has found what was lost, or that nobody needs it any more."""
        unknown = {part.part for part in verdict.unknown}
        kind = self._kind(_key(loss))
        if _key(loss) in missing or unknown & {Part.SETUP, kind.part_of(loss.kind)}:
            return False
        if not kind.is_of_containers or loss.kind in kind.parts:
            return True
        if any(word == kind.whole for word, _, _ in missing):
            return False
        # What is not known of a container may be missing all the same.
        expected = verdict.all_container_ids
        return Part.CONTAINER not in unknown or all(key in expected for key in loss.container_ids)

    def _kind(self, key: _Key) -> Kind:
        return kind_of(key[0], self.kinds)

    def _name(self, began: float) -> float:
        """The moment, or one just behind it where that is another incident's name."""
        taken = [self._named, *(entry.incident.began for entry in self._open)]
        while any(abs(began - other) < _APART_S / 2 for other in taken):
            began += _APART_S
        self._named = began
        return began


def _key(loss: Missing) -> _Key:
    return loss.kind, loss.chain, loss.detail


def _only(verdict: Verdict, losses: Iterable[Missing]) -> Verdict:
    return replace(verdict, missing=tuple(losses))
