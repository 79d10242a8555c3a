# SPDX-License-Identifier: Apache-2.0
"""What is lost with and without the guard: sums, the tables, and what was promised. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.lab.losses import Losses

OFF, ANCHOR, FULL, NOBODY = "off", "anchor", "full", "nobody"
MODES = (OFF, ANCHOR, FULL, NOBODY)
"""The guard's modes with podwatch running, and podwatch stopped."""

NOTHING = "nothing"
"""The fault that is none: what is lost then is lost in the measurement."""


@dataclass(frozen=True)
class Strike:
    """One measurement: where, with which guard, what was done, and what was lost.

    `setting` is how firewalld was set. `healed`: everything answered at the end. `rss_mib` is the
    daemon's resident memory before the fault, 0 without one.
    """

    suite: str
    containers: int
    setting: str
    mode: str
    fault: str
    healed: bool
    losses: Losses
    rss_mib: float = 0.0


@dataclass(frozen=True)
class Sum:
    """Several repetitions of one measurement: sums, and the longest gap of them."""

    runs: int
    healed: int
    asked_in: int
    lost_in: int
    gap_ms: float
    asked_out: int
    lost_out: int
    opened: int
    broken: int

    @property
    def cell(self) -> str:
        """All of it for the table."""
        text = f"{self.lost_in}/{self.asked_in}"
        if self.healed < self.runs:
            text += " (not healed)"
        elif self.lost_in:
            text += f" ({self.gap_ms:.0f} ms)"
        return f"{text} · {self.lost_out}/{self.asked_out} · {self.broken}/{self.opened}"


def summed(strikes: Iterable[Strike]) -> Sum:
    """The sum of some measurements."""
    found = list(strikes)
    losses = [strike.losses for strike in found]
    return Sum(
        len(found),
        sum(strike.healed for strike in found),
        sum(each.new_in.asked for each in losses),
        sum(each.new_in.lost for each in losses),
        max((each.new_in.longest_ms for each in losses), default=0.0),
        sum(each.new_out.asked for each in losses),
        sum(each.new_out.lost for each in losses),
        sum(each.kept_in.opened + each.kept_out.opened for each in losses),
        sum(each.kept_in.broken + each.kept_out.broken for each in losses),
    )


Place = tuple[str, int, str]
"""Suite, number of containers, setting of firewalld."""


def table(strikes: Sequence[Strike]) -> str:
    """The sums as Markdown: a table for each suite, number and setting, a column for each mode."""
    cells: dict[tuple[Place, str, str], list[Strike]] = {}
    for strike in strikes:
        place = strike.suite, strike.containers, strike.setting
        cells.setdefault((place, strike.fault, strike.mode), []).append(strike)
    modes = [mode for mode in MODES if any(mode == found for _, _, found in cells)]
    lines = []
    for place in dict.fromkeys(place for place, _, _ in cells):
        suite, containers, setting = place
        lines += [
            f"{suite}, {containers} containers, {setting}:\n",
            f"| fault | {' | '.join(modes)} |",
            f"|---|{'---:|' * len(modes)}",
        ]
        for fault in dict.fromkeys(fault for its, fault, _ in cells if its == place):
            row = [cells.get((place, fault, mode), []) for mode in modes]
            told = [summed(found).cell if found else "—" for found in row]
            lines.append(f"| {fault} | {' | '.join(told)} |")
        lines.append("")
    return "\n".join(lines)


def broken_promises(strikes: Iterable[Strike], nft_faults: Iterable[str]) -> list[str]:
    """A sentence for each measurement in which the guard did not do what it is there for.

    Through a fault of nft's the anchor keeps every old connection, and the full guard every new
    one, too.
    """
    faults = set(nft_faults)
    found = []
    for strike in strikes:
        if strike.fault not in faults or strike.mode not in (ANCHOR, FULL):
            continue
        each = summed([strike])
        what = []
        if each.broken:
            what.append(f"{each.broken} of {each.opened} established connections broke")
        if strike.mode == FULL and each.lost_in + each.lost_out:
            what.append(
                f"{each.lost_in} of {each.asked_in} new connections in and "
                f"{each.lost_out} of {each.asked_out} out were lost"
            )
        found += [
            f"{strike.suite}, {strike.containers} containers, {strike.setting}, {strike.fault}, "
            f"{strike.mode}: {sentence}"
            for sentence in what
        ]
    return found
