# SPDX-License-Identifier: Apache-2.0
"""Serving a host, or looking at it once: root's or a user's."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.adapters import user_namespaces
from podwatch.adapters.lock import hold
from podwatch.adapters.paths import Paths
from podwatch.daemon import host_service, serve, user_service
from podwatch.daemon.config import Config
from podwatch.daemon.settings import Firewalld
from podwatch.words.errors import RestoreFailed, StateUnreadable
from tests.unit.daemon.user_host import User, one_user, paths_of


class FakeService:
    """A service that has ended as soon as it ran; `done` says what became of it."""

    def __init__(self, kind: str, done: list[str]) -> None:
        self.kind, self.done = kind, done

    def __call__(self, _: Config, files: list[Path], paths: Paths, *, dry_run: bool) -> Any:
        """Put it together."""
        self.done.append(f"{self.kind} {[str(one) for one in files]} {dry_run=}")
        self.paths = paths
        return self

    async def run(self) -> None:
        """Run, under the lock of the one daemon."""
        with pytest.raises(RestoreFailed), hold(self.paths.run_lock):
            pass
        self.done.append("ran")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was served."""
    found: list[str] = []
    monkeypatch.setattr(host_service, "on_host", FakeService("root", found))
    monkeypatch.setattr(user_service, "of_user", FakeService("user", found))
    return found


@pytest.mark.parametrize("kind", ["root", "user"])
def test_the_paths_say_whose_podman_is_served(tmp_path: Path, done: list[str], kind: str) -> None:
    """In a run directory that is made, and alone."""
    whose = paths_of(tmp_path) if kind == "user" else Paths(run=tmp_path / "a/podwatch")
    asyncio.run(serve.serve(Config(), [Path("/x.conf")], whose, dry_run=True))
    assert done == [f"{kind} ['/x.conf'] dry_run=True", "ran"]


def test_a_second_one_does_not_begin(tmp_path: Path, done: list[str]) -> None:
    """It names the first, and touches nothing."""
    paths = Paths(run=tmp_path)
    with hold(paths.run_lock), pytest.raises(RestoreFailed, match=f"pid {os.getpid()}"):
        asyncio.run(serve.serve(Config(), [], paths, dry_run=False))
    assert done == []


class FakeHost:
    """A host that is looked at by hand; stands in for daemon.host.Host. `done` says what was."""

    made: "FakeHost"

    def __init__(self, *_: object, **with_: object) -> None:
        type(self).made = self
        self.done: list[str] = []
        self.is_of_user = "netns" in with_
        self.firewalld: object | None = object()
        self.looker = SimpleNamespace(
            look=self.named("look"), setup=None, names=SimpleNamespace(listen=self.named("names"))
        )
        self.permanent = SimpleNamespace(read=self.named("permanent"))
        self.containers = SimpleNamespace(
            is_due=self.due, ask=self.ask, census=SimpleNamespace(doubtful=self.doubtful)
        )

    due, doubtful, fails = True, False, False

    def remember(self) -> None:
        """Take up what an earlier podwatch left."""
        self.done.append("remember")

    def named(self, what: str) -> Any:
        """A part of a look of this name."""

        async def look(*_: object) -> None:
            self.done.append(what)

        return look

    async def ask(self) -> None:
        """Ask podman."""
        self.done.append("ask")
        if self.fails:
            raise StateUnreadable("podman hangs")


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({"due": False}, []),
        ({}, ["ask"]),
        ({"doubtful": True}, ["ask", "ask"]),
        ({"fails": True}, ["ask"]),
    ],
    ids=["nothing new", "once", "in doubt", "failing"],
)
def test_one_look_has_podmans_names_if_podman_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, bool], asked: list[str]
) -> None:
    """podman is asked where something is new, again where someone is in doubt, and may fail."""
    monkeypatch.setattr(serve, "Host", type("Host", (FakeHost,), how))
    found: Any = asyncio.run(serve.look_once(Config(), Paths(run=tmp_path)))
    assert found.done == ["remember", "look", "names", "permanent", *asked]
    assert not found.is_of_user


def test_the_permanent_configuration_is_read_for_who_wants_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting says so."""
    monkeypatch.setattr(serve, "Host", FakeHost)
    config = Config(firewalld=Firewalld(reload_note=False))
    found: Any = asyncio.run(serve.look_once(config, Paths(run=tmp_path)))
    assert "permanent" not in found.done


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """One who has no container, and no podman that could be asked."""
    with one_user(tmp_path, monkeypatch) as made:
        made.pid = 0
        monkeypatch.setattr(user_namespaces, "keeper", made.member)
        monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
        yield made


def test_a_user_without_a_container_is_looked_at_without_podman(user: User) -> None:
    """podman would begin by making namespaces."""

    async def body() -> None:
        host = await serve.look_once(Config(), paths_of(user.rootless.directory))
        try:
            assert host.looker.setup is not None
            assert host.looker.setup.endpoints == ()
            assert host.containers.census.containers == {}
            assert host.firewalld is None
        finally:
            host.close()

    asyncio.run(body())
    assert user.done == []


def test_what_a_look_cannot_do_is_no_end_of_it(user: User) -> None:
    """A namespace that cannot be entered is told by the look itself."""
    user.refuses = True
    user.pid = os.getpid()

    async def body() -> None:
        host = await serve.look_once(Config(), paths_of(user.rootless.directory))
        host.close()

    asyncio.run(body())
    assert user.done[0] == f"enter {user.path}"
