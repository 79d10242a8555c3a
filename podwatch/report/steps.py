# SPDX-License-Identifier: Apache-2.0
"""A repair by hand, step by step: the lines of `podwatch restore` and of the API. Pure."""

from collections.abc import Iterator

from podwatch.decide.decision import Decision
from podwatch.words.means import Outcome
from podwatch.words.text import clean
from podwatch.words.verdict import State, Verdict


def intended(verdict: Verdict, decision: Decision, *, dry_run: bool) -> Iterator[str]:
    """What is missing, a line for each thing, and what is done about it, or would be."""
    for loss in verdict.missing:
        yield f"missing: {clean(loss.what)}"
    yield f"{'would ' if dry_run else ''}{decision.method}: {clean(decision.why)}"


def whole(verdict: Verdict) -> str:
    """Nothing is missing; the state is that of the ways, too."""
    more = "; what closes a way: podwatch status" if verdict.state is State.LOST else ""
    return f"{verdict.state}: nothing is missing that podwatch puts back{more}"


def left(verdict: Verdict, decision: Decision) -> str:
    """Something is missing, and nothing is done about it now."""
    return f"{verdict.state}: {clean(decision.why)}"


def unsettled(verdict: Verdict) -> str:
    """The time is over."""
    return f"{verdict.state}: the host changes faster than it can be repaired"


def tried(outcome: Outcome) -> str:
    """What came of a means."""
    if outcome.outdated:
        return f"looking again: {clean(outcome.detail)}"
    return f"{'done' if outcome.done else 'failed'}: {clean(outcome.detail)}"
