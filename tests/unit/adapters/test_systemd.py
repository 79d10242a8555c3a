# SPDX-License-Identifier: Apache-2.0
"""systemd's jobs over a bus of the test's own, and sd_notify(3) to a socket of the test's own."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.sd_notify import notify
from podwatch.adapters.systemd import Systemd
from podwatch.words.errors import BusUnavailable, RestoreFailed
from tests.unit.adapters.system_bus import MANAGER, ROOT, FakeSystemd, Reply

ENDS = f"type='signal',sender='org.freedesktop.systemd1',interface='{MANAGER}',member='JobRemoved'"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clients look for the bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
    return tmp_path / "bus"


def use(path: Path, fake: FakeSystemd, body: Callable[[Systemd], Awaitable[None]]) -> None:
    """Run `body` with the adapter, on this systemd."""

    async def run() -> None:
        systemd = Systemd()
        async with fake.bus.at(path):
            try:
                await body(systemd)
            finally:
                systemd.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_units_are_run_and_how_each_ended_is_said(path: Path) -> None:
    """In systemd's words; a unit that it would not start has its sentence."""
    fake = FakeSystemd(quick="failed", unwilling={"no.service": "Unit no.service not found."})

    async def body(systemd: Systemd) -> None:
        names = ["a.service", "no.service", "b.service"]
        assert await systemd.run_units(names, at_once=2, timeout_s=10) == {
            "a.service": "failed",
            "no.service": "systemd would not start it: Unit no.service not found.",
            "b.service": "failed",
        }

    use(path, fake, body)
    assert "StartUnit a.service replace" in fake.asked


