# SPDX-License-Identifier: Apache-2.0
"""The service: watchers, loop, heartbeat and signals in one TaskGroup, from start to SIGTERM."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from podwatch import __version__
from podwatch.adapters.files import read_proc, write_whole
from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.http import Page
from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.lock import hold
from podwatch.adapters.netlink import NftablesWatch
from podwatch.adapters.paths import Paths
from podwatch.adapters.process import Processes
from podwatch.adapters.sysctl import SysctlWatch
from podwatch.adapters.systemd import Systemd, notify
from podwatch.daemon.config import Config, load
from podwatch.daemon.dhcp import DhcpLoop
from podwatch.daemon.heartbeat import beat, first_error, lasting
from podwatch.daemon.hints import Hints
from podwatch.daemon.host import Host
from podwatch.daemon.loop import Loop
from podwatch.daemon.pause import PauseWatch
from podwatch.daemon.settings import loopback
from podwatch.drivers import nftables
from podwatch.report import logging
from podwatch.report.events import Event
from podwatch.report.history import History
from podwatch.report.metrics import CONTENT_TYPE, exposition
from podwatch.report.publish import HEARTBEAT_S, Publisher
from podwatch.words.errors import ConfigError, PodwatchError

_READY_S = 10.0
"""So long a start waits for the first status: where podman has to be asked, it takes its time."""


async def serve(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> None:
    """Watch and restore until SIGTERM or SIGINT.

    `files` are the configuration's, read again at SIGHUP. Raises PodwatchError when podwatch
    cannot begin: another one runs, or the kernel refuses to tell of changes.
    """
    paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
    with hold(paths.run_lock):
        await _Service(config, files, paths, dry_run=dry_run).run()


class _Service:
    def __init__(self, config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> None:
        self.files = files
        self.hints = hints = Hints(read_proc("/proc/self/comm").decode().strip())
        self.firewalld = FirewalldWatch(hints.on_firewalld)
        self.netlink = NftablesWatch(
            hints.on_change,
            hints.on_overrun,
            identify=Processes().identify,
            table=nftables.TABLE,
        )
        systemd = Systemd() if Systemd.is_there() else None
        self.host = Host(
            config,
            self.firewalld,
            systemd,
            paths,
            changes=self._changes,
            heard_late=hints.on_late_answer,
        )
        self.publisher = Publisher(
            paths.status,
            self._watchers,
            _status,
            dry_run=dry_run,
            history=History(paths.history),
        )
        self.pause = PauseWatch(paths.pause, self._on_pause)
        self.loop = Loop(
            self.host, hints, config, self.publisher, pause=self.pause.now, dry_run=dry_run
        )
        self.dhcp = DhcpLoop.on_host(
            self.host.restorer.installed,
            systemd,
            self.host.restorer,
            config,
            self.publisher,
            pause=self.pause.now,
            dry_run=dry_run,
        )
        self.sysctls = SysctlWatch(hints.on_sysctl)
        self.runtimes = DirectoryWatch(paths.runtimes, hints.on_runtime)
        self.page = Page("/metrics", CONTENT_TYPE, self._metrics)
        self.publisher.exporter = self._write_metrics
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Watch and restore until told to stop; SIGTERM and SIGINT do."""
        self.netlink.open()
        loop = asyncio.get_running_loop()
        self.netlink.attach(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_config)
        try:
            self.sysctls.attach(loop)
        except OSError as exc:  # the slow look sees them all the same
            self.publisher.complain(PodwatchError(f"cannot listen to sysctls: {exc.strerror}"))
        try:
            self.runtimes.attach(loop)
        except OSError as exc:
            self.publisher.complain(PodwatchError(f"containers are noticed late: {exc.strerror}"))
        try:
            self.pause.attach(loop)
        except PodwatchError as exc:
            self.publisher.complain(exc)
        await self._serve_metrics()
        self.host.remember()
        if self.host.copy.complaint:
            logging.log(Event.COMPLAINT, self.host.copy.complaint)
        logging.log(Event.STARTED, f"podwatch {__version__} watches Podman's network rules")
        try:
            async with asyncio.TaskGroup() as group:
                watchers = {
                    "nftables": self.netlink.run(),
                    "firewalld": self.firewalld.run(),
                    "loop": self.loop.run(),
                    "dhcp": self.dhcp.run(),
                }
                tasks = [
                    group.create_task(lasting(name, watcher), name=name)
                    for name, watcher in watchers.items()
                ]
                heartbeat = beat(tuple(tasks), self.loop.is_alive, self._show, HEARTBEAT_S)
                tasks.append(group.create_task(heartbeat, name="heartbeat"))
                tasks.append(group.create_task(self._ready(), name="ready"))
                await self.stopping.wait()
                notify(stopping=1)
                self.loop.stop()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as exc:
            raise first_error(exc) from exc
        finally:
            self.netlink.close()
            self.sysctls.close()
            self.runtimes.close()
            self.pause.close()
            self.page.close()
            self.host.close()
        logging.log(Event.STOPPED, "podwatch stopped: lost rules are not put back any more")

    async def _ready(self) -> None:
        """Let whoever starts podwatch go on: the status they read then is this process's own."""
        try:
            async with asyncio.timeout(_READY_S):
                await self.publisher.told.wait()
        except TimeoutError:
            pass
        notify(ready=1)

    def _show(self) -> None:
        notify(watchdog=1)
        self.publisher.beat()
        # Of some settings and routes nobody tells; to read them while awake costs next to nothing.
        if self.host.looker.is_outdated():
            self.hints.on_surroundings()
        for each in self.host.installed.lock.strange():
            self.publisher.complain(each)
        if (
            self.host.installed.lock.held() is not None
        ):  # nothing tells of that, nor do podmans that wait for it
            self.hints.look_now("podman's network lock is held")

    def _metrics(self) -> str:
        return exposition(
            self.publisher.document,
            self.publisher.tally,
            now=time.time(),
            overruns=self.netlink.overruns,
        )

    def _write_metrics(self) -> None:
        if path := self.loop.config.metrics.textfile:
            write_whole(Path(path), self._metrics())

    async def _serve_metrics(self) -> None:
        if self.loop.config.metrics.listen:
            try:
                await self.page.listen(*loopback(self.loop.config.metrics.listen))
            except PodwatchError as exc:
                self.publisher.complain(exc)

    def _watchers(self) -> Mapping[str, str]:
        return {
            "nftables": "listening"
            if not self.netlink.overruns
            else f"listening, {self.netlink.overruns} times too slow for the kernel",
            "firewalld": self.firewalld.describe(),
            "systemd": "running the host" if self.host.systemd else "not running the host",
        }

    def _on_pause(self) -> None:
        self.hints.look_now("a pause began or ended")
        self.dhcp.woken.set()

    def _changes(self) -> int:
        self.netlink.drain()
        return self.hints.transactions

    def _reload_config(self) -> None:
        try:
            self.loop.configure(load(self.files))
        except ConfigError as exc:
            logging.log(Event.CONFIG_REFUSED, f"keeping the configuration: {exc}")
            self.publisher.refuse(str(exc))
            return
        self.publisher.refuse("")
        self.dhcp.configure(self.loop.config)
        logging.configure(self.loop.config.log.level)
        logging.log(Event.CONFIG_RELOADED, "the configuration was read again")
        self.hints.look_now("the configuration changed")


def _status(text: str) -> None:
    notify(status=text)


async def look_once(config: Config, paths: Paths) -> Host:
    """A host for one look by hand, with podman's names if podman answers; close it when done."""
    systemd = Systemd() if Systemd.is_there() and os.geteuid() == 0 else None
    host = Host(config, FirewalldWatch(), systemd, paths)
    host.remember()
    await host.looker.look()
    if host.looker.wants_census:
        try:
            await host.restorer.refresh_census()
            if host.looker.census.doubtful:  # the daemon asks again later
                await host.restorer.refresh_census()
        except PodwatchError:
            pass  # names are a courtesy: ids do as well
    return host
