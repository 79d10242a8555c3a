# SPDX-License-Identifier: Apache-2.0
"""The service: watchers, loops, heartbeat and signals in one TaskGroup, from start to SIGTERM."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podwatch import __version__
from podwatch.adapters.aardvark import Aardvark
from podwatch.adapters.files import read_proc, write_whole
from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.http import Page
from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.links_watch import LinkWatch
from podwatch.adapters.lock import hold
from podwatch.adapters.netlink import NftablesWatch
from podwatch.adapters.paths import Paths
from podwatch.adapters.process import Processes
from podwatch.adapters.sysctl import SysctlWatch
from podwatch.adapters.systemd import Systemd, notify
from podwatch.daemon.config import Config, load
from podwatch.daemon.dhcp import DhcpLoop
from podwatch.daemon.guard import Guard
from podwatch.daemon.heartbeat import beat, first_error, lasting
from podwatch.daemon.hints import Hints, Watcher
from podwatch.daemon.host import Host
from podwatch.daemon.loop import Loop
from podwatch.daemon.names_watch import NamesWatch
from podwatch.daemon.netns import NetnsWatch
from podwatch.daemon.pause import PauseWatch, why_blocked
from podwatch.daemon.relays import RelaysWatch
from podwatch.daemon.settings import loopback
from podwatch.daemon.who_runs import WhoRuns
from podwatch.drivers import nftables
from podwatch.report import logging
from podwatch.report.events import Event
from podwatch.report.history import History
from podwatch.report.metrics import CONTENT_TYPE, exposition
from podwatch.report.publish import Publisher
from podwatch.report.status_file import HEARTBEAT_S
from podwatch.words.errors import ConfigError, PodwatchError

_READY_S = 10.0
"""So long a start waits for the first status: where podman has to be asked, it takes its time."""

_VITAL = frozenset({"nftables"})
"""Watchers without which podwatch would be deaf: it does not begin without them."""


async def serve(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> None:
    """Watch and restore until SIGTERM or SIGINT.

    `files` are the configuration's, read again at SIGHUP. Raises PodwatchError when podwatch
    cannot begin: another one runs, or the kernel refuses to tell of changes.
    """
    paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
    made = on_host if paths.rootless is None else of_user
    with hold(paths.run_lock):
        await made(config, files, paths, dry_run=dry_run).run()


def on_host(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> "Service":
    """The service of this host, put together: what each part needs is there when it is made."""
    hints, dhcp_woken = Hints(read_proc("/proc/self/comm").decode().strip()), asyncio.Event()

    def pause_changed() -> None:
        hints.look_now("a pause began or ended")
        dhcp_woken.set()
        guard.wake()

    netlink = NftablesWatch(
        hints.on_change,
        hints.on_overrun,
        identify=Processes().identify,
        table=nftables.TABLE,
    )
    links = LinkWatch(hints.on_link, hints.on_links_overrun, hints.on_route, Processes().asker)
    firewalld = FirewalldWatch(hints.on_firewalld)
    pause = PauseWatch(paths.pause, pause_changed)
    watchers: dict[str, Watcher] = {
        "nftables": netlink,
        "links": links,
        "firewalld": firewalld,
        "sysctls": SysctlWatch(hints.on_sysctl),
        "runtimes": DirectoryWatch(
            paths.runtimes, hints.on_runtime, lacking="containers are noticed late"
        ),
        "names": NamesWatch(Aardvark(paths.aardvark), hints.on_names),
        "pause": pause,
    }
    systemd = Systemd() if Systemd.is_there() else None

    def transactions() -> int:
        netlink.drain()
        return hints.transactions

    host = Host(
        config,
        firewalld,
        systemd,
        paths,
        links=links,
        changes=transactions,
        heard_late=hints.on_late_answer,
    )

    def described() -> Mapping[str, str]:
        found = {name: watcher.describe() for name, watcher in watchers.items()}
        return {**found, "systemd": "running the host" if systemd else "not running the host"}

    def metrics() -> str:
        return exposition(
            publisher.document, publisher.tally, now=time.time(), overruns=netlink.overruns
        )

    def export() -> None:
        if path := loop.config.metrics.textfile:
            write_whole(Path(path), metrics())

    publisher = Publisher(
        paths.status,
        described,
        _status,
        exporter=export,
        dry_run=dry_run,
        history=History(paths.history),
    )

    def against_a_guard() -> str:
        enabled = loop.config.restore.enabled
        return why_blocked(pause.now(), enabled=enabled, dry_run=dry_run)

    guard = Guard(
        paths,
        config.restore.guard,
        against_a_guard,
        publisher.took_guard,
        publisher.complain,
        who_runs=WhoRuns(paths, ended=host.containers.ended),
    )
    watchers["guard"] = guard.watch
    loop = Loop(host, hints, config, publisher, guard=guard, pause=pause.now, dry_run=dry_run)
    dhcp = DhcpLoop.on_host(
        host.installed,
        systemd,
        host.restorer,
        config,
        publisher,
        woken=dhcp_woken,
        pause=pause.now,
        dry_run=dry_run,
    )
    page = Page("/metrics", CONTENT_TYPE, metrics)
    return Service(host, hints, watchers, loop, guard, dhcp, publisher, page, files)


def of_user(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> "Service":
    """The service of a user's own Podman: no rights are asked, and nothing of the host's changed.

    What is in the namespace of the user's bridges is heard of while it is there. There is no guard,
    as what comes in from outside does not pass its rules, and no DHCP.
    """
    hints = Hints(read_proc("/proc/self/comm").decode().strip())
    netlink = NftablesWatch(
        hints.on_change,
        hints.on_overrun,
        identify=Processes().identify,
        table=nftables.TABLE,
    )
    links = LinkWatch(hints.on_link, hints.on_links_overrun, hints.on_route, Processes().asker)
    inner: dict[str, Watcher] = {
        "nftables": netlink,
        "links": links,
        "sysctls": SysctlWatch(hints.on_sysctl),
    }

    def complain(exc: PodwatchError) -> None:
        publisher.complain(exc)

    if paths.rootless is None:
        raise PodwatchError("this is root's host: it has no namespace of a user's")
    netns = NetnsWatch(paths.rootless, inner, hints.on_netns, complain)
    pause = PauseWatch(paths.pause, lambda: hints.look_now("a pause began or ended"))
    watchers: dict[str, Watcher] = {
        "netns": netns,
        "runtimes": DirectoryWatch(
            paths.runtimes, hints.on_runtime, lacking="containers are noticed late"
        ),
        "names": NamesWatch(Aardvark(paths.aardvark), hints.on_names),
        "pause": pause,
    }

    def transactions() -> int:
        netlink.drain()
        return hints.transactions

    host = Host(config, None, None, paths, links=links, changes=transactions, netns=netns)
    if host.relays is not None:
        watchers["relays"] = RelaysWatch(host.relays, hints.on_relay)

    def described() -> Mapping[str, str]:
        return {name: watcher.describe() for name, watcher in watchers.items()}

    def metrics() -> str:
        return exposition(
            publisher.document, publisher.tally, now=time.time(), overruns=netlink.overruns
        )

    def export() -> None:
        if path := loop.config.metrics.textfile:
            write_whole(Path(path), metrics())

    publisher = Publisher(
        paths.status,
        described,
        _status,
        exporter=export,
        dry_run=dry_run,
        history=History(paths.history),
    )
    loop = Loop(host, hints, config, publisher, pause=pause.now, dry_run=dry_run)
    page = Page("/metrics", CONTENT_TYPE, metrics)
    return Service(host, hints, watchers, loop, None, None, publisher, page, files)


@dataclass
class Service:
    """Everything that runs until podwatch is told to stop.

    `watchers` are attached in their order. `files` are the configuration's. `notify` tells the
    service manager.
    """

    host: Host
    hints: Hints
    watchers: Mapping[str, Watcher]
    loop: Loop
    guard: Guard | None
    dhcp: DhcpLoop | None
    publisher: Publisher
    page: Page
    files: list[Path]
    notify: Callable[..., None] = notify
    heartbeat_s: float = HEARTBEAT_S
    stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> None:
        """Watch and restore until told to stop; SIGTERM and SIGINT do."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_config)
        try:
            lasts = self._attach(loop)
            self.host.containers.listen(loop, self._ended)
            await self._serve_metrics()
            self.host.remember()
            if self.host.copy.complaint:
                logging.log(Event.COMPLAINT, self.host.copy.complaint)
            logging.log(Event.STARTED, f"podwatch {__version__} watches Podman's network rules")
            lasts["loop"] = self.loop.run()
            if self.dhcp is not None:
                lasts["dhcp"] = self.dhcp.run()
            if self.guard is not None:
                lasts["guard"] = self.guard.run()
            await self._last(lasts)
        except BaseExceptionGroup as exc:
            raise first_error(exc) from exc
        finally:
            for watcher in self.watchers.values():
                watcher.close()
            self.page.close()
            self.host.close()
        logging.log(Event.STOPPED, "podwatch stopped: lost rules are not put back any more")

    def _ended(self) -> None:
        """The process of a container has ended: its ports must lead nowhere."""
        if self.guard is not None:
            self.guard.wake()

    def _attach(self, loop: asyncio.AbstractEventLoop) -> dict[str, Awaitable[None]]:
        """Have each watcher listen: what ends when one of them hears no more, by its name.

        podwatch goes on without one that cannot: the slow look sees what it would have told of.
        """
        ends: dict[str, Awaitable[None]] = {}
        for name, watcher in self.watchers.items():
            try:
                ended = watcher.attach(loop)
            except PodwatchError as exc:
                if name in _VITAL:
                    raise
                self.publisher.complain(exc)
                continue
            if ended is not None:
                ends[name] = ended
        return ends

    async def _last(self, lasts: Mapping[str, Awaitable[None]]) -> None:
        """Wait until told to stop, while everything that has no end goes on."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(lasting(name, what), name=name) for name, what in lasts.items()
            ]
            heartbeat = beat(tuple(tasks), self.loop.is_alive, self._show, self.heartbeat_s)
            tasks.append(group.create_task(heartbeat, name="heartbeat"))
            tasks.append(group.create_task(self._ready(), name="ready"))
            await self.stopping.wait()
            self.notify(stopping=1)
            for task in tasks:
                task.cancel()

    async def _ready(self) -> None:
        """Let whoever starts podwatch go on: the status they read then is this process's own."""
        try:
            async with asyncio.timeout(_READY_S):
                await self.publisher.reported.wait()
        except TimeoutError:
            pass
        self.notify(ready=1)

    def _show(self) -> None:
        self.notify(watchdog=1)
        self.publisher.beat()
        # Of some settings and routes nobody tells; to read them while awake costs next to nothing.
        if self.host.looker.is_outdated():
            self.hints.on_surroundings()
        if self.host.permanent.is_outdated():
            self.hints.look_now("a network was made or removed")
        lock = self.host.installed.lock
        for complaint in lock.strange():
            self.publisher.complain(complaint)
        if lock.held() is not None:  # nothing tells of that, nor do podmans that wait for it
            self.hints.look_now("podman's network lock is held")

    async def _serve_metrics(self) -> None:
        if self.loop.config.metrics.listen:
            try:
                await self.page.listen(*loopback(self.loop.config.metrics.listen))
            except PodwatchError as exc:
                self.publisher.complain(exc)

    def _reload_config(self) -> None:
        try:
            self.loop.configure(load(self.files))
        except ConfigError as exc:
            logging.log(Event.CONFIG_REFUSED, f"keeping the configuration: {exc}")
            self.publisher.refuse(str(exc))
            if self.guard is not None:
                self.guard.refuse()
            return
        self.publisher.refuse("")
        if self.guard is not None:
            self.guard.configure(self.loop.config.restore.guard)
        if self.dhcp is not None:
            self.dhcp.configure(self.loop.config)
        logging.configure(self.loop.config.log.level)
        logging.log(Event.CONFIG_RELOADED, "the configuration was read again")
        self.hints.look_now("the configuration changed")


def _status(text: str) -> None:
    notify(status=text)


async def look_once(config: Config, paths: Paths) -> Host:
    """A host for one look by hand, with podman's names if podman answers; close it when done."""
    if paths.rootless is not None:
        netns = NetnsWatch(paths.rootless, {}, lambda _: None, lambda _: None)
        host = Host(config, None, None, paths, netns=netns)
    else:
        systemd = Systemd() if Systemd.is_there() and os.geteuid() == 0 else None
        host = Host(config, FirewalldWatch(), systemd, paths)
    host.remember()
    await host.looker.look()
    await host.looker.names.listen(host.looker.setup)
    if config.firewalld.reload_note and host.firewalld is not None:
        await host.permanent.read(host.looker.setup)
    if host.containers.is_due:
        try:
            await host.containers.ask()
            if host.containers.census.doubtful:  # the daemon asks again later
                await host.containers.ask()
        except PodwatchError:
            pass  # names are a courtesy: ids do as well
    return host
