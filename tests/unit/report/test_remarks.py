# SPDX-License-Identifier: Apache-2.0
"""Remarks: each thing reaches the journal once while it stays the same."""

from dataclasses import replace

import pytest

from podwatch.report.events import Event
from podwatch.report.remarks import MAX_AT_ONCE, MAX_COMPLAINTS, Remarks
from podwatch.words.errors import PodwatchError
from podwatch.words.snapshot import Part, Unknown
from podwatch.words.verdict import (
    Blocked,
    BlockedKind,
    Missing,
    MissingKind,
    Notice,
    State,
    Verdict,
    WarningKind,
)
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.report.fakes import RecordingLog

LOST = Verdict(State.LOST)
PANIC = Verdict(State.LOST, blocked=(Blocked(BlockedKind.PANIC, "panic mode", "end it"),))
WELL = {"nftables": "listening", "firewalld": "connected"}


@pytest.fixture
def log() -> RecordingLog:
    """What the remarks were."""
    return RecordingLog()


@pytest.fixture
def remarks(log: RecordingLog) -> Remarks:
    """Nothing was remarked yet."""
    return Remarks(log)


def odd(*sentences: str, kind: WarningKind = WarningKind.ROUTE) -> Verdict:
    """A verdict with these warnings."""
    return Verdict(State.DEGRADED, warnings=tuple(Notice(kind, what, "see") for what in sentences))


def test_the_same_complaint_is_logged_once(remarks: Remarks, log: RecordingLog) -> None:
    """What podwatch goes without is said once, with what to do; after a repair it is news again."""
    for _ in range(3):
        remarks.complain(PodwatchError("podman: not found", hint="install it"))
    assert log.entries == [(Event.COMPLAINT, "podman: not found; install it")]

    remarks.forget_complaints()
    remarks.complain(PodwatchError("podman: not found", hint="install it"))
    assert len(log.entries) == 2


def test_complaints_are_bounded(remarks: Remarks, log: RecordingLog) -> None:
    """However many different ones there are, no more than MAX_COMPLAINTS are logged and kept."""
    for number in range(MAX_COMPLAINTS + 1):
        remarks.complain(PodwatchError(f"{number}"))

    assert len(log.entries) == MAX_COMPLAINTS
    assert log.entries[0] == (Event.COMPLAINT, "0"), "without a hint there is no semicolon"


def test_what_is_odd_is_logged_when_it_is_new(remarks: Remarks, log: RecordingLog) -> None:
    """Only a warning that the look before had not is logged; one that comes back is."""
    for sentences in (("a",), ("a", "b"), ("b",), ("a", "b")):
        remarks.judged(odd(*sentences))

    assert log.sentences(Event.ODD) == ["a", "b", "a"]
    assert log.fields[0] == {"advice": "see"}


@pytest.mark.parametrize("kind", [WarningKind.DUPLICATES, WarningKind.UNLISTED])
def test_harmless_warnings_stay_out_of_the_journal(
    remarks: Remarks, log: RecordingLog, kind: WarningKind
) -> None:
    """What makes no state degraded, and duplicated rules, stand in the status alone."""
    remarks.judged(odd("a", kind=kind))

    assert log.entries == []


def test_the_entries_of_one_look_are_bounded(remarks: Remarks, log: RecordingLog) -> None:
    """Of warnings and of things unknown MAX_AT_ONCE are logged."""
    many = [f"{number}" for number in range(MAX_AT_ONCE + 1)]
    remarks.judged(odd(*many))
    unknown = tuple(Unknown(Part.CONTAINER, what, "why") for what in many)
    remarks.judged(Verdict(State.UNKNOWN, unknown=unknown))

    assert len(log.sentences(Event.ODD)) == MAX_AT_ONCE
    assert len(log.sentences(Event.UNKNOWN)) == MAX_AT_ONCE


