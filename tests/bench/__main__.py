# SPDX-License-Identifier: Apache-2.0
"""`make bench`: podwatch beside the alternatives, in one run on one machine.

Writes dist/bench.json (every measurement), dist/bench.md (the table) and dist/bench.svg (outage
against the number of containers). Exits 1 if an outage of podwatch's is more than twice as long as
that of the saved table put back at once, if a command lets a person wait for more than 0.3 s, if a
link is back later than 10 ms at the median of its faults or the name server later than 100 ms, if
a container's start and stop cost podwatch more CPU time than netavark, or if the guard lets go of a
connection that it is there to keep.

What is lost with each mode of the guard, and without podwatch, comes last, once for each fault, and
goes into dist/guard.json and dist/guard.md. With `--guard` that is all, five times, on two suites,
at 10 and 100 containers. With `--user` a user's podwatch is measured, and nothing else.
"""

import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import below, guard_run, idle, outages, report, seeing, user
from tests.bench.machine import described
from tests.lab.host import Host
from tests.lab.rootfs import build

DIST = Path(__file__).resolve().parents[2] / "dist"
IDLE_S = 60.0
MAX_TIMES = 2.0
MAX_ANSWER_MS = 300
MAX_BACK_MS, MAX_NAMES_MS = 10, 100


def main() -> int:
    """Measure everything that is asked for, and write it down after each number of containers."""
    asked = _arguments()
    DIST.mkdir(exist_ok=True)
    date = datetime.now(UTC).date().isoformat()
    if asked.user:
        user.run(DIST, asked.suite, asked.repeat, date)
        return 0
    if asked.guard:
        return 0 if _keeps(asked, guard_run.WHOLE, date) else 1
    found: dict[str, Any] = {"date": date, "outages": []}
    measured: list[report.Outage] = []
    with Host(asked.suite) as host:
        bench = outages.installed_on(host)
        found["machine"] = described(host)
        for count in asked.containers:
            _say(f"starting containers, up to {count}")
            bench.grow(count)
            faults = outages.FAULTS if count < asked.few_faults else outages.FAULTS[:3]
            for outage in outages.outages(bench, faults, asked.repeat):
                _say(
                    f"{outage.containers} containers, {outage.fault}, {outage.way}: "
                    f"ports {report.spoken(outage.port_ms)}, "
                    f"egress {report.spoken(outage.egress_ms)}"
                )
                measured.append(outage)
            found["outages"] = [_written(outage) for outage in measured]
            _write(found, measured, bench.ways)
            if count == asked.containers[min(1, len(asked.containers) - 1)]:
                _say(f"the idle daemon, {IDLE_S:.0f} s")
                host.run(["systemctl", "start", "podwatch"])
                time.sleep(5)  # the start is over; what follows is the observation
                found["idle"] = {"containers": count, **idle.idle(host, IDLE_S)}
                _say(f"answers with {seeing.INCIDENTS} incidents in the history")
                found["answers_ms"] = seeing.answers(host)
                host.run(["systemctl", "stop", "podwatch"])
            if count == asked.below:
                _say("links and names, and what a container's start costs")
                found["back_ms"] = {"containers": count, **below.back(host, 2 * asked.repeat - 1)}
                found["starts"] = below.starts(host, count)
                _write(found, measured, bench.ways)
    found["look"] = {}
    for count in asked.look:
        _say(f"one look at {count} containers")
        found["look"][count] = idle.look(build(asked.suite), count)
    _write(found, measured, bench.ways)
    print((DIST / "bench.md").read_text())
    ratios = report.ratios(report.medians(measured), outages.PODWATCH, outages.LIMIT)
    is_fast = all(ratio <= MAX_TIMES for ratio in ratios.values())
    answers = found.get("answers_ms", {}).values()
    is_fast = is_fast and all(answer <= MAX_ANSWER_MS for answer in answers)
    is_fast = is_fast and _is_soon_back(found.get("back_ms")) and _is_cheap(found)
    is_kept = _keeps(asked, replace(guard_run.SHORT, suites=(asked.suite,)), date)
    return 0 if is_fast and is_kept else 1


