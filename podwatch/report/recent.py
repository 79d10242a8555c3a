# SPDX-License-Identifier: Apache-2.0
"""The newest incidents, short and bounded, as everybody may read them: what the API tells of them.

Those since podwatch started come from the ledger, older ones from the history. Command lines are in
neither: they are for root, who reads the history.
"""

from collections.abc import Iterable
from typing import Any

from podwatch.report.incident import Incident
from podwatch.words.cause import Cause

MOST = 200
"""So many are kept. To put 200 of them into a message takes 10 ms."""

MAX_TEXT = 200
_MAX_LINE = 400
_MAX_STEPS = 5


def id_of(incident: Incident) -> int:
    """What names an incident: when it began, in milliseconds since the epoch."""
    return round(incident.began * 1000)


def what_of(incident: Incident) -> str:
    """What was lost, in a line: how much, and the first of it."""
    if incident.told:
        return cut(incident.told[0])
    first = incident.missing[0] if incident.missing else ""
    return cut(": ".join(part for part in (incident.amount, first) if part))


def by_of(cause: Cause) -> str:
    """Whose doing it was, short: a program and its unit or session; "" where that is not known."""
    facts = cause.facts
    if not facts:
        return cut(cause.text)
    where = _unit_of(cause)
    return cut(f"{facts['name']}, {where}" if where else str(facts["name"]))


def outcome_of(incident: Incident) -> str:
    """How everything came back, as the history tells it: what was tried, in order."""
    return cut("; ".join(incident.attempts[-_MAX_STEPS:]) or "by somebody else")


def cut(text: str, most: int = MAX_TEXT) -> str:
    """No more of a text than so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Recent:
    """The last MOST incidents by the moment they began, each in the form of `Incidents`."""

    def __init__(self) -> None:
        self._entries: dict[int, dict[str, Any]] = {}

    def enter(self, incident: Incident) -> None:
        """Take in an incident as it is now, in place of what it was before."""
        self._entries[id_of(incident)] = _entry(incident)
        self._forget()

    def remember(self, incidents: Iterable[Incident]) -> None:
        """Take in what was written down earlier; what is known is newer."""
        for incident in incidents:
            self._entries.setdefault(id_of(incident), _entry(incident))
        self._forget()

    def newest(self, count: int) -> list[dict[str, Any]]:
        """So many of them, the newest first."""
        return [self._entries[key] for key in sorted(self._entries, reverse=True)[:count]]

    def _forget(self) -> None:
        for key in sorted(self._entries)[: max(0, len(self._entries) - MOST)]:
            del self._entries[key]


def _entry(incident: Incident) -> dict[str, Any]:
    over = incident.restored_at
    outcome = "told" if incident.told else "open" if over is None else "restored"
    return {
        "id": id_of(incident),
        "began": incident.began,
        "ended": over or 0.0,
        "what": what_of(incident),
        "cause": cut(incident.cause.text),
        "unit": cut(_unit_of(incident.cause)),
        "user": cut(str(incident.cause.facts.get("user", ""))),
        "how": [cut(step) for step in incident.attempts[-_MAX_STEPS:]],
        "outcome": outcome,
        "took_ms": incident.took_ms,
        "containers": incident.containers,
        "line": cut(incident.line, _MAX_LINE),
    }


def _unit_of(cause: Cause) -> str:
    """The unit of who did it; a login session is one, too (systemd-logind's session-N.scope)."""
    facts = cause.facts
    if session := facts.get("session"):
        return f"session-{session}.scope"
    return str(facts.get("unit", ""))
