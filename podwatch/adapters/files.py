# SPDX-License-Identifier: Apache-2.0
"""podwatch's own files in its run directory: written whole or not at all, read with a bound."""

import os
from pathlib import Path

from podwatch.words.errors import PodwatchError, StateUnreadable


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` with `text` in one step; a reader sees the old file or the new one.

    Raises PodwatchError when it cannot be written: a full or read-only file system.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, flags, mode)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
            fresh.chmod(mode)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise PodwatchError(f"cannot write {path}: {exc.strerror}") from exc


def read_whole(path: Path, *, limit_bytes: int) -> str | None:
    """The text of a regular file; None when there is none.

    Raises StateUnreadable for what is not a regular file of at most `limit_bytes` of UTF-8.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            data = file.read(limit_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateUnreadable(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > limit_bytes:
        raise StateUnreadable(f"cannot read {path}: larger than {limit_bytes} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise StateUnreadable(f"cannot read {path}: not UTF-8") from exc
