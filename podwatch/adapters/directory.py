# SPDX-License-Identifier: Apache-2.0
"""A directory whose files are watched, by inotify(7): what changes there is heard of, not polled.

No binding of it is in all the distributions podwatch runs on; three calls of the C library do.
"""

import ctypes
import os
from pathlib import Path

from podwatch.words.errors import StateUnreadable

_MASK = 0x8 | 0x80 | 0x200 | 0x400  # IN_CLOSE_WRITE, IN_MOVED_TO, IN_DELETE, IN_DELETE_SELF
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC


class DirectoryChanges:
    """Readable (it has a `fileno`) when a file in `path` was written, renamed to, or removed.

    Raises StateUnreadable when the directory cannot be watched.
    """

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(_NONBLOCK_CLOEXEC)
        if self._descriptor < 0:
            raise _refused(path)
        if libc.inotify_add_watch(self._descriptor, os.fsencode(path), _MASK) < 0:
            error = _refused(path)
            self.close()
            raise error

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._descriptor

    def drain(self) -> None:
        """Forget what has happened so far."""
        try:
            while os.read(self._descriptor, 65536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop to watch."""
        os.close(self._descriptor)


def _refused(path: Path) -> StateUnreadable:
    number = ctypes.get_errno()
    return StateUnreadable(f"cannot watch {path}: {os.strerror(number)}")
