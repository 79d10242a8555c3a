# SPDX-License-Identifier: Apache-2.0
"""The guard among the hops: named where it does what is missing, and nowhere else."""

from dataclasses import replace

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.guard_hops import with_guard
from podwatch.drivers.guard import anchor, guard
from podwatch.words.guard import Held
from podwatch.words.network import Endpoint
from podwatch.words.rules import RuleKind
from podwatch.words.way import Mark, Way, WayKind
from tests.unit.decide.open_host import ENDPOINT, HEALTHY, KERNEL, SETUP, ruleset

HELD = guard(SETUP, marks=False)


def guarded(without: RuleKind, held: Held = HELD) -> list[Way]:
    """All ways where rules of a kind are missing, and the guard holds this."""
    ways = explain(replace(HEALTHY, rules=ruleset(without)), KERNEL)
    return list(with_guard(ways, held, "podwatch-guard-12ab"))


@pytest.mark.parametrize(
    ("without", "kind", "does"),
    [
        (RuleKind.PORT_DNAT, WayKind.IN, "carries new connections meanwhile"),
        (RuleKind.MASQUERADE, WayKind.OUT, "masquerades new connections meanwhile"),
        (RuleKind.ISOLATION, WayKind.ISOLATION, "keeps them apart meanwhile"),
    ],
)
def test_it_stands_behind_the_hop_that_is_broken(
    without: RuleKind, kind: WayKind, does: str
) -> None:
    """The way stays broken: its rules have to come back."""
    broken = [way for way in guarded(without) if way.mark is Mark.BROKEN]
    assert broken
    for way in broken:
        hop = way.first_broken
        assert hop is not None
        behind = way.hops[way.hops.index(hop) + 1]
        assert way.kind is kind
        assert (behind.place, behind.mark) == ("guard", Mark.NOTE)
        assert behind.what == f"{does} (table inet podwatch-guard-12ab)"


def test_a_way_that_is_open_has_no_word_of_it() -> None:
    """Packets do not meet it there."""
    ways = explain(HEALTHY, KERNEL)
    assert list(with_guard(ways, HELD, "podwatch-guard-12ab")) == ways


def test_a_port_that_it_does_not_hold_has_none() -> None:
    """An anchor carries nothing, nor does a guard that lacks one port of a range."""

    def carried(held: Held) -> set[str]:
        ways = guarded(RuleKind.PORT_DNAT, held)
        return {
            way.title.partition(" ")[0]
            for way in ways
            if way.kind is WayKind.IN and any(hop.place == "guard" for hop in way.hops)
        }

    assert carried(HELD) == {"8080/tcp", "9000-9002/tcp"}
    assert carried(anchor()) == set()
    short: Endpoint = replace(
        ENDPOINT,
        port_mappings=tuple(replace(one, count=2) for one in ENDPOINT.port_mappings or ()),
    )
    assert carried(guard(replace(SETUP, endpoints=(short,)), marks=False)) == {"8080/tcp"}
