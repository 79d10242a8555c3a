# SPDX-License-Identifier: Apache-2.0
"""systemd's units, read and heard of over a bus of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podwatch.adapters.units import UnitWatch
from podwatch.words.dhcp import Unit
from podwatch.words.errors import BusUnavailable
from tests.unit.adapters.system_bus import OWNER, ROOT, FakeSystemd

SOCKET = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "Result": "success",
    "UnitFileState": "enabled",
}
SERVICE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "Result": "success",
    "MainPID": 7,
    "ExecMainStartTimestamp": 8_500_000,
}
CHANGED = ("sa{sv}as", ["org.freedesktop.systemd1.Unit", {}, []])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clients look for the bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
    return tmp_path / "bus"


def use(
    path: Path,
    systemd: FakeSystemd,
    body: Callable[[UnitWatch, list[int]], Awaitable[None]],
    *names: str,
) -> None:
    """Run `body` with a watch on this systemd, and a list that grows with each change heard."""

    async def run() -> None:
        changes: list[int] = []

        def changed() -> None:
            changes.append(len(changes))
            systemd.heard.set()

        units = UnitWatch(names, changed)
        async with systemd.bus.at(path):
            try:
                await body(units, changes)
            finally:
                units.bus.close()

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize(
    ("name", "properties", "unit"),
    [
        ("x.socket", SOCKET, Unit("loaded", "active", "enabled", "success")),
        ("x.socket", {}, Unit()),
        ("x.service", SERVICE, Unit("loaded", "active", "", "success", 7, 8.5)),
        ("x.service", SERVICE | {"MainPID": 0}, Unit("loaded", "active", "", "success")),
    ],
    ids=["a socket", "none", "a service without a file", "a service without a process"],
)
def test_a_unit_is_read(path: Path, name: str, properties: dict[str, object], unit: Unit) -> None:
    """As systemd has it now; the start of a process that is gone does not count."""
    systemd = FakeSystemd({name.replace(".", "_"): properties} if properties else {})

    async def body(units: UnitWatch, _changes: list[int]) -> None:
        assert await units.read(name) == unit

    use(path, systemd, body)


def test_systemd_is_subscribed_to_once_a_connection(path: Path) -> None:
    """It sends signals only to who asks; it forgets that with the connection."""
    systemd = FakeSystemd({"x_socket": SOCKET})

    async def body(units: UnitWatch, _changes: list[int]) -> None:
        listening = units.attach(asyncio.get_running_loop())
        for times in (1, 2):
            await systemd.until(lambda: units.bus.connected)
            for _ in range(2):
                await units.read("x.socket")
            assert systemd.asked.count("Subscribe") == times
            systemd.subscribed = times == 1  # then somebody else has done so: as good
            systemd.bus.drop()
            await systemd.until(lambda: not units.bus.connected)
        units.close()
        await asyncio.gather(listening, return_exceptions=True)

    use(path, systemd, body)


def test_a_refusal_to_send_signals_is_an_error(path: Path) -> None:
    """A watch that hears nothing would be worse than none."""
    systemd = FakeSystemd({"x_socket": SOCKET}, unwilling={"Subscribe": "you may not"})

    async def body(units: UnitWatch, _changes: list[int]) -> None:
        with pytest.raises(BusUnavailable, match="Subscribe: you may not"):
            await units.read("x.socket")

    use(path, systemd, body)


def test_a_file_state_that_is_no_answer_is_an_error(path: Path) -> None:
    """Only systemd's own error means that there is no file; a lost bus means nothing."""
    systemd = FakeSystemd({"x_socket": SOCKET})

    async def body(units: UnitWatch, _changes: list[int]) -> None:
        systemd.bus.silent.add("GetUnitFileState")
        reading = asyncio.create_task(units.read("x.socket"))
        await systemd.until(lambda: "Get Result" in systemd.asked)
        for _ in range(10):
            await asyncio.sleep(0)
        systemd.bus.drop()
        with pytest.raises(BusUnavailable, match="the bus went away"):
            await reading

    use(path, systemd, body)


def test_what_may_have_changed_a_unit_is_heard(path: Path) -> None:
    """Signals of systemd's, and the bus that comes and goes; not what others say."""
    systemd = FakeSystemd({"x_socket": SOCKET})
    where = (f"{ROOT}/unit/x_2esocket", "org.freedesktop.DBus.Properties", "PropertiesChanged")

    async def body(units: UnitWatch, changes: list[int]) -> None:
        assert units.describe() == "not connected yet"
        listening = units.attach(asyncio.get_running_loop())
        await systemd.until(lambda: len(changes) == 1)
        assert units.describe() == "connected"
        systemd.bus.signal(*where, CHANGED, sender=":1.666")
        systemd.bus.signal(*where, CHANGED, sender=OWNER)
        await systemd.until(lambda: len(changes) == 2)
        systemd.bus.drop()
        await systemd.until(lambda: len(changes) == 3)
        assert units.describe() == "the system bus went away"
        await systemd.until(lambda: len(changes) == 4)
        units.close()
        await asyncio.gather(listening, return_exceptions=True)

    use(path, systemd, body, "x.socket")
    rules = [asked.partition(" ")[2] for asked in systemd.asked if asked.startswith("AddMatch")]
    sender = "type='signal',sender='org.freedesktop.systemd1'"
    manager = f"{sender},interface='org.freedesktop.systemd1.Manager'"
    assert set(rules[1:]) >= {
        f"{manager},member='UnitFilesChanged'",
        f"{manager},member='Reloading'",
        f"{sender},interface='org.freedesktop.DBus.Properties',path='{ROOT}/unit/x_2esocket'",
    }
