# SPDX-License-Identifier: Apache-2.0
"""The service of root's Podman, put together."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from podwatch.adapters.aardvark import Aardvark
from podwatch.adapters.bus_service import BusService
from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.paths import Paths
from podwatch.adapters.polkit import Polkit
from podwatch.adapters.rights import is_root, user
from podwatch.adapters.root_units import RootUnits
from podwatch.adapters.systemd import Systemd
from podwatch.daemon.api import Api
from podwatch.daemon.audience import Audience
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp import DhcpLoop
from podwatch.daemon.guard import Guard
from podwatch.daemon.hints import Hints, Watcher
from podwatch.daemon.host import Host
from podwatch.daemon.loop import Loop
from podwatch.daemon.names_watch import NamesWatch
from podwatch.daemon.pause import PauseWatch, why_blocked
from podwatch.daemon.served import Served
from podwatch.daemon.service import KernelWatchers, Service, own_name, published
from podwatch.daemon.who_runs import WhoRuns


def on_host(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> Service:
    """The service of this host, put together: what each part needs is there when it is made."""
    hints, dhcp_woken = Hints(own_name()), asyncio.Event()

    def pause_changed() -> None:
        hints.look_now("a pause began or ended")
        dhcp_woken.set()
        guard.wake()

    kernel = KernelWatchers.ringing(hints)
    conf = None if is_root() else paths.firewalld_conf
    firewalld = FirewalldWatch(hints.on_firewalld, conf=conf)
    pause = PauseWatch(paths.pause, pause_changed)
    watchers: dict[str, Watcher] = {
        "nftables": kernel.nftables,
        "links": kernel.links,
        "firewalld": firewalld,
        "sysctls": kernel.sysctls,
        "runtimes": DirectoryWatch(
            paths.runtimes, hints.on_runtime, lacking="containers are noticed late"
        ),
        "names": NamesWatch(Aardvark(paths.aardvark), hints.on_names),
        "pause": pause,
    }
    systemd = Systemd() if Systemd.is_there() else None
    by_root = None if systemd is None or is_root() else RootUnits(systemd)

    host = Host(
        config,
        firewalld,
        systemd,
        paths,
        links=kernel.links,
        sources=by_root,
        changes=lambda: kernel.transactions(hints),
        heard_late=hints.on_late_answer,
    )

    def described() -> Mapping[str, str]:
        found = {name: watcher.describe() for name, watcher in watchers.items()}
        return {**found, "systemd": "running the host" if systemd else "not running the host"}

    audience = Audience(lambda: served.changed(), lambda *signal: served.emit(*signal))
    publisher, page = published(
        paths,
        described,
        kernel.nftables,
        lambda: loop.config.metrics.textfile,
        dry_run=dry_run,
        listener=audience,
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
        by_root or systemd,
        host.restorer,
        config,
        publisher,
        woken=dhcp_woken,
        pause=pause.now,
        dry_run=dry_run,
    )
    watches = "Podman's network rules"
    if not is_root():
        watches += f", as {user()} with CAP_NET_ADMIN"
    polkit = Polkit()
    api = Api(loop, publisher, audience, paths, polkit.permit)
    served = BusService(api.answer, api.properties, publisher.complain)
    watchers["api"] = face = Served(served, polkit.close, publisher.complain)
    return Service(
        *(host, hints, watchers, loop, guard, dhcp, publisher, page, files, watches), tend=face.tend
    )
