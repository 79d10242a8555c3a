# SPDX-License-Identifier: Apache-2.0
"""aardvark-dns as it is on this host: its files, its processes, its sockets.

Everything is read as the sandbox shows it: names and command lines of processes, whose they are
not. It never ends or asks anybody; a SIGHUP is all it sends.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from podwatch.adapters import namespace
from podwatch.adapters.files import read_proc, read_whole
from podwatch.formats.name_files import parse_served
from podwatch.formats.proc_files import is_of_this_host, parse_command, parse_uid
from podwatch.formats.proc_net import parse_bound
from podwatch.words.errors import RestoreFailed, StateUnreadable, Unreadable
from podwatch.words.names import NameServer, Place, Served
from podwatch.words.text import clean

PROC = Path("/proc")
PROGRAM = "aardvark-dns"
_PID_FILE = "aardvark.pid"
_INTERNAL = "%int"  # behind the name of an internal network's file, since 1.11
MAX_FILES = 2000
MAX_BYTES = 4 * 1024 * 1024
MAX_SMALL_BYTES = 4096
_TICK_NS = 50_000_000

SCAN_EVERY_S = 240.0
"""Whether a second one runs is looked for so often; the one that is known costs no search."""

_Stamp = tuple[int, int, int]


class Aardvark:
    """The name server of one directory of files, with what was read of them before.

    A file is parsed when it was written, and all processes are looked through when the pid file
    does not name the right one, and now and then. `command` is how it was started when it was seen
    last; empty before. `clock` counts seconds.
    """

    def __init__(
        self,
        directory: Path,
        proc: Path = PROC,
        *,
        sockets: Callable[[], dict[Place, int]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self.command: tuple[str, ...] = ()
        self.stamp: object = None
        """Changes whenever a file does, or the pid file; it is that of the last `read`."""
        self._proc = proc
        self._sockets = sockets or read_sockets
        self._clock = clock
        self._served: dict[str, tuple[_Stamp, Served]] = {}
        self._running: tuple[int, ...] = ()
        self._scanned_at = float("-inf")

    def read(self, *, scan: bool = False) -> NameServer | None:
        """What there is; None where netavark keeps no files of names.

        `scan`: look through all processes now. Raises Unreadable where the directory or the sockets
        cannot be read.
        """
        stamps = self._stamps()
        if stamps is None:
            self.stamp, self._served = None, {}
            return None
        found: dict[str, tuple[_Stamp, Served]] = {}
        for name, stamp in stamps.items():
            if name == _PID_FILE:
                continue
            known = self._served.get(name)
            if known is None or known[0] != stamp:
                # A file written twice within one tick of the clock keeps its time.
                young = abs(time.time_ns() - stamp[1]) < _TICK_NS
                known = ((0, 0, -1) if young else stamp, self._parse(name))
            found[name] = known
        self.stamp, self._served = stamps, found
        served = tuple(known for _, known in found.values())
        named = _named(self.directory)
        self._find(named, is_wanted=bool(named or served), scan=scan)
        return NameServer(
            str(self.directory / _PID_FILE),
            named,
            _name(self._proc, named),
            self._running,
            served,
            self._sockets() if served else {},
        )

    def has_changed(self) -> bool:
        """Whether a file, or the pid file, is not what it was at the last `read`."""
        return self._stamps() != self.stamp

    def named(self) -> int:
        """The process that the pid file names; 0 for none."""
        return _named(self.directory)

    def has_files(self) -> bool:
        """Whether there is a file of any network: else nobody asks for names."""
        return bool(read_names(self.directory))

    def serves(self, pid: int) -> bool:
        """Whether this process is aardvark-dns, of this directory."""
        return _serves(self._proc / str(pid), self.directory)

    def hang_up(self, pid: int) -> bool:
        """Have the process read its files again (SIGHUP); False where it is another user's.

        Raises RestoreFailed.
        """
        if not self.serves(pid):
            raise RestoreFailed(f"process {pid} is not aardvark-dns any more")
        try:
            os.kill(pid, signal.SIGHUP)
            return True
        except PermissionError:
            return False
        except OSError as exc:
            raise RestoreFailed(f"aardvark-dns ({pid}) takes no SIGHUP: {exc.strerror}") from exc

    def _find(self, named: int, *, is_wanted: bool, scan: bool) -> None:
        """Find the processes, by as little as will do; where none `is_wanted`, now and then."""
        now = self._clock()
        known = tuple(pid for pid in self._running if self.serves(pid))
        lasts = now < self._scanned_at + SCAN_EVERY_S
        is_lost = is_wanted and named not in known
        if scan or is_lost or known != self._running or not lasts:
            known, self._scanned_at = tuple(_running(self.directory, self._proc)), now
        self._running = known
        if known:
            pid = named if named in known else known[0]
            self.command = _command(self._proc / str(pid)) or self.command

    def _parse(self, name: str) -> Served:
        path = self.directory / name
        listens, entries, damage = parse_served(_text(path))
        return Served(name.removesuffix(_INTERNAL), str(path), listens, entries, damage)

    def _stamps(self) -> dict[str, _Stamp] | None:
        """What changes whenever a file does, by its name; None where there is no directory."""
        found: dict[str, _Stamp] = {}
        try:
            with os.scandir(self.directory) as scan:
                for entry in scan:
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # its last container stopped between the two calls
                    found[entry.name] = (info.st_ino, info.st_mtime_ns, info.st_size)
                    if len(found) > MAX_FILES:
                        raise Unreadable(f"{self.directory} holds more than {MAX_FILES} files")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise Unreadable(f"cannot read {self.directory}: {exc.strerror}") from exc
        return dict(sorted(found.items()))


def read_names(directory: Path) -> frozenset[str]:
    """The networks whose containers ask aardvark-dns: none where there is no such directory."""
    try:
        names = {path.name for path in directory.iterdir()}
    except OSError:
        return frozenset()
    return frozenset(name.removesuffix(_INTERNAL) for name in names if name != _PID_FILE)


def read_sockets() -> dict[Place, int]:
    """The addresses and ports of the host that are taken for UDP, with the bytes that wait there.

    Raises Unreadable where the kernel does not tell.
    """
    found: dict[Place, int] = {}
    for path in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            text = namespace.networks().read(path, MAX_BYTES).decode("ascii", "replace")
        except (FileNotFoundError, namespace.NotThere):
            continue  # the kernel was booted without IPv6
        except OSError as exc:
            raise Unreadable(f"cannot read {path}: {exc.strerror}") from exc
        for place, waiting in parse_bound(text):
            found[place] = max(found.get(place, 0), waiting)
    return found


def started_with(command: tuple[str, ...]) -> int | None:
    """The port it was started with: `aardvark-dns --config DIRECTORY -p PORT run`."""
    port = command[command.index("-p") + 1 :][:1] if "-p" in command else ()
    return int(port[0]) if port and re.fullmatch("[0-9]{1,5}", port[0]) else None


def serving_port(directory: Path, proc: Path = PROC) -> int | None:
    """The port of the process that the pid file names; None where that is not aardvark-dns."""
    process = proc / str(_named(directory))
    return started_with(_command(process)) if _serves(process, directory) else None


def _named(directory: Path) -> int:
    """The process that the pid file names; 0 for none."""
    said = _text(directory / _PID_FILE).strip()
    return int(said) if re.fullmatch("[0-9]{1,9}", said) else 0


def _name(proc: Path, pid: int) -> str:
    return clean(_read(proc / str(pid) / "comm").strip()) if pid else ""


def _running(directory: Path, proc: Path) -> Iterator[int]:
    """The processes that serve this directory."""
    pids = sorted(int(entry) for entry in os.listdir(proc) if entry.isdecimal())
    return (pid for pid in pids if _serves(proc / str(pid), directory))


def _serves(process: Path, directory: Path) -> bool:
    """Whether a process is it; who only looks so, of another user or in a container, is not."""
    if _read(process / "comm").strip() != PROGRAM or str(directory) not in _command(process):
        return False
    status = _read(process / "status")
    if parse_uid(status) != _owner(directory) or not is_of_this_host(status):
        return False
    # One that was left behind in a namespace that podman has given up serves nobody.
    return namespace.networks().holds(str(process))


def _owner(directory: Path) -> int:
    """Whose podman writes there: aardvark-dns is that user's. -1 where there is no directory."""
    try:
        return directory.stat().st_uid
    except OSError:
        return -1


def _command(process: Path) -> tuple[str, ...]:
    return parse_command(_read(process / "cmdline").encode())


def _text(path: Path) -> str:
    try:
        return read_whole(path, limit_bytes=MAX_BYTES) or ""
    except StateUnreadable:
        return ""


def _read(path: Path) -> str:
    try:
        return read_proc(path, limit_bytes=MAX_SMALL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
