# SPDX-License-Identifier: Apache-2.0
"""The DHCP loop, driven on a fake host: what it does in which order, and what it waits for."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.paths import Paths
from podwatch.adapters.systemd import Systemd
from podwatch.adapters.units import UnitWatch
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp import DhcpLoop
from podwatch.daemon.heartbeat import first_error
from podwatch.daemon.installed import Installed
from podwatch.daemon.pause import Pause
from podwatch.daemon.settings import Dhcp, Look, Restore
from podwatch.words.dhcp import DhcpSnapshot
from podwatch.words.errors import PodwatchError, RestoreFailed, Unreadable
from tests.unit.daemon.dhcp_host import FORGOTTEN, NO_NETWORK, STOPPED, WEB, WELL, FakeHost

SOCKET = "netavark-dhcp-proxy.socket"
SERVICE = "netavark-dhcp-proxy.service"
START = f"start {SOCKET}, reset {SERVICE}"
QUICK = Config(dhcp=Dhcp(backoff=0.01, backoff_max=0.01))


@contextmanager
def logged() -> Iterator[list[str]]:
    """The sentences that are logged inside."""
    sentences: list[str] = []
    with capture_logs() as entries:
        yield sentences
    sentences += [entry["event"] for entry in entries]


def drive(loop: DhcpLoop, body: Callable[[], Awaitable[None]]) -> None:
    """Run the loop while `body` runs, and end it then."""

    async def run() -> None:
        task = asyncio.create_task(loop.run())
        try:
            await body()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task

    asyncio.run(run())


def test_a_stopped_socket_is_started_and_looked_at_again_at_once() -> None:
    """The unit is started once; the look after it finds it well, and that is logged once."""
    host = FakeHost(STOPPED)
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: host.done.count("look") == 2))

    assert [what for what in host.done if what != "listen"] == ["look", START, "look"]
    assert sentences == [f"{SOCKET} is inactive", f"{SOCKET} listens: podwatch has started it"]
    assert host.sections[0]["state"] == "lost"


def test_a_disabled_socket_is_enabled_and_not_restarted() -> None:
    """Enabling alone is done, and said so."""
    host = FakeHost(replace(WELL, socket=replace(WELL.socket, file="disabled")))
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: host.done.count("look") == 2))

    assert [what for what in host.done if what != "listen"] == ["look", f"enable {SOCKET}", "look"]
    assert sentences[-1] == f"{SOCKET} listens: podwatch has enabled it"


def test_a_disabled_socket_without_its_path_is_enabled_and_restarted() -> None:
    """Both are done in this order, and said in one sentence."""
    socket = replace(WELL.socket, file="disabled")
    host = FakeHost(replace(WELL, socket=socket, path_exists=False))
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: host.done.count("look") == 2))

    restart = f"restart {SOCKET}, reset {SERVICE}"
    done = [what for what in host.done if what != "listen"]
    assert done == ["look", f"enable {SOCKET}", restart, "look"]
    assert sentences[-1] == f"{SOCKET} listens: podwatch has enabled and restarted it"


def test_a_refusal_is_logged_and_tried_again_later() -> None:
    """What systemd would not do is logged with its hint; the next try waits for its time."""
    host = FakeHost(STOPPED, refuses=RestoreFailed("masked", hint="systemctl status"))
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: len(host.sections) == 2))

    assert "masked; systemctl status" in sentences
    assert host.done.count(START) == 1
    assert host.sections[1]["next_try"] == "tried 1 time lately: pausing"


def test_nobody_is_reloaded_on_old_news() -> None:
    """A lease that the proxy does not know is renewed only after podman was asked anew."""
    host = FakeHost(FORGOTTEN)
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: len(host.sections) == 3))

    done = [what for what in host.done if what != "listen"]
    assert done == ["look", "ask and look", "renew", "look"]
    said = r"web, network lan: the lease of 192\.0\.2\.7 renewed in (\d+ ms|\d\.\d s)"
    assert re.fullmatch(said, sentences[1])
    assert host.sections[-1]["state"] == "ok"


@pytest.mark.parametrize(("noted", "reported"), [("no lease", "no lease"), ("", "exit code 125")])
def test_a_failed_renewal_is_told_in_the_words_of_the_program(noted: str, reported: str) -> None:
    """The journal has more than systemd's word, if it has something."""
    host = FakeHost(FORGOTTEN, silent="exit code 125", noted=noted)
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: len(host.sections) == 3))

    assert f"web, network lan: its lease was not renewed: {reported}" in sentences
    assert host.done.count("read podwatch-reload@ID.service") == 1


