# SPDX-License-Identifier: Apache-2.0
"""`podwatch status --users`: what each user's podwatch says, as text for root. Pure.

Everything that a user wrote stands behind "says", is cut, and has no advice: root shall not be
talked into anything.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from podwatch.commands.render import dot
from podwatch.report.users import called, without_podwatch
from podwatch.words.text import clean, counted, few
from podwatch.words.verdict import State

_MAX_LENGTH = 160
_MAX_LOSSES = 3


def as_text(told: Mapping[str, Any], *, colour: bool, everything: bool) -> str:
    """A document of report/users.py; three losses of a user at most, unless `everything`."""
    lines = [_head(told, everything=everything)]
    for user in told["users"]:
        if user["state"]:
            lines += _lines(user, colour=colour, everything=everything)
    if told["state"] != State.OK:
        lines.append("      → as that user (machinectl shell USER@): podwatch status")
    return "\n".join(lines)


def _head(told: Mapping[str, Any], *, everything: bool) -> str:
    found = Counter(user["state"] for user in told["users"])
    parts = [f"{found[state]} {state}" for state in State if found[state]]
    if without := without_podwatch(told):
        names = f": {few(without, len(without))}" if everything else ""
        parts.append(f"{counted(len(without), 'user')} without podwatch{names}")
    return f"users, each by what it says itself: {', '.join(parts) or 'none is there'}"


def _lines(user: Mapping[str, Any], *, colour: bool, everything: bool) -> Iterator[str]:
    claim, mark = user["claim"], dot(user["state"], colour=colour)
    said = f"{claim['state']}, {_cut(claim['summary'])}" if claim else ""
    if user["why"]:
        last = f"; it said last: {said}" if said else ""
        yield f"  {mark} {called(user)} {_cut(user['why'])}{last}"
        return
    yield f"  {mark} {called(user)} says: {said}"
    losses = claim["missing"]
    shown = losses if everything else losses[:_MAX_LOSSES]
    yield from (f"      says: {_cut(loss['what'])}" for loss in shown)
    if (more := max(claim["missing_count"], len(losses)) - len(shown)) > 0:
        yield f"      says: and {more:.0f} more"


def _cut(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