def _keeps(asked: argparse.Namespace, plan: guard_run.Plan, date: str) -> bool:
    """Measure what is lost with the guard and without; whether it kept what it is there to keep."""
    plan = replace(
        plan,
        suites=asked.guard_suites or plan.suites,
        counts=asked.guard_containers or plan.counts,
        repeat=plan.repeat if asked.guard_repeat is None else asked.guard_repeat,
        ports=plan.ports if asked.guard_ports is None else asked.guard_ports,
    )
    if not plan.repeat:
        return True
    found = guard_run.measure(plan, _say, lambda so_far: guard_run.write(DIST, date, so_far))
    print((DIST / "guard.md").read_text())
    return not found.broken


def _is_soon_back(told: dict[str, float] | None) -> bool:
    """Whether links, at the median of their faults, and the name server were back soon enough."""
    if told is None:
        return True
    links = [took for name, took in told.items() if name not in (below.NAMES, "containers")]
    return statistics.median(links) <= MAX_BACK_MS and told[below.NAMES] <= MAX_NAMES_MS


def _is_cheap(found: dict[str, Any]) -> bool:
    starts = found.get("starts")
    return starts is None or starts["podwatch_ms"] < starts["netavark_ms"]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--containers", type=_numbers, default=[1, 10, 100, 500])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--below", type=int, default=100, help="at so many containers: links, names, starts"
    )
    parser.add_argument("--look", type=_numbers, default=[100, 1000])
    parser.add_argument(
        "--few-faults", type=int, default=500, help="from so many containers on: nft's faults alone"
    )
    parser.add_argument(
        "--guard", action="store_true", help="the guard, and nothing else: two hours"
    )
    parser.add_argument("--user", action="store_true", help="a user's podwatch, and nothing else")
    parser.add_argument("--guard-suites", type=lambda text: tuple(text.split(",")))
    parser.add_argument("--guard-containers", type=lambda text: tuple(_numbers(text)))
    parser.add_argument(
        "--guard-ports", type=lambda text: tuple(_numbers(text)), help="what it costs at so many"
    )
    parser.add_argument("--guard-repeat", type=int, help="how often; 0 leaves the guard out")
    return parser.parse_args()


def _written(outage: report.Outage) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value
        for key, value in asdict(outage).items()
    }


def _write(found: dict[str, Any], measured: list[report.Outage], ways: tuple[str, ...]) -> None:
    medians = report.medians(measured)
    (DIST / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    text = [f"Measured on {found['date']}: {found['machine']}.\n"]
    text.append("Longest time without an answer: of a published port / of a container's way out.\n")
    text.append(report.table(medians, ways))
    ratios = report.ratios(medians, outages.PODWATCH, outages.LIMIT)
    if ratios:
        text.append(
            f"podwatch took {min(ratios.values()):.1f} to {max(ratios.values()):.1f} times as long "
            "as the saved table put back at once.\n"
        )
    if resting := found.get("idle"):
        text.append(
            f"Idle for {resting['seconds']:.0f} s with {resting['containers']} containers: "
            f"{resting['cpu_ms']} ms of CPU time, {resting['wakeups']} wake-ups, "
            f"{resting['rss_mib']} MiB resident ({resting['pss_mib']} MiB its share), "
            f"{resting['children']} child processes.\n"
        )
    for command, took in found.get("answers_ms", {}).items():
        text.append(f"`podwatch {command}` with {seeing.INCIDENTS} incidents: {took} ms.\n")
    told = found.get("back_ms", {})
    for name, took in told.items():
        if name != "containers":
            text.append(f"{name}, at {told['containers']} containers: back in {took} ms.\n")
    if starts := found.get("starts"):
        text.append(
            f"A container's start and stop beside {starts['containers']} others: "
            f"{starts['podwatch_ms']} ms of podwatch's CPU time, {starts['netavark_ms']} ms of "
            "netavark's and what it calls.\n"
        )
    for count, times in found.get("look", {}).items():
        text.append(
            f"One look at {count} containers: {times['first_ms']} ms of CPU time at first, "
            f"{times['again_ms']} ms from then on.\n"
        )
    (DIST / "bench.md").write_text("\n".join(text))
    fault = outages.FAULTS[0].name
    caption = f"longest outage of a published port after `{fault}`"
    (DIST / "bench.svg").write_text(report.picture(medians, fault, ways, caption))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
