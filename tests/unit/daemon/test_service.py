# SPDX-License-Identifier: Apache-2.0
"""The service: it starts with what can listen, takes a new configuration, and ends with SIGTERM."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from podwatch.adapters.paths import Paths
from podwatch.adapters.systemd import Systemd
from podwatch.daemon import host_service
from podwatch.daemon import service as service_module
from podwatch.daemon.config import Config
from podwatch.daemon.hints import Hints
from podwatch.daemon.pause import Pause, begin
from podwatch.daemon.service import Service
from podwatch.daemon.settings import Metrics
from podwatch.words.cause import NO_CAUSE
from podwatch.words.errors import PodwatchError, RulesUnreadable

SOON_S = 10.0


class FakeWatcher:
    """A watcher that listens, or cannot; `ended` is what it says when it hears no more."""

    def __init__(self, name: str, done: list[str], *, deaf: bool = False) -> None:
        self.name, self.done, self.deaf = name, done, deaf
        self.ended: asyncio.Future[None] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None] | None":
        """Listen, unless it is deaf."""
        if self.deaf:
            raise RulesUnreadable(f"cannot listen to {self.name}")
        self.done.append(f"attach {self.name}")
        if self.name != "sysctls":
            self.ended = loop.create_future()
        return self.ended

    def close(self) -> None:
        """Stop listening."""
        self.done.append(f"close {self.name}")

    def describe(self) -> str:
        """How it is."""
        return "listening"


class FakeLoop:
    """A loop, the main one or DHCP's, that looks for ever and knows its configuration."""

    def __init__(self, config: Config) -> None:
        self.config, self.alive = config, True

    async def run(self) -> None:
        """Look for ever."""
        await asyncio.Event().wait()

    def configure(self, config: Config) -> None:
        """Take over a configuration."""
        self.config = config

    def is_alive(self) -> bool:
        """Whether it looks."""
        return self.alive


class FakeGuard:
    """A guard that is told of the configuration, in words."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    async def run(self) -> None:
        """Keep the table for ever."""
        await asyncio.Event().wait()

    def configure(self, mode: str) -> None:
        """Take over a mode."""
        self.done.append(f"guard {mode}")

    def wake(self) -> None:
        """Look at who runs."""

    def refuse(self) -> None:
        """Go without one."""
        self.done.append("no guard")


class FakeWorld:
    """Everything a service is handed; `done` is what was done to it, in order."""

    def __init__(self, tmp_path: Path, *deaf: str, listen: str = "") -> None:
        self.done: list[str] = []
        self.file = tmp_path / "podwatch.conf"
        names = ("nftables", "firewalld", "sysctls")
        self.watchers = {n: FakeWatcher(n, self.done, deaf=n in deaf) for n in names}
        config = Config(metrics=Metrics(listen=listen))
        self.loop, self.dhcp, self.hints = FakeLoop(config), FakeLoop(config), Hints()
        self.reported, self.beaten = asyncio.Event(), asyncio.Event()
        self.reported.set()
        self.refused: list[str] = []
        self.networks_changed = False
        self.outdated, self.held, self.strange = False, False, [PodwatchError("a strange lock")]
        lock = SimpleNamespace(
            strange=lambda: self.strange, held=lambda: "held" if self.held else None
        )
        host: Any = SimpleNamespace(
            remember=lambda: self.done.append("remember"),
            copy=SimpleNamespace(complaint="the copy is damaged"),
            close=lambda: self.done.append("close host"),
            looker=SimpleNamespace(is_outdated=lambda: self.outdated),
            permanent=SimpleNamespace(is_outdated=lambda: self.networks_changed),
            installed=SimpleNamespace(lock=lock),
            containers=SimpleNamespace(listen=lambda *_: None),
        )
        publisher: Any = SimpleNamespace(
            reported=self.reported,
            beat=self.beaten.set,
            complain=lambda exc: self.done.append(f"complain {exc}"),
            refuse=self.refused.append,
        )
        page: Any = SimpleNamespace(
            listen=self.listen, close=lambda: self.done.append("close page")
        )
        loop: Any = self.loop
        dhcp: Any = self.dhcp
        guard: Any = FakeGuard(self.done)
        self.service = Service(
            host,
            self.hints,
            self.watchers,
            loop,
            guard,
            dhcp,
            publisher,
            page,
            [self.file],
            notify=lambda **what: self.done.extend(
                f"notify {name}={said}" for name, said in what.items()
            ),
            heartbeat_s=0.001,
        )

    async def listen(self, address: str, port: int) -> None:
        """Serve the page of metrics, or find its port taken."""
        self.done.append(f"listen {address} {port}")
        raise PodwatchError("the port is taken")

    def serve(self, *during: Callable[[], Awaitable[None]]) -> None:
        """Run the service; when it has started do this, and stop it by SIGTERM."""

        async def body() -> None:
            running = asyncio.ensure_future(self.service.run())
            await self.until(lambda: "notify ready=1" in self.done or running.done())
            for act in during:
                await act()
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(running, SOON_S)

        asyncio.run(body())

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until this is so."""
        async with asyncio.timeout(SOON_S):
            while not is_so():
                await asyncio.sleep(0)

    async def beats(self) -> None:
        """Wait for a heartbeat that begins from now on."""
        self.beaten.clear()
        await asyncio.wait_for(self.beaten.wait(), SOON_S)
        await asyncio.sleep(0)

    async def hangup(self) -> None:
        """Have the configuration read again."""
        before = len(self.refused)
        os.kill(os.getpid(), signal.SIGHUP)
        await self.until(lambda: len(self.refused) > before)


