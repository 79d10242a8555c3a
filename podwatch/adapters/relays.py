# SPDX-License-Identifier: Apache-2.0
"""The relays of a user's containers, as /proc shows them.

What a process says of itself decides nothing that is done later: what is started again comes from
one that runs the host's own program, by the file that the kernel says it was started from. Whoever
may only look so is taken for running all the same: better no relay than two.
"""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

from podwatch.adapters.files import read_proc
from podwatch.formats.mountinfo import parse_namespaces
from podwatch.formats.proc_files import parse_start, parse_stat, parse_uid
from podwatch.formats.proc_net import parse_listening
from podwatch.formats.relay_commands import (
    end_descriptor,
    given_file,
    is_relay,
    parse_argv,
    parse_depth,
    parse_inode,
)
from podwatch.words.errors import RestoreFailed, Unreadable
from podwatch.words.relays import Relay, RelayKind

PROC = Path("/proc")
DIRECTORIES = ("/usr/bin", "/usr/libexec/podman", "/usr/lib/podman")
"""Where distributions install pasta, slirp4netns and rootlessport."""

MAX_BYTES = 4 * 1024 * 1024
MAX_COMMAND_BYTES = 16384
_DELETED = " (deleted)"
_CHILD = "rootlessport-child"  # what rootlessport calls its second half (cmd/rootlessport/main.go)


