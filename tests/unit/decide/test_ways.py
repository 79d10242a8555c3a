# SPDX-License-Identifier: Apache-2.0
"""The verdict with the ways, and how much of what is missing concerns each container."""

from dataclasses import replace

import pytest

from podwatch.decide.ways import missing_of, with_ways
from podwatch.words.network import Endpoint, FirewallDriver, Setup
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from podwatch.words.way import Hop, Mark, Way, WayKind


def way(*marks: Mark) -> Way:
    """A way with a hop of each of these marks."""
    hops = tuple(Hop("bridge", mark, mark) for mark in marks)
    return Way(WayKind.OUT, "web out", "web", "aa", "podman", hops)


@pytest.mark.parametrize(
    ("before", "marks", "state"),
    [
        (State.OK, [Mark.OPEN, Mark.NOTE, Mark.CLOSED], State.OK),
        (State.DEGRADED, [Mark.NOTE], State.DEGRADED),
        (State.OK, [Mark.BROKEN, Mark.UNKNOWN], State.LOST),
        (State.UNKNOWN, [Mark.BROKEN], State.LOST),
        (State.DEGRADED, [Mark.UNKNOWN], State.UNKNOWN),
        (State.LOST, [Mark.UNKNOWN], State.LOST),
        (State.LOST, [Mark.OPEN], State.LOST),
    ],
)
def test_a_way_that_is_broken_is_a_loss(before: State, marks: list[Mark], state: State) -> None:
    """And one that is unknown makes all unknown, unless something is lost; a note does nothing."""
    ways = [way(mark) for mark in marks]
    told = with_ways(Verdict(before), ways)
    assert (told.state, told.ways) == (state, tuple(ways))


def test_a_way_is_what_its_gravest_hop_is() -> None:
    """Broken before unknown, unknown before closed; the first of its kind is to be told."""
    for marks, mark in (
        ((Mark.CLOSED, Mark.UNKNOWN, Mark.BROKEN), Mark.BROKEN),
        ((Mark.CLOSED, Mark.UNKNOWN), Mark.UNKNOWN),
        ((Mark.OPEN, Mark.CLOSED, Mark.NOTE), Mark.CLOSED),
        ((Mark.OPEN, Mark.NOTE), Mark.OPEN),
    ):
        assert way(*marks).mark is mark
        first = way(*marks).first(mark)
        assert first is not None
        assert first.mark is mark


SETUP = Setup(
    FirewallDriver.NFTABLES,
    endpoints=(
        Endpoint("aa", "1", "one", ()),
        Endpoint("aa", "2", "two", ()),
        Endpoint("bb", "2", "two", ()),
        Endpoint("cc", "3", "three", ()),
    ),
)
LOSS = Missing(MissingKind.RULE, "a rule", "accept", container_ids=("aa",))


@pytest.mark.parametrize(
    ("loss", "concerned"),
    [
        (replace(LOSS, container="web", network="two"), {"aa"}),
        (replace(LOSS, network="two"), {"aa", "bb"}),
        (LOSS, {"aa", "bb", "cc"}),
        (replace(LOSS, network="gone"), set()),
    ],
    ids=["its own", "its network's", "everybody's", "nobody's"],
)
def test_whom_a_loss_concerns(loss: Missing, concerned: set[str]) -> None:
    """What a network or the whole host lacks each of their containers lacks, too, and once."""
    assert set(missing_of([loss], SETUP)) == concerned
    assert set(missing_of([loss, loss], SETUP).values()) <= {2}
