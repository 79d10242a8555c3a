# SPDX-License-Identifier: Apache-2.0
"""A user's namespaces as podwatch finds them from outside, where none is: all are made up.

Who would be asked of them is the process of the test itself.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.adapters import links, namespace
from podwatch.adapters.paths import Paths, Rootless
from podwatch.daemon import netns
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Link, Links

NUMBER, OTHER = 4026532001, 4026532002
PODMANS = Link("podman1", 2, kind="bridge")
OF_A_CONTAINER = Link("veth0", 3, master="podman1", kind="veth", netns_id=0)


class FakeEntered(namespace.Own):
    """A namespace that was entered; stands in for adapters.namespace.Entered."""

    def __init__(self, user: "User", inode: int) -> None:
        self.inode = inode
        self._user = user

    def bind(self, path: str) -> None:
        """Mount it on its file, or be refused."""
        self._user.done.append(f"bind {path}")
        if self._user.refuses_to_bind:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if self._user.shows_mounts:
            self._user.mounted = self.inode

    def close(self) -> None:
        """Leave it."""
        self._user.done.append(f"left {self.inode}")


class User:
    """A user whose Podman has a network namespace: how it is, and what was done to it."""

    def __init__(self, directory: Path) -> None:
        self.rootless = Rootless(directory)
        self.path = self.rootless.netns[0]
        count = Path(self.path).with_name("ref-count")
        count.parent.mkdir(parents=True, exist_ok=True)
        count.write_text("2")
        self.pid = os.getpid()
        self.has_file, self.mounted = True, NUMBER
        self.shows_mounts = True
        self.containers = True
        self.refuses, self.refuses_to_bind = False, False
        self.has_ended, self.hides_links = False, False
        self.name_server = ""
        self.done: list[str] = []

    def member(self, rootless: Rootless) -> int:
        """A process in the namespaces."""
        assert rootless == self.rootless
        return self.pid

    def find(self, rootless: Rootless, pid: int) -> tuple[str, int]:
        """The file, and what is mounted on it."""
        assert (rootless, pid) == (self.rootless, self.pid)
        if self.has_ended:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return (self.path, self.mounted) if self.has_file else ("", 0)

    def way_in(self, aardvark: Path) -> str:
        """Where aardvark-dns is."""
        assert aardvark == self.rootless.name_server
        return self.name_server

    def through(self, pid: int, path: str) -> FakeEntered:
        """Enter what has this file."""
        assert pid == self.pid
        self.done.append(f"enter {path}")
        if self.refuses:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return FakeEntered(self, self.mounted or NUMBER)

    def links(self, of: object = None) -> Links:
        """The links of what was entered; none outside of it."""
        if self.hides_links:
            raise LinksUnreadable("the kernel does not tell")
        if of is not None:
            return Links()
        there = (PODMANS, OF_A_CONTAINER) if self.containers else (PODMANS,)
        return Links({link.name: link for link in there})


def paths_of(directory: Path) -> Paths:
    """Where things are for this user: podwatch's own beside podman's."""
    made = Paths.of_user({"XDG_RUNTIME_DIR": str(directory), "HOME": str(directory / "home")})
    return replace(made, configuration=(), containers_conf=())


@contextmanager
def one_user(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """One whose containers are on a bridge; what podwatch entered is left at the end."""
    made = User(directory)
    monkeypatch.setattr(netns, "member", made.member)
    monkeypatch.setattr(netns, "find", made.find)
    monkeypatch.setattr(netns, "way_in_of", made.way_in)
    monkeypatch.setattr(namespace.Entered, "through", made.through)
    monkeypatch.setattr(links, "read", made.links)
    monkeypatch.setattr(namespace, "_networks", namespace.Own())
    yield made
    namespace.look_after(None)
