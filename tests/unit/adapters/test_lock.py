# SPDX-License-Identifier: Apache-2.0
"""The lock of which one podwatch at a time is the holder."""

import fcntl
import os
from pathlib import Path

import pytest

from podwatch.adapters.lock import hold
from podwatch.words.errors import RestoreFailed


def test_the_second_is_refused_and_told_who(tmp_path: Path) -> None:
    """Whoever finds the lock held is told the holder's pid; when it is let go it can be had."""
    path = tmp_path / "run.lock"
    with hold(path):
        with pytest.raises(RestoreFailed, match=rf"podwatch \(pid {os.getpid()}\) holds {path}"):
            with hold(path):
                pass
    with hold(path):
        pass


@pytest.mark.parametrize("text", ["", "\x1b[2J", "7" * 100, "x"])
def test_what_else_is_in_it_is_not_told(tmp_path: Path, text: str) -> None:
    """A lock without its holder's pid in it is held all the same; the kernel knows by whom."""
    path = tmp_path / "run.lock"
    with hold(path):
        path.write_text(text)
        with pytest.raises(RestoreFailed, match=rf"another process \(pid {os.getpid()}\) holds"):
            with hold(path):
                pass


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
def test_what_is_no_file_is_no_lock(tmp_path: Path, kind: str) -> None:
    """A link in the lock's place is not followed, and what it points to not written: it goes."""
    other, path = tmp_path / "other", tmp_path / "run.lock"
    other.write_text("theirs")
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(other if kind == "link" else tmp_path / "nothing")
    with hold(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.is_symlink()
    assert other.read_text() == "theirs"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("kind", ["directory", "other name"])
def test_what_may_be_somebodys_stays(tmp_path: Path, kind: str) -> None:
    """It is said where it lies, and what to do about it."""
    path = tmp_path / "run.lock"
    if kind == "directory":
        path.mkdir()
    else:
        (tmp_path / "other").write_text("theirs")
        path.hardlink_to(tmp_path / "other")
    with pytest.raises(RestoreFailed, match="cannot open the lock") as caught:
        with hold(path):
            pass
    assert f"ls -ld {path}" in caught.value.hint
    assert path.exists()


def test_the_file_is_not_believed(tmp_path: Path) -> None:
    """It may name whomever: told is who has the lock, and that it is no podwatch's number."""
    path = tmp_path / "run.lock"
    path.write_text("1\n")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RestoreFailed, match=rf"^another process \(pid {os.getpid()}\) holds"):
            with hold(path):
                pass
