# SPDX-License-Identifier: Apache-2.0
"""What the adapters say on a real host, as JSON: run there by test_on_a_host.py, one word each."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from podwatch.adapters import journal
from podwatch.adapters.paths import Paths
from podwatch.adapters.podman import Podman, reload_unit
from podwatch.adapters.podman_lock import NetworkLock
from podwatch.adapters.statedir import StateDirectory
from podwatch.adapters.systemd import Systemd

LOCK = NetworkLock(Paths().locks)
_JOBS = "/run/jobs"
"""A line for each unit ok@N.service that has begun, or ended."""


async def jobs() -> object:
    """Units that work, fail, do not exist and hang; twice over one connection.

    The second of the answers is how many of the first were running at a time.
    """
    systemd = Systemd()
    first = await systemd.run_units(
        [*(f"ok@{number}.service" for number in range(6)), "bad.service"], at_once=2, timeout_s=10
    )
    begun_or_ended = [1 if word == "begun" else -1 for word in Path(_JOBS).read_text().split()]
    for _ in range(5):
        again = await systemd.run_units(
            ["missing.service", "ok@1.service", "bad.service"], at_once=2, timeout_s=10
        )
    hung = await systemd.run_units(["long.service"], at_once=2, timeout_s=0.5)
    names = ["dbus.service", "missing.service", "long.service"]
    return [
        first,
        max(itertools.accumulate(begun_or_ended)),
        again,
        hung,
        await systemd.active_states(names),
    ]


async def cancelled() -> object:
    """What a unit does when a cancelled wait for it has ended; states are told meanwhile."""
    systemd = Systemd()
    waiting = asyncio.ensure_future(systemd.run_units(["long.service"], at_once=1, timeout_s=60))
    async with asyncio.timeout(10):
        while (await systemd.active_states(["long.service"]))["long.service"] != "activating":
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    state = (await systemd.active_states(["long.service"]))["long.service"]
    systemd.close()
    return state


async def lasting() -> object:
    """Descriptors and threads before and after a hundred rounds."""
    systemd = Systemd()
    counts = []
    for number in range(101):
        await systemd.run_units(["bad.service"], at_once=1, timeout_s=10)
        await systemd.active_states(["dbus.service", "bad.service"])
        if number in (0, 100):
            counts.append((len(os.listdir("/proc/self/fd")), threading.active_count()))
    return counts


async def lock() -> object:
    """For each podman command: how often its lock was seen held, and whether it is free after."""
    found = {}
    for argv in (["network", "reload", "w1"], ["stop", "-t", "0", "w1"], ["start", "w1"]):
        process = subprocess.Popen(
            ["podman", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        held = 0
        while process.poll() is None:
            held += bool(LOCK.holder())
            time.sleep(0.001)
        found[" ".join(argv)] = [held, process.returncode, LOCK.holder()]
    return found


async def sandboxed() -> object:
    """Whether podman's lock was seen held within a while, by a process in podwatch's sandbox."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if LOCK.holder():
            return True
        await asyncio.sleep(0.001)
    return False


async def containers() -> object:
    """Names by both ways of asking podman, reloads by both ways, and the state directory."""
    systemd = Systemd()
    by_unit = await Podman(Paths(), systemd).list_containers()
    by_child = await Podman(Paths(), None).list_containers()
    units = [reload_unit(name) for name in by_unit]
    setup = StateDirectory(Paths().netavark_state).read()
    return {
        "same": by_unit == by_child,
        "names": sorted(container.name for container in by_unit.values()),
        "units": sorted((await systemd.run_units(units, at_once=2, timeout_s=60)).values()),
        "failed": await Podman(Paths(), None).reload([*by_unit, "a" * 64], at_once=2, timeout_s=60),
        "driver": setup.driver,
        "endpoints": sorted(endpoint.container_id for endpoint in setup.endpoints)
        == sorted(by_unit)
        if setup.endpoints
        else None,
        "bad": len(setup.bad_files),
    }


async def entry() -> object:
    """One journal entry of several lines."""
    return journal.send({"MESSAGE": "two\nlines", "PRIORITY": 4, "PODWATCH_TEST": "yes"})


def main() -> None:
    """Run what the first argument names and print what it found."""
    found = asyncio.run(globals()[sys.argv[1]]())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
