# SPDX-License-Identifier: Apache-2.0
"""What users' podwatches say, put together for root: each as its user's claim, and no more.

Nothing of a claim is acted on, and it makes no state of the host's own podwatch. Whether it is old
is decided by the time of its file, not by anything that stands in it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from podwatch.adapters.users import Claim
from podwatch.report.status import SHAPE, fit, parse_status
from podwatch.report.status_file import HEARTBEAT_S
from podwatch.words.errors import StateUnreadable
from podwatch.words.text import cleaned
from podwatch.words.verdict import State

SCHEMA = 1

_GRAVEST = (State.LOST, State.DEGRADED, State.UNKNOWN)
"""As monitors weigh services: what is not known hides nothing that is known to be wrong."""


def document(claims: Iterable[Claim], now: float) -> dict[str, Any]:
    """All claims as one document. `now` is in seconds since the epoch.

    `state` of a user is "" where he has no podwatch; where it is unknown `why` says why. `claim`
    is his status document, {} if there is none. The `state` of all is the gravest.
    """
    users = [_user(claim, now) for claim in claims]
    states = {user["state"] for user in users}
    gravest = next((state for state in _GRAVEST if state in states), State.OK)
    return {"schema": SCHEMA, "state": gravest, "users": users}


def _user(claim: Claim, now: float) -> dict[str, Any]:
    state, why = "", ""
    told: dict[str, Any] = {}
    if claim.why:
        state, why = State.UNKNOWN, f"unreadable: status.json: {claim.why}"
    elif claim.text is not None:
        try:
            told = cleaned(fit(parse_status(claim.text), SHAPE))
            state, why = told["state"], _silence(now - claim.written)
        except StateUnreadable as exc:
            why = f"unreadable: status.json: {exc}"
    return {
        "uid": claim.uid,
        "user": claim.name,
        "state": State.UNKNOWN if why else state,
        "why": why,
        "heartbeat": claim.written,
        "claim": told,
    }


def _silence(seconds: float) -> str:
    """Why a podwatch is not taken for running; the time of its file is the user's to set."""
    if abs(seconds) <= 3 * HEARTBEAT_S:
        return ""
    if seconds < 0:
        return f"unreadable: status.json is {-seconds:.0f} s ahead of the clock"
    return f"does not run: no sign of life for {seconds:.0f} s"


def without_podwatch(told: Mapping[str, Any]) -> list[str]:
    """The users of a document who have no podwatch, by name or uid."""
    return [called(user) for user in told["users"] if not user["state"]]


def called(user: Mapping[str, Any]) -> str:
    """A user's name, and in any case his uid."""
    return f"{user['user']} (uid {user['uid']})" if user["user"] else f"uid {user['uid']}"
