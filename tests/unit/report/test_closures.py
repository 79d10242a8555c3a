# SPDX-License-Identifier: Apache-2.0
"""What is told and left, in the history: when it begins and is over, and what is none of it."""

from dataclasses import replace
from pathlib import Path

from podwatch.commands.history import lines_of
from podwatch.report.closures import MAX_OPEN, Closures
from podwatch.report.history import History, read, record
from podwatch.report.incident import Incident
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

ROUTE = Notice(WarningKind.ROUTE, "network app: what is sent to 10.89.0.2 goes nowhere")
DETOUR = Notice(WarningKind.DETOUR, "eth0 takes no more router advertisements")
HARMLESS = Notice(WarningKind.NEIGHBOUR, "ufw is enabled")
RULE = Missing(MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat")
BROKEN = Hop("link", "veth0 is down", Mark.BROKEN)
FINE = Verdict(State.OK)


def saying(*notices: Notice) -> Verdict:
    """A look at which this is told."""
    return Verdict(State.LOST, warnings=notices)


class Looks:
    """Closures, looked at once a second."""

    def __init__(self) -> None:
        self.closures = Closures()
        self.at = 0.0

    def look(self, verdict: Verdict) -> list[tuple[str, int | None]]:
        """What is entered after a look: its words, and after how many milliseconds it was over."""
        self.at += 1
        return [
            (one.told[0], one.took_ms if one.restored_at else None) for one in self.taken(verdict)
        ]

    def taken(self, verdict: Verdict) -> list[Incident]:
        """The same, as it is entered."""
        return self.closures.looked(verdict, now=1000 + self.at, at=self.at)


def test_what_is_told_is_entered_when_it_begins_and_when_it_is_over() -> None:
    """However often it is told meanwhile; each by itself."""
    looks = Looks()
    assert looks.look(FINE) == []
    assert looks.look(saying(ROUTE, HARMLESS)) == [(ROUTE.what, None)]
    assert looks.look(saying(ROUTE)) == []
    assert looks.look(saying(ROUTE, DETOUR)) == [(DETOUR.what, None)]
    assert looks.look(saying(DETOUR)) == [(ROUTE.what, 3000)]
    assert looks.look(FINE) == [(DETOUR.what, 2000)]


def test_nothing_begins_while_something_is_lost_or_podman_works() -> None:
    """It may be the reason, and soon be over; nor is anything over while podman works."""
    looks = Looks()
    busy = replace(saying(ROUTE), blocked=(Blocked(BlockedKind.BUSY, "podman is at work"),))
    assert looks.look(replace(saying(ROUTE), missing=(RULE,))) == []
    assert looks.look(busy) == []
    assert looks.look(saying(ROUTE)) == [(ROUTE.what, None)]
    assert looks.look(replace(busy, warnings=())) == []
    assert looks.look(FINE) == [(ROUTE.what, 2000)]


def test_a_broken_way_is_told_where_nothing_else_tells_of_it() -> None:
    """By the first thing that breaks it."""
    looks = Looks()
    way = Way(WayKind.OUT, "web out by app", "web", "a", "app", (BROKEN,))
    broken = Verdict(State.LOST, ways=(way,))
    assert looks.look(replace(broken, warnings=(ROUTE,))) == [(ROUTE.what, None)]
    assert looks.look(broken) == [(ROUTE.what, 1000), ("link: veth0 is down", None)]


def test_what_begins_at_one_moment_has_names_of_its_own() -> None:
    """They are kept by when they began; no more are kept than can be read."""
    many = [replace(ROUTE, what=f"{ROUTE.what} ({n})") for n in range(MAX_OPEN + 5)]
    begun = Looks().taken(saying(*many))
    assert len({round(one.began, 3) for one in begun}) == len(begun) == MAX_OPEN


def test_the_history_tells_it(tmp_path: Path) -> None:
    """When, for how long, and what; nothing was missing, and nobody restored anything."""
    looks, history = Looks(), History(tmp_path / "history.jsonl")
    for verdict in (saying(ROUTE), FINE):
        looks.at += 1
        for entered in looks.taken(verdict):
            history.note(entered)
    (told,) = read(history.path).incidents
    assert (told["told"], told["missing"], told["rules"]) == ([ROUTE.what], [], 0)
    first, second = lines_of(told)
    assert first.endswith("  over after 1.0 s")
    assert second == f"    told:    {ROUTE.what}"
    (open_,) = looks.taken(saying(DETOUR))
    assert next(lines_of(record(open_))).endswith("  going on, or nobody saw its end")
    assert "told" not in open_.public()
