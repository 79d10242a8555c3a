# SPDX-License-Identifier: Apache-2.0
"""The history: what is written is what is described, and what is broken is skipped and counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.report import history
from podwatch.report.history import RECORD, History, incident_of, merged, read, record
from podwatch.report.incident import Incident
from podwatch.words.cause import NO_CAUSE, WHILE_ABSENT, Process, Writer, by_writer
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

LOST = Verdict(
    State.LOST,
    (Missing(MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat", container_ids=("a",)),),
)


def incident(began: float) -> Incident:
    """An incident that nft began, in a script."""
    shell = Process("sh", 6, "sh site.sh")
    cause = by_writer(Writer("nft", 7, Process("nft", 7, "nft -f x", "a.service", parent=shell)))
    made = Incident(began, cause)
    made.note(LOST)
    return made


def again(before: Incident, **changed: Any) -> Incident:
    """What is known of an incident from its line, with this in it."""
    line = json.dumps({**record(before), **changed}).encode()
    return incident_of(merged([line]).incidents[0])


def keys(value: Any) -> Any:
    """The fields of a document, without their values."""
    return {key: keys(each) for key, each in value.items()} if isinstance(value, dict) else None


def test_what_is_written_is_what_is_described(tmp_path: Path) -> None:
    """A line has the fields of RECORD and none beside them."""
    assert keys(record(incident(5.0))) == keys(RECORD)


def test_what_a_line_lacks_is_empty() -> None:
    """A field that an older podwatch did not write is read as no text, false or zero."""
    (told,) = merged([json.dumps({"schema": 1, "began": 5.0}).encode()]).incidents

    process = told.pop("process")
    assert (told.pop("schema"), told.pop("began")) == (1, 5.0)
    assert not any(told.values())
    assert not any(process.values())


def test_an_incident_is_told_once_as_it_ended(tmp_path: Path) -> None:
    """The line of its end replaces that of its beginning, also across a restart."""
    path = tmp_path / "state/history.jsonl"
    one, two = incident(100.0), incident(200.0)
    History(path).note(one)
    one.end(101.5, 1.5)
    History(path).note(one)
    History(path).note(two)

    told = read(path).incidents
    assert [(each["began"], each["ended"], each["took_ms"]) for each in told] == [
        (100.0, 101.5, 1500),
        (200.0, 0.0, 0),
    ]
    assert told[0]["by"] == "nft"
    assert told[0]["process"]["parent"] == "sh site.sh"
    assert told[0]["process"]["command"] == "nft -f x"
    assert "run by “sh site.sh” (pid 6)" in told[0]["cause"]


def test_since_and_last(tmp_path: Path) -> None:
    """Both bound what is told, from the newest end."""
    path = tmp_path / "h"
    for number in range(10):
        each = incident(float(number + 1))
        History(path).note(each)
        each.end(number + 1.5, 1.5)
        History(path).note(each)

    assert [each["began"] for each in read(path, last=3).incidents] == [8, 9, 10]
    assert [each["began"] for each in read(path, since=9).incidents] == [9, 10]
    assert [each["began"] for each in read(path, since=5, last=1).incidents] == [10]
    assert all(each["ended"] for each in read(path, last=3).incidents)
    assert [each["began"] for each in read(path, since=3, last=9).incidents] == [*range(3, 11)]


def test_a_file_has_room_for_ten_thousand() -> None:
    """10,000 incidents such as nft begins in a script fit into one file of the two."""
    each = incident(1_764_000_000.5)
    each.end(1_764_000_001.5, 1.0)

    assert 10_000 * (len(json.dumps(record(each))) + 1) <= history.LIMIT_BYTES


def test_it_stays_bounded_and_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many incidents there were, two files of a limited size hold the newest of them."""
    monkeypatch.setattr(history, "LIMIT_BYTES", 50_000)
    path = tmp_path / "h"
    for number in range(500):
        each = incident(float(number))
        each.end(number + 0.5, 0.5)
        History(path).note(each)

    told = [each["began"] for each in read(path).incidents]
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 2 * history.LIMIT_BYTES
    assert len(told) >= 60
    assert told == [float(number) for number in range(500 - len(told), 500)]


def test_what_makes_no_sense_is_skipped_and_counted() -> None:
    """A torn line, another schema and what is no record at all do not hide the rest."""
    good, other = (json.dumps(record(incident(began))).encode() for began in (5.0, 6.0))
    found = [good[:12], b"[]", b"7", b"\xff", b"{}", b'{"schema":9,"began":1}', b"", good, other]

    told = merged(found)

    assert [each["began"] for each in told.incidents] == [5.0, 6.0]
    assert told.unreadable == 6


@given(st.lists(st.binary()))
def test_nothing_raises(found: list[bytes]) -> None:
    """Whatever stands in the file, reading it goes well."""
    assert merged(found).unreadable <= len(found)


def test_an_incident_is_what_everybody_may_know_of_it(tmp_path: Path) -> None:
    """Made of a line of the history, it is as its ledger told of it: without a command line."""
    one = incident(100.0)
    one.tried = ["replayed"]
    one.end(101.5, 1.5)
    History(tmp_path / "h").note(one)
    (told,) = read(tmp_path / "h").incidents

    made = incident_of(told)
    assert {**made.public(), "process": {}} == {**one.public(), "process": {}}
    assert made.cause.facts.items() <= one.cause.facts.items()
    assert made.line == one.line
    assert "site.sh" not in str(made.public())


def test_a_line_of_an_older_podwatch_has_no_public_cause() -> None:
    """It is told by the program's name alone: `cause` may quote a command line."""
    assert again(incident(5.0), public="").cause.text == "nft (pid 7), unit a.service"


def test_what_closed_a_way_is_told_as_such() -> None:
    """Nothing was missing then, and nothing was restored."""
    closed = Incident(5.0, NO_CAUSE, told=["a rule drops it"])
    closed.over(7.0, 2.0)
    over = again(closed)
    assert (over.told, over.restored_at, over.line) == (closed.told, 7.0, "")
    begun = again(Incident(5.0, WHILE_ABSENT, missing=["x"] * 30))
    assert (begun.restored_at, begun.cause, len(begun.missing)) == (None, WHILE_ABSENT, 30)
