# SPDX-License-Identifier: Apache-2.0
"""/proc: what can be said of a process while it is alive.

An nft that has committed its transaction ends within a millisecond. So little is read, and at once:
some ten small files, the process' own first. Nothing here waits or raises.

The kernel names a writer by its number in the first pid namespace. In another namespace, as in a
container that runs systemd, that number means another process, and nothing translates it. There the
newest process of the writer's name is taken, if only one has the name.
"""

import os
import select
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from podwatch.adapters.files import open_regular
from podwatch.formats.proc_files import (
    command_line,
    is_tool,
    is_wrapper,
    parse_cgroup,
    parse_command,
    parse_login,
    parse_start,
    parse_stat,
    parse_uid,
    user_name,
)
from podwatch.words.cause import Process, Writer
from podwatch.words.text import clean

if TYPE_CHECKING:  # a command that watches nobody does not load it
    from asyncio import AbstractEventLoop

_FIRST_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, linux/proc_ns.h
NETWORKD_PIDS = Path("/sys/fs/cgroup/system.slice/systemd-networkd.service/cgroup.procs")
MAX_BYTES = 4096
_PASSWD_BYTES = 1 << 20
_ANCESTORS = 6
_NEWEST = 64
"""Processes whose name is read where the kernel's pid cannot be used."""


def started(pids: Iterable[int]) -> dict[int, int]:
    """When each of these processes that is alive started, in clock ticks since the host booted.

    A number is used again once its process has ended: only number and start name a process.
    """
    found = {pid: parse_start(_read(f"/proc/{pid}/stat", MAX_BYTES)) for pid in pids}
    return {pid: at for pid, at in found.items() if at is not None}


MAX_WATCHED = 400
"""So many descriptors at most; whoever is beyond them is asked for in /proc."""


class Watched:
    """Whether processes have ended, asked of the kernel for all at once: by pidfd_open(2).

    To read /proc for 100 containers takes a third of a look. Where there are more processes than
    descriptors, that is read for the rest. `when` says when processes started, of those that are
    there: number and start together name one.
    """

    def __init__(self, when: Callable[[set[int]], Mapping[int, int]] = started) -> None:
        self._when = when
        self._known: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._poll = select.poll()
        self._ends: select.epoll | None = None
        self._loop: AbstractEventLoop | None = None
        self._on_end: Callable[[], None] = _nothing

    def listen(self, loop: "AbstractEventLoop", on_end: Callable[[], None]) -> None:
        """From now on call `on_end`, on this loop, when one with a descriptor ends."""
        self._loop, self._on_end, self._ends = loop, on_end, select.epoll()
        for descriptor in self._held.values():
            self._ends.register(descriptor, select.EPOLLIN)
        loop.add_reader(self._ends.fileno(), self._hear)

    def _hear(self) -> None:
        if self._ends is not None:
            for descriptor, _ in self._ends.poll(0):
                self._ends.unregister(descriptor)  # it stays readable, and is told once
            self._on_end()

    def follow(self, pids: set[int]) -> None:
        """Watch these processes, as they are now, and no other."""
        ended = self._ended()
        for pid in set(self._held):
            if pid in ended or pid not in pids:
                self._let_go(pid)
        opened = set(sorted(pids - self._held.keys())[: MAX_WATCHED - len(self._held)])
        for pid in opened:
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:  # it has ended, or there are too many open files
                continue
            self._held[pid] = descriptor
            self._poll.register(descriptor, select.POLLIN)
            if self._ends is not None:
                self._ends.register(descriptor, select.EPOLLIN)
        # A number stays with its process until that has ended. Others are read once the descriptors
        # are there: who has a number now has had it since.
        same = self._held.keys() - opened
        before = {pid: at for pid, at in self._known.items() if pid in same}
        self._known = before | dict(self._when(pids - before.keys()))

    def alive(self) -> set[int]:
        """Those of them that have not ended."""
        found = self._held.keys() - self._ended()
        if rest := self._known.keys() - self._held.keys():
            now = self._when(set(rest))
            found |= {pid for pid, at in now.items() if at == self._known[pid]}
        return found & self._known.keys()

    def _ended(self) -> set[int]:
        """Those with a descriptor that have ended."""
        ended = {descriptor for descriptor, _ in self._poll.poll(0)}
        return {pid for pid, descriptor in self._held.items() if descriptor in ended}

    def close(self) -> None:
        """Let go of all."""
        for pid in list(self._held):
            self._let_go(pid)
        if self._ends is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._ends.fileno())
            self._ends.close()
            self._ends = None

    def __del__(self) -> None:
        """Let go of all, where nobody did."""
        self.close()

    def _let_go(self, pid: int) -> None:
        descriptor = self._held.pop(pid)
        self._poll.unregister(descriptor)
        os.close(descriptor)  # and nobody is told of its end any more