def test_a_reason_not_to_repair_is_logged_once(remarks: Remarks, log: RecordingLog) -> None:
    """What stays the same is not logged again; when it comes back, it is."""
    for verdict in (PANIC, PANIC, LOST, PANIC):
        remarks.judged(verdict)

    assert log.entries == 2 * [(Event.BLOCKED, "not repairing: panic mode")]
    assert log.fields == 2 * [{"advice": "end it"}]


@pytest.mark.parametrize("kind", [BlockedKind.BUSY, BlockedKind.FIREWALLD_RELOADING])
def test_what_passes_in_a_moment_is_not_logged(
    remarks: Remarks, log: RecordingLog, kind: BlockedKind
) -> None:
    """podman at work, and firewalld's reload, forbid a repair for a moment only."""
    remarks.judged(Verdict(State.LOST, blocked=(Blocked(kind, "busy"),)))

    assert log.entries == []


def test_what_is_unknown_is_logged_with_what_to_do(remarks: Remarks, log: RecordingLog) -> None:
    """The part, the reason and the hint."""
    unknown = Unknown(Part.RULES, "nftables", "timed out", "apt install nftables")
    for _ in range(2):
        remarks.judged(Verdict(State.UNKNOWN, unknown=(unknown,)))

    assert log.entries == [(Event.UNKNOWN, "unknown: nftables: timed out")]
    assert log.fields == [{"hint": "apt install nftables"}]


def test_a_watcher_that_fails_and_returns_is_logged_once_each(
    remarks: Remarks, log: RecordingLog
) -> None:
    """Also where the reason changes meanwhile."""
    for firewalld in ("connected", "the bus went away", "the bus does not answer", "connected"):
        remarks.heard({**WELL, "firewalld": firewalld})

    assert log.entries == [
        (Event.WATCHER_LOST, "goes without firewalld: the bus went away"),
        (Event.WATCHER_BACK, "listens to firewalld again"),
    ]
    assert log.fields == 2 * [{"watcher": "firewalld"}]


def test_the_end_of_a_pause_is_logged(remarks: Remarks, log: RecordingLog) -> None:
    """Not its begin, which is a reason not to repair, and not that there is none."""
    for pause in ("", "paused for 1 h", "paused for 1 h", "", ""):
        remarks.paused(pause)

    assert log.events == [Event.RESUMED]


def test_what_a_dry_run_would_do_is_logged_once(remarks: Remarks, log: RecordingLog) -> None:
    """While it stays the same; nothing to do is not worth an entry."""
    for intent in ("would replay", "would replay", "", "would replay"):
        remarks.intends(intent)

    assert log.entries == 2 * [(Event.PROGRESS, "would replay")]


def broken(*whats: str) -> tuple[Way, ...]:
    """Ways that are broken by these things, and one that is open."""
    hops = [Hop("firewalld policy", what, Mark.BROKEN, "see") for what in whats]
    hops.append(Hop("route", "fine"))
    return tuple(Way(WayKind.OUT, "web out", "web", "aa", "podman", (hop,)) for hop in hops)


def test_what_breaks_ways_is_logged_where_nothing_else_tells(
    remarks: Remarks, log: RecordingLog
) -> None:
    """Once for all ways that it breaks; a loss tells itself, and so does a warning of that kind."""
    told = ["a way is closed: firewalld policy: site", "a way is closed: firewalld policy: more"]
    rule = Missing(MissingKind.RULE, "a rule", "accept")
    for verdict in (
        replace(LOST, ways=broken("site", "site")),
        replace(LOST, ways=broken("site", "more")),
        replace(LOST, ways=broken("table"), missing=(rule,)),
        replace(odd("route"), ways=broken("route")),
        replace(LOST, ways=broken("site", "more")),
    ):
        remarks.judged(verdict)
    assert [each for each in log.sentences(Event.ODD) if each != "route"] == told
    remarks.judged(replace(LOST, ways=broken()))
    remarks.judged(replace(LOST, ways=broken("site")))
    assert log.sentences(Event.ODD)[-1] == told[0]
