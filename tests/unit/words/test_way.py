# SPDX-License-Identifier: Apache-2.0
"""The way of a packet: what its hops amount to, and what a policy of firewalld's does to it."""

import pytest

from podwatch.words.way import Hop, Mark, Policy, Way, WayKind


def way(*marks: Mark, port: tuple[int, str] | None = None, count: int = 1) -> Way:
    """A way with a hop for each mark, named by its place."""
    hops = tuple(Hop(f"hop {at}", "what", mark) for at, mark in enumerate(marks))
    return Way(WayKind.IN, "title", "web", "1a", "net", hops, port, count)


@pytest.mark.parametrize(
    ("marks", "mark", "first"),
    [
        ([], Mark.OPEN, None),
        ([Mark.OPEN, Mark.NOTE], Mark.OPEN, None),
        ([Mark.OPEN, Mark.UNKNOWN], Mark.UNKNOWN, None),
        ([Mark.UNKNOWN, Mark.BROKEN, Mark.OPEN, Mark.BROKEN], Mark.BROKEN, "hop 1"),
    ],
)
def test_a_way_is_as_its_worst_hop(marks: list[Mark], mark: Mark, first: str | None) -> None:
    """Broken before unknown before open; the first broken hop is the one to repair."""
    found = way(*marks)
    assert found.mark is mark
    assert (found.first_broken and found.first_broken.place) == first


def test_a_way_in_serves_ports() -> None:
    """From the first to the last; any other way has a range with nothing in it."""
    assert way(port=(9000, "tcp")).ports == (9000, 9000)
    assert way(port=(9000, "tcp"), count=3).ports == (9000, 9002)
    assert way().ports == (0, -1)


@pytest.mark.parametrize(
    ("ingress", "egress", "target", "closes"),
    [
        ("a", "b", "DROP", True),
        ("a", "b", "REJECT", True),
        ("ANY", "ANY", "DROP", True),
        ("a", "b", "ACCEPT", False),
        ("a", "b", "CONTINUE", False),
        ("a", "c", "DROP", False),
        ("c", "b", "DROP", False),
        ("b", "a", "DROP", False),
    ],
)
def test_a_policy_closes_from_one_zone_to_another(
    ingress: str, egress: str, target: str, *, closes: bool
) -> None:
    """Both zones must be its own, in that direction, and what is left must end there."""
    policy = Policy("p", (ingress, "x"), (egress, "y"), target)
    assert policy.closes("a", "b") == closes