def _nothing() -> None:
    """For whom nobody listens."""


class Processes:
    """Asks /proc. `proc`, `passwd` and `networkd`, whose cgroup lists it, are for tests."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        passwd: Path = Path("/etc/passwd"),
        networkd: Path = NETWORKD_PIDS,
    ) -> None:
        self._proc = str(proc)
        self._networkd = networkd
        self._passwd = str(passwd)
        try:
            self._counts_as_kernel = os.readlink(f"{proc}/self/ns/pid") == _FIRST_NAMESPACE
        except OSError:
            self._counts_as_kernel = True

    def identify(self, writer: Writer) -> Writer:
        """`writer` with what /proc tells of it, or as it is when the process is gone."""
        pid = writer.pid if self._counts_as_kernel else self._by_name(writer.name)
        process = self._process(pid, writer.name) if pid else None
        return replace(writer, pid=pid, process=process) if process else writer

    def asker(self, port: int) -> Writer | None:
        """The process that opened a netlink socket with that number; None where there is none.

        systemd's number is systemd-networkd's while that runs: it is handed a socket that systemd
        opened (units/systemd-networkd.socket, ListenNetlink).
        """
        pid = port
        if port == 1:
            first = _read(str(self._networkd), MAX_BYTES).split()
            pid = int(first[0]) if first else port
        stat = parse_stat(self._text(pid, "stat"))
        if stat is None:
            return None
        return Writer(stat.name, pid, self._process(pid, stat.name))

    def describe(self, pid: int) -> str:
        """A process' name, number and user; "" once it has ended."""
        stat, uid = parse_stat(self._text(pid, "stat")), parse_uid(self._text(pid, "status"))
        if stat is None or uid is None:
            return ""
        return f"{stat.name} (pid {pid}, user {self._user(uid)})"

    def _process(self, pid: int, name: str) -> Process | None:
        stat = parse_stat(self._text(pid, "stat"))
        if stat is None or stat.name != name:  # gone, and perhaps the number is another's by now
            return None
        command = command_line(parse_command(self._bytes(pid, "cmdline")))
        unit, session = parse_cgroup(self._text(pid, "cgroup"))
        uid = parse_login(self._text(pid, "loginuid"))
        if uid is None:
            uid = parse_uid(self._text(pid, "status")) or None  # that root did it is no news
        parent = self._told_by(stat.parent) if is_tool(name) else None
        user = "" if uid is None else self._user(uid)
        return Process(name, pid, command, unit, session, user, parent)

    def _told_by(self, pid: int) -> Process | None:
        """The first ancestor, `pid` or above, that is more than a wrapper; else the last one."""
        found: Process | None = None
        for _ in range(_ANCESTORS):
            if pid <= 1:
                break
            stat = parse_stat(self._text(pid, "stat"))
            if stat is None:
                break
            arguments = parse_command(self._bytes(pid, "cmdline"))
            found = Process(stat.name, pid, command_line(arguments))
            if not is_wrapper(stat.name, arguments):
                break
            pid = stat.parent
        return found

    def _by_name(self, name: str) -> int:
        """The one process of this name among the newest; 0 if there is none, or several."""
        try:
            pids = sorted(int(entry) for entry in os.listdir(self._proc) if entry.isdecimal())
        except OSError:
            return 0
        names = ((pid, self._text(pid, "comm")) for pid in pids[: -_NEWEST - 1 : -1])
        found = [pid for pid, comm in names if clean(comm.removesuffix("\n")) == name]
        return found[0] if len(found) == 1 else 0

    def _user(self, uid: int) -> str:
        # Not by pwd: a directory service behind it would be asked over the network.
        return user_name(_read(self._passwd, _PASSWD_BYTES).decode("utf-8", "replace"), uid)

    def _text(self, pid: int, name: str) -> str:
        return self._bytes(pid, name).decode("utf-8", "replace")

    def _bytes(self, pid: int, name: str) -> bytes:
        return _read(f"{self._proc}/{pid}/{name}", MAX_BYTES)


def _read(path: str, limit_bytes: int) -> bytes:
    try:
        descriptor = open_regular(path, follow=True)
    except OSError:
        return b""
    try:
        return os.read(descriptor, limit_bytes)
    except OSError:  # it ended between the two calls
        return b""
    finally:
        os.close(descriptor)
