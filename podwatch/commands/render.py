# SPDX-License-Identifier: Apache-2.0
"""The status document as text for a person: one glance on a healthy host. Pure."""

from collections.abc import Mapping
from typing import Any

_DOT = {"ok": "32", "degraded": "33", "lost": "31", "unknown": "35"}
_MOST = 10


def status(document: Mapping[str, Any], *, now: float, colour: bool, everything: bool) -> str:
    """`podwatch status`: the state, what is missing, why, and what to do.

    `now` is in seconds since the epoch; at most ten missing things unless `everything`.
    """
    state = str(document.get("state", "unknown"))
    dot = f"\x1b[{_DOT.get(state, '0')}m●\x1b[0m" if colour else "●"
    lines = [f"{dot} podwatch: {state}, {clean(document.get('summary', ''))}"]
    missing = _dicts(document, "missing")
    shown = missing if everything else missing[:_MOST]
    lines += [f"    ✗ {clean(each.get('what'))}" for each in shown]
    if len(missing) > len(shown):
        lines.append(f"    and {len(missing) - len(shown)} more: podwatch status --all")
    if document.get("restoring"):
        lines.append(f"    restoring: {clean(document['restoring'])}")
    elif missing and document.get("next_try"):
        lines.append(f"    next: {clean(document['next_try'])}")
    for key, mark in (("blocked", "not repairing: "), ("warnings", "")):
        for each in _dicts(document, key):
            lines.append(f"    ! {mark}{clean(each.get('what'))}")
            if each.get("advice"):
                lines.append(f"      → {clean(each['advice'])}")
    for each in _dicts(document, "unknown")[:_MOST]:
        lines.append(f"    ? {clean(each.get('what'))}: {clean(each.get('why'))}")
        if each.get("hint"):
            lines.append(f"      → {clean(each['hint'])}")
    look = document.get("last_look")
    if isinstance(look, dict) and isinstance(look.get("at"), int | float):
        driver = clean(document.get("driver", ""))
        lines.append(f"  last look {ago(now - look['at'])} ago, firewall driver {driver}")
    incident = document.get("last_incident")
    if isinstance(incident, dict) and isinstance(incident.get("began"), int | float):
        lines.append(f"  last incident {ago(now - incident['began'])} ago:")
        text = incident.get("line") or f"going on; cause: {incident.get('cause')}"
        lines.append(f"    {clean(text)}")
    for name, well in (("nftables", "listening"), ("firewalld", "connected")):
        told = str(dict(document.get("watchers") or {}).get(name, well))
        if told != well:
            lines.append(f"  goes without {name}: {clean(told)}")
    if document.get("dry_run"):
        lines.append("  dry run: nothing is repaired")
    return "\n".join(lines)


def ago(seconds: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def clean(value: object) -> str:
    """Text from elsewhere, with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else "�" for c in str(value))


def _dicts(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = document.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
