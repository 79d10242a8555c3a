# SPDX-License-Identifier: Apache-2.0
"""What the guard costs: a new connection, a change of one port, memory. See rates.py."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.guard_report import ANCHOR, FULL, OFF
from tests.integration.differential.configurations import Box, Net, Port
from tests.integration.differential.stage import Stage

PORTS = (10, 100, 1000)
_TOP = Path(__file__).resolve().parents[2]
_FIRST = 10_000
_LIMIT_S = 1800.0
"""At 1000 ports it is half a minute of processor time, which others may want, too."""


def cost(rootfs: Path, ports: int) -> dict[str, Any]:
    """What is measured beside the rules that the suite's netavark makes for so many ports."""
    net = Net("podman", ("10.88.0.0/16",), bridge="podman0")
    box = Box("box", (net,), tuple(Port(_FIRST + n, 80, "udp") for n in range(ports)))
    with Stage(rootfs) as stage:
        stage.netavark("setup", box.document(), dns_port=53)
        # Without an answer the cost is that of one packet.
        quiet = ["sysctl", "-qw", "net.ipv4.icmp_ratelimit=100000"]
        stage.run("ip", "netns", "exec", box.name, *quiet)
        done = subprocess.run(
            [
                *stage.enter_network,
                *("/usr/bin/python3", "-m", "tests.bench.rates", str(stage.state_directory)),
            ],
            cwd=_TOP,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_LIMIT_S,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(suite: str, found: Mapping[str, Any]) -> list[str]:
    """The rows of the table for one number of ports, one for each port that is asked."""
    rows = []
    for name in ("first", "last", "closed"):
        costs = [found["us"][mode][name] for mode in (OFF, ANCHOR, FULL)]
        ratios = [f"{each:.2f} ({each / costs[0]:.2f}×)" for each in costs[1:]]
        rate = " / ".join(f"{1e6 / each:,.0f}" for each in costs)
        rows.append(
            f"| {suite} | {found['ports']} | {name} | {costs[0]:.2f} | {' | '.join(ratios)} "
            f"| {rate} |"
        )
    return rows


HEAD = (
    "| suite | ports | port asked | off, µs | anchor, µs | full, µs | new connections a second |\n"
    "|---|---:|---|---:|---:|---:|---:|"
)


def updates(suite: str, found: Mapping[str, Any]) -> str:
    """A sentence about changes and memory."""
    each = found["update"]
    whole, out, back = (
        f"{each[f'{name}_written_ms']} + {each[f'{name}_ms']} ms"
        for name in ("whole", "one_out", "one_in")
    )
    return (
        f"{suite}, {found['ports']} ports, writing the script + committing it: the whole guard "
        f"{whole}; one port out {out}, in {back}. A guard of that size takes "
        f"{found['memory_kib']} KiB of memory.\n"
    )
