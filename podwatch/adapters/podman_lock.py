# SPDX-License-Identifier: Apache-2.0
"""podman's network lock: who has it. podwatch asks about it, and keeps podman off only where both
would start the same process.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from podwatch.adapters.files import open_regular
from podwatch.words.errors import RestoreFailed, StateUnreadable
from podwatch.words.snapshot import HeldLock

_F_OFD_GETLK, _F_OFD_SETLK = 36, 37  # <fcntl.h>; Python has no names for them
_FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid on 64-bit Linux


class NetworkLock:
    """The lock, which is another file with each version of podman: `paths` are all of them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)

    def held(self) -> HeldLock | None:
        """The lock while a program has it.

        It is only asked about (F_OFD_GETLK): podman does not wait for podwatch.
        """
        for path in self._paths:
            try:
                descriptor = open_regular(path, of_root=True)
            except OSError:
                continue  # see strange
            try:
                question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                answer = fcntl.fcntl(descriptor, _F_OFD_GETLK, question)
                kind, _, _, _, pid = _FLOCK.unpack(answer)
            except OSError:
                continue
            finally:
                os.close(descriptor)
            if kind != fcntl.F_UNLCK:
                # A lock of an open file, not of a process, is nobody's: -1.
                return HeldLock(str(path), shared=kind == fcntl.F_RDLCK, pid=max(pid, 0))
        return None

    def holder(self, *, waited_for: bool = False) -> str:
        """Say that podman is changing a network right now; empty when it is not.

        With `waited_for`, say too that podman cannot, as somebody else has its lock.
        """
        held = self.held()
        if held is not None and held.shared:
            return "somebody holds podman's network lock" if waited_for else ""
        return "podman is changing a network" if held is not None else ""

    @contextmanager
    def keeping_off(self) -> Iterator[None]:
        """Have every podman wait that is about to change a network, for as long as this takes.

        For reading, as podwatch may not write there, and as that changes nothing for podwatch's own
        looks. Whatever ends podwatch ends it, too. Raises RestoreFailed where podman has the lock.
        """
        with ExitStack() as opened:
            for path in self._paths:
                try:
                    descriptor = open_regular(path, of_root=True)
                except OSError:
                    continue  # no podman takes that one: see strange
                opened.callback(os.close, descriptor)
                try:
                    lock = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
                    fcntl.fcntl(descriptor, _F_OFD_SETLK, lock)
                except OSError as exc:
                    held = exc.errno in (errno.EAGAIN, errno.EACCES)
                    why = "podman is changing a network" if held else f"{path}: {exc.strerror}"
                    raise RestoreFailed(why) from exc
            yield

    def strange(self) -> Iterable[StateUnreadable]:
        """Where something is that is no lock of podman's: on Debian everybody writes to /run/lock.

        podwatch does not ask about such a lock, and does not wait for it.
        """
        for path in self._paths:
            try:
                os.close(open_regular(path, of_root=True))
            except FileNotFoundError:
                continue  # not this version's, or no network was ever set up
            except OSError as exc:
                try:
                    owner = f" of uid {os.lstat(path).st_uid}"
                except OSError:
                    owner = ""
                yield StateUnreadable(
                    f"{path}{owner} is no lock of podman's: {exc.strerror}",
                    hint=f"see ls -l {path}; where nobody needs it: rm {path}",
                )
