# SPDX-License-Identifier: Apache-2.0
"""Publishing: the status document, and the journal's account of every incident.

`/run/podwatch/status.json` is written whole whenever something changed; its modification time is
the heartbeat. Schema 1: state, summary, driver, missing, warnings, blocked, unknown, networks,
containers, last_look, last_incident, watchers, restoring, next_try, counters; times are seconds
since the epoch, durations end in `_ms`.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from podwatch import __version__
from podwatch.adapters.files import write_whole
from podwatch.daemon.events import Event
from podwatch.daemon.logging import log
from podwatch.daemon.restore import Outcome
from podwatch.decide.policy import Decision
from podwatch.words.errors import PodwatchError
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import BlockedKind, State, Verdict

SCHEMA = 1
HEARTBEAT_S = 20.0
MOST = 2000
"""Entries of a list at most, so that the document stays bounded."""


@dataclass
class Incident:
    """One loss, from the look that found it to the look that found everything back."""

    began: float
    cause: str
    missing: list[str]
    tried: list[str] = field(default_factory=list)
    restored_at: float | None = None
    took_ms: int = 0
    line: str = ""


def document(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    """What one look found, as the status document has it."""
    setup = snapshot.setup
    endpoints = setup.endpoints if setup else ()
    networks = {each.network_id: each.network_name for each in endpoints}
    return {
        "state": verdict.state,
        "summary": summary(snapshot, verdict),
        "driver": setup.driver if setup else "unknown",
        "missing": [
            {
                "kind": each.kind,
                "what": each.what,
                "detail": each.detail,
                "network": each.network,
                "container": each.container,
            }
            for each in verdict.missing[:MOST]
        ],
        "warnings": [asdict(each) for each in verdict.warnings[:MOST]],
        "blocked": [asdict(each) for each in verdict.blocked],
        "unknown": [asdict(each) for each in verdict.unknown[:MOST]],
        "networks": [
            {
                "id": key,
                "name": name,
                "bridge": network.bridge,
                "subnets": [str(each) for each in network.subnets],
                "isolation": network.isolation,
            }
            for key, name in networks.items()
            if setup is not None and (network := setup.networks.get(key)) is not None
        ],
        "containers": [
            {
                "id": each.container_id,
                "name": _title(snapshot, each.container_id),
                "network": each.network_name,
                "addresses": [str(address) for address, _ in each.addresses],
                "ports": [str(mapping) for mapping in each.port_mappings or ()],
            }
            for each in endpoints[:MOST]
        ],
    }


def summary(snapshot: Snapshot, verdict: Verdict) -> str:
    """The state in one sentence."""
    containers = len(verdict.all_container_ids)
    networks = len({each.network_id for each in snapshot.setup.endpoints}) if snapshot.setup else 0
    place = f"{_count(containers, 'container')} on {_count(networks, 'network')}"
    if verdict.state is State.LOST:
        return f"{_count(len(verdict.missing), 'thing')} missing, {place}"
    if verdict.state is State.UNKNOWN:
        return f"could not see everything: {verdict.unknown[0].what}: {verdict.unknown[0].why}"
    if not containers:
        return "no container needs rules on this host"
    return f"{place}, all {verdict.expected_rules} rules in place"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _title(snapshot: Snapshot, container_id: str) -> str:
    container = snapshot.containers.get(container_id)
    return container.title if container else container_id[:12]


class Publisher:
    """Tells the world: status.json, the journal, and the service manager's status line."""

    def __init__(
        self,
        path: Path,
        watchers: Callable[[], Mapping[str, str]],
        notify: Callable[[str], None],
        *,
        dry_run: bool = False,
    ) -> None:
        self.path = path
        self.incident: Incident | None = None
        self.last: Incident | None = None
        self.counters = {"looks": 0, "incidents": 0, "restored": 0, "failed": 0}
        self.has_neighbours = False
        self._watchers = watchers
        self._notify = notify
        self._dry_run = dry_run
        self._document: dict[str, Any] = {}
        self._told: object = None
        self._complaints: set[str] = set()

    def looked(
        self,
        snapshot: Snapshot,
        verdict: Verdict,
        decision: Decision,
        *,
        cause: str,
        took_s: float,
    ) -> None:
        """A look is over: open or close the incident, and write the status."""
        now = time.time()
        self.counters["looks"] += 1
        self.has_neighbours = bool(snapshot.neighbours)
        if verdict.missing:
            self._missing(verdict, decision, cause, now)
        elif self.incident is not None and not verdict.unknown:
            self._healed(self.incident, now)
        self._tell(verdict)
        self._document = document(snapshot, verdict)
        self._document["next_try"] = decision.why if verdict.missing else ""
        self._document["last_look"] = {
            "at": now,
            "took_ms": round(took_s * 1000, 1),
            "generation": snapshot.generation,
            "cause": cause,
        }
        self._notify(f"{verdict.state}: {self._document['summary']}")
        self.write(restoring=decision.why if decision.method else "")

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """A means of restoring was tried."""
        if outcome.done:
            if self.incident is not None:
                self.incident.tried.append(f"{outcome.detail} ({took_s * 1000:.0f} ms)")
            return
        self.counters["failed"] += 1
        if self.incident is not None:
            self.incident.tried.append(f"{outcome.method} failed")
        log(Event.RESTORE_FAILED, f"{outcome.method}: {outcome.detail}", method=outcome.method)

    def progress(self, what: str) -> None:
        """A repair that takes a while is under way."""
        log(Event.PROGRESS, what)
        self.write(restoring=what)

    def complain(self, error: PodwatchError) -> None:
        """Log what podwatch goes without; the same thing once."""
        text = f"{error}; {error.hint}" if error.hint else str(error)
        if text not in self._complaints and len(self._complaints) < MOST:
            self._complaints.add(text)
            log(Event.COMPLAINT, text)

    def write(self, *, restoring: str = "") -> None:
        """Write the status document as it is now."""
        last = self.incident or self.last
        whole = {
            "schema": SCHEMA,
            "version": __version__,
            "pid": os.getpid(),
            "heartbeat_every": HEARTBEAT_S,
            "dry_run": self._dry_run,
            **self._document,
            "watchers": dict(self._watchers()),
            "restoring": restoring,
            "last_incident": asdict(last) if last else None,
            "counters": self.counters,
        }
        try:
            write_whole(self.path, json.dumps(whole, indent=1) + "\n")
        except PodwatchError as exc:
            self.complain(exc)

    def beat(self) -> None:
        """Show that podwatch is alive."""
        try:
            os.utime(self.path)
        except OSError:
            self.write()

    def _missing(self, verdict: Verdict, decision: Decision, cause: str, now: float) -> None:
        if self.incident is None:
            sentences = [each.what for each in verdict.missing[:MOST]]
            self.incident = Incident(now, cause, sentences)
            self.counters["incidents"] += 1
            log(
                Event.LOSS_FOUND,
                f"missing: {listed(sentences)}; cause: {cause}",
                cause=cause,
                missing="\n".join(sentences),
                decision=decision.method or "none",
            )

    def _healed(self, incident: Incident, now: float) -> None:
        incident.restored_at = now
        incident.took_ms = round((now - incident.began) * 1000)
        how = "; ".join(incident.tried[-5:]) or "by somebody else"
        incident.line = (
            f"restored in {incident.took_ms} ms and verified: {listed(incident.missing)}; "
            f"cause: {incident.cause}; how: {how}"
        )
        self.counters["restored"] += 1
        self._complaints.clear()
        log(
            Event.RESTORED,
            incident.line,
            cause=incident.cause,
            how=how,
            took_ms=incident.took_ms,
            missing="\n".join(incident.missing),
        )
        self.incident, self.last = None, incident

    def _tell(self, verdict: Verdict) -> None:
        """Log what blocks or is unknown, once while it stays the same."""
        held = [
            each
            for each in verdict.blocked
            if each.kind not in (BlockedKind.BUSY, BlockedKind.FIREWALLD_RELOADING)
        ]
        news = (tuple(held), verdict.unknown)
        if news == self._told:
            return
        self._told = news
        for blocked in held:
            log(Event.BLOCKED, f"not repairing: {blocked.what}", advice=blocked.advice)
        for unknown in verdict.unknown[:20]:
            log(Event.UNKNOWN, f"unknown: {unknown.what}: {unknown.why}", hint=unknown.hint)


def listed(sentences: list[str], most: int = 3) -> str:
    """The first few of many sentences, and how many more there are."""
    shown = "; ".join(sentences[:most])
    more = len(sentences) - most
    return f"{shown}; and {more} more" if more > 0 else shown