def events(logs: Any) -> list[str]:
    """What was logged, without the ends of sentences."""
    return [entry["event"] for entry in logs]


def test_it_starts_in_order_and_stops_at_sigterm(tmp_path: Path) -> None:
    """Listening comes first, being ready after the first status; in the end all is let go."""
    world = FakeWorld(tmp_path)
    with capture_logs() as logs:
        world.serve()

    begun = [what for what in world.done if not what.startswith(("complain", "notify watchdog=1"))]
    assert begun == [
        *("attach nftables", "attach firewalld", "attach sysctls", "remember", "notify ready=1"),
        *("notify stopping=1", "close nftables", "close firewalld", "close sysctls"),
        *("close page", "close host"),
    ]
    assert events(logs)[0] == "the copy is damaged"
    assert events(logs)[-1] == "podwatch stopped: lost rules are not put back any more"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_stops_it(tmp_path: Path, number: int) -> None:
    """SIGINT is Ctrl-C in a terminal, SIGTERM is systemd's."""
    world = FakeWorld(tmp_path)

    async def stop() -> None:
        os.kill(os.getpid(), number)
        await world.until(lambda: "notify stopping=1" in world.done)

    world.serve(stop)
    assert world.done[-1] == "close host"


def test_one_that_cannot_listen_does_not_keep_the_others(tmp_path: Path) -> None:
    """It is reported, and those after it are attached; the metrics' port may be taken, too."""
    world = FakeWorld(tmp_path, "firewalld", listen="127.0.0.1:9100")
    world.serve()

    assert world.done[:6] == [
        "attach nftables",
        "complain cannot listen to firewalld",
        "attach sysctls",
        "listen 127.0.0.1 9100",
        "complain the port is taken",
        "remember",
    ]


def test_it_does_not_begin_without_the_kernel_s_word(tmp_path: Path) -> None:
    """Deaf to nftables it would be worse than none; what was opened is closed."""
    world = FakeWorld(tmp_path, "nftables")
    with pytest.raises(RulesUnreadable, match="cannot listen to nftables"):
        world.serve()
    assert world.done[0] == "close nftables"
    assert world.done[-1] == "close host"


