# SPDX-License-Identifier: Apache-2.0
"""What the benchmark says of its measurements."""

import xml.etree.ElementTree as ET

from tests.bench.report import NEVER, Median, Outage, medians, picture, ratios, spoken, table

FLUSH, RELOAD = "nft flush ruleset", "firewall-cmd --reload"
WAYS = ("podwatch", "nft -f", "reload <all>")
MEASURED = [
    *(Outage(1, FLUSH, "podwatch", ms, 2 * ms) for ms in (30, 10, 20, 40, 1000)),
    *(Outage(1, FLUSH, "nft -f", ms, ms) for ms in (20, 20, 20, 20, 20)),
    *(Outage(100, FLUSH, "podwatch", ms, ms) for ms in (40, 40, 40, 40, 40)),
    *(Outage(100, FLUSH, "nft -f", ms, ms) for ms in (10, 20, 30, 40, 50)),
    Outage(100, FLUSH, "reload <all>", 20_000, 20_000),
    *(Outage(1, RELOAD, "podwatch", ms, NEVER) for ms in (5, 5, 5, 5, 5)),
]
FOUND = medians(MEASURED)


def test_one_slow_run_does_not_count() -> None:
    """The median of five stands for them, for ports and for the way out each."""
    assert FOUND[1, FLUSH, "podwatch"] == Median(30, 60, 5)


def test_the_table_has_a_row_for_each_fault_and_number() -> None:
    """What was not measured is a dash; what did not heal, and what was measured rarely, says so."""
    lines = table(FOUND, WAYS).splitlines()
    assert lines[2:] == [
        f"| 1 | `{FLUSH}` | 30 ms / 60 ms | 20 ms / 20 ms | — |",
        f"| 100 | `{FLUSH}` | 40 ms / 40 ms | 30 ms / 30 ms | 20.0 s / 20.0 s (1×) |",
        f"| 1 | `{RELOAD}` | 5 ms / not healed | — | — |",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_ratios_are_of_the_same_run() -> None:
    """A ratio needs both ways at the same fault and number of containers."""
    assert ratios(FOUND, "podwatch", "nft -f") == {(1, FLUSH): 1.5, (100, FLUSH): 40 / 30}


def test_the_picture_is_well_formed_and_has_every_point() -> None:
    """The SVG parses, and shows a point for each median of the fault that healed."""
    svg = ET.fromstring(picture(FOUND, FLUSH, WAYS, "after `nft` & more"))  # noqa: S314 (our own)
    circles = svg.findall("{*}circle")
    assert len(circles) == 5
    assert len(svg.findall("{*}polyline")) == 3
    for each in circles:
        assert 0 < float(each.attrib["cx"]) < 760
        assert 0 < float(each.attrib["cy"]) < 420


def test_nothing_measured_is_an_empty_picture() -> None:
    """A fault nobody healed has no picture, and no error either."""
    assert "svg" in picture(FOUND, "unheard of", WAYS, "")


def test_durations_are_spoken() -> None:
    """Milliseconds below a second, seconds above, and words for what never ended."""
    assert [spoken(ms) for ms in (12.4, 999, 1500, NEVER)] == [
        "12 ms",
        "999 ms",
        "1.5 s",
        "not healed",
    ]
