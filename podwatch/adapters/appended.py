# SPDX-License-Identifier: Apache-2.0
"""A file of lines that is only appended to, and bounded: when it is full it becomes the old file.

A line is written in one call. What an earlier end of power left torn is closed with a newline
before the next line, and a line that the disk has no room for is taken back, so that a reader finds
whole lines and, at worst, one that makes no sense. Nothing is synced: waiting for a disk would
stop the daemon, and the journal has the same story.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from podwatch.adapters.files import open_regular
from podwatch.words.errors import PodwatchError, StateUnreadable

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


def old(path: Path) -> Path:
    """The file that `path` becomes when it is full."""
    return path.with_name(f"{path.name}.1")


def append(path: Path, line: str, *, limit_bytes: int) -> None:
    """Append one line (without its newline), making the directory if need be.

    At most about twice `limit_bytes` are kept, in `path` and `old(path)`.
    Raises PodwatchError when it cannot be written; then nothing of it is in the file.
    """
    data = line.encode("utf-8", "replace") + b"\n"
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = open_regular(path, _FLAGS)
        try:
            size = os.fstat(descriptor).st_size
            if size and size + len(data) > limit_bytes:
                os.replace(path, old(path))
                os.close(descriptor)
                descriptor = open_regular(path, _FLAGS)
                size = 0
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            written = os.write(descriptor, data)
            if written < len(data):
                os.ftruncate(descriptor, size)
                raise PodwatchError(f"cannot write {path}: no space left on the device")
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise PodwatchError(
            f"cannot write {path}: {exc.strerror}", hint="is the disk full, or read-only?"
        ) from exc


def lines(path: Path, *, limit_bytes: int) -> list[bytes]:
    """Every line, the oldest first; of each file the last `limit_bytes` at most.

    Raises StateUnreadable when a file is there but cannot be read.
    """
    return [line for file in (old(path), path) for line in _lines(file, limit_bytes)]


def _lines(path: Path, limit_bytes: int) -> Iterator[bytes]:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit_bytes:
                file.seek(size - limit_bytes)
            data = file.read(limit_bytes)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StateUnreadable(f"cannot read {path}: {exc.strerror}") from exc
    yield from data.split(b"\n")
