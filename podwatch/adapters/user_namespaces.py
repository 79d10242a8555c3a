# SPDX-License-Identifier: Apache-2.0
"""A user's Podman, from outside: who is in its namespaces, and which network namespace it has.

All of a user's containers are in one user and one mount namespace, which podman's pause process
keeps open, and whoever else is in it. Mounts in it show in the mountinfo of any of its processes,
and a change of them is told to whoever waits for it (proc(5): POLLPRI).
"""

import fnmatch
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from podwatch.adapters.files import open_regular, read_proc, read_text
from podwatch.adapters.paths import Rootless
from podwatch.formats.mountinfo import parse_namespaces
from podwatch.formats.proc_files import is_of_this_host, parse_uid
from podwatch.words.errors import StateUnreadable

if TYPE_CHECKING:  # a command that looks once does not load it
    from asyncio import AbstractEventLoop

_CONMON = frozenset({"conmon"})
_MEMBERS = _CONMON | {"aardvark-dns", "rootlessport"}
"""Who else is in the namespaces, while containers run and podman's pause process has ended."""

_PROC = Path("/proc")
_MAX_BYTES = 4 * 1024 * 1024
_SMALL_BYTES = 4096


def member(rootless: Rootless, *, proc: Path = _PROC) -> int:
    """A process in the namespaces of the user's containers; 0 where there is none."""
    return _in_namespaces(rootless, _MEMBERS, proc)


def keeper(rootless: Rootless, *, proc: Path = _PROC) -> int:
    """One by which podman itself finds these namespaces; 0 where it would begin by making new ones.

    It knows its pause process, and the conmons of running containers (pkg/domain/infra/abi,
    SetupRootless, Podman 4 and 5).
    """
    return _in_namespaces(rootless, _CONMON, proc)


def _in_namespaces(rootless: Rootless, names: frozenset[str], proc: Path) -> int:
    named = _named(rootless.pause)
    if named and _is_member(proc, named):
        return named
    return next((pid for pid in _called(names, proc) if _is_member(proc, pid)), 0)


def find(rootless: Rootless, pid: int, *, proc: Path = _PROC) -> tuple[str, int]:
    """The file that podman finds the network namespace by, and the number of what is mounted there.

    ("", 0) where there is no such file, 0 where nothing is mounted on it. Raises OSError where the
    process has ended.
    """
    data = read_proc(proc / f"{pid}/mountinfo", limit_bytes=_MAX_BYTES)
    mounted = parse_namespaces(data.decode("utf-8", "replace"))
    for pattern in rootless.netns:
        for path, inode in mounted.items():
            if fnmatch.fnmatchcase(path, pattern):
                return path, inode
    for pattern in rootless.netns:
        for there in sorted(Path(pattern).parent.glob(Path(pattern).name)):
            return str(there), 0
    return "", 0


def no_reload(rootless: Rootless, *, proc: Path = _PROC) -> str:
    """Why podman must not set up a network of the user's anew now; "" where it may.

    Where the namespace is not mounted it makes another one. Where the uplink has ended as well as a
    container's link, its reload counts wrong, and takes the namespace from all (Podman 5.4).
    """
    pid = member(rootless, proc=proc)
    try:
        mounted = find(rootless, pid, proc=proc)[1] if pid else 0
    except OSError:
        mounted = 0
    if not mounted:
        return "the user's network namespace is not mounted"
    uplinks = (_text(proc / f"{_named(path)}/comm") for path in rootless.uplinks)
    if not any(name.startswith(("pasta", "slirp4netns")) for name in uplinks):
        return "pasta or slirp4netns of the user's network does not run"
    return ""


def way_in(aardvark: Path, *, proc: Path = _PROC) -> str:
    """Another way into the network namespace: of aardvark-dns, whose pid is in this file.

    It is the only process in it. "" where it does not run.
    """
    pid = _named(aardvark)
    if not pid or _text(proc / f"{pid}/comm").strip() != "aardvark-dns":
        return ""
    return str(proc / f"{pid}/ns/net") if _is_member(proc, pid) else ""


def is_uncounted(path: str) -> bool:
    """Whether podman's count beside the namespace's file is gone, or is no number: Podman 5 alone.

    It counts the places of containers on networks (common libnetwork/internal/rootlessnetns); where
    that comes to 0, podman takes the namespace away, whoever is in it.
    """
    count = Path(path).with_name("ref-count")
    if count.parent.name != "rootless-netns":
        return False
    try:
        said = read_text(count, limit_bytes=_SMALL_BYTES) or ""
    except StateUnreadable:
        return True
    return not (said.isascii() and said.isdigit() and int(said) > 0)


def _named(path: Path) -> int:
    """The process that a pid file names; 0 for none."""
    try:
        said = (read_text(path, limit_bytes=_SMALL_BYTES) or "").strip()
    except StateUnreadable:
        return 0
    return int(said) if said.isdecimal() and len(said) < 10 else 0


def _called(names: frozenset[str], proc: Path) -> Iterator[int]:
    for name in os.listdir(proc):
        if name.isdecimal() and _text(proc / name / "comm").strip() in names:
            yield int(name)


def _is_member(proc: Path, pid: int) -> bool:
    """Whether a process is this user's, of this host, and in another user namespace."""
    status = _text(proc / f"{pid}/status")
    if parse_uid(status) != os.geteuid() or not is_of_this_host(status):
        return False
    theirs = _link(proc / f"{pid}/ns/user")
    return bool(theirs) and theirs != _link(proc / "self/ns/user")


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return read_proc(path, limit_bytes=_SMALL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


class MemberWatch:
    """Calls `on_change` when a mount in a process' mount namespace came or went, or it ended."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.pid = 0
        self._on_change = on_change
        self._loop: AbstractEventLoop | None = None
        self._epoll: select.epoll | None = None
        self._mounts = self._process = -1

    def attach(self, loop: "AbstractEventLoop") -> None:
        """Listen on this loop, as soon as there is somebody to follow."""
        self._loop = loop

    def follow(self, pid: int) -> None:
        """From now on listen to this process; 0 for none. Raises OSError where it has ended."""
        if pid == self.pid:
            return
        self.close()
        if not pid or self._loop is None:
            return
        try:
            self._process = os.pidfd_open(pid)
            self._mounts = open_regular(f"/proc/{pid}/mountinfo")
            self._epoll = select.epoll(1)
            # A file of mounts is always readable: only a change of them is waited for.
            self._epoll.register(self._mounts, select.EPOLLPRI | select.EPOLLERR)
        except OSError:
            self.close()
            raise
        self.pid = pid
        self._loop.add_reader(self._epoll.fileno(), self._changed)
        self._loop.add_reader(self._process, self._ended)

    def close(self) -> None:
        """Let go of the process: nothing of podwatch's keeps its namespaces."""
        if self._epoll is not None:
            if self._loop is not None and self.pid:
                self._loop.remove_reader(self._epoll.fileno())
                self._loop.remove_reader(self._process)
            self._epoll.close()
            self._epoll = None
        for descriptor in (self._mounts, self._process):
            if descriptor >= 0:
                os.close(descriptor)
        self._mounts = self._process = -1
        self.pid = 0

    def _changed(self) -> None:
        # The kernel tells it once, to whoever asks first: that was the loop.
        if self._epoll is not None:
            self._epoll.poll(0)
        self._on_change()

    def _ended(self) -> None:
        self.close()
        self._on_change()
