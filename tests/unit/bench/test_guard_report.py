# SPDX-License-Identifier: Apache-2.0
"""What the benchmark says of the guard."""

import json

from tests.bench.guard_report import Strike, broken_promises, summed, table
from tests.bench.guard_run import Measured
from tests.lab.losses import Kept, Losses, New

FLUSH, RELOAD = "nft flush ruleset", "firewall-cmd --reload"


def strike(
    mode: str,
    fault: str = FLUSH,
    *,
    new_in: int = 0,
    new_out: int = 0,
    broken: int = 0,
    healed: bool = True,
    gap_ms: float = 12.0,
    rss_mib: float = 35.0,
) -> Strike:
    """One measurement on trixie, of 300 connections in, 100 out and 10 each way that last."""
    losses = Losses(
        New(300, new_in, gap_ms),
        New(100, new_out, gap_ms),
        Kept(10, broken, 5.0),
        Kept(10, 0, 5.0),
    )
    return Strike("trixie", 10, "no firewalld", mode, fault, healed, losses, rss_mib)


def test_repetitions_are_summed_and_the_longest_gap_is_told() -> None:
    """Lost and asked are sums over the repetitions; the gap is the longest of them."""
    found = summed(strike("off", new_in=n, broken=1, gap_ms=10.0 * n) for n in (3, 5, 4))

    assert (found.lost_in, found.asked_in, found.gap_ms, found.broken) == (12, 900, 50.0, 3)
    assert found.cell == "12/900 (50 ms) · 0/300 · 3/60"


def test_a_gap_that_lost_nothing_is_not_told() -> None:
    """The time between two answers is no gap where every connection was answered."""
    assert summed([strike("full", gap_ms=80.0)]).cell == "0/300 · 0/100 · 0/20"


def test_what_was_not_healed_says_so() -> None:
    """One repetition that did not heal makes the cell say so."""
    cell = summed([strike("nobody"), strike("nobody", new_in=200, healed=False)]).cell

    assert cell == "200/600 (not healed) · 0/200 · 0/40"


def test_the_table_has_a_column_for_each_mode_and_a_row_for_each_fault() -> None:
    """What was not measured is a dash."""
    lines = table([strike("off"), strike("full"), strike("full", RELOAD)]).splitlines()

    assert lines[0] == "trixie, 10 containers, no firewalld:"
    assert lines[2] == "| fault | off | full |"
    assert lines[5] == f"| {RELOAD} | — | 0/300 · 0/100 · 0/20 |"


def test_the_anchor_promises_old_connections_and_the_full_guard_new_ones_too() -> None:
    """What is lost with the guard off, or by firewalld, breaks no promise."""
    kept = [
        strike("off", new_in=9, broken=9),
        strike("nobody", new_in=9, broken=9),
        strike("anchor", new_in=9, new_out=3),
        strike("full"),
        strike("full", RELOAD, new_in=9),
    ]
    assert not broken_promises(kept, [FLUSH])

    broken = [strike("anchor", broken=1), strike("full", new_out=1), strike("full", broken=2)]
    assert broken_promises(broken, [FLUSH]) == [
        f"trixie, 10 containers, no firewalld, {FLUSH}, anchor: "
        "1 of 20 established connections broke",
        f"trixie, 10 containers, no firewalld, {FLUSH}, full: "
        "0 of 300 new connections in and 1 of 100 out were lost",
        f"trixie, 10 containers, no firewalld, {FLUSH}, full: "
        "2 of 20 established connections broke",
    ]


def test_the_text_tells_losses_memory_and_costs() -> None:
    """A measured guard is told in one text: tables, the median memory, and ratios."""
    costs = {"first": 8.0, "last": 10.0, "closed": 5.0}
    update = {
        f"{name}{written}_ms": 1.0
        for name in ("whole", "one_out", "one_in")
        for written in ("", "_written")
    }
    found = Measured(
        {"trixie": "a machine"},
        [strike("full", rss_mib=rss) for rss in (30.0, 36.0, 90.0)],
        [
            {
                "suite": "trixie",
                "ports": 10,
                "us": {"off": costs, "anchor": costs, "full": costs | {"last": 11.0}},
                "update": update,
                "memory_kib": 840,
            }
        ],
    )

    assert "a machine." in found.text
    assert "podwatch's resident memory: full 36.0 MiB." in found.text
    last = "| trixie | 10 | last | 10.00 | 10.00 (1.00×) | 11.00 (1.10×) |"
    assert f"{last} 100,000 / 100,000 / 90,909 |" in found.text
    assert "one port out 1.0 + 1.0 ms" in found.text
    document = json.loads(found.written("2026-11-27"))
    assert document["date"] == "2026-11-27"
    assert document["strikes"][0]["losses"]["new_in"]["asked"] == 300
    assert document["costs"] == found.costs
