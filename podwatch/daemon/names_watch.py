# SPDX-License-Identifier: Apache-2.0
"""Hearing that aardvark-dns has ended, within a millisecond, by its pidfd.

Its directory is watched for a new one. A container that starts or stops writes there, too: that is
no news while the pid file names the process that is known.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from podwatch.adapters.aardvark import Aardvark
from podwatch.adapters.inotify import DirectoryWatch


class NamesWatch:
    """Calls `on_change`, with what it heard, when the name server has ended or is another one."""

    def __init__(self, aardvark: Aardvark, on_change: Callable[[str], None]) -> None:
        self._aardvark = aardvark
        self._on_change = on_change
        self._files = DirectoryWatch(
            [aardvark.directory], self._written, lacking="a new aardvark-dns is noticed late"
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._named = 0
        self._pid, self._fd = 0, -1

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, on this loop. Raises Unreadable when the kernel grants no instance."""
        self._files.attach(loop)
        self._loop = loop
        self._named = self._aardvark.named()
        self._follow()

    def close(self) -> None:
        """Stop listening."""
        self._files.close()
        self._forget()

    def describe(self) -> str:
        """Whether it listens, in words."""
        return self._files.describe()

    def _written(self) -> None:
        """Something in the directory was written: the pid file matters alone."""
        named = self._aardvark.named()
        if named == self._named and (self._fd >= 0 or not named):
            return
        self._named = named
        self._follow()
        if self._aardvark.has_files():
            self._on_change(f"aardvark-dns' pid file was {'written' if named else 'removed'}")

    def _follow(self) -> None:
        """Hear of the end of the process that is named now, if that is aardvark-dns."""
        if self._loop is None or self._named in (0, self._pid):
            return
        with suppress(OSError):  # it has ended
            descriptor = os.pidfd_open(self._named)
            # The number may have become another's before it was opened.
            if not self._aardvark.serves(self._named):
                os.close(descriptor)
                return
            self._forget()
            self._pid, self._fd = self._named, descriptor
            self._loop.add_reader(descriptor, self._ended)

    def _ended(self) -> None:
        pid = self._pid
        self._forget()
        if self._aardvark.has_files():  # else its last container has stopped
            self._on_change(f"aardvark-dns ({pid}) ended")

    def _forget(self) -> None:
        if self._fd >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
        self._pid, self._fd = 0, -1
