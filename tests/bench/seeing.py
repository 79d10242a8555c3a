# SPDX-License-Identifier: Apache-2.0
"""How long a person waits for an answer on a host that has had many incidents."""

import json

from tests.lab.host import Host

INCIDENTS = 10_000

MANY_INCIDENTS = """
from podwatch.adapters.paths import Paths
from podwatch.report.history import History
from podwatch.report.incident import Incident
from podwatch.words.cause import Process, Writer, by_writer
nft = by_writer(Writer("nft", 7, Process("nft", 7, "nft -f /etc/site.nft")))
for number in range({count}):
    each = Incident(1e9 + 60 * number, nft)
    each.missing = [f"web-{{number}}: 8080/tcp → 10.88.0.3:80 has no DNAT rule"]
    each.rules = each.containers = 1
    each.tried, each.methods = ["1 chain put right from the verified copy in 4 ms"], ["replay"]
    History(Paths().history).note(each)
    each.end(each.began + 0.012, 0.012)
    History(Paths().history).note(each)
"""
"""A program that writes so many incidents, as the daemon does: at the beginning and at the end."""

COMMANDS = ("status", "status --json", "history", "history --json")

_WAIT = """
import json, shlex, statistics, subprocess, sys, time
found = {}
for command in sys.argv[1:]:
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run(["podwatch", *shlex.split(command)], stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - began) * 1000)
    found[command] = round(statistics.median(times))
print(json.dumps(found))
"""


def answers(host: Host) -> dict[str, int]:
    """Milliseconds until each command has answered, medians of seven, after INCIDENTS incidents.

    podwatch runs on the host.
    """
    host.run(["python3", "-c", MANY_INCIDENTS.format(count=INCIDENTS)], timeout=60)
    told = host.run(["python3", "-c", _WAIT, *COMMANDS], timeout=120).stdout
    found: dict[str, int] = json.loads(told)
    return found
