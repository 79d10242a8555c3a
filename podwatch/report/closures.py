# SPDX-License-Identifier: Apache-2.0
"""What closes ways, or will, and is not podwatch's to mend: in the history while it lasts.

A loss that podwatch mends is an incident. What is told and left, as a rule of somebody else's that
takes packets away, is found out later by whoever asks when it began: so it is written down, too.
"""

from collections.abc import Iterator

from podwatch.report.incident import Incident
from podwatch.words.cause import NO_CAUSE
from podwatch.words.verdict import CLOSING, BlockedKind, Verdict, WarningKind

MAX_OPEN = 100
"""So many that last at once are written down."""

TOLD = CLOSING | {WarningKind.DETOUR, WarningKind.NAME_SERVERS, WarningKind.RENAMED}
_APART_S = 0.001


class Closures:
    """What is going on, each with since when by a clock that never goes back."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Incident, float]] = {}
        self._named = 0.0

    def looked(self, verdict: Verdict, *, now: float, at: float) -> list[Incident]:
        """Take in a look at `now`, in seconds since the epoch: what began and what ended, to enter.

        `at` is the same moment in seconds of a clock that never goes back. While podman is at work,
        and while something is lost that may be the reason, nothing begins.
        """
        if any(reason.kind is BlockedKind.BUSY for reason in verdict.blocked):
            return []
        told = list(dict.fromkeys(_told(verdict)))
        changed: list[Incident] = []
        for what in [what for what in self._open if what not in told]:
            incident, since = self._open.pop(what)
            incident.over(now, at - since)
            changed.append(incident)
        fresh = [] if verdict.missing else [what for what in told if what not in self._open]
        for what in fresh[: MAX_OPEN - len(self._open)]:
            self._named = max(now, self._named + _APART_S)
            incident = Incident(self._named, NO_CAUSE, told=[what])
            self._open[what] = incident, at
            changed.append(incident)
        return changed


def _told(verdict: Verdict) -> Iterator[str]:
    found = [notice for notice in verdict.warnings if notice.kind in TOLD]
    yield from (notice.what for notice in found)
    if not verdict.missing and not any(notice.kind in CLOSING for notice in found):
        hops = (way.first_broken for way in verdict.ways)
        yield from (f"{hop.place}: {hop.what}" for hop in hops if hop is not None)
