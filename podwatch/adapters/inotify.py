# SPDX-License-Identifier: Apache-2.0
"""inotify(7): hear of changes in a few directories, whether they exist yet or not.

A directory that does not exist is waited for in the nearest one above it that does. The kernel's
calls are made through libc: no binding is packaged in all the distributions podwatch runs on.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from podwatch.words.errors import Unreadable

if TYPE_CHECKING:  # a command that listens without a loop does not load it
    from asyncio import AbstractEventLoop

_MODIFY, _CLOSE_WRITE = 0x2, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _IGNORED = 0x400, 0x800, 0x8000
_OVERFLOW, _ONLYDIR, _MASK_ADD, _ISDIR = 0x4000, 0x0100_0000, 0x2000_0000, 0x4000_0000
_DONT_FOLLOW = 0x0200_0000
_GONE = _DELETE_SELF | _MOVE_SELF
_INSIDE = _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_APPEARS = _MOVED_TO | _CREATE
_EVENT = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len
_READ_BYTES = 64 * 1024
_MAX_TRIES = 3
_MORE = "as root: sysctl -w fs.inotify.max_user_instances=512"


class DirectoryWatch:
    """Calls `on_change` when something in one of `directories` changed, or one came or went.

    It listens on a loop by `attach`. Without a loop it is opened, waited for as a file is (it has
    a `fileno`), and read. With `links` a link to a directory counts as one; without, only a real
    directory does. `lacking` says what its user goes without where it cannot listen.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        on_change: Callable[[], None],
        *,
        links: bool = True,
        lacking: str = "changes of files are noticed late",
    ) -> None:
        self.directories = tuple(directories)
        self._always = _GONE | _ONLYDIR | _MASK_ADD | (0 if links else _DONT_FOLLOW)
        self._on_change = on_change
        self._lacking = lacking
        self._fd = -1
        self._loop: AbstractEventLoop | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._waits: dict[int, set[str]] = {}
        """By watch: the names that are waited for in it; empty where every name counts."""

    def attach(self, loop: "AbstractEventLoop") -> None:
        """Begin to listen, on this loop. Raises Unreadable when the kernel grants no instance."""
        try:
            self.open()
        except OSError as exc:
            hint = _MORE if exc.errno == errno.EMFILE else ""
            raise Unreadable(f"{self._lacking}: {exc.strerror}", hint=hint) from exc
        self._loop = loop
        loop.add_reader(self._fd, self.read)

    def open(self) -> None:
        """Begin to listen. Raises OSError when the kernel grants no instance."""
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"inotify_init1: {os.strerror(error)}")
        self._watch_all()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def follow(self, directories: Sequence[Path]) -> None:
        """Listen to these directories from now on; what changed in new ones before may be news."""
        if tuple(directories) != self.directories:
            self.directories = tuple(directories)
            if self._fd >= 0:
                self._watch_all()
                self._on_change()

    def close(self) -> None:
        """Stop listening."""
        if self._fd >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def describe(self) -> str:
        """Whether it listens, in words."""
        return "listening" if self._fd >= 0 else "not listening"

    def _watch_all(self) -> None:
        """Watch each directory, or where it would appear; what is no longer wanted is let go."""
        before, self._waits = self._waits, {}
        for directory in self.directories:
            for _ in range(_MAX_TRIES):
                if self._watch(directory):
                    break  # if not, it appeared while the one above it was being watched
        for wd in before.keys() - self._waits.keys():
            self._libc.inotify_rm_watch(self._fd, wd)

    def _watch(self, directory: Path) -> bool:
        """Watch a directory or the nearest above it; False where it appeared meanwhile."""
        below = ""
        for path in (directory, *directory.parents):
            # The kernel has one watch for a directory, whoever wants it: masks and names add up.
            mask = self._always | (_APPEARS if below else _INSIDE)
            wd = self._libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask))
            if wd < 0:
                below = path.name
                continue
            if not below:
                self._waits[wd] = set()
            elif self._waits.get(wd) != set():
                self._waits.setdefault(wd, set()).add(below)
            return not (below and os.path.isdir(path / below))
        return True

    def read(self) -> None:
        """Take what the kernel tells, if it tells anything, and call `on_change` for it."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        position, heard, moved = 0, False, False
        while position < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
            position += length
            waited = self._waits.get(wd)
            if mask & (_OVERFLOW | _GONE):
                heard = moved = True
            elif waited is not None and not mask & _IGNORED and (not waited or name in waited):
                heard = True
                moved = moved or bool(waited or mask & _ISDIR)
        if moved:
            self._watch_all()
        if heard:
            self._on_change()
