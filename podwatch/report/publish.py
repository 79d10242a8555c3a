# SPDX-License-Identifier: Apache-2.0
"""Publishing: what the loop found and did goes to status.json, journal, history and metrics.

The Publisher only puts together what each of these owns: the status document (status_file.py),
what was logged once (remarks.py), incidents with their counters (ledger.py). Nothing here decides
anything.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podwatch.decide.decision import Decision
from podwatch.report.document import document
from podwatch.report.events import Event
from podwatch.report.history import History
from podwatch.report.ledger import Ledger
from podwatch.report.listener import Listener, Looked
from podwatch.report.logging import Log, log
from podwatch.report.metrics import Tally
from podwatch.report.remarks import Remarks
from podwatch.report.standing import Since
from podwatch.report.status_file import StatusFile, as_text
from podwatch.words.cause import Cause
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Outcome
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Verdict


class Publisher:
    """Tells the world what podwatch sees and does.

    The status is written to `path`. `watchers` says how each watcher is; `notify` takes the service
    manager's status line; `exporter` writes the metrics, whenever `document` has changed and at
    each heartbeat. `clock` gives seconds since the epoch. `listener` is told of all
    that is published.
    """

    def __init__(
        self,
        path: Path,
        watchers: Callable[[], Mapping[str, str]],
        notify: Callable[[str], None],
        *,
        exporter: Callable[[], None] = lambda: None,
        dry_run: bool = False,
        history: History | None = None,
        log: Log = log,
        clock: Callable[[], float] = time.time,
        listener: Listener | None = None,
    ) -> None:
        self.reported = asyncio.Event()
        """Set once the status of a look has been written."""
        self._remarks = Remarks(log)
        self._since = Since()
        self._listener = listener or Listener()
        self._ledger = Ledger(self._remarks, history, log, self._listener.entered)
        self._status = StatusFile(path, notify, dry_run=dry_run, clock=clock)
        self._watchers = watchers
        self._exporter = exporter
        self._dry_run = dry_run
        self._log = log
        self._clock = clock
        self._text = ""
        self._beaten = clock()

    @property
    def document(self) -> dict[str, Any]:
        """The status document as it was written last."""
        return self._status.document

    @property
    def text(self) -> str:
        """The same as JSON, with its `heartbeat`: when podwatch last showed that it is alive."""
        self._text = self._text or as_text(self.document).removesuffix("\n}\n")
        return f'{self._text},\n"heartbeat": {self._beaten!r}\n}}\n'

    @property
    def tally(self) -> Tally:
        """What the metrics count."""
        return self._ledger.tally

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
        now = self._clock() - (time.monotonic() - at)
        carried = self._status.guard.get("carried", 0)
        self._ledger.looked(verdict, decision, cause, now=now, at=at, carried=carried)
        self._remarks.judged(verdict)
        self._remarks.paused(snapshot.paused)
        found = document(snapshot, verdict)
        self._since.stamp(found, now)
        wait = None if decision.look_at is None else decision.look_at - at
        self._status.found = {
            **found,
            "next_try": self._ledger.why_waiting(decision) if verdict.missing else "",
            "next_look_at": None if wait is None else now + wait,
            "last_look": {
                "at": now,
                "took_ms": round(took_s * 1000, 1),
                "generation": snapshot.generation,
                "cause": cause.short or cause.text,
            },
        }
        self._status.restoring = self._under_way(decision)
        self._write()
        self.reported.set()
        self._listener.looked(Looked(at - took_s, at, snapshot, verdict, decision))

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """A means of restoring was tried, and took so many seconds."""
        self._ledger.acted(outcome, took_s=took_s)
        self._listener.acted(outcome)

    def progress(self, what: str) -> None:
        """A repair that takes a while is under way."""
        self._log(Event.PROGRESS, what)
        self._status.restoring = what
        self._write()

    def took_dhcp(self, section: dict[str, Any]) -> None:
        """What is reported of DHCP is this from now on; see SHAPE["dhcp"]."""
        if section != self._status.dhcp:
            self._status.dhcp = section
            self._write_again()

    def took_guard(self, section: dict[str, Any]) -> None:
        """What is reported of the guard is this from now on; see SHAPE["guard"]."""
        before = self._status.guard
        if section != before:
            self._status.guard = section
            self._write_again()
        is_other = any(section.get(key) != before.get(key) for key in ("mode", "table", "why"))
        if before and is_other:
            table, why = section.get("table"), section.get("why")
            told = f"the guard is {section['mode']}" + (f" (table inet {table})" if table else "")
            self._log(Event.GUARD, told + (f": {why}" if why else ""))

    def refuse(self, why: str) -> None:
        """The configuration was refused for this reason; "" when one was taken over."""
        self._status.refused = why
        self._write_again()

    def complain(self, error: PodwatchError) -> None:
        """Log what podwatch goes without; the same thing once."""
        self._remarks.complain(error)

    def beat(self) -> None:
        """Show that podwatch is alive."""
        self._beaten = self._clock()
        self._remarks.heard(self._watchers())
        if self._ledger.flapping.ends(self._clock()):
            self._write()
        if self._status.beat():
            self._export()
        else:
            self._write()

    def _write_again(self) -> None:
        """Write the status with what has changed beside the look, once there has been a look."""
        if self._status.found:
            self._write()

    def _write(self) -> None:
        watchers = self._watchers()
        self._remarks.heard(watchers)
        newest = self._ledger.incidents.newest
        self._text, self._beaten = "", self._clock()
        try:
            self._status.write(
                {
                    "watchers": dict(watchers),
                    "fight": self._ledger.flapping.sentence,
                    "last_incident": newest.public() if newest else None,
                    "counters": self._ledger.counters,
                }
            )
        except PodwatchError as exc:
            self.complain(exc)
        self._export()
        self._listener.wrote()

    def _export(self) -> None:
        try:
            self._exporter()
        except PodwatchError as exc:
            self.complain(exc)

    def _under_way(self, decision: Decision) -> str:
        """What is under way; in a dry run what would be, which is logged too."""
        what = decision.why if decision.method else ""
        if self._dry_run and decision.method:
            what = f"would {decision.method}: {decision.why}"
        self._remarks.intends(what if self._dry_run else "")
        return what
