# SPDX-License-Identifier: Apache-2.0
"""What podwatch costs: the idle daemon, and one look at many containers."""

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.installed import STATUS
from tests.integration.differential.configurations import Box, Net, Port
from tests.integration.differential.stage import Stage
from tests.lab.host import Host

_TICKS = 100
"""Clock ticks a second in /proc/PID/stat: USER_HZ, the same on every architecture of Debian's."""


@dataclass(frozen=True)
class Usage:
    """What a process has used until a moment, and its memory at that moment."""

    cpu_s: float
    wakeups: int
    rss_kib: int
    pss_kib: int
    children: int
    ended: int


def usage(host: Host, status: str = STATUS) -> Usage:
    """The daemon's, over all its threads; `wakeups` are voluntary context switches.

    `status` is where it writes its status: a user's is elsewhere.

    `ended` are the page faults of children that have ended: 0 says that there was none, proc(5).
    """
    pid = json.loads(host.read(status))["pid"]
    proc = f"/proc/{pid}"
    told = host.shell(
        f"cat {proc}/stat; cat {proc}/task/*/status | grep ^voluntary; grep VmRSS {proc}/status; "
        f"grep ^Pss: {proc}/smaps_rollup; cat {proc}/task/*/children | wc -w"
    ).stdout.splitlines()
    times = told[0].rpartition(")")[2].split()
    numbers = [int(re.findall(r"\d+", line)[0]) for line in told[1:]]
    *wakeups, rss, pss, children = numbers
    cpu = (int(times[11]) + int(times[12])) / _TICKS
    return Usage(cpu, sum(wakeups), rss, pss, children, int(times[8]))


def idle(host: Host, seconds: float, status: str = STATUS) -> dict[str, float]:
    """The running daemon on a quiet host, observed for so long; `status` is where it writes."""
    before = usage(host, status)
    time.sleep(seconds)  # the length of the observation
    after = usage(host, status)
    return {
        "seconds": seconds,
        "cpu_ms": round((after.cpu_s - before.cpu_s) * 1000),
        "wakeups": after.wakeups - before.wakeups,
        "rss_mib": round(after.rss_kib / 1024, 1),
        "pss_mib": round(after.pss_kib / 1024, 1),
        "children": after.children,
        "ended": after.ended - before.ended,
    }


_TOP = Path(__file__).resolve().parents[2]
_NETWORKS = 4

_LOOKS = """
import asyncio, json, statistics, sys, time
from pathlib import Path
from podwatch.adapters.paths import Paths
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host
from podwatch.daemon.inside import YOUNG_S
from podwatch.decide.judge import judge

async def fresh():
    host = Host(Config(), None, None, Paths(netavark_state=Path(sys.argv[1])))
    await host.nft.list_chains()  # the library is loaded once for many looks
    return host

async def look(host):
    began = time.process_time()
    snapshot = await host.looker.look()
    verdict = judge(snapshot)
    ways = host.ways.of(snapshot, verdict)
    assert ways
    return verdict, (time.process_time() - began) * 1000

async def main():
    times, again = [], []
    for _ in range(7):
        verdict, took = await look(await fresh())
        times.append(took)
    host = await fresh()
    await look(host)
    await asyncio.sleep(YOUNG_S)  # the containers have been there for as long as they have
    for _ in range(7):
        verdict, took = await look(host)
        again.append(took)
    assert not verdict.missing and not verdict.unknown, verdict
    print(json.dumps({"first_ms": round(statistics.median(times), 1),
                      "again_ms": round(statistics.median(again[1:]), 1),
                      "rules": verdict.expected_rules}))

asyncio.run(main())
"""


def look(rootfs: Path, containers: int) -> dict[str, float]:
    """CPU milliseconds of one look at so many containers, its judgement, and every way.

    Their state files and rules are made by the real netavark on a stage of its own. `first_ms` is
    the first look after the start, `again_ms` one after that.
    """
    nets = [Net(f"net{n}", (f"10.{100 + n}.0.0/16",)) for n in range(_NETWORKS)]
    with Stage(rootfs) as stage:
        for n in range(containers):
            place = 10 + n // _NETWORKS
            box = Box(f"c{n}", (nets[n % _NETWORKS],), (Port(10000 + n, 80),), place)
            stage.netavark("setup", box.document(), dns_port=53)
        done = subprocess.run(
            [*stage.enter_network, "/usr/bin/python3", "-c", _LOOKS, str(stage.state_directory)],
            cwd=_TOP,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found
