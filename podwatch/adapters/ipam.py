# SPDX-License-Identifier: Apache-2.0
"""Podman's database of addresses, read while podman may write to it, and without its lock.

It is parsed once, and again only after another transaction: what tells of that is read each time.
"""

import errno
import os
from pathlib import Path

from podwatch.adapters.files import open_regular
from podwatch.formats.ipam_db import HEAD_BYTES, parse_ipam
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Held

MAX_BYTES = 64 * 1024 * 1024
_TRIES = 3
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")  # bbolt's, too (db.go, defaultPageSize)


class AddressBook:
    """The database at `path`, with what was parsed of it before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[object, Held] = (None, {})

    def read(self) -> Held | None:
        """Who holds which addresses; None where there is no such file.

        Raises StateUnreadable, naming the path, where it cannot be read or makes no sense.
        """
        try:
            with os.fdopen(open_regular(self._path), "rb", buffering=0) as file:
                return self._read(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as exc:
            # A podwatch that is not root is given the right to read it when its service starts.
            hint = "systemctl restart podwatch" if exc.errno == errno.EACCES else ""
            raise StateUnreadable(f"cannot read {self._path}: {exc.strerror}", hint=hint) from exc
        except StateUnreadable as exc:
            raise StateUnreadable(f"{self._path}: {exc}") from exc

    def _read(self, file: int) -> Held:
        for _ in range(_TRIES):
            before = _heads(file)
            if before == self._known[0]:
                return self._known[1]
            info = os.fstat(file)
            if info.st_size > MAX_BYTES:
                raise StateUnreadable(f"larger than {MAX_BYTES} bytes")
            data = os.pread(file, info.st_size, 0)
            if _heads(file) == before:
                # An empty one podman has yet to begin.
                self._known = (before, parse_ipam(data) if data else {})
                return self._known[1]
        raise StateUnreadable("it changes faster than it can be read")


def _heads(file: int) -> tuple[int, bytes, bytes]:
    """What is another after each transaction, and in another file."""
    first, second = (os.pread(file, HEAD_BYTES, at) for at in (0, _PAGE_BYTES))
    return os.fstat(file).st_ino, first, second