def test_a_renewal_that_another_podwatch_forbids_is_told() -> None:
    """An error of the renewer ends this try alone; the journal is not asked about it."""
    host = FakeHost(FORGOTTEN, silent=PodwatchError("another podwatch repairs"))
    with logged() as sentences:
        drive(host.loop(), lambda: host.until(lambda: len(host.sections) == 3))

    assert "web, network lan: its lease was not renewed: another podwatch repairs" in sentences
    assert not [what for what in host.done if what.startswith("read")]


def test_a_silent_server_is_waited_out() -> None:
    """A failure for want of a lease makes the next try wait, and says so."""
    host = FakeHost(FORGOTTEN, silent="unable to obtain lease")
    drive(host.loop(), lambda: host.until(lambda: len(host.sections) == 3))

    assert host.done.count("renew") == 1
    assert host.sections[-1]["next_try"] == "the DHCP server did not answer: pausing"


def test_a_container_that_must_not_be_reloaded_waits() -> None:
    """Nothing is renewed and podman is not asked; the reason is shown, and it is looked again."""
    host = FakeHost(FORGOTTEN, unwilling="firewalld is in panic mode")
    drive(host.loop(QUICK), lambda: host.until(lambda: host.done.count("look") == 3))

    assert {"renew", "ask and look"}.isdisjoint(host.done)
    assert host.sections[0]["next_try"] == "firewalld is in panic mode"


@pytest.mark.parametrize("seen", [STOPPED, FORGOTTEN], ids=["stopped", "forgotten"])
@pytest.mark.parametrize("why", ["paused", "switched off", "dry run"])
def test_nothing_is_done_while_nothing_may_be(seen: DhcpSnapshot, why: str) -> None:
    """A pause, restore.enabled and a dry run each forbid every repair, and are shown."""
    host = FakeHost(seen)
    config = Config(restore=Restore(enabled=why != "switched off"))
    if why == "paused":
        host.pause = Pause(time.time(), time.time() + 3600, "new firewall")
    loop = host.loop(config, dry_run=why == "dry run")

    async def body() -> None:
        await host.until(lambda: len(host.sections) == 1)
        loop.woken.set()
        await host.until(lambda: len(host.sections) == 2)

    drive(loop, body)
    assert set(host.done) == {"listen", "look"}
    assert why in host.sections[0]["next_try"]


def test_what_waited_for_a_pause_is_done_at_its_end() -> None:
    """Nobody has to wake the loop for it: it knows when the pause ends."""
    host = FakeHost(STOPPED)
    host.pause = Pause(time.time(), time.time())

    async def body() -> None:
        await host.until(lambda: len(host.sections) == 1)
        host.pause = None
        await host.until(lambda: START in host.done)

    drive(host.loop(), body)


def test_a_rest_ends_with_a_hint() -> None:
    """Where all is well nothing is looked at until something happens."""
    host = FakeHost(WELL)
    loop = host.loop()

    async def body() -> None:
        await host.until(lambda: len(host.sections) == 1)
        for _ in range(10):
            await asyncio.sleep(0)
        assert host.done.count("look") == 1
        loop.woken.set()
        await host.until(lambda: len(host.sections) == 2)

    drive(loop, body)


def test_a_rest_ends_with_its_time() -> None:
    """The slow look comes by itself."""
    host = FakeHost(WELL)
    loop = host.loop(Config(look=Look(interval=0.01)))

    drive(loop, lambda: host.until(lambda: host.done.count("look") == 3))


def test_what_has_to_be_asked_again_is_asked_at_the_next_look() -> None:
    """A paused container whose lease is not known: podman is asked at each look."""
    host = FakeHost(replace(FORGOTTEN, holders=(replace(WEB, paused=True),)))
    loop = host.loop(Config(look=Look(interval=0.01)))
    drive(loop, lambda: host.until(lambda: host.done.count("ask and look") == 2))

    assert host.done[0] == "look"
    assert "renew" not in host.done


