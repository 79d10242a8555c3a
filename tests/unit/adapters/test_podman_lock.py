# SPDX-License-Identifier: Apache-2.0
"""podman's network lock, held by real processes in every way there is."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podwatch.adapters.podman_lock import NetworkLock
from podwatch.adapters.process import Processes
from podwatch.words.errors import RestoreFailed
from podwatch.words.snapshot import HeldLock

_HOLD = """
import fcntl, os, struct, sys
path, how, kind = sys.argv[1:]
descriptor = os.open(path, os.O_RDWR if kind == "write" else os.O_RDONLY)
lock = fcntl.F_WRLCK if kind == "write" else fcntl.F_RDLCK
if how == "flock":
    fcntl.flock(descriptor, fcntl.LOCK_EX)
else:
    command = fcntl.F_SETLK if how == "process" else 37  # F_OFD_SETLK
    fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", lock, 0, 0, 0, 0))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A file in the place of podman's lock."""
    path = tmp_path / "netavark.lock"
    path.touch(0o644)
    return path


@contextmanager
def held(path: Path, how: str, kind: str) -> Iterator[int]:
    """The lock held by a process of its own, in one of fcntl's ways or flock's; its pid."""
    command = [sys.executable, "-c", _HOLD, str(path), how, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.communicate(b"")


def test_podmans_own_lock_is_a_change(lock: Path) -> None:
    """A process' lock for writing, as podman takes it, means a change, and names the process."""
    assert NetworkLock([lock]).held() is None
    with held(lock, "process", "write") as pid:
        assert NetworkLock([lock]).held() == HeldLock(str(lock), shared=False, pid=pid)
        assert NetworkLock([lock]).holder() == "podman is changing a network"
        assert f" (pid {pid}, user " in Processes().describe(pid)
    assert NetworkLock([lock]).held() is None
    assert Processes().describe(pid) == ""


@pytest.mark.parametrize("how", ["process", "open file"])
def test_a_read_lock_is_no_change(lock: Path, how: str) -> None:
    """Who may only read the file keeps podman from changes: that is no change, but is waited for.

    The kernel names the process, unless the lock is an open file's.
    """
    with held(lock, how, "read") as pid:
        named = pid if how == "process" else 0
        assert NetworkLock([lock]).held() == HeldLock(str(lock), shared=True, pid=named)
        assert NetworkLock([lock]).holder() == ""
        assert NetworkLock([lock]).holder(waited_for=True) == "somebody holds podman's network lock"


def test_a_lock_of_another_kind_is_none(lock: Path) -> None:
    """flock(2) knows nothing of fcntl's locks: podman does not wait for it, nor does podwatch."""
    with held(lock, "flock", "read"):
        assert NetworkLock([lock]).held() is None


def test_asking_takes_nothing(lock: Path) -> None:
    """While podwatch asks, anybody can have the lock."""
    NetworkLock([lock]).held()
    with lock.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_podman_waits_while_it_is_kept_off(lock: Path, tmp_path: Path) -> None:
    """No longer; and a lock that is not there keeps nobody."""
    locks = NetworkLock([tmp_path / "none", lock])
    with lock.open("r+") as file:
        with locks.keeping_off():
            with pytest.raises(BlockingIOError):
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert locks.holder() == ""
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_podman_at_work_is_not_kept_off(lock: Path) -> None:
    """Nor waited for: the reason is told, and the other locks are let go."""
    other = lock.with_name("other.lock")
    other.touch()
    with held(lock, "process", "write"):
        with pytest.raises(RestoreFailed, match="podman is changing a network"):
            with NetworkLock([other, lock]).keeping_off():
                raise AssertionError("it was podman's")
        with other.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
