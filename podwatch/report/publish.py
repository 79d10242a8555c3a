# SPDX-License-Identifier: Apache-2.0
"""Publishing: status.json, the journal's account of every incident, systemd's status line.

What stands in status.json is described in status.py, what a look contributes is built in
document.py. Nothing here decides anything; what is told once is not told again.
"""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podwatch import __version__
from podwatch.adapters.files import write_whole
from podwatch.decide.policy import Decision
from podwatch.report.document import MOST, document, with_dhcp, with_refused
from podwatch.report.events import Event
from podwatch.report.history import History
from podwatch.report.incident import Incident
from podwatch.report.incidents import Incidents
from podwatch.report.logging import log
from podwatch.report.metrics import Tally
from podwatch.report.status import SCHEMA, ailing
from podwatch.words.cause import Cause
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Outcome
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import lasted, listed
from podwatch.words.verdict import HARMLESS, BlockedKind, Verdict, WarningKind

HEARTBEAT_S = 20.0

MOST_ODD = 20
"""Warnings of one look that are logged; the status has them all."""

REST_S = 1.0
"""Nothing is under way where the next try is further away."""

FIGHT_LOSSES = 6
FIGHT_S = 30.0
"""So many losses in so many seconds are a fight."""


class Publisher:
    """Tells the world: status.json, the journal, and the service manager's status line."""

    def __init__(
        self,
        path: Path,
        watchers: Callable[[], Mapping[str, str]],
        notify: Callable[[str], None],
        *,
        exporter: Callable[[], None] = lambda: None,
        dry_run: bool = False,
        history: History | None = None,
    ) -> None:
        self.path = path
        self.incidents = Incidents()
        self.counters = {"looks": 0, "incidents": 0, "restored": 0, "failed": 0}
        self.has_neighbours = False
        self.told = asyncio.Event()
        """Set once the status of a look has been written."""
        self.tally = Tally()
        self._exporter = exporter
        """Called whenever `document` has changed, and at each heartbeat."""
        self.document: dict[str, Any] = {}
        self._watchers = watchers
        self._notify = notify
        self._dry_run = dry_run
        self._history = history
        self._document: dict[str, Any] = {}
        self._dhcp: dict[str, Any] = {}
        self._restoring = ""
        self._refused = ""
        self._intent = ""
        self._failures: dict[str, str] = {}
        self._state: object = None
        self._line = ""
        self._started = self._since = time.time()
        self._told: object = None
        self._odd: frozenset[str] = frozenset()
        self._complaints: set[str] = set()
        self._ailing: dict[str, str] = {}
        self._begun: deque[float] = deque(maxlen=FIGHT_LOSSES)
        self._paused = ""
        self._fight = ""
        self._fight_told = 0.0

    def looked(
        self,
        snapshot: Snapshot,
        verdict: Verdict,
        decision: Decision,
        *,
        cause: Cause,
        took_s: float,
        at: float,
    ) -> None:
        """A look is over: open or close the incident, and write the status.

        `at` is when it was over, in seconds of time.monotonic(), and `took_s` how long it took.
        """
        now = time.time() - (time.monotonic() - at)
        self.counters["looks"] += 1
        if self._fight and now - self._begun[-1] > FIGHT_S:
            self._fight = ""
        self.has_neighbours = any(each.startswith("netavark-") for each in snapshot.neighbours)
        waits = decision.look_at is None or decision.look_at > at + REST_S
        changes = self.incidents.looked(
            verdict, cause, now=now, at=at, at_rest=decision.method is None and waits
        )
        for incident in changes.ended:
            self._healed(incident)
        for incident in changes.rest:
            self.counters["incidents"] += 1
            self._remember(incident)
        for incident in changes.began:
            self._began(incident, decision, now)
        if not verdict.missing:
            self._failures.clear()
        self._tell(verdict)
        if self._paused and not snapshot.paused:
            log(Event.RESUMED, "the pause is over: what is missing is put back again")
        self._paused = snapshot.paused
        self._document = document(snapshot, verdict)
        self._document["next_try"] = self._next_try(decision) if verdict.missing else ""
        wait = None if decision.look_at is None else decision.look_at - at
        self._document["next_look_at"] = None if wait is None else now + wait
        self._document["last_look"] = {
            "at": now,
            "took_ms": round(took_s * 1000, 1),
            "generation": snapshot.generation,
            "cause": cause.short or cause.text,
        }
        self.write(restoring=self._restores(decision))
        self.told.set()

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """A means of restoring was tried."""
        self.tally.tried(outcome.method, done=outcome.done)
        self.incidents.acted(outcome, took_s=took_s)
        if outcome.done:
            self._failures.pop(outcome.method, None)
            return
        self._failures[outcome.method] = outcome.detail
        self.counters["failed"] += 1
        log(Event.RESTORE_FAILED, f"{outcome.method}: {outcome.detail}", method=outcome.method)

    def progress(self, what: str) -> None:
        """A repair that takes a while is under way."""
        log(Event.PROGRESS, what)
        self.write(restoring=what)

    def took_dhcp(self, section: dict[str, Any]) -> None:
        """What is told of DHCP is this from now on; see SHAPE["dhcp"]."""
        if section != self._dhcp:
            self._dhcp = section
            if self._document:
                self.write(restoring=self._restoring)

    def refuse(self, why: str) -> None:
        """The configuration was refused for this reason; "" when one was taken over."""
        self._refused = why
        if self._document:
            self.write(restoring=self._restoring)

    def complain(self, error: PodwatchError) -> None:
        """Log what podwatch goes without; the same thing once."""
        text = f"{error}; {error.hint}" if error.hint else str(error)
        if text not in self._complaints and len(self._complaints) < MOST:
            self._complaints.add(text)
            log(Event.COMPLAINT, text)

    def write(self, *, restoring: str = "") -> None:
        """Write the status document as it is now."""
        self._restoring = restoring
        self._follow_watchers()
        last = self.incidents.newest
        told = with_refused(with_dhcp(self._document, self._dhcp), self._refused)
        if told.get("state") != self._state:
            self._state, self._since = told.get("state"), time.time()
        line = f"{told.get('state')}: {told.get('summary')}"
        if line != self._line:
            self._line = line
            self._notify(line)
        whole = self.document = {
            "schema": SCHEMA,
            "version": __version__,
            "pid": os.getpid(),
            "started": self._started,
            "heartbeat_every": HEARTBEAT_S,
            "dry_run": self._dry_run,
            **told,
            "since": self._since,
            "watchers": dict(self._watchers()),
            "fight": self._fight,
            "restoring": restoring,
            "last_incident": last.public() if last else None,
            "counters": self.counters,
        }
        try:
            write_whole(self.path, json.dumps(whole, indent=1) + "\n")
        except PodwatchError as exc:
            self.complain(exc)
        self.export()

    def export(self) -> None:
        """Have the metrics written anew."""
        try:
            self._exporter()
        except PodwatchError as exc:
            self.complain(exc)

    def beat(self) -> None:
        """Show that podwatch is alive."""
        self._follow_watchers()
        if self._fight and time.time() - self._begun[-1] > FIGHT_S:
            self._fight = ""
            self.write(restoring=self._restoring)
        try:
            os.utime(self.path)
        except OSError:
            self.write()
        else:
            self.export()

    def _follow_watchers(self) -> None:
        """Log each watcher that stops or begins to be well, once."""
        now = ailing(self._watchers())
        before, self._ailing = self._ailing, now
        for name in now.keys() - before.keys():
            log(Event.WATCHER_LOST, f"goes without {name}: {now[name]}", watcher=name)
        for name in before.keys() - now.keys():
            log(Event.WATCHER_BACK, f"listens to {name} again", watcher=name)

    def _next_try(self, decision: Decision) -> str:
        failed = "; ".join(self._failures.values())
        return f"{decision.why} ({failed})" if failed else decision.why

    def _restores(self, decision: Decision) -> str:
        """What is under way; in a dry run, what would be: that is logged too, once."""
        if decision.method is None or not self._dry_run:
            self._intent = ""
            return decision.why if decision.method else ""
        before, self._intent = self._intent, f"would {decision.method}: {decision.why}"
        if self._intent != before:
            log(Event.PROGRESS, self._intent)
        return self._intent

    def _began(self, incident: Incident, decision: Decision, now: float) -> None:
        cause = incident.cause
        self.tally.began(cause.label)
        self._remember(incident)
        self.counters["incidents"] += 1
        log(
            Event.LOSS_FOUND,
            f"missing: {listed(incident.missing)}; cause: {cause.text or 'not known'}",
            cause=cause.text,
            missing="\n".join(incident.missing),
            decision=decision.method or "none",
        )
        self._begun.append(now)
        for_s = now - self._begun[0]
        if len(self._begun) == FIGHT_LOSSES and for_s < FIGHT_S:
            self._fight = (
                f"{cause.writer.name if cause.writer else cause.short or 'somebody'} keeps "
                "removing the rules: "
                f"{FIGHT_LOSSES} times in {lasted(for_s)}"
            )
            if now - self._fight_told > 2 * FIGHT_S:
                self._fight_told = now
                log(Event.FIGHT, self._fight, cause=cause.text)

    def _healed(self, incident: Incident) -> None:
        self.tally.restored(incident.took_ms / 1000)
        self.counters["restored"] += 1
        self._complaints.clear()
        log(
            Event.RESTORED,
            incident.line,
            cause=incident.cause.text,
            how="; ".join(incident.attempts) or "by somebody else",
            took_ms=incident.took_ms,
            missing="\n".join(incident.missing),
        )
        self._remember(incident)

    def _remember(self, incident: Incident) -> None:
        if self._history is None:
            return
        try:
            self._history.note(incident)
        except PodwatchError as exc:
            self.complain(exc)

    def _tell(self, verdict: Verdict) -> None:
        """Log what blocks or is unknown, once while it stays the same."""
        held = [
            each
            for each in verdict.blocked
            if each.kind not in (BlockedKind.BUSY, BlockedKind.FIREWALLD_RELOADING)
        ]
        passing = {*HARMLESS, WarningKind.DUPLICATES}
        odd = {each.what: each.advice for each in verdict.warnings if each.kind not in passing}
        for what in [each for each in odd if each not in self._odd][:MOST_ODD]:
            log(Event.ODD, what, advice=odd[what])
        self._odd = frozenset(odd)
        news = (tuple(held), verdict.unknown)
        if news == self._told:
            return
        self._told = news
        for blocked in held:
            log(Event.BLOCKED, f"not repairing: {blocked.what}", advice=blocked.advice)
        for unknown in verdict.unknown[:20]:
            log(Event.UNKNOWN, f"unknown: {unknown.what}: {unknown.why}", hint=unknown.hint)
