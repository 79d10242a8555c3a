# SPDX-License-Identifier: Apache-2.0
"""Whether somebody listens on a unix socket, without connecting: that would start its service."""

import stat
from pathlib import Path

from podwatch.adapters.files import read_proc

_LIMIT_BYTES = 64 * 1024 * 1024
_LISTENS = 0x10000  # __SO_ACCEPTCON, net/unix/af_unix.c unix_seq_show


def path_exists(path: str) -> bool:
    """Whether a socket is at this path."""
    try:
        return stat.S_ISSOCK(Path(path).lstat().st_mode)
    except OSError:
        return False


def is_listening(path: str, table: Path = Path("/proc/net/unix")) -> bool:
    """Whether a listening socket was bound to this path, even if the path itself is gone since.

    Lines of `table`: Num: RefCount Protocol Flags Type St Inode Path (proc(5)).
    """
    try:
        lines = (
            read_proc(table, limit_bytes=_LIMIT_BYTES).decode("utf-8", "replace").splitlines()[1:]
        )
    except OSError:
        return False
    for line in lines:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[7] == path and int(fields[3], 16) & _LISTENS:
            return True
    return False
