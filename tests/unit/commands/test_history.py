# SPDX-License-Identifier: Apache-2.0
"""`podwatch history`: what a person and a program get to read, and how fast."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podwatch.commands.history import follow, lines_of, parse_since, show
from podwatch.report.history import RECORD, History
from podwatch.report.incident import Incident
from podwatch.report.status import fit
from podwatch.words.cause import Cause, Process, Writer, by_writer
from podwatch.words.errors import StateUnreadable
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

ROOT = Path(__file__).parents[3]
RULE = Missing(MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat", container_ids=("a",))


def command(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `podwatch history` on this state directory."""
    return subprocess.run(
        [sys.executable, "-m", "podwatch.commands.main", "history", *arguments],
        env={**os.environ, "PODWATCH_STATE_DIR": str(state_dir), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def by_nft(pid: int) -> Cause:
    """A transaction of nft's."""
    return by_writer(Writer("nft", pid, Process("nft", pid)))


def fill(state_dir: Path, count: int) -> None:
    """A history of `count` incidents, each begun and ended, the newest of them now."""
    history = History(state_dir / "history.jsonl")
    first = time.time() - count
    for number in range(count):
        incident = Incident(first + number, by_nft(number))
        incident.note(Verdict(State.LOST, (RULE,)))
        history.note(incident)
        incident.tried.append("1 chain put right from the verified copy in one transaction")
        incident.end(first + number + 0.05, 0.05)
        history.note(incident)


def test_an_incident_tells_when_what_who_and_how() -> None:
    """Everything a person asks first is in five short lines."""
    told = fit(
        {
            "began": 1_764_000_000.0,
            "ended": 1_764_000_000.1,
            "took_ms": 86,
            "verified": True,
            "cause": "nft (pid 7), “nft flush ruleset”\x1b[2J",
            "by": "nft",
            "missing": ["table inet netavark is gone"],
            "missing_count": 1,
            "how": ["12 chains put right in 12 ms"],
        },
        RECORD,
    )

    first, *rest = lines_of(told)

    assert first.endswith("  restored in 86 ms, verified")
    assert rest == [
        "    missing: table inet netavark is gone",
        "    cause:   nft (pid 7), “nft flush ruleset”�[2J",
        "    how:     12 chains put right in 12 ms",
    ]


def test_what_is_not_known_is_not_made_up() -> None:
    """No end, no cause and no means are told as such; an outage nobody saw begin is a minimum."""
    assert next(lines_of(fit({"began": 1.0}, RECORD))).endswith("going on, or nobody saw its end")
    lines = list(lines_of(fit({"began": 1.0, "ended": 2.0, "by": "absent"}, RECORD)))
    assert lines[0].endswith("restored in 0 ms of podwatch's start, not verified")
    assert lines[2:] == ["    cause:   not known", "    how:     by somebody else"]


def test_moments_a_person_types() -> None:
    """A time ago, a day, and a time of day are understood; anything else is refused."""
    assert parse_since("2h", 10_000.0) == 2800.0
    assert parse_since("1.5 d", 200_000.0) == 200_000.0 - 129_600
    assert parse_since("2026-11-24 10:00+00:00", 0.0) == 1795514400.0
    for text in ("", "yesterday", "2x", "-2h"):
        with pytest.raises(ValueError, match=r"."):
            parse_since(text, 0.0)


def test_wrong_usage_exits_64(tmp_path: Path) -> None:
    """A moment that is none, and a number that is none, say what is allowed."""
    for arguments in (("--since", "soon"), ("-n", "-1"), ("-n", "x")):
        done = command(tmp_path, *arguments)
        assert done.returncode == 64, arguments
        assert done.stderr


def test_no_history_is_no_error(tmp_path: Path) -> None:
    """Before the first incident the command says that there are none."""
    done = command(tmp_path)

    assert (done.returncode, done.stdout) == (0, "no incidents\n")


@pytest.mark.parametrize(
    ("arguments", "count"),
    [(("-n", "2"), 2), (("-n", "0"), 30), ((), 20), (("--since", "1h"), 30)],
    ids=str,
)
def test_following_begins_with_what_was_asked_for(
    tmp_path: Path, arguments: tuple[str, ...], count: int
) -> None:
    """-f shows first what would be shown without it, then each incident as it begins and ends."""
    fill(tmp_path, 30)
    with subprocess.Popen(
        [sys.executable, "-m", "podwatch.commands.main", "history", "-f", "--json", *arguments],
        env={**os.environ, "PODWATCH_STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            assert following.stdout is not None
            first = [json.loads(following.stdout.readline()) for _ in range(count)]
            incident = Incident(time.time(), by_nft(99))
            incident.note(Verdict(State.LOST, (RULE,)))
            History(tmp_path / "history.jsonl").note(incident)
            new = json.loads(following.stdout.readline())
        finally:
            following.kill()

    assert [each["cause"] for each in first] == [
        f"nft (pid {number})" for number in range(30 - count, 30)
    ]
    assert new["cause"] == "nft (pid 99)"


def test_thousands_of_incidents_are_told(tmp_path: Path) -> None:
    """Of 4,000 incidents the newest are told, or those of an hour, or all to a program."""
    began = time.time()
    fill(tmp_path, 4_000)
    for arguments, count in (((), 20), (("--since", "1h"), 3600)):
        done = command(tmp_path, *arguments)
        passed = time.time() - began if arguments else 0
        assert count - passed - 1 <= done.stdout.count("cause:   nft (pid") <= count
    done = command(tmp_path, "--json", "-n", "0")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 4_000
    assert all(each["verified"] for each in told)


def test_an_incident_is_followed_as_it_begins_and_ends(tmp_path: Path) -> None:
    """Whoever follows reads it when it was lost, and again when it was restored; no polling."""
    fill(tmp_path, 1)
    history = History(tmp_path / "history.jsonl")
    command = [sys.executable, "-m", "podwatch.commands.main", "history", "--follow", "--json"]
    with subprocess.Popen(
        command,
        env={**os.environ, "PODWATCH_STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        try:
            assert json.loads(follower.stdout.readline())["ended"] > 0
            incident = Incident(time.time(), by_nft(812))
            incident.note(Verdict(State.LOST, (RULE,)))
            history.note(incident)
            assert json.loads(follower.stdout.readline())["ended"] == 0
            incident.end(time.time(), 0.05)
            history.note(incident)
            assert json.loads(follower.stdout.readline())["verified"] is True
        finally:
            follower.kill()


def test_a_history_that_cannot_be_followed_says_why(tmp_path: Path) -> None:
    """Where podwatch never kept one there is nothing to wait for."""
    done = command(tmp_path / "none", "--follow")

    assert done.returncode not in (0, 64)
    assert f"cannot watch {tmp_path}/none: No such file or directory" in done.stderr


def test_follow_prints_what_is_there_and_what_comes(tmp_path: Path) -> None:
    """Each incident once when it begins and once when it ends, until somebody interrupts."""
    fill(tmp_path, 2)
    path = tmp_path / "history.jsonl"
    told: list[dict[str, object]] = []

    def tell(text: str) -> None:
        told.append(json.loads(text))
        if len(told) == 1:
            fill(tmp_path, 1)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(path, since=0.0, last=0, as_json=True, tell=tell)
    assert len({str(incident["began"]) for incident in told}) == 3


def test_follow_needs_a_directory(tmp_path: Path) -> None:
    """Where podwatch never ran there is nothing to wait for."""
    with pytest.raises(StateUnreadable, match="cannot watch"):
        follow(tmp_path / "no" / "h", since=0.0, last=0, as_json=False, tell=print)


def test_show_says_what_could_not_be_read(tmp_path: Path) -> None:
    """To people: no incidents, and lines that made no sense; how many incidents there were."""
    path = tmp_path / "history.jsonl"
    told: list[str] = []
    assert show(path, since=0.0, last=0, as_json=False, tell=told.append) == 0
    assert told == ["no incidents"]

    fill(tmp_path, 2)
    with path.open("a") as file:
        file.write("nonsense\n")
    told.clear()
    assert show(path, since=0.0, last=0, as_json=False, tell=told.append) == 2
    assert told[-1] == "(1 line of the history could not be read)"
    assert len(told) == 3


@pytest.mark.parametrize("how", [["replay in 5 ms"], []])
def test_what_the_guard_carried_is_told_with_how(how: list[str]) -> None:
    """Whoever restored the rules."""
    told = fit({"began": 1.0, "ended": 2.0, "how": how, "carried": 2}, RECORD)
    last = list(lines_of(told))[-1]
    assert last.endswith("; 2 new connections were carried by the guard meanwhile")
