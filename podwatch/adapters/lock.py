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
    """Hold the lock at `path` for the block; the file itself stays.

    Raises RestoreFailed at once when somebody else holds it, or when it cannot be opened.
    """
    # For reading, which is all flock needs: a lock that is there is good on a read-only directory.
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as exc:
        raise RestoreFailed(f"cannot open the lock {path}: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise RestoreFailed(
                f"another podwatch holds {path}", hint="see: systemctl status podwatch"
            ) from exc
        yield
    finally:
        os.close(fd)
