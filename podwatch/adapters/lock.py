# SPDX-License-Identifier: Apache-2.0
"""A lock file that one podwatch holds at a time: between daemons, and between repairs."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podwatch.adapters.files import hand_over, open_regular, read_proc, remove
from podwatch.words.errors import RestoreFailed

_MAX_BYTES = 1 << 20


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at `path` for the block; the file itself stays, with its last holder's pid.

    Raises RestoreFailed at once when somebody else holds it, naming who, or when it cannot be
    opened.
    """
    # Read-only: a file held open for writing would keep its file system from being made so.
    try:
        fd = _opened(path)
    except OSError as exc:
        raise RestoreFailed(
            f"cannot open the lock {path}: {exc.strerror}",
            hint=f"see who put it there (ls -ld {path}), and remove it",
        ) from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise RestoreFailed(
                f"{_who_holds(fd)} holds {path}", hint="see: systemctl status podwatch"
            ) from exc
        try:
            # Not by its path, which may be another file's by now.
            again = open_regular(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC, follow=True)
            with os.fdopen(again, "wb") as file:
                file.write(f"{os.getpid()}\n".encode())
        except OSError:
            pass  # a courtesy to whoever finds it held
        yield
    finally:
        os.close(fd)


def _who_holds(fd: int) -> str:
    """By the kernel's word; what is in the file anybody of that user may have written."""
    said = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    info = os.fstat(fd)
    dev = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    try:
        locks = read_proc("/proc/locks", limit_bytes=_MAX_BYTES).decode("ascii", "replace")
    except OSError:
        locks = ""
    for line in locks.splitlines():
        words = line.split()  # 1: FLOCK ADVISORY WRITE 123 00:1a:5 0 EOF
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == dev and words[4] != "0":
            return f"another {'podwatch' if words[4] == said else 'process'} (pid {words[4]})"
    return (
        f"another podwatch (pid {said}, as the file says)"
        if said.isdecimal()
        else "another podwatch"
    )


def _opened(path: Path) -> int:
    """The lock's file; a link, a FIFO or the like in its place is nobody's lock, and removed.

    It would keep the service from starting for as long as it lies there. Raises OSError.
    """
    try:
        return _open_or_make(path)
    except OSError:
        mode = os.lstat(path).st_mode
        if not (stat.S_ISLNK(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            raise
    remove(path)
    return _open_or_make(path)


def _open_or_make(path: Path) -> int:
    """That file, made where there is none; whoever makes it, podwatch.service can open it.

    Raises OSError.
    """
    try:
        fd = open_regular(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY)
    except FileExistsError:
        return open_regular(path, of_root=True)
    try:
        hand_over(fd, path)
    except OSError:
        os.close(fd)
        raise
    return fd