class RelayProcesses:
    """Looks through processes. `proc` and `directories` are for tests."""

    def __init__(self, proc: Path = PROC, directories: tuple[str, ...] = DIRECTORIES) -> None:
        self._proc = str(proc)
        self._directories = directories

    def find(self) -> tuple[Relay, ...]:
        """All relays of this user that run. Raises Unreadable."""
        try:
            pids = sorted(int(entry) for entry in os.listdir(self._proc) if entry.isdecimal())
        except OSError as exc:
            raise Unreadable(f"cannot list {self._proc}: {exc.strerror}") from exc
        found: dict[int, Relay] = {}
        children: dict[int, Relay] = {}
        for pid, kind, exe in self._candidates(pids):
            relay = self._read(pid, kind, exe)
            if relay is None:
                continue
            if relay.argv[:1] == (_CHILD,):
                stat_of = parse_stat(self._text(pid, "stat"))
                if stat_of is not None:
                    children[stat_of.parent] = relay
            else:
                found[pid] = relay
        return tuple(
            self._whole(relay, children.get(pid)) if relay.kind is RelayKind.PORTS else relay
            for pid, relay in found.items()
        )

    def is_same(self, relay: Relay) -> bool:
        """Whether it still runs, under this number."""
        return parse_start(self._bytes(relay.pid, "stat")) == relay.started

    def end(self, relay: Relay) -> None:
        """Have a relay end (SIGKILL): what is left of one is of no use. Raises RestoreFailed."""
        try:
            descriptor = os.pidfd_open(relay.pid)
        except ProcessLookupError:
            return
        except OSError as exc:
            raise RestoreFailed(f"{relay.named} cannot be ended: {exc.strerror}") from exc
        try:
            # The number may have become another's before it was opened.
            if self.is_same(relay):
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except OSError as exc:
            raise RestoreFailed(f"{relay.named} cannot be ended: {exc.strerror}") from exc
        finally:
            os.close(descriptor)

    def net_files(self, pid: int) -> dict[str, int]:
        """The files of network namespaces, with their inodes, as this process sees them."""
        try:
            text = read_proc(f"{self._proc}/{pid}/mountinfo", limit_bytes=MAX_BYTES)
        except OSError:
            return {}
        return parse_namespaces(text.decode("utf-8", "replace"))

    def is_called(self, pid: int, name: str) -> bool:
        """Whether a process of this user's has this name."""
        comm = self._text(pid, "comm").removesuffix("\n")
        return comm == name and parse_uid(self._text(pid, "status")) == os.geteuid()

    def descriptor_of(self, pid: int, pipe: int) -> int:
        """The descriptor by which a process has a pipe; -1 for none."""
        try:
            numbers = [int(entry) for entry in os.listdir(f"{self._proc}/{pid}/fd")]
        except (OSError, ValueError):
            return -1
        for number in sorted(numbers):
            if self._pipe(pid, number) == pipe:
                return number
        return -1

    def taken(self) -> frozenset[tuple[str, int]]:
        """The ports of this host, by protocol, that anybody listens on. Raises Unreadable."""
        found: set[tuple[str, int]] = set()
        for protocol in ("tcp", "udp"):
            for path in (f"{self._proc}/net/{protocol}", f"{self._proc}/net/{protocol}6"):
                try:
                    text = read_proc(path, limit_bytes=MAX_BYTES).decode("ascii", "replace")
                except FileNotFoundError:
                    continue  # the kernel was booted without IPv6
                except OSError as exc:
                    raise Unreadable(f"cannot read {path}: {exc.strerror}") from exc
                listening = parse_listening(text, protocol, loopback=True)
                found.update((protocol, port) for port, _, _ in listening)
        return frozenset(found)

    def program(self, exe: str) -> str:
        """The host's own program that a relay was started from, as it is to be started again.

        pasta runs a variant of itself for the processor. Raises RestoreFailed where it is not
        there, or anybody may write to it.
        """
        path = exe.removesuffix(".avx2")
        if str(PurePath(path).parent) not in self._directories or _kind_of(path) is None:
            raise RestoreFailed(f"{path} is no program that podwatch starts")
        try:
            info = os.stat(path)
        except OSError as exc:
            raise RestoreFailed(f"{path} cannot be started: {exc.strerror}") from exc
        if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o022:
            raise RestoreFailed(f"{path} is not started: others may write to it")
        return path

    # One process.

    def _candidates(self, pids: list[int]) -> Iterator[tuple[int, RelayKind, str]]:
        """Those of this user that run a program of a relay's name, with its path.

        A process that ends meanwhile is none.
        """
        own = os.geteuid()
        for pid in pids:
            try:
                if os.stat(f"{self._proc}/{pid}").st_uid != own:
                    continue
            except OSError:
                continue
            exe = self._link(pid, "exe")
            kind = _kind_of(exe)
            if kind is not None:
                yield pid, kind, exe

    def _read(self, pid: int, kind: RelayKind, exe: str) -> Relay | None:
        status = self._text(pid, "status")
        started = parse_start(self._bytes(pid, "stat"))
        if started is None or parse_uid(status) != os.geteuid():
            return None
        if not is_relay(kind, parse_depth(status)):
            return None
        argv = parse_argv(self._bytes(pid, "cmdline", MAX_COMMAND_BYTES))
        file = given_file(kind, argv)
        if kind is not RelayKind.PORTS and not file:
            return None  # somebody runs it for something else
        end = end_descriptor(kind, argv)
        relay = Relay(
            kind,
            pid,
            started,
            exe if self._is_own_program(pid, exe) else "",
            argv,
            file,
            parse_inode(self._link(pid, "ns/net")),
            end_pipe=self._pipe(pid, end) if end >= 0 else 0,
        )
        return relay if self.is_same(relay) else None

    def _whole(self, relay: Relay, child: Relay | None) -> Relay:
        """rootlessport with its second half.

        All of that is in the container's namespace; of the first one, one thread.
        """
        if child is not None:
            return replace(relay, child=child.pid, netns=child.netns)
        own = parse_inode(self._link(os.getpid(), "ns/net"))
        with suppress(OSError, ValueError):
            for thread in os.listdir(f"{self._proc}/{relay.pid}/task"):
                inode = parse_inode(self._link(relay.pid, f"task/{int(thread)}/ns/net"))
                if inode not in (0, own):
                    return replace(relay, netns=inode)
        return relay

    def _is_own_program(self, pid: int, exe: str) -> bool:
        """Whether it runs the file that the host has at this path.

        A path is as the process' own mount namespace has it: a container has one, too.
        """
        if str(PurePath(exe).parent) not in self._directories:
            return False
        try:
            runs = os.stat(f"{self._proc}/{pid}/exe")
            here = os.stat(exe)
        except OSError:
            return False
        return (runs.st_dev, runs.st_ino) == (here.st_dev, here.st_ino)

    def _pipe(self, pid: int, descriptor: int) -> int:
        """The inode of a pipe that a process has by this descriptor; 0 for anything else."""
        link = self._link(pid, f"fd/{descriptor}")
        return parse_inode(link) if link.startswith("pipe:") else 0

    def _link(self, pid: int, name: str) -> str:
        try:
            return os.readlink(f"{self._proc}/{pid}/{name}")
        except OSError:
            return ""

    def _text(self, pid: int, name: str) -> str:
        return self._bytes(pid, name).decode("utf-8", "replace")

    def _bytes(self, pid: int, name: str, limit_bytes: int = 4096) -> bytes:
        try:
            return read_proc(f"{self._proc}/{pid}/{name}", limit_bytes=limit_bytes)
        except OSError:
            return b""


def _kind_of(exe: str) -> RelayKind | None:
    """Which relay a program is, by its file's name. One that was replaced runs on."""
    name = PurePath(exe.removesuffix(_DELETED)).name
    return {"pasta.avx2": RelayKind.PASTA, **{str(kind): kind for kind in RelayKind}}.get(name)
