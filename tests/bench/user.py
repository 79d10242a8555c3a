# SPDX-License-Identifier: Apache-2.0
"""What a user's podwatch does and costs: `make bench BENCH="--user"`.

Each fault of the lab is struck several times, and podwatch says how long it took until what was
lost was seen to be there again. Beside it stands what a person would type, where anything helps:
how long that takes, without the time until somebody notices.
"""

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import idle
from tests.bench.machine import described
from tests.e2e.of_user import OfUser, booted, watched
from tests.lab.user_faults import FAULTS, UserFault

BY_HAND = {
    "uplink killed": ("unshare", "--rootless-netns", "true"),
    "aardvark-dns killed": ("network", "reload", "web1"),
    "all rules flushed": ("network", "reload", "--all"),
}
"""podman's own commands that help; for all others there is the restart of the container."""

RESTART = ("restart", "--time", "0")
OF_ONE = {
    "relay of web killed": "web",
    "relay of slirp killed": "slirp",
    "rootlessport of web1 killed": "web1",
    "child of rootlessport of web1 killed": "web1",
}
IDLE_S = 60.0

_LISTING = """
import asyncio, json, statistics, time
from podwatch.adapters import namespace
from podwatch.adapters.libnftables import NftProgram
from podwatch.adapters.paths import Paths
from podwatch.daemon.netns import NetnsWatch
took = {"enter": [], "listing": []}
for _ in range(9):
    began = time.perf_counter()
    NetnsWatch(Paths.of_user().rootless, {}, lambda _: None, lambda _: None).look()
    took["enter"].append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    asyncio.run(NftProgram().list_table("inet", "netavark"))
    took["listing"].append((time.perf_counter() - began) * 1000)
print(json.dumps({name: round(statistics.median(each), 1) for name, each in took.items()}))
"""


@dataclass(frozen=True)
class Healed:
    """How long one fault lasted, in milliseconds: with podwatch, and what helps by hand takes."""

    fault: str
    podwatch_ms: float
    by_hand: str
    by_hand_ms: float | None


def measure(suite: str, repeat: int) -> dict[str, Any]:
    """Every figure of one suite."""
    with booted(suite) as host:
        there = watched(host)
        found: dict[str, Any] = {"machine": described(host), "suite": suite}
        found["inside_ms"] = json.loads(there.user.run(["python3", "-c", _LISTING]).stdout)
        there.start_anew()
        there.until_whole()
        found["idle"] = idle.idle(host, IDLE_S, there.status_file)
        faults = [fault.on(suite) for fault in FAULTS if fault.mends is None]
        found["healed"] = [vars(_healed(there, fault, repeat)) for fault in faults]
    return found


def _healed(there: OfUser, fault: UserFault, repeat: int) -> Healed:
    took = [_by_podwatch(there, fault) for _ in range(repeat)]
    argv: tuple[str, ...] | None = BY_HAND.get(fault.name)
    if fault.name in OF_ONE:
        argv = (*RESTART, OF_ONE[fault.name])
    by_hand = None if argv is None else _by_hand(there, fault, argv, repeat)
    named = "" if argv is None else f"podman {' '.join(argv)}"
    return Healed(fault.name, round(statistics.median(took), 1), named, by_hand)


def _by_podwatch(there: OfUser, fault: UserFault) -> float:
    there.start_anew()
    counted = len(there.history())
    fault.strike(there.containers)
    there.until(lambda: len(there.history()) > counted, "in the history")
    there.until(lambda: bool(there.history()[-1]["verified"]), "verified")
    there.until_whole()
    return float(there.history()[-1]["took_ms"])


def _by_hand(there: OfUser, fault: UserFault, argv: tuple[str, ...], repeat: int) -> float:
    """How long the command takes that helps, while podwatch does not run."""
    there.systemctl("stop", "podwatch")
    took = []
    for _ in range(repeat):
        fault.strike(there.containers)
        began = time.perf_counter()
        there.user.podman(*argv, check=False)
        took.append((time.perf_counter() - began) * 1000)
        there.containers.look()
    there.systemctl("start", "podwatch")
    there.until_whole(60)
    return round(statistics.median(took), 1)


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    rows = ["| what is lost | podwatch | by hand |", "|---|---|---|"]
    for row in found["healed"]:
        by_hand = f"`{row['by_hand']}`: {row['by_hand_ms']:.0f} ms" if row["by_hand"] else "nothing"
        rows.append(f"| {row['fault']} | {row['podwatch_ms']:.0f} ms | {by_hand} |")
    told = found["idle"], found["inside_ms"]
    return "\n".join([found["machine"], "", *rows, "", *map(json.dumps, told)])


def run(directory: Path, suite: str, repeat: int, date: str) -> None:
    """Measure, print, and write user.json."""
    found = {"date": date, **measure(suite, repeat)}
    (directory / "user.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
