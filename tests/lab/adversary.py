# SPDX-License-Identifier: Apache-2.0
"""A local user who means ill, in every way at once: a script for a lab host, of the library alone.

    python3 adversary.py SECONDS PID PORT LOCK...

PID is the daemon's process, PORT that of its metrics, each LOCK a path of podman's lock. Every way
is a process of its own, for SECONDS; then what was made is removed. `stranger.py` stands beside.

It takes away no CPU for the sake of it: who may burn CPU is the scheduler's business, not the
daemon's. So it rests between floods, at no moment it has more than 20 processes, and its files are
empty or sparse.
"""

import ctypes
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

MAX_FOLDERS = 100
"""In so many folders at most it leaves things."""
BURST_S, REST_S = 5.0, 5.0
"""A flood, and the time without one after it."""
NAMES = (
    b"\xc2\x9b31mnft",
    b"\x1b[2J\x1b[31mnft",
    b"podman\nok: all",
    b"\xff\xfe\x9b\r\b\x7f",
    b") R 1",
)
"""What processes call themselves: at most 15 bytes of it (prctl(2), PR_SET_NAME)."""
FOLDERS = ("/run", "/tmp", "/run/lock", "/var/tmp", "/dev/shm")
ROOTS_FILES = ("/dev/zero", "/etc/shadow", "/proc/kmsg", "/run/podwatch/status.json")
OFFERED = ("netavark.lock", "podwatch", "podwatch.sock", "nv-proxy.sock", "status.json", "pause")
SPARSE_BYTES = 1 << 40
INSIDE = """
mount -t tmpfs none /run
mkdir -p /run/podman /run/lock /run/containers/networks /run/podwatch
ip link set lo up
ip link add podman0 type bridge
ip addr add 10.88.0.1/16 dev podman0
ip addr add 10.88.0.2/16 dev podman0
ip addr add 10.88.0.3/16 dev podman0
ip link add veth0 type veth peer name eth0
ip link set veth0 master podman0
ip link set podman0 up
nft add table inet netavark
nft add chain inet netavark FORWARD
nft add rule inet netavark FORWARD drop
nft flush ruleset
"""
_PR_SET_NAME = 15  # linux/prctl.h
_F_OFD_SETLK = 37  # linux/fcntl.h
_libc = ctypes.CDLL(None, use_errno=True)


