# SPDX-License-Identifier: Apache-2.0
"""The service of a user's own Podman, put together."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.adapters import user_namespaces
from podwatch.adapters.libnftables import NftProgram
from podwatch.adapters.paths import Paths
from podwatch.daemon.config import Config
from podwatch.daemon.netns import NetnsWatch
from podwatch.daemon.pause import Pause, begin
from podwatch.daemon.service import Service
from podwatch.daemon.settings import Metrics
from podwatch.daemon.user_service import of_user
from podwatch.report.status import ailing
from podwatch.words.cause import NO_CAUSE
from podwatch.words.errors import PodwatchError
from podwatch.words.netns import Netns
from tests.unit.daemon.user_host import NUMBER, User, one_user, paths_of

SOON_S = 10.0


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """One that has no container on a bridge, and no podman that could be asked."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with one_user(tmp_path, monkeypatch) as made:
        made.pid = 0
        yield made


def service(user: User) -> Service:
    """The service for this user, with metrics."""
    paths = paths_of(user.rootless.directory)
    paths.run.mkdir()
    paths = replace(paths, configuration=(paths.run / "podwatch.conf",))
    config = Config(
        metrics=Metrics(textfile=str(paths.run / "podwatch.prom"), listen="127.0.0.1:9"),
        origins={"metrics.textfile": str(paths.configuration[0]), "metrics.listen": "/etc/x"},
    )
    return of_user(config, [], paths, dry_run=True)


def test_what_is_there_for_a_user(user: User) -> None:
    """No firewalld, systemd, guard or DHCP; nftables by the program; relays are looked for."""
    made = service(user)
    try:
        assert (made.host.firewalld, made.host.systemd, made.guard, made.dhcp) == (None,) * 4
        assert isinstance(made.host.nft, NftProgram)
        assert made.host.relays is not None
        assert made.watches == "the network of this user's containers"
        assert made.loop.config.metrics.textfile  # the user's own, and not what root set for root's
        assert not made.loop.config.metrics.listen
    finally:
        made.host.close()


def test_the_status_names_every_watcher(user: User) -> None:
    """Those of what is inside are the namespace's; metrics are written."""
    made = service(user)
    try:
        made.publisher.beat()
    finally:
        made.host.close()
    run = user.rootless.directory / "podwatch"
    status = json.loads((run / "status.json").read_text())
    assert status["watchers"] == {
        "netns": "listening; no container is on a bridge",
        "runtimes": "not listening",
        "names": "not listening",
        "pause": "not listening",
        "host": "not listening",
        "relays": "not listening",
        "systemd": "not running this user's units: what is started ends with this login",
    }
    assert "podwatch_build_info" in (run / "podwatch.prom").read_text()


def test_while_all_listen_no_watcher_is_ill(user: User) -> None:
    """Without a container on a bridge, too; a pause has the loop look."""
    made = service(user)

    async def body() -> None:
        loop = asyncio.get_running_loop()
        try:
            for watcher in made.watchers.values():
                watcher.attach(loop)
            said = {name: watcher.describe() for name, watcher in made.watchers.items()}
            assert ailing(said) == {}
            made.hints.cause = NO_CAUSE
            begin(user.rootless.directory / "podwatch/pause/pause.json", Pause(1.0, 2.0))
            await asyncio.wait_for(made.hints.rung(SOON_S), SOON_S)
            assert made.hints.wants_look
            assert made.hints.cause.short == "a pause began or ended"
        finally:
            for watcher in made.watchers.values():
                watcher.close()
            made.host.close()

    asyncio.run(body())


def test_what_becomes_of_the_namespace_is_a_hint(user: User) -> None:
    """And what cannot be done about it is complained of in the status."""
    made = service(user)
    netns = made.watchers["netns"]
    assert isinstance(netns, NetnsWatch)
    try:
        made.hints.begin_look()
        user.pid = os.getpid()
        netns._heard()
        assert made.hints.wants_look
        assert made.hints.urgent
        netns.close()
        user.refuses = True
        netns.look()
        made.publisher.beat()
    finally:
        made.host.close()
    text = (user.rootless.directory / "podwatch/status.json").read_text()
    assert json.loads(text)["watchers"]["netns"] == "not inside"


def test_a_look_has_the_users_namespace(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is at that moment."""
    monkeypatch.setattr(user_namespaces, "keeper", user.member)
    made = service(user)
    try:
        assert asyncio.run(made.host.looker.look()).netns == Netns()
        user.pid = os.getpid()
        assert asyncio.run(made.host.looker.look()).netns == Netns(
            user.path, NUMBER, NUMBER, has_file=True
        )
    finally:
        made.host.close()


def test_roots_host_is_served_otherwise(tmp_path: Path) -> None:
    """It has no namespace of a user's."""
    paths = replace(Paths(run=tmp_path, state=tmp_path), runtimes=())
    with pytest.raises(PodwatchError, match="root's host"):
        of_user(Config(), [], paths, dry_run=True)