def test_no_more_run_at_once_than_may(path: Path) -> None:
    """The third is started when one of the first two has ended, and not before."""
    fake = FakeSystemd(quick="")

    async def body(systemd: Systemd) -> None:
        names = ["a.service", "b.service", "c.service"]
        running = asyncio.create_task(systemd.run_units(names, at_once=2, timeout_s=10))
        await fake.until(lambda: len(fake.jobs) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert list(fake.jobs.values()) == names[:2]
        assert "Get State" not in fake.asked  # nothing was heard, and it is not polled
        fake.end("b.service", "done")
        await fake.until(lambda: "c.service" in fake.jobs.values())
        fake.end("a.service", "done")
        fake.end("c.service", "canceled")
        ended = {"a.service": "done", "b.service": "done", "c.service": "canceled"}
        assert await running == ended

    use(path, fake, body)


def test_who_asks_for_a_unit_that_runs_wants_a_run_of_its_own(path: Path) -> None:
    """The second run begins when the first is over."""
    fake = FakeSystemd(quick="")

    async def body(systemd: Systemd) -> None:
        both = [
            asyncio.create_task(systemd.run_units(["a.service"], at_once=1, timeout_s=10))
            for _ in range(2)
        ]
        for number in (1, 2):
            await fake.until(lambda: bool(fake.jobs))
            assert fake.asked.count("StartUnit a.service replace") == number
            fake.end("a.service", "done")
        assert await asyncio.gather(*both) == [{"a.service": "done"}] * 2

    use(path, fake, body)


def test_a_signal_is_no_more_than_a_hint(path: Path) -> None:
    """A job that systemd still knows has not ended, whoever says so; others' jobs do not count."""
    fake = FakeSystemd(quick="")

    async def body(systemd: Systemd) -> None:
        running = asyncio.create_task(systemd.run_units(["a.service"], at_once=1, timeout_s=10))
        await fake.until(lambda: bool(fake.jobs))
        (job,) = fake.jobs
        said: Reply = ("uoss", [7, job, "b.service", "failed"])
        fake.bus.signal(ROOT, MANAGER, "JobRemoved", said)
        fake.bus.signal(ROOT, MANAGER, "JobNew", ("uos", [7, job, "a.service"]))
        fake.bus.signal(ROOT, MANAGER, "JobRemoved", ("s", ["a.service"]))
        early: Reply = ("uoss", [7, job, "a.service", "failed"])
        fake.bus.signal(ROOT, MANAGER, "JobRemoved", early)
        await fake.until(lambda: "Get State" in fake.asked)
        assert not running.done()
        fake.end("a.service", "done")
        assert await running == {"a.service": "done"}

    use(path, fake, body)


def test_a_job_that_ends_unheard_is_asked_for(path: Path) -> None:
    """A signal may be lost: systemd is asked now and then."""
    fake = FakeSystemd(quick="")

    async def body(systemd: Systemd) -> None:
        running = asyncio.create_task(systemd.run_units(["a.service"], at_once=1, timeout_s=60))
        await fake.until(lambda: bool(fake.jobs))
        fake.end("a.service", "done", says=False)
        assert await running == {"a.service": "ended, and nobody heard how"}

    use(path, fake, body)


def test_a_job_has_its_time(path: Path) -> None:
    """What does not end in time is a timeout; the others go on."""
    fake = FakeSystemd(quick="")

    async def body(systemd: Systemd) -> None:
        names = ["a.service", "b.service"]
        assert await systemd.run_units(names, at_once=1, timeout_s=0.05) == {
            "a.service": "timeout",
            "b.service": "timeout",
        }

    use(path, fake, body)


def test_it_hears_of_jobs_only_while_it_waits_for_one(path: Path) -> None:
    """On some hosts jobs end all the time; that others have subscribed as well is no fault."""
    fake = FakeSystemd(subscribed=True)

    async def body(systemd: Systemd) -> None:
        for _ in range(2):
            await systemd.run_units(["a.service"], at_once=1, timeout_s=10)

    use(path, fake, body)
    listening = [asked for asked in fake.asked if asked.endswith(f"Match {ENDS}")]
    assert listening == [f"AddMatch {ENDS}", f"RemoveMatch {ENDS}"] * 2


def test_a_refusal_to_tell_of_jobs_is_an_error(path: Path) -> None:
    """No unit is started then; the next time it is asked for again."""
    fake = FakeSystemd(unwilling={"Subscribe": "you may not"})

    async def body(systemd: Systemd) -> None:
        for _ in range(2):
            with pytest.raises(BusUnavailable, match="you may not"):
                await systemd.run_units(["a.service"], at_once=1, timeout_s=10)

    use(path, fake, body)
    assert not [asked for asked in fake.asked if asked.startswith("StartUnit")]


def test_a_bus_that_goes_ends_the_waiting(path: Path) -> None:
    """Nothing is known of a job any more; the next run has a connection of its own."""
    fake = FakeSystemd(quick="")

    async def body(systemd: Systemd) -> None:
        running = asyncio.create_task(systemd.run_units(["a.service"], at_once=1, timeout_s=10))
        await fake.until(lambda: bool(fake.jobs))
        await asyncio.sleep(0.05)  # for the answer to be taken
        fake.bus.away = True
        fake.bus.drop()
        with pytest.raises(BusUnavailable):
            await running
        fake.bus.away = False
        fake.jobs.clear()
        fake.quick = "done"
        again = await systemd.run_units(["a.service"], at_once=1, timeout_s=10)
        assert again == {"a.service": "done"}

    use(path, fake, body)


def test_a_unit_is_enabled_for_good(path: Path) -> None:
    """Not only until the next boot, and nobody else's link is overwritten."""
    fake = FakeSystemd()

    async def body(systemd: Systemd) -> None:
        await systemd.enable("x.socket")

    use(path, fake, body)
    assert "EnableUnitFiles ['x.socket'] False False" in fake.asked


@pytest.mark.parametrize(("restart", "member"), [(True, "RestartUnit"), (False, "StartUnit")])
def test_failures_before_a_start_are_forgotten(path: Path, *, restart: bool, member: str) -> None:
    """A start limit stands in nobody's way; a unit that is not loaded has not failed."""
    fake = FakeSystemd()

    async def body(systemd: Systemd) -> None:
        await systemd.start("x.socket", also_reset=("x.service",), restart=restart)

    use(path, fake, body)
    asked = [asked for asked in fake.asked if asked.split()[0] in (member, "ResetFailedUnit")]
    assert asked == [
        "ResetFailedUnit x.socket",
        "ResetFailedUnit x.service",
        f"{member} x.socket replace",
    ]


@pytest.mark.parametrize(("restart", "what"), [(True, "restart"), (False, "start")])
def test_a_start_that_fails_says_how(path: Path, *, restart: bool, what: str) -> None:
    """With systemd's word, and where to read more."""
    fake = FakeSystemd(quick="dependency")

    async def body(systemd: Systemd) -> None:
        with pytest.raises(RestoreFailed) as failed:
            await systemd.start("x.socket", restart=restart)
        assert str(failed.value) == f"systemd could not {what} x.socket: dependency"
        assert failed.value.hint == "systemctl status x.socket"

    use(path, fake, body)


def test_states_of_several_units_are_asked_at_once(path: Path) -> None:
    """A unit that does not exist has none; an answer about fewer units is no answer."""
    fake = FakeSystemd({"a.service": {"LoadState": "loaded", "ActiveState": "failed"}})

    async def body(systemd: Systemd) -> None:
        states = await systemd.active_states(["a.service", "b.service"])
        assert states == {"a.service": "failed", "b.service": ""}

    use(path, fake, body)

    class Forgetful(FakeSystemd):
        def answer(self, asked: Any) -> Reply:
            if asked.member == "ListUnitsByNames":
                return "a(ssssssouso)", [[]]
            return super().answer(asked)

    async def fails(systemd: Systemd) -> None:
        with pytest.raises(BusUnavailable, match="0 of 1 units are listed"):
            await systemd.active_states(["a.service"])

    use(path, Forgetful(), fails)


def test_whether_systemd_runs_the_host_is_told_by_its_directory() -> None:
    """sd_booted(3): not by whether a program of that name is installed."""
    assert Systemd.is_there() is Path("/run/systemd/system").is_dir()


def test_states_arrive_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ready, status and keep-alives arrive, the later ones as well: the environment is kept."""
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(5)
        notify(ready=1, status="ok, 8 containers → 57 rules")
        first = manager.recv(4096).decode().split("\n")
        notify(watchdog=1)
        second = manager.recv(4096).decode()
        notify(stopping=1)
        third = manager.recv(4096).decode()

    assert {"READY=1", "STATUS=ok, 8 containers → 57 rules"} <= set(first)
    assert second.strip() == "WATCHDOG=1"
    assert third.strip() == "STOPPING=1"


def test_nothing_happens_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no service manager asked to be told, telling it is no error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    notify(ready=1)
