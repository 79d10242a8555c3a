# SPDX-License-Identifier: Apache-2.0
"""The service: watchers, loops, heartbeat and signals in one TaskGroup, from start to SIGTERM."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from podwatch import __version__
from podwatch.adapters.files import read_proc, write_whole
from podwatch.adapters.http import Page
from podwatch.adapters.links_watch import LinkWatch
from podwatch.adapters.netlink import NftablesWatch
from podwatch.adapters.paths import Paths
from podwatch.adapters.process import Processes
from podwatch.adapters.sd_notify import notify
from podwatch.adapters.sysctl import SysctlWatch
from podwatch.daemon.config import Config, load
from podwatch.daemon.guard import Guard
from podwatch.daemon.heartbeat import beat, first_error, lasting
from podwatch.daemon.hints import Hints, Watcher
from podwatch.daemon.host import Host
from podwatch.daemon.loop import Loop
from podwatch.daemon.settings import loopback
from podwatch.drivers import nftables
from podwatch.report import logging
from podwatch.report.events import Event
from podwatch.report.history import History
from podwatch.report.listener import Listener
from podwatch.report.metrics import CONTENT_TYPE, exposition
from podwatch.report.publish import Publisher
from podwatch.report.status_file import HEARTBEAT_S
from podwatch.words.errors import ConfigError, PodwatchError

if TYPE_CHECKING:  # a user's podwatch does without, and without the bus
    from podwatch.daemon.dhcp import DhcpLoop

_READY_S = 10.0
"""So long a start waits for the first status: where podman has to be asked, it takes its time."""

_VITAL = frozenset({"nftables"})
"""Watchers without which podwatch would be deaf: it does not begin without them."""


@dataclass(frozen=True)
class KernelWatchers:
    """What the kernel tells of Podman's networks: transactions, links, settings."""

    nftables: NftablesWatch
    links: LinkWatch
    sysctls: SysctlWatch

    @classmethod
    def ringing(cls, hints: Hints) -> "KernelWatchers":
        """Those that give these hints."""
        nft = NftablesWatch(
            hints.on_change,
            hints.on_overrun,
            identify=Processes().identify,
            table=nftables.TABLE,
        )
        links = LinkWatch(hints.on_link, hints.on_links_overrun, hints.on_route, Processes().asker)
        return cls(nft, links, SysctlWatch(hints.on_sysctl))

    def transactions(self, hints: Hints) -> int:
        """How many there were by now, as far as anybody could have heard."""
        self.nftables.drain()
        return hints.transactions


def published(
    paths: Paths,
    described: Callable[[], Mapping[str, str]],
    netlink: NftablesWatch,
    textfile: Callable[[], str],
    *,
    dry_run: bool,
    listener: Listener | None = None,
) -> tuple[Publisher, Page]:
    """Who tells the world, and the page of metrics; `textfile` says where else those go, "" for
    nowhere. `described` tells of each watcher, in a word; `listener` is told of all of it.
    """

    def metrics() -> str:
        return exposition(
            publisher.document, publisher.tally, now=time.time(), overruns=netlink.overruns
        )

    def export() -> None:
        if path := textfile():
            write_whole(Path(path), metrics())

    publisher = Publisher(
        paths.status,
        described,
        _status,
        exporter=export,
        dry_run=dry_run,
        history=History(paths.history),
        listener=listener,
    )
    return publisher, Page("/metrics", CONTENT_TYPE, metrics)


def own_name() -> str:
    """What the kernel calls this process: what is committed under that name is podwatch's own."""
    return read_proc("/proc/self/comm").decode().strip()


@dataclass
class Service:
    """Everything that runs until podwatch is told to stop.

    `watches` says what it looks after, `settle` what of a configuration that was read is for it.
    `watchers` are attached in their order. `files` are the configuration's. `notify` tells the
    service manager. `tend` is called at each heartbeat.
    """

    host: Host
    hints: Hints
    watchers: Mapping[str, Watcher]
    loop: Loop
    guard: Guard | None
    dhcp: "DhcpLoop | None"
    publisher: Publisher
    page: Page
    files: list[Path]
    watches: str = "Podman's network rules"
    settle: Callable[[Config], Config] = lambda config: config
    notify: Callable[..., None] = notify
    tend: Callable[[], None] = lambda: None
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
            logging.log(Event.STARTED, f"podwatch {__version__} watches {self.watches}")
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
        self.tend()
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
            self.loop.configure(self.settle(load(self.files)))
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