def test_systemd_is_listened_to_once_a_network_wants_dhcp() -> None:
    """Not before: on a host without such a network systemd has nothing to tell."""
    host = FakeHost(NO_NETWORK)
    loop = host.loop()

    async def body() -> None:
        await host.until(lambda: len(host.sections) == 1)
        assert host.done == ["look"]
        assert host.sections == [{"state": ""}]
        host.seen = WELL
        loop.woken.set()
        await host.until(lambda: len(host.sections) == 2)
        loop.woken.set()
        await host.until(lambda: len(host.sections) == 3)
        assert host.done.count("listen") == 1

    drive(loop, body)


def test_without_systemd_nobody_is_listened_to() -> None:
    """A host that systemd does not run is looked at all the same."""
    host = FakeHost(replace(WELL, problem="systemd does not run this host"))
    drive(host.loop(systemd=False), lambda: host.until(lambda: len(host.sections) == 1))

    assert host.done == ["look"]
    assert host.sections[0]["state"] == "unknown"


def test_a_dead_ear_ends_the_loop() -> None:
    """Where listening to systemd ends, so does the loop: podwatch is not deaf and well."""

    class Dying(FakeHost):
        def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
            listening = super().attach(loop)
            listening.set_result(None)
            return listening

    with pytest.raises(BaseExceptionGroup) as ended:
        asyncio.run(asyncio.wait_for(Dying(WELL).loop().run(), 10))
    assert str(first_error(ended.value)) == "units: nobody listens any more"


def test_unmanaged_dhcp_is_not_even_looked_at() -> None:
    """With dhcp.manage off there is no look and no section, until a configuration has it on."""
    host = FakeHost(STOPPED)
    loop = host.loop(Config(dhcp=Dhcp(manage=False)))

    async def body() -> None:
        await host.until(lambda: host.sections == [{}])
        assert host.done == []
        loop.configure(Config())
        await host.until(lambda: START in host.done)
        assert [what for what in host.done if what != "listen"][:2] == ["look", START]

    drive(loop, body)


def test_the_numbers_are_those_of_the_configuration() -> None:
    """A limit below the first pause is no limit: the pause is."""
    loop = FakeHost().loop(Config(dhcp=Dhcp(backoff=30.0, backoff_max=10.0), look=Look(interval=7)))
    loop.configure(loop.config)

    assert (loop.limits.backoff, loop.limits.backoff_max, loop.limits.slow) == (30.0, 30.0, 7)


def test_directories_are_followed_from_the_look_on(tmp_path: Path) -> None:
    """What the look names is listened to: a new file there is looked at."""
    host = FakeHost(NO_NETWORK, watch=(tmp_path,))
    loop = host.loop()

    async def body() -> None:
        await host.until(lambda: len(host.sections) == 2)  # the directory is news by itself
        (tmp_path / "lan.json").touch()
        await host.until(lambda: len(host.sections) == 3)

    drive(loop, body)


@pytest.mark.parametrize("systemd", [Systemd(), None])
def test_on_a_real_host_it_watches_systemds_units(tmp_path: Path, systemd: Systemd | None) -> None:
    """Its units are watched where it is there, and not before a network wants DHCP."""
    paths = Paths(run=tmp_path)
    host = FakeHost()
    loop = DhcpLoop.on_host(
        Installed.at(paths, systemd),
        systemd,
        host,
        Config(),
        host,
        woken=asyncio.Event(),
        pause=lambda: None,
        dry_run=True,
    )

    assert loop.dry_run
    assert loop.systemd is systemd
    described = loop.units.describe() if isinstance(loop.units, UnitWatch) else None
    assert described == (None if systemd is None else "not connected yet")


def test_without_inotify_it_goes_on_and_says_so() -> None:
    """Where the kernel grants no inotify instance, the loop looks all the same."""

    class Deaf(DirectoryWatch):
        def attach(self, loop: asyncio.AbstractEventLoop) -> None:
            raise Unreadable("networks with DHCP are not noticed: Too many open files")

    host = FakeHost(WELL)
    drive(host.loop(files=Deaf((), lambda: None)), lambda: host.until(lambda: bool(host.sections)))

    assert host.complaints == ["networks with DHCP are not noticed: Too many open files"]
