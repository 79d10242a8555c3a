# SPDX-License-Identifier: Apache-2.0
"""The ledger: every incident is entered when it begins, and again when it ends.

An entry goes to the journal, the history, the counters of the status and the tally of the metrics.
Which losses are one incident is decided in incidents.py.
"""

from collections.abc import Callable

from podwatch.decide.decision import Decision
from podwatch.report.closures import Closures
from podwatch.report.events import Event
from podwatch.report.flapping import Flapping
from podwatch.report.history import History
from podwatch.report.incident import Incident
from podwatch.report.incidents import Incidents
from podwatch.report.logging import Log
from podwatch.report.metrics import Tally
from podwatch.report.remarks import Remarks
from podwatch.words.cause import Cause
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Outcome
from podwatch.words.text import listed
from podwatch.words.verdict import Verdict

REST_S = 1.0
"""Nothing is under way where the next try is further away."""


class Ledger:
    """Enters incidents, and the means that were tried for them.

    `entered` is called with each incident that is entered: when it begins, and again when it ends.
    """

    def __init__(
        self,
        remarks: Remarks,
        history: History | None,
        log: Log,
        entered: Callable[[Incident], None] = lambda _: None,
    ) -> None:
        self.incidents = Incidents()
        self._closures = Closures()
        self.counters = {"looks": 0, "incidents": 0, "restored": 0, "failed": 0}
        self.tally = Tally()
        self.flapping = Flapping()
        self._remarks = remarks
        self._history = history
        self._log = log
        self._entered = entered
        self._failures: dict[str, str] = {}
        self._carried = 0

    def looked(
        self,
        verdict: Verdict,
        decision: Decision,
        cause: Cause,
        *,
        now: float,
        at: float,
        carried: int = 0,
    ) -> None:
        """Enter what a look changed: incidents that ended, that go on with less, that began.

        The look was over at `now`, in seconds since the epoch, and at `at` by time.monotonic().
        `carried` counts the connections that the guard has forwarded so far.
        """
        self.counters["looks"] += 1
        self.flapping.ends(now)
        for incident in self.incidents.going_on:
            incident.carried += carried - self._carried
        self._carried = carried
        waits = decision.look_at is None or decision.look_at > at + REST_S
        changes = self.incidents.looked(
            verdict, cause, now=now, at=at, at_rest=decision.method is None and waits
        )
        for incident in changes.ended:
            self._restored(incident)
        for incident in changes.rest:
            self.counters["incidents"] += 1
            self._remember(incident)
        for incident in changes.began:
            self._began(incident, decision, now)
        for told in self._closures.looked(verdict, now=now, at=at):
            self._remember(told)
        if not verdict.missing:
            self._failures.clear()

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """Enter a means of restoring that was tried, and took so many seconds."""
        self.tally.tried(outcome.method, done=outcome.done)
        self.incidents.acted(outcome, took_s=took_s)
        if outcome.done:
            self._failures.pop(outcome.method, None)
            return
        self._failures[outcome.method] = outcome.detail
        self.counters["failed"] += 1
        message = f"{outcome.method}: {outcome.detail}"
        self._log(Event.RESTORE_FAILED, message, method=outcome.method)

    def why_waiting(self, decision: Decision) -> str:
        """What the next try waits for, and how the last one of each means failed."""
        failed = "; ".join(self._failures.values())
        return f"{decision.why} ({failed})" if failed else decision.why

    def _began(self, incident: Incident, decision: Decision, now: float) -> None:
        cause = incident.cause
        self.tally.began(cause.label)
        self.counters["incidents"] += 1
        self._remember(incident)
        self._log(
            Event.LOSS_FOUND,
            f"missing: {listed(incident.missing)}; cause: {cause.text or 'not known'}",
            cause=cause.text,
            missing="\n".join(incident.missing),
            decision=decision.method or "none",
        )
        if self.flapping.lost(cause, now, incident.things):
            self._log(Event.FLAPPING, self.flapping.sentence, cause=cause.text)

    def _restored(self, incident: Incident) -> None:
        self.tally.restored(incident.took_ms / 1000)
        self.counters["restored"] += 1
        self._remarks.forget_complaints()
        self._log(
            Event.RESTORED,
            incident.line,
            cause=incident.cause.text,
            how="; ".join(incident.attempts) or "by somebody else",
            took_ms=incident.took_ms,
            missing="\n".join(incident.missing),
        )
        self._remember(incident)

    def _remember(self, incident: Incident) -> None:
        self._entered(incident)
        if self._history is None:
            return
        try:
            self._history.note(incident)
        except PodwatchError as exc:
            self._remarks.complain(exc)
