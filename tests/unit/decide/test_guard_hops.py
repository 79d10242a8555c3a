# SPDX-License-Identifier: Apache-2.0
"""The guard among the hops: named where it does what is missing, and nowhere else."""

from dataclasses import replace

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.guard_hops import with_guard
from podwatch.drivers.guard import guard, made_anew
from podwatch.words.rules import RuleKind
from podwatch.words.way import Mark, Way, WayKind
from tests.unit.decide.open_host import HEALTHY, KERNEL, NETWORK, SETUP, ruleset

TABLE = "podwatch-guard-12ab"
APART = replace(NETWORK, id="c" * 64, bridge="podman9")
LISTING = made_anew(
    TABLE,
    guard(
        replace(
            SETUP,
            networks={**SETUP.networks, APART.id: APART},
            endpoints=(*SETUP.endpoints, replace(SETUP.endpoints[0], network_id=APART.id)),
        ),
        marks=False,
    ),
)
"""The guard beside another isolated network, as the script that makes it: nft lists the same."""


def guarded(without: RuleKind, listing: str = LISTING) -> list[Way]:
    """All ways where rules of a kind are missing, and the guard holds this."""
    ways = explain(replace(HEALTHY, rules=ruleset(without)), KERNEL)
    return list(with_guard(ways, SETUP, TABLE, listing))


@pytest.mark.parametrize(
    ("without", "kind", "does"),
    [
        (RuleKind.PORT_DNAT, WayKind.IN, "carries new connections meanwhile"),
        (RuleKind.MASQUERADE, WayKind.OUT, "masquerades new connections meanwhile"),
        (RuleKind.ISOLATION, WayKind.ISOLATION, "keeps it apart meanwhile"),
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
    assert list(with_guard(ways, SETUP, TABLE, LISTING)) == ways


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        (RuleKind.PORT_DNAT, "tcp . 9001 : "),
        (RuleKind.MASQUERADE, "saddr "),
        (RuleKind.ISOLATION, 'iifname "podman0"'),
    ],
)
def test_what_it_does_not_do_is_not_claimed(without: RuleKind, gone: str) -> None:
    """What is told is in the kernel: not so a dead container's port, nor one of a range."""

    def named(listing: str) -> set[str]:
        return {
            way.title
            for way in guarded(without, listing)
            if any(hop.place == "guard" for hop in way.hops)
        }

    assert named(LISTING) - named(LISTING.replace(gone, ""))
    assert named("") == set()
