# SPDX-License-Identifier: Apache-2.0
"""Remarks: what the journal gets once, and not again while it stays the same.

Each look and each heartbeat finds the same things again: what podwatch goes without, what is odd,
what forbids a repair, what could not be seen. Here stands what of it has been logged.
"""

from collections.abc import Mapping

from podwatch.report.events import Event
from podwatch.report.logging import Log
from podwatch.report.status import ailing
from podwatch.words.errors import PodwatchError
from podwatch.words.snapshot import Unknown
from podwatch.words.verdict import CLOSING, HARMLESS, Blocked, BlockedKind, Verdict, WarningKind

MAX_COMPLAINTS = 2000
"""Different complaints that are logged until something was restored."""

MAX_AT_ONCE = 20
"""Warnings, and things unknown, that are logged of one look; the status has them all."""

_PASSING = frozenset({BlockedKind.BUSY, BlockedKind.FIREWALLD_RELOADING})
_NOT_ODD = frozenset({*HARMLESS, WarningKind.DUPLICATES})


class Remarks:
    """Logs by `log` what is new, and remembers it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._complaints: set[str] = set()
        self._odd: frozenset[str] = frozenset()
        self._closed: frozenset[str] = frozenset()
        self._obstacles: tuple[tuple[Blocked, ...], tuple[Unknown, ...]] = ((), ())
        self._ailing: dict[str, str] = {}
        self._paused = ""
        self._intent = ""

    def complain(self, error: PodwatchError) -> None:
        """Log what podwatch goes without."""
        text = f"{error}; {error.hint}" if error.hint else str(error)
        if text not in self._complaints and len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.add(text)
            self._log(Event.COMPLAINT, text)

    def forget_complaints(self) -> None:
        """Something was restored: from now on each complaint is news again."""
        self._complaints.clear()

    def judged(self, verdict: Verdict) -> None:
        """Log what is odd, what forbids a repair, and what could not be seen.

        What passes by itself within a moment (BUSY, firewalld's reload) is not worth an entry.
        """
        odd = {notice.what: notice for notice in verdict.warnings if notice.kind not in _NOT_ODD}
        for what in [what for what in odd if what not in self._odd][:MAX_AT_ONCE]:
            self._log(Event.ODD, what, advice=odd[what].advice)
        self._odd = frozenset(odd)
        self._closed_ways(verdict)
        blocked = tuple(reason for reason in verdict.blocked if reason.kind not in _PASSING)
        if (blocked, verdict.unknown) == self._obstacles:
            return
        self._obstacles = (blocked, verdict.unknown)
        for reason in blocked:
            self._log(Event.BLOCKED, f"not repairing: {reason.what}", advice=reason.advice)
        for unknown in verdict.unknown[:MAX_AT_ONCE]:
            self._log(Event.UNKNOWN, f"unknown: {unknown.what}: {unknown.why}", hint=unknown.hint)

    def _closed_ways(self, verdict: Verdict) -> None:
        """Log what breaks ways, where neither a loss nor a warning tells of it."""
        if verdict.missing or any(notice.kind in CLOSING for notice in verdict.warnings):
            return
        hops = [hop for way in verdict.ways if (hop := way.first_broken)]
        closed = {f"a way is closed: {hop.place}: {hop.what}": hop.advice for hop in hops}
        for what in [what for what in closed if what not in self._closed][:MAX_AT_ONCE]:
            self._log(Event.ODD, what, advice=closed[what])
        self._closed = frozenset(closed)

    def heard(self, watchers: Mapping[str, str]) -> None:
        """Log each watcher that fails, and each that works again."""
        before, self._ailing = self._ailing, ailing(watchers)
        for name in self._ailing.keys() - before.keys():
            why = self._ailing[name]
            self._log(Event.WATCHER_LOST, f"goes without {name}: {why}", watcher=name)
        for name in before.keys() - self._ailing.keys():
            self._log(Event.WATCHER_BACK, f"listens to {name} again", watcher=name)

    def paused(self, pause: str) -> None:
        """Log the end of a pause; `pause` is "" when there is none."""
        if self._paused and not pause:
            self._log(Event.RESUMED, "the pause is over: what is missing is put back again")
        self._paused = pause

    def intends(self, intent: str) -> None:
        """Log what a dry run would do; `intent` is "" when it would do nothing."""
        if intent and intent != self._intent:
            self._log(Event.PROGRESS, intent)
        self._intent = intent
