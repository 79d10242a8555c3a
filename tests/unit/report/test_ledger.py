# SPDX-License-Identifier: Apache-2.0
"""The ledger: what is entered of an incident, where, and when."""

from pathlib import Path

import pytest

from podwatch.adapters.appended import lines
from podwatch.decide.decision import Decision
from podwatch.report.events import Event
from podwatch.report.flapping import FLAPPING_LOSSES
from podwatch.report.history import LIMIT_BYTES, History, read
from podwatch.report.ledger import REST_S, Ledger
from podwatch.report.remarks import Remarks
from podwatch.words.cause import NO_CAUSE, Cause, other
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Method, Outcome
from podwatch.words.snapshot import Part, Unknown
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from tests.unit.report.fakes import RecordingLog

RULE = Missing(MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat", container_ids=("a",))
SOURCE = Missing(MissingKind.SOURCE, "10.88.0.0/16 is in no zone", "10.88.0.0/16")
FINE = Verdict(State.OK)
LOST = Verdict(State.LOST, (RULE,))
BOTH = Verdict(State.LOST, (RULE, SOURCE))
NFT = other("nft (1)")
NOTHING = Decision(None, "nothing is missing")
RELOADED = Outcome(Method.RELOAD, done=True, detail="reload of 1")
FAILED = Outcome(Method.RELOAD, done=False, detail="podman: exit 125")


class Book:
    """A ledger with its journal; each look is a second after the one before."""

    def __init__(self, history: History | None = None) -> None:
        self.log = RecordingLog()
        self.remarks = Remarks(self.log)
        self.ledger = Ledger(self.remarks, history, self.log)
        self.at = 0.0

    def looked(self, *verdicts: Verdict, decision: Decision = NOTHING, cause: Cause = NFT) -> None:
        """Looks with these verdicts are over."""
        for verdict in verdicts:
            self.at += 1
            self.ledger.looked(verdict, decision, cause, now=1000 + self.at, at=self.at)


def test_an_incident_is_entered_when_it_begins_and_when_it_ends() -> None:
    """One loss, however often it is looked at, is one incident with two entries."""
    book = Book()
    book.looked(LOST, LOST)
    book.ledger.acted(RELOADED, took_s=2)
    book.looked(FINE)

    began, ended = book.log.entries
    assert began == (
        Event.LOSS_FOUND,
        "missing: web: 8080/tcp has no DNAT rule; cause: nft (1)",
    )
    assert ended[0] is Event.RESTORED
    assert "how: reload of 1 in 2.0 s" in ended[1]
    assert book.ledger.counters == {"looks": 3, "incidents": 1, "restored": 1, "failed": 0}
    assert book.ledger.incidents.newest is not None
    assert book.ledger.incidents.newest.line == ended[1]


def test_the_journals_fields_are_for_programs() -> None:
    """What is missing, the cause, what is done about it; and at the end how, and how long."""
    book = Book()
    book.looked(BOTH, decision=Decision(Method.RELOAD, "why"), cause=NO_CAUSE)
    book.looked(FINE)

    missing = f"{RULE.what}\n{SOURCE.what}"
    assert book.log.fields == [
        {"cause": "", "missing": missing, "decision": "reload"},
        {"cause": "", "missing": missing, "how": "by somebody else", "took_ms": 1000},
    ]
    assert book.log.entries[0][1].endswith("cause: not known")
    book.looked(BOTH)
    assert book.log.fields[-1]["decision"] == "none"


def test_the_metrics_count_causes_means_and_durations() -> None:
    """By the label of the cause, and by how the means ended."""
    book = Book()
    book.looked(LOST)
    book.ledger.acted(FAILED, took_s=2)
    book.ledger.acted(RELOADED, took_s=2)
    book.looked(FINE)

    assert dict(book.ledger.tally.causes) == {NFT.label: 1}
    assert book.ledger.tally.attempts["reload", "failed"] == 1
    assert book.ledger.tally.attempts["reload", "done"] == 1
    assert book.ledger.tally.duration_sum == 1.0


def test_an_incident_does_not_end_unseen() -> None:
    """While something is unknown nothing is called restored."""
    unknown = Unknown(Part.RULES, "nftables", "timed out")
    book = Book()
    book.looked(LOST, Verdict(State.UNKNOWN, unknown=(unknown,)))

    assert book.log.events == [Event.LOSS_FOUND]
    assert book.ledger.counters["restored"] == 0


def test_a_means_that_failed_is_entered_and_counted() -> None:
    """A failure is an entry of its own, and part of the incident's story."""
    book = Book()
    book.looked(LOST)
    book.ledger.acted(FAILED, took_s=2)
    book.looked(FINE)

    assert book.log.entries[1] == (Event.RESTORE_FAILED, "reload: podman: exit 125")
    assert book.log.fields[1] == {"method": "reload"}
    assert "how: reload failed" in book.log.entries[2][1]
    assert book.ledger.counters["failed"] == 1


def test_why_a_means_failed_is_told_until_it_works_or_nothing_is_missing() -> None:
    """While podwatch waits after a failure, the reason stands behind what it waits for."""
    waiting = Decision(None, "pausing")
    book = Book()
    book.looked(LOST)
    book.ledger.acted(FAILED, took_s=2)
    book.ledger.acted(Outcome(Method.REPLAY, done=False, detail="nft fails"), took_s=2)
    book.looked(LOST)
    assert book.ledger.why_waiting(waiting) == "pausing (podman: exit 125; nft fails)"

    book.ledger.acted(RELOADED, took_s=2)
    assert book.ledger.why_waiting(waiting) == "pausing (nft fails)"
    book.looked(FINE)
    assert book.ledger.why_waiting(waiting) == "pausing"


@pytest.mark.parametrize(
    ("decision", "parted"),
    [
        (Decision(None, "blocked"), True),
        (Decision(None, "waiting", look_at=2 + REST_S + 0.1), True),
        (Decision(None, "soon", look_at=2 + REST_S), False),
        (Decision(Method.SOURCES, "now"), False),
    ],
    ids=["nothing to wait for", "a long wait", "the next try is near", "a try"],
)
def test_what_is_back_is_entered_when_nothing_is_under_way(
    decision: Decision, *, parted: bool
) -> None:
    """Then it is an incident that ended, and the rest goes on as another that is counted."""
    book = Book()
    book.looked(BOTH)
    book.looked(Verdict(State.LOST, (SOURCE,)), decision=decision)

    assert (Event.RESTORED in book.log.events) == parted
    assert book.ledger.counters["incidents"] == 1 + parted


def test_flapping_is_reported_with_the_other_side() -> None:
    """Who removes the rules again and again is named once, and until it is over in the status."""
    book = Book()
    for _ in range(FLAPPING_LOSSES + 4):
        book.looked(LOST, FINE, cause=other("flusher (pid 7)"))

    (sentence,) = book.log.sentences(Event.FLAPPING)
    assert sentence.startswith("flusher (pid 7) keeps removing the rules: 6 times in")
    assert book.ledger.flapping.sentence.startswith("flusher (pid 7) keeps")
    book.at += 100
    book.looked(FINE)
    assert book.ledger.flapping.sentence == ""


def test_the_history_gets_both_ends(tmp_path: Path) -> None:
    """Each incident is written down when it begins and when it ends: two lines that become one."""
    path = tmp_path / "history.jsonl"
    book = Book(History(path))
    book.looked(LOST, FINE)

    assert len([line for line in lines(path, limit_bytes=LIMIT_BYTES) if line]) == 2
    (incident,) = read(path).incidents
    assert (incident["began"], incident["ended"]) == (1001.0, 1002.0)


def test_a_history_that_cannot_be_written_is_a_complaint(
    tmp_path: Path,
) -> None:
    """Said once an incident, and the incident is entered in the journal all the same."""
    file = tmp_path / "file"
    file.touch()
    book = Book(History(file / "history.jsonl"))
    book.looked(LOST, LOST)

    assert book.log.events == [Event.COMPLAINT, Event.LOSS_FOUND]


def test_after_a_repair_complaints_are_news_again() -> None:
    """What was complained of in one incident is complained of in the next."""
    book = Book()
    for _ in range(2):
        book.looked(LOST)
        book.remarks.complain(PodwatchError("podman: not found"))
        book.looked(FINE)

    assert book.log.sentences(Event.COMPLAINT) == 2 * ["podman: not found"]


def test_what_the_guard_carried_is_the_incidents_that_were_going_on(tmp_path: Path) -> None:
    """Counted from the look before: what it carried earlier is another's."""
    book = Book(History(tmp_path / "history.jsonl"))

    def looked(verdict: Verdict, carried: int) -> None:
        book.at += 1
        book.ledger.looked(verdict, NOTHING, NFT, now=1000 + book.at, at=book.at, carried=carried)

    looked(FINE, 5)
    looked(LOST, 5)
    looked(LOST, 7)
    looked(FINE, 8)
    assert book.log.entries[-1][1].endswith(
        "; 3 new connections were carried by the guard meanwhile"
    )
    looked(LOST, 8)
    looked(FINE, 9)
    assert book.log.entries[-1][1].endswith("; 1 new connection was carried by the guard meanwhile")
    looked(LOST, 9)
    looked(FINE, 9)
    assert "guard" not in book.log.entries[-1][1]
    told = read(tmp_path / "history.jsonl").incidents
    assert [incident["carried"] for incident in told] == [3, 1, 0]
