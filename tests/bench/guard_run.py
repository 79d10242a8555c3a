# SPDX-License-Identifier: Apache-2.0
"""All that is measured of the guard: what is planned, what is written down, what it says."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import guard, guard_cost
from tests.bench.guard_report import NOBODY, Strike, broken_promises, summed, table
from tests.bench.machine import described
from tests.lab.rootfs import build

BY_NFT = tuple(fault.name for fault in guard.BY_NFT)


@dataclass(frozen=True)
class Plan:
    """On which suites, at which numbers of containers, how often, and the ports for the costs."""

    suites: tuple[str, ...]
    counts: tuple[int, ...]
    repeat: int
    ports: tuple[int, ...] = guard_cost.PORTS


SHORT = Plan(("trixie",), (10,), 1)
"""A part of `make bench`: ten minutes."""

WHOLE = Plan(("trixie", "forky"), (10, 100), 5)
"""What `--guard` measures: two hours."""


@dataclass
class Measured:
    """What was found so far, and on which machine, by suite."""

    machines: dict[str, str] = field(default_factory=dict)
    strikes: list[Strike] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)

    def written(self, date: str) -> str:
        """All of it as JSON, a line for each measurement."""
        head = {"date": date, "machines": self.machines}
        lists = {
            name: ",\n".join(f"  {json.dumps(each)}" for each in found)
            for name, found in (
                ("costs", self.costs),
                ("strikes", [asdict(strike) for strike in self.strikes]),
            )
        }
        parts = [f'"{name}": {json.dumps(told)}' for name, told in head.items()]
        parts += [f'"{name}": [\n{told}\n ]' for name, told in lists.items()]
        return "{\n " + ",\n ".join(parts) + "\n}\n"

    @property
    def broken(self) -> list[str]:
        """What the guard did not keep, a sentence each."""
        return broken_promises(self.strikes, BY_NFT)

    @property
    def text(self) -> str:
        """All of it as Markdown."""
        parts = [f"{machine}.\n" for machine in self.machines.values()]
        parts += [_EXPLAINED, table(self.strikes)] if self.strikes else []
        parts += [f"{sentence}\n" for sentence in (*memory(self.strikes), *self.broken)]
        if self.costs:
            rows = [row for each in self.costs for row in guard_cost.told(each["suite"], each)]
            parts += ["\n".join([guard_cost.HEAD, *rows]), ""]
            parts += [guard_cost.updates(each["suite"], each) for each in self.costs]
        return "\n".join(parts)


_EXPLAINED = """\
With the guard off, as an anchor, full, and without podwatch: new connections in lost / asked for
(the longest time without an answer) · new connections out lost / asked for · established ones
broken / there.
"""


def memory(strikes: Sequence[Strike]) -> list[str]:
    """The daemon's resident memory by suite and containers, medians of each mode."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for strike in strikes:
        if strike.mode != NOBODY:
            by_mode = found.setdefault((strike.suite, strike.containers), {})
            by_mode.setdefault(strike.mode, []).append(strike.rss_mib)
    return [
        f"{suite}, {containers} containers, podwatch's resident memory: "
        + ", ".join(f"{mode} {statistics.median(rss):.1f} MiB" for mode, rss in by_mode.items())
        + "."
        for (suite, containers), by_mode in found.items()
    ]


def measure(plan: Plan, say: Callable[[str], None], keep: Callable[[Measured], None]) -> Measured:
    """Measure all that is planned; `keep` is given what there is, again and again."""
    found = Measured()
    for suite in plan.suites:
        for count in plan.counts:
            say(f"a host of {suite} with {count} containers")
            with guard.host_of(suite, count) as bench:
                found.machines[suite] = described(bench.host)
                for strike in guard.strikes(bench, plan.repeat):
                    where = f"{suite}, {count} containers, {strike.setting}, {strike.fault}"
                    say(f"{where}, {strike.mode}: {summed([strike]).cell}")
                    found.strikes.append(strike)
                    keep(found)
        for ports in plan.ports:
            say(f"what the guard costs on {suite} with {ports} ports")
            found.costs.append({"suite": suite, **guard_cost.cost(build(suite), ports)})
            keep(found)
    return found


def write(directory: Path, date: str, found: Measured) -> None:
    """Write guard.json and guard.md."""
    (directory / "guard.json").write_text(found.written(date))
    (directory / "guard.md").write_text(f"Measured on {date}.\n\n{found.text}")