class Target:
    """What it is after, and until when."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Take the arguments of the command line."""
        self.end = time.monotonic() + float(arguments[0])
        self.pid, self.port, self.locks = arguments[1], int(arguments[2]), list(arguments[3:])

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.end

    def rest(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        time.sleep(max(0.0, min(seconds, self.end - time.monotonic())))


def bus(target: Target) -> None:
    """Lie to the daemon on the system bus, and flood it."""
    script = Path(__file__).with_name("stranger.py")
    while target.goes_on:
        for what in ("reloaded", "flood", "jobs"):
            told = [sys.executable, str(script), what, str(BURST_S), target.pid]
            with suppress(subprocess.TimeoutExpired):  # a bus that waits is one that holds out
                subprocess.run(told, stdout=subprocess.DEVNULL, timeout=4 * BURST_S, check=False)
            print(f"bus: {what}", flush=True)
            target.rest(REST_S)


def files(target: Target) -> None:
    """Put what no program expects wherever one may write, and at every path of a lock."""
    folders = list(_open_folders())
    paths = [*target.locks, *(f"{folder}/{name}" for folder in folders for name in OFFERED)]
    print(f"files: {len(folders)} folders: {' '.join(folders)}", flush=True)
    while target.goes_on:
        for make in (os.mkfifo, _link, _hard_link, _sparse, _socket, os.mkdir):
            made = [path for path in paths if _is_made(make, path)]
            try:
                target.rest(2.0)
            finally:
                for path in made:
                    with suppress(OSError):
                        (os.rmdir if make is os.mkdir else os.unlink)(path)
            print(f"files: {make.__name__}: {len(made)}", flush=True)


def _open_folders() -> Iterator[str]:
    """Where anybody may write, not twice, and not too many."""
    seen: set[tuple[int, int]] = set()
    for top in FOLDERS:
        for folder, _, _ in os.walk(top):
            with suppress(OSError):
                info = os.stat(folder)
                place = (info.st_dev, info.st_ino)
                if os.access(folder, os.W_OK) and place not in seen and len(seen) < MAX_FOLDERS:
                    seen.add(place)
                    yield folder


def _is_made(make: Callable[[str], None], path: str) -> bool:
    try:
        make(path)
    except OSError:
        return False
    return True


def _link(path: str) -> None:
    os.symlink(ROOTS_FILES[len(path) % len(ROOTS_FILES)], path)


def _hard_link(path: str) -> None:
    os.link("/etc/passwd", path)


def _sparse(path: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        os.ftruncate(descriptor, SPARSE_BYTES)
    except OSError:
        os.ftruncate(descriptor, SPARSE_BYTES >> 10)
    finally:
        os.close(descriptor)


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def locks(target: Target) -> None:
    """Take every lock that may be read, in each way there is, for a moment or for long."""
    called = 0
    while target.goes_on:
        for held_s in (1.0, 0.1, 40.0):
            _call(NAMES[called % len(NAMES)])
            called += 1
            descriptors = []
            for path in [*target.locks, *_readable_locks()]:
                with suppress(OSError):
                    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        _lock(descriptor, called)
                    descriptors.append(descriptor)
            target.rest(held_s)
            for descriptor in descriptors:
                os.close(descriptor)
            print(f"locks: {len(descriptors)} for {held_s} s", flush=True)
            target.rest(1.0)


def _readable_locks() -> Iterator[str]:
    for folder, _, names in os.walk("/run"):
        yield from (f"{folder}/{name}" for name in names if "lock" in name)


def _lock(descriptor: int, turn: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    if turn % 2:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    else:  # struct flock of fcntl(2): type, whence, start, length, pid
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(descriptor, _F_OFD_SETLK, lock)


def names(target: Target) -> None:
    """Be processes with names for a terminal, which end, or try to change the rules."""
    with tempfile.TemporaryDirectory(prefix="adversary") as folder:
        programs = []
        for name in NAMES:
            programs.append(os.path.join(folder.encode(), name.replace(b"/", b"")))
            os.symlink("/usr/sbin/nft", programs[-1])
        turn = 0
        while target.goes_on:
            turn += 1
            name, program = NAMES[turn % len(NAMES)], programs[turn % len(NAMES)]
            if (child := os.fork()) == 0:
                _be(name, program, runs=turn % 2 == 0)
            os.waitpid(child, 0)
            target.rest(0.1)
        print(f"names: {turn} processes", flush=True)


def _be(name: bytes, program: bytes, *, runs: bool) -> None:
    """In a child: be called that for a moment, or by an `nft` that may do nothing. No return."""
    try:
        _call(name)
        if runs:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os.execv(program, [name, b"flush", b"ruleset"])  # noqa: S606 (its name counts)
        time.sleep(0.05)
    finally:
        os._exit(0)


def _call(name: bytes) -> None:
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name), 0, 0, 0)


def connections(target: Target) -> None:
    """Connect to the metrics: silent, slow, and again and again."""
    total = 0
    while target.goes_on:
        kept: list[socket.socket] = []
        until = min(time.monotonic() + 15, target.end)
        while time.monotonic() < until:
            with suppress(OSError):
                client = socket.create_connection(("127.0.0.1", target.port), 1)
                client.settimeout(0)
                kept.append(client)
                total += 1
                if total % 5 == 0:
                    kept.pop().close()
            for slow in kept[::7]:
                with suppress(OSError):
                    slow.send(b"G" if total % 3 else b"GET /metrics HTTP/1.1\r\nX: ")
            if len(kept) > 300:
                kept.pop(0).close()
            target.rest(0.02)
        for client in kept:
            client.close()
        print(f"connections: {total}", flush=True)


def namespaces(target: Target) -> None:
    """Be root in namespaces of its own: podman's bridge, addresses, rules, sockets."""
    unshare = ["unshare", "--map-root-user", "--net", "--mount", "--kill-child"]
    while target.goes_on:
        done = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"namespaces: not allowed here: {done.stderr.strip()}", flush=True)
            return
        seconds = min(10.0, max(0.0, target.end - time.monotonic()))
        inside = [sys.executable, __file__, str(seconds), target.pid, str(target.port), "inside"]
        done = subprocess.run([*unshare, *inside], capture_output=True, text=True, check=False)
        print(f"namespaces: {done.stdout.strip()} {done.stderr.strip()[-200:]}", flush=True)


def inside(target: Target) -> None:
    """What is done in such namespaces: everything that may be, and then wait."""
    failed = [
        line
        for line in INSIDE.strip().splitlines()
        if subprocess.run(line.split(), capture_output=True, check=False).returncode != 0
    ]
    held = []
    for path in ("/run/podman/nv-proxy.sock", "/run/podwatch/podwatch.sock"):
        with suppress(OSError):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].bind(path)
            held[-1].listen()
    server = socket.create_server(("10.88.0.1", 53)) if "podman0" not in str(failed) else None
    print(f"{len(failed)} refused {failed}, {len(held)} sockets, {server is not None}", flush=True)
    target.rest(1000)


WAYS = (bus, files, locks, names, connections, namespaces)


def main(arguments: list[str]) -> None:
    """Go every way at once, for as long as it is said."""
    if (
        Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
        and not os.getuid()
    ):
        sys.exit("not as root: this is for a user without rights")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    target = Target(arguments)
    if target.locks == [inside.__name__]:
        inside(target)
        return
    started: list[int] = []
    try:
        for way in WAYS:
            started.append(_begun(way, target))
        while started:
            os.waitpid(started[-1], 0)
            started.pop()
    finally:
        for child in started:
            os.kill(child, signal.SIGTERM)
    print("ended", flush=True)


def _begun(way: Callable[[Target], None], target: Target) -> int:
    """A child that goes this way; what it dies of is printed."""
    if child := os.fork():
        return child
    try:
        way(target)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
