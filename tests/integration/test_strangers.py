# SPDX-License-Identifier: Apache-2.0
"""Strangers on a real bus of the test's own: what they say is not heard, and costs little."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podwatch.adapters.units import SYSTEMD, UnitWatch
from podwatch.words.firewalld_event import FirewalldEvent
from tests.integration.firewall_stage import SUITES, FirewallStage, on_stage
from tests.integration.namespace import in_private_network
from tests.integration.test_firewalld import SUBNET, listening
from tests.lab import stranger

pytestmark = pytest.mark.integration

SECONDS = 4.0
MAX_MORE_KB = 8 * 1024
ASKED = 30


def resident_kb(what: str) -> int:
    """This process's VmRSS or VmHWM."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0])


async def sends(what: str) -> None:
    """A stranger, in a process of its own, does something to this process's connections."""
    await asyncio.to_thread(subprocess.run, _stranger(what), check=True, timeout=50)


def _stranger(what: str, seconds: str = "0") -> list[str]:
    return [sys.executable, stranger.__file__, what, seconds, str(os.getpid())]


@pytest.mark.parametrize("suite", SUITES)
@in_private_network
def test_strangers_are_not_heard(suite: str) -> None:
    """Only firewalld says that it has reloaded, and only the bus that it has gone.

    Whatever is sent to the connection itself passes all match rules.
    """

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            await listener.watch.read()
            listener.events.clear()
            await sends("reloaded")
            await asyncio.to_thread(stage.firewall_cmd, "--zone=work", f"--add-source={SUBNET}")
            await listener.hear(FirewalldEvent.SOURCES)
            assert set(listener.events) == {FirewalldEvent.SOURCES}
            stage.stop_firewalld()
            await listener.hear(FirewalldEvent.STOPPED)
            stage.start_firewalld(wait=False)
            await listener.hear(FirewalldEvent.STARTED)
            await asyncio.to_thread(stage.firewall_cmd, "--reload")
            await listener.hear(FirewalldEvent.RELOADED)  # by the owner that came afterwards

    on_stage(body, suite)


@in_private_network
def test_who_owns_no_unit_is_not_heard() -> None:
    """Where nobody owns systemd's name, its signals are nobody's: a hint is not even given."""

    async def body(_: FirewallStage) -> None:
        hints: list[float] = []
        units = UnitWatch(["a.socket"], lambda: hints.append(time.monotonic()))
        task = units.attach(asyncio.get_running_loop())
        async with asyncio.timeout(20):
            while not hints:  # that the bus is there
                await asyncio.sleep(0.01)
        told = len(hints)
        await sends("reloaded")
        assert await units.bus.owner(SYSTEMD) == ""
        assert len(hints) == told
        units.close()
        await asyncio.gather(task, return_exceptions=True)

    on_stage(body, firewalld=False)


@in_private_network
def test_large_signals_take_no_memory() -> None:
    """Two signals of 31 MB leave no trace, and firewalld is heard and asked as before."""

    async def body(stage: FirewallStage) -> None:
        async with listening() as listener:
            await listener.watch.read()
            before = resident_kb("VmRSS")
            await sends("large")
            await asyncio.to_thread(stage.firewall_cmd, "--zone=work", f"--add-source={SUBNET}")
            await listener.hear(FirewalldEvent.SOURCES)
            assert resident_kb("VmHWM") - before < MAX_MORE_KB
            assert FirewalldEvent.BUS_LOST not in listener.events

    on_stage(body)


@in_private_network
def test_a_flood_leaves_the_loop_and_the_bus_usable() -> None:
    """Beside thousands of signals a second firewalld answers, the loop runs, memory stays."""

    async def body(_: FirewallStage) -> None:
        async with listening() as listener:
            watch = listener.watch
            await watch.read()
            calm = await _asked(watch.bus.owner)
            before = resident_kb("VmRSS")
            flood = subprocess.Popen(_stranger("small", "30"), stdout=subprocess.PIPE)
            try:
                assert flood.stdout is not None
                await asyncio.to_thread(flood.stdout.readline)  # it has begun
                listener.events.clear()
                beside = await _asked(watch.bus.owner)
                assert flood.poll() is None
            finally:
                flood.kill()
                flood.communicate()
            assert listener.events == []
            assert resident_kb("VmHWM") - before < MAX_MORE_KB
            # Both share a machine and a bus with whoever floods it; deaf is a hundred times more.
            assert beside < 30 * max(calm, 0.001)

    on_stage(body)


async def _asked(owner: "object") -> float:
    """The median of the seconds that a question to the bus takes."""
    assert callable(owner)
    took = []
    for _ in range(ASKED):
        began = time.monotonic()
        await owner("org.fedoraproject.FirewallD1")
        took.append(time.monotonic() - began)
    return statistics.median(took)
