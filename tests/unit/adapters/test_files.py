# SPDX-License-Identifier: Apache-2.0
"""Opening files where others can write: nothing that is there is waited for."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podwatch.adapters.appended import append, lines
from podwatch.adapters.files import open_regular, read_proc, read_whole, write_whole
from podwatch.adapters.lock import hold
from podwatch.adapters.podman_lock import NetworkLock
from podwatch.words.errors import PodwatchError, RestoreFailed, StateUnreadable


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A test that waits for a FIFO fails, and does not hang the run."""
    signal.alarm(30)
    yield
    signal.alarm(0)


@contextmanager
def odd(path: Path, kind: str) -> Iterator[None]:
    """Something at `path` that is no regular file of ours."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link":
        (path.parent / "target").write_text("theirs")
        path.symlink_to(path.parent / "target")
    yield


ODD = ("fifo", "directory", "device", "link")


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Reading, appending and locking refuse a FIFO, a directory, a device and a link."""
    path = tmp_path / "it"
    with odd(path, kind):
        with pytest.raises(OSError, match=r"regular|symbolic"):
            open_regular(path)
        with pytest.raises(StateUnreadable, match="cannot read"):
            read_whole(path, limit_bytes=100)
        with pytest.raises(StateUnreadable):
            lines(path, limit_bytes=100)
        with pytest.raises(PodwatchError, match="cannot write"):
            append(path, "x", limit_bytes=100)
        if kind == "directory":  # the others go: tests/unit/adapters/test_lock.py
            with pytest.raises(RestoreFailed, match="cannot open the lock"), hold(path):
                pass
    if kind == "link":
        assert (tmp_path / "target").read_text() == "theirs"


@pytest.mark.parametrize("kind", ["fifo", "device", "link"])
def test_a_file_replaces_what_was_there(tmp_path: Path, kind: str) -> None:
    """Writing whole puts a file in the place of whatever has the name, and follows nothing."""
    path = tmp_path / "it"
    with odd(path, kind):
        write_whole(path, "mine", mode=0o600)

    assert not path.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("mine", 0o600)


def test_a_device_is_refused_where_links_are_followed() -> None:
    """A link may be followed to a file, never to a device."""
    with pytest.raises(OSError, match="not a regular file"):
        open_regular("/dev/zero", follow=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_not_roots(tmp_path: Path) -> None:
    """What root alone should have written is refused when it belongs to somebody else."""
    path = tmp_path / "it"
    path.write_text("x")
    os.close(open_regular(path, of_root=True))
    os.chown(path, 65534, 65534)

    with pytest.raises(OSError, match="it belongs to uid 65534"):
        open_regular(path, of_root=True)
    with pytest.raises(StateUnreadable, match="belongs to uid 65534"):
        read_whole(path, limit_bytes=10, of_root=True)
    assert read_whole(path, limit_bytes=10) == "x"


def test_a_lease_is_not_waited_for(tmp_path: Path) -> None:
    """A file whose owner has a lease on it is refused, not waited for (45 s, proc(5))."""
    path = tmp_path / "it"
    path.write_text("x")
    script = (
        "import fcntl, os, signal, sys; signal.signal(signal.SIGIO, signal.SIG_IGN); "
        f"f = os.open({str(path)!r}, os.O_RDONLY); "
        "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK); print('held', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            open_regular(path)
        holder.communicate(b"")


def test_files_of_proc_are_read_to_their_bound() -> None:
    """A file of /proc has no size: it is read to its end, or to the bound."""
    assert int(read_proc("/proc/sys/kernel/pid_max")) > 0
    assert len(read_proc("/proc/self/environ", limit_bytes=1)) <= 1
    assert len(read_proc("/proc/self/maps", limit_bytes=1 << 20)) > 4096


@pytest.mark.parametrize("kind", ODD)
def test_a_stranger_in_the_place_of_a_lock_is_told_and_not_asked(tmp_path: Path, kind: str) -> None:
    """Something else where podman's lock would be is told with path and owner; podman is free."""
    path = tmp_path / "podman-cni.lock"
    lock = NetworkLock([tmp_path / "netavark.lock", path])
    assert list(lock.strange()) == []
    with odd(path, kind):
        assert lock.holder() == ""
        (told,) = lock.strange()
        assert f"{path} of uid {os.geteuid()} is no lock of podman's" in str(told)
        assert f"rm {path}" in told.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lock_of_somebody_else_is_none(tmp_path: Path) -> None:
    """A lock that is held counts where root made the file, and nowhere else."""
    path = tmp_path / "podman-cni.lock"
    lock = NetworkLock([path])
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        # Of this very process: a lock of its own is held by somebody else for F_OFD_GETLK.
        assert lock.holder() == "podman is changing a network"
        assert list(lock.strange()) == []
        os.chown(path, 65534, 65534)
        assert lock.holder() == ""
        (told,) = lock.strange()
    assert "it belongs to uid 65534" in str(told)
