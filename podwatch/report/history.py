# SPDX-License-Identifier: Apache-2.0
"""The history: every incident as one line of JSON in a bounded file that outlives restarts.

An incident is written when it begins and again when it ends; the later line replaces the earlier
one, so that what was going on when podwatch was killed, or the power went, is told as unfinished.
It is root's, and the one place that tells command lines.
The schema of a line is RECORD; within a schema fields are only added.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podwatch.adapters.appended import append, lines
from podwatch.decide.kinds import reported
from podwatch.report.incident import MAX_SENTENCES, Incident
from podwatch.report.status import SHAPE, fit
from podwatch.words.cause import WHILE_ABSENT, Cause, CauseKind, Process, Writer, by_writer
from podwatch.words.text import cleaned

SCHEMA = 1
LIMIT_BYTES = 8 << 20
"""Of one file; the newest incidents are in it and in one older file. Some 10,000 in each."""
MAX_MISSING = 20

RECORD: Mapping[str, Any] = {
    "schema": SCHEMA,
    "began": 0.0,  # seconds since the epoch; names the incident
    "ended": 0.0,  # when everything was found again; 0: not yet, or nobody saw it
    "took_ms": 0,  # from the look that found the loss to the one that found everything back
    "cause": "",
    "by": "",  # the cause in one word of a small set
    "process": SHAPE["last_incident"]["process"],
    "public": "",  # the cause without command lines, where `cause` may have some
    "missing": [""],
    "missing_count": 0,  # `missing` holds no more than the first 20
    "told": [""],  # what closed a way and was not podwatch's to mend; nothing is missing then
    **{kind.name: 0 for kind in reported()},  # how much of each kind of thing was missing
    "containers": 0,
    "how": [""],  # what was tried, in order
    "methods": [""],
    "carried": 0,  # connections that the guard forwarded meanwhile
    "verified": False,  # a look after the last attempt found everything there
}


class History:
    """Writes incidents down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, incident: Incident) -> None:
        """Write an incident as it is now: when it begins, and when it ends.

        Raises PodwatchError when it cannot be written.
        """
        line = json.dumps(record(incident), ensure_ascii=False, separators=(",", ":"))
        append(self.path, line, limit_bytes=LIMIT_BYTES)


def record(incident: Incident) -> dict[str, Any]:
    """The line of an incident, as RECORD describes it."""
    return {
        "schema": SCHEMA,
        "began": incident.began,
        "ended": incident.restored_at or 0.0,
        "took_ms": incident.took_ms,
        "cause": incident.cause.for_root,
        "by": incident.cause.label,
        "process": incident.cause.facts_for_root,
        "public": incident.cause.text if incident.cause.writer else "",
        "missing": incident.missing[:MAX_MISSING],
        "missing_count": len(incident.missing),
        "told": incident.told,
        **incident.counts,
        "containers": incident.containers,
        "how": incident.attempts[:MAX_MISSING],
        "methods": list(dict.fromkeys(incident.methods)),
        "carried": incident.carried,
        "verified": incident.verified,
    }


@dataclass(frozen=True)
class Told:
    """What the history holds: incidents, the oldest first, and how many lines made no sense."""

    incidents: list[dict[str, Any]]
    unreadable: int = 0


def read(path: Path, *, since: float = 0.0, last: int = 0, limit_bytes: int = LIMIT_BYTES) -> Told:
    """The incidents that began at `since` (seconds since the epoch) or later; the `last` of them.

    0 for `last` means all. Of each of the two files no more than `limit_bytes` are read. Raises
    StateUnreadable when a file cannot be read.
    """
    found = lines(path, limit_bytes=limit_bytes)
    # Two lines make an incident: of the last ones no more has to be understood.
    return merged(found[-2 * last :], since=since, last=last)


def merged(found: Iterable[bytes], *, since: float = 0.0, last: int = 0) -> Told:
    """Incidents out of lines: of each the last line, in the order they began to be told."""
    # Lines of one incident begin alike; only the last that makes sense has to be parsed.
    same: dict[bytes, list[bytes]] = {}
    for line in found:
        if line:
            same.setdefault(b",".join(line.split(b",", 2)[:2]), []).append(line)
    told: list[dict[str, Any]] = []
    unreadable = 0
    for group in same.values():
        for line in reversed(group):
            document = _parsed(line)
            if document is not None:
                if document["began"] >= since:
                    told.append(document)
                break
            unreadable += 1
    return Told(told[-last:], unreadable)  # -0 is all of them


def incident_of(told: Mapping[str, Any]) -> Incident:
    """An incident of the history again, with no more of it than everybody may know."""
    missing = [*told["missing"], *[""] * (told["missing_count"] - len(told["missing"]))]
    incident = Incident(
        told["began"],
        _public_cause(told),
        missing=missing[:MAX_SENTENCES],
        counts={kind.name: told[kind.name] for kind in reported()},
        containers=told["containers"],
        tried=told["how"],
        methods=told["methods"],
        told=told["told"],
        carried=told["carried"],
    )
    if told["ended"] and not told["told"]:
        incident.end(told["ended"], told["took_ms"] / 1000)
    elif told["ended"]:
        incident.over(told["ended"], told["took_ms"] / 1000)
    return incident


def _public_cause(told: Mapping[str, Any]) -> Cause:
    process = told["process"]
    if not process["name"]:
        text = told["cause"]
        return WHILE_ABSENT if text == WHILE_ABSENT.text else Cause(CauseKind.OTHER, text)
    who = Process(
        process["name"],
        process["pid"],
        unit=process["unit"],
        session=process["session"],
        user=process["user"],
    )
    cause = by_writer(Writer(who.name, who.pid, who))
    return replace(cause, text=told["public"] or cause.text)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
        if document["schema"] != SCHEMA:
            return None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    fitted: dict[str, Any] = cleaned(fit(document, RECORD))
    return fitted
