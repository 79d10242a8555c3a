# SPDX-License-Identifier: Apache-2.0
"""Serving a host, or looking at it once: root's or a user's, as its paths say."""

import os
from pathlib import Path

from podwatch.adapters.lock import hold
from podwatch.adapters.paths import Paths
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host
from podwatch.daemon.service import Service
from podwatch.words.errors import PodwatchError


async def serve(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> None:
    """Watch and restore until SIGTERM or SIGINT.

    `files` are the configuration's, read again at SIGHUP. Raises PodwatchError when podwatch
    cannot begin: another one runs, or the kernel refuses to tell of changes.
    """
    paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
    with hold(paths.run_lock):
        await _service(config, files, paths, dry_run=dry_run).run()


def _service(config: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> Service:
    """The service; neither root's nor a user's loads what only the other has."""
    if paths.rootless is None:
        from podwatch.daemon.host_service import on_host

        return on_host(config, files, paths, dry_run=dry_run)
    from podwatch.daemon.user_service import of_user

    return of_user(config, files, paths, dry_run=dry_run)


async def look_once(config: Config, paths: Paths) -> Host:
    """A host for one look by hand, with podman's names if podman answers; close it when done."""
    if paths.rootless is not None:
        from podwatch.daemon.netns import NetnsWatch

        netns = NetnsWatch(paths.rootless, {}, lambda _: None, lambda _: None)
        host = Host(config, None, None, paths, netns=netns)
    else:
        from podwatch.adapters.firewalld import FirewalldWatch
        from podwatch.adapters.systemd import Systemd

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
