# SPDX-License-Identifier: Apache-2.0
"""A lock file that one podwatch holds at a time: between daemons, and between repairs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podwatch.adapters.files import hand_over, open_regular
from podwatch.words.errors import RestoreFailed


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
        raise RestoreFailed(f"cannot open the lock {path}: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            who = f" (pid {pid})" if pid.isdecimal() else ""
            raise RestoreFailed(
                f"another podwatch{who} holds {path}", hint="see: systemctl status podwatch"
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


def _opened(path: Path) -> int:
    """The lock's file, made where there is none; whoever makes it, podwatch.service can open it.

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