def test_a_watcher_that_hears_no_more_ends_it(tmp_path: Path) -> None:
    """With that watcher's own error, for systemd to start podwatch anew."""
    world = FakeWorld(tmp_path)

    async def fail() -> None:
        ended = world.watchers["nftables"].ended
        assert ended is not None
        ended.set_exception(RulesUnreadable("the socket is gone"))
        await world.until(lambda: "close host" in world.done)

    with pytest.raises(RulesUnreadable, match="the socket is gone"):
        world.serve(fail)


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Whatever a test does to logging is undone."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("own_logging")
def test_a_good_configuration_is_taken_over_at_sighup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By both loops, which look; an earlier refusal is over."""
    world = FakeWorld(tmp_path)
    world.file.write_text("look.interval = 77\nlog.level = 'info'\n")
    world.serve(world.hangup)

    assert world.loop.config.look.interval == 77
    assert world.dhcp.config == world.loop.config
    assert world.refused == [""]
    assert world.hints.wants_look
    assert "guard anchor" in world.done
    assert "the configuration was read again" in capsys.readouterr().err


def test_a_bad_configuration_is_refused_at_sighup(tmp_path: Path) -> None:
    """The one before stays, and the reason is told."""
    world = FakeWorld(tmp_path)
    world.file.write_text("look.interval = 'never'\n")
    before = world.loop.config
    with capture_logs() as logs:
        world.serve(world.hangup)

    assert world.loop.config is world.dhcp.config is before
    (why,) = world.refused
    assert "interval" in why
    assert not world.hints.wants_look
    assert "no guard" in world.done
    assert f"keeping the configuration: {why}" in events(logs)


def test_a_heartbeat_looks_after_what_nothing_tells_of(tmp_path: Path) -> None:
    """Settings, routes and networks that changed, podman's lock held, a lock of an odd kind."""
    world = FakeWorld(tmp_path)

    async def body() -> None:
        await world.beats()
        assert "notify watchdog=1" in world.done
        assert "complain a strange lock" in world.done
        assert not world.hints.wants_look
        world.outdated = True
        await world.beats()
        assert world.hints.take().changed_at is not None
        world.outdated, world.held = False, True
        await world.beats()
        world.hints.begin_look()
        world.hints.take()
        await world.beats()
        looks = [world.hints.wants_look, world.hints.take().changed_at is not None]
        assert looks == [True, False]
        world.held, world.networks_changed = False, True
        world.hints.begin_look()
        await world.beats()
        assert world.hints.wants_look

    world.serve(body)


def test_a_start_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first look takes its time, whoever starts podwatch goes on without its status."""
    monkeypatch.setattr(service_module, "_READY_S", 0.01)
    world = FakeWorld(tmp_path)
    world.reported.clear()
    world.serve()
    assert "notify ready=1" in world.done


def test_it_is_put_together_for_a_host(tmp_path: Path) -> None:
    """A pause rings both loops; the status names every watcher, and the metrics are written."""
    paths = Paths(run=tmp_path / "run", state=tmp_path / "state", runtimes=(tmp_path,))
    paths.run.mkdir()
    textfile = tmp_path / "podwatch.prom"
    config = Config(metrics=Metrics(textfile=str(textfile)))

    async def body() -> None:
        made = host_service.on_host(config, [], paths, dry_run=True)
        pause = made.watchers["pause"]
        try:
            pause.attach(asyncio.get_running_loop())
            made.hints.cause = NO_CAUSE
            assert made.dhcp is not None
            made.dhcp.woken.clear()
            begin(paths.pause, Pause(1.0, 2.0))
            await asyncio.wait_for(made.dhcp.woken.wait(), SOON_S)
            assert made.hints.wants_look
            assert made.hints.cause.short == "a pause began or ended"
            made.publisher.beat()
        finally:
            pause.close()
            made.host.close()

    asyncio.run(body())
    status = json.loads(paths.status.read_text())
    assert status["dry_run"]
    assert status["watchers"] == {
        "nftables": "not listening",
        "links": "not listening",
        "firewalld": "not connected yet",
        "sysctls": "not listening",
        "runtimes": "not listening",
        "names": "not listening",
        "pause": "listening",
        "guard": "not listening",
        "api": "not serving org.podwatch1: not connected yet",
        "systemd": "running the host" if Systemd.is_there() else "not running the host",
    }
    assert "podwatch_build_info" in textfile.read_text()
