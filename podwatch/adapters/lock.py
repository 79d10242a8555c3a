# SPDX-License-Identifier: Apache-2.0
"""A lock file that one podwatch holds at a time: between daemons, and between repairs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podwatch.words.errors import RestoreFailed


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at `path` for the block; the file itself stays, with its last holder's pid.

    Raises RestoreFailed at once when somebody else holds it, naming who, or when it cannot be
    opened.
    """
    # O_RDWR for the pid alone: a lock that is there is good on a read-only directory.
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            fd = os.open(path, flags | os.O_RDWR, 0o600)
        except OSError:
            fd = os.open(path, flags | os.O_RDONLY, 0o600)
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
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a courtesy to whoever finds it held
        yield
    finally:
        os.close(fd)
