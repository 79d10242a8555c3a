# SPDX-License-Identifier: Apache-2.0
"""The service of a user's own Podman, put together."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from podwatch.adapters.aardvark import Aardvark
from podwatch.adapters.host_of_user import HostWatch
from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.paths import Paths
from podwatch.adapters.relay_start import RelayStart
from podwatch.daemon.config import Config, without_the_hosts
from podwatch.daemon.hints import Hints, Watcher
from podwatch.daemon.host import Host
from podwatch.daemon.loop import Loop
from podwatch.daemon.names_watch import NamesWatch
from podwatch.daemon.netns import NetnsWatch
from podwatch.daemon.pause import PauseWatch
from podwatch.daemon.relays import RelaysWatch
from podwatch.daemon.service import KernelWatchers, Service, own_name, published
from podwatch.words.errors import PodwatchError

_WITHOUT = "not running this user's units: what is started ends with this login"


def of_user(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> Service:
    """The service of a user's own Podman: no rights are asked, and nothing of the host's changed.

    What is in the namespace of the user's bridges is heard of while it is there. There is no guard,
    as what comes in from outside does not pass its rules, and no DHCP.
    """
    settle = partial(without_the_hosts, own=Path(*paths.configuration[-1:]).parent)
    hints, config = Hints(own_name()), settle(config)
    kernel = KernelWatchers.ringing(hints)
    inner: dict[str, Watcher] = {
        "nftables": kernel.nftables,
        "links": kernel.links,
        "sysctls": kernel.sysctls,
    }

    def complain(exc: PodwatchError) -> None:
        publisher.complain(exc)

    if paths.rootless is None:
        raise PodwatchError("this is root's host: it has no namespace of a user's")
    netns = NetnsWatch(paths.rootless, inner, hints.on_netns, complain)
    has_systemd = RelayStart(paths.rootless).has_systemd
    pause = PauseWatch(paths.pause, lambda: hints.look_now("a pause began or ended"))
    watchers: dict[str, Watcher] = {
        "netns": netns,
        "runtimes": DirectoryWatch(
            paths.runtimes, hints.on_runtime, lacking="containers are noticed late"
        ),
        "names": NamesWatch(Aardvark(paths.aardvark), hints.on_names),
        "pause": pause,
        "host": HostWatch(hints.on_route),
    }

    host = Host(
        config,
        None,
        None,
        paths,
        links=kernel.links,
        changes=lambda: kernel.transactions(hints),
        netns=netns,
    )
    if host.relays is not None:
        watchers["relays"] = RelaysWatch(host.relays, hints.on_relay)

    def described() -> Mapping[str, str]:
        found = {name: watcher.describe() for name, watcher in watchers.items()}
        return {**found, "systemd": "running this user's units" if has_systemd else _WITHOUT}

    publisher, page = published(
        paths,
        described,
        kernel.nftables,
        lambda: loop.config.metrics.textfile,
        dry_run=dry_run,
    )
    loop = Loop(host, hints, config, publisher, pause=pause.now, dry_run=dry_run)
    watches = "the network of this user's containers"
    return Service(
        host,
        hints,
        watchers,
        loop,
        None,
        None,
        publisher,
        page,
        files,
        watches=watches,
        settle=settle,
    )
