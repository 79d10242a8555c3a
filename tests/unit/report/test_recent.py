# SPDX-License-Identifier: Apache-2.0
"""The newest incidents: how many are kept, in which order, and how much of each is told."""

from podwatch.report.incident import Incident
from podwatch.report.recent import MOST, Recent, by_of, outcome_of, what_of
from podwatch.words.cause import NO_CAUSE, Process, Writer, by_writer, other


def test_the_newest_are_kept() -> None:
    """By the moment they began, however they are handed over; one is told as it is now."""
    recent = Recent()
    for number in range(MOST + 50):
        recent.enter(Incident(1000.0 + number, NO_CAUSE))
    recent.remember([Incident(1.0, NO_CAUSE), Incident(1249.0, other("older than what is known"))])
    changed = Incident(1248.0, NO_CAUSE)
    changed.over(1250.0, 2.0)
    recent.enter(changed)

    newest = recent.newest(MOST * 2)
    assert [each["id"] for each in newest] == [*range(1249_000, 1049_000, -1000)]
    assert [each["outcome"] for each in newest[:3]] == ["open", "restored", "open"]
    assert newest[0]["cause"] == ""
    assert recent.newest(0) == []


def test_who_did_it_is_a_program_and_where_it_ran() -> None:
    """Its unit or its session; without one the cause as it is told; a long one is cut."""

    def did(unit: str = "", session: str = "") -> str:
        process = Process("nft", 7, "nft -f secret", unit, session)
        return by_of(by_writer(Writer("nft", 7, process)))

    assert did(unit="a.service") == "nft, a.service"
    assert did(session="4") == "nft, session-4.scope"
    assert did() == "nft"
    assert by_of(NO_CAUSE) == ""
    assert by_of(other("firewalld was reloaded")) == "firewalld was reloaded"
    assert len(by_of(other("x" * 999))) == 200


def test_what_closed_a_way_is_what_was_told() -> None:
    """Nothing is missing then."""
    closed = Incident(5.0, NO_CAUSE, told=["a rule drops it"])
    recent = Recent()
    recent.enter(closed)
    assert what_of(closed) == "a rule drops it"
    assert recent.newest(1)[0]["outcome"] == "told"
    assert what_of(Incident(5.0, NO_CAUSE)) == ""
    assert outcome_of(closed) == "by somebody else"
