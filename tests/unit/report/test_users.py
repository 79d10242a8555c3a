# SPDX-License-Identifier: Apache-2.0
"""Users' claims put together: what each may say, and what nobody believes."""

import json
from typing import Any

import pytest

from podwatch.adapters.users import Claim
from podwatch.report.users import document
from podwatch.words.verdict import State

NOW = 1_800_000_000.0


def claim(uid: int = 1000, written: float = NOW, **fields: Any) -> Claim:
    """What the podwatch of this user wrote."""
    text = json.dumps({"schema": 1, "state": "ok", "summary": "all is well", **fields})
    return Claim(uid, f"u{uid}", text, written)


def only(found: Claim) -> dict[str, Any]:
    """What is told of one user."""
    (user,) = document([found], NOW)["users"]
    return dict(user)


def test_a_claim_is_told_with_its_state() -> None:
    """State and document of a podwatch that runs are those of its user."""
    told = only(claim(state="lost", summary="pasta has ended"))

    assert (told["uid"], told["user"], told["state"], told["why"]) == (1000, "u1000", "lost", "")
    assert told["claim"]["summary"] == "pasta has ended"


@pytest.mark.parametrize(
    ("states", "gravest"),
    [
        ([], State.OK),
        (["ok", "ok"], State.OK),
        (["ok", "unknown"], State.UNKNOWN),
        (["unknown", "degraded", "ok"], State.DEGRADED),
        (["unknown", "lost", "degraded"], State.LOST),
    ],
)
def test_the_gravest_counts(states: list[str], gravest: State) -> None:
    """What is not known hides nothing that is known to be wrong; without users all is well."""
    claims = [claim(number, state=state) for number, state in enumerate(states)]

    assert document(claims, NOW)["state"] == gravest


def test_who_has_no_podwatch_does_not_count() -> None:
    """His state is none."""
    told = document([Claim(1001, "u2"), claim()], NOW)

    assert [user["state"] for user in told["users"]] == ["", "ok"]
    assert told["state"] == State.OK


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (NOW - 59, ""),
        (NOW - 61, "does not run: no sign of life for 61 s"),
        (NOW + 59, ""),
        (NOW + 7200, "unreadable: status.json is 7200 s ahead of the clock"),
        (-1e300, "does not run: no sign of life for"),
    ],
)
def test_the_time_of_the_file_decides_whether_it_runs(written: float, why: str) -> None:
    """Nothing that stands in the document makes an old one new."""
    told = only(claim(written=written, heartbeat_every=1e9, heartbeat=NOW, pid=1))

    assert told["why"].startswith(why)
    assert bool(told["why"]) is bool(why)
    assert told["state"] == ("unknown" if why else "ok")
    assert told["claim"]["summary"] == "all is well"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ("null", "schema None"),
        ('{"schema": 2}', "schema 2, where 1 is understood"),
        ('{"schema": 1, "state": "fine"}', "no such state: 'fine'"),
        ('{"schema": 1' + "0" * 10_000 + "}", "not JSON"),
    ],
)
def test_a_malformed_claim_is_unknown(text: str, why: str) -> None:
    """It is named as this user's, and why."""
    told = only(Claim(1000, "u1", text, NOW))

    assert told["state"] == State.UNKNOWN
    assert told["why"].startswith(f"unreadable: status.json: {why}")
    assert told["claim"] == {}


def test_what_could_not_be_read_is_unknown() -> None:
    """As the reader says it."""
    told = only(Claim(1000, "u1", why="not a regular file"))

    assert (told["state"], told["why"]) == (
        "unknown",
        "unreadable: status.json: not a regular file",
    )


def test_nothing_of_a_claim_reaches_a_terminal_as_it_is() -> None:
    """Control characters and what turns text around are taken out, of every field there is."""
    told = only(claim(summary="\x1b[2J\u202eevil\ud800", missing=[{"what": "a\nb"}], more="\x1b"))

    assert told["claim"]["summary"] == "�[2J�evil�"
    assert told["claim"]["missing"][0]["what"] == "a�b"
    assert "more" not in told["claim"]
    assert "\\u001b" not in json.dumps(told)


def test_a_deep_claim_is_no_crash() -> None:
    """Of any depth: what Python cannot parse is malformed, what nobody asked for is left out."""
    for depth in range(100, 3000, 100):
        nested = "[" * depth + "]" * depth
        text = f'{{"schema": 1, "state": "ok", "summary": "s", "missing": {nested}, "x": {nested}}}'
        assert only(Claim(1000, "u1", text, NOW))["state"] in ("ok", "unknown")
