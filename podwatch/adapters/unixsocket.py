# SPDX-License-Identifier: Apache-2.0
"""Whether somebody listens on a unix socket, without connecting: that would start its service."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from podwatch.adapters.files import read_proc
from podwatch.formats.socket_messages import (
    DATAGRAM_BYTES,
    Listener,
    listeners_request,
    parse_listeners,
)

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG, linux/netlink.h
_TIMEOUT_S = 1.0
_DATAGRAMS = 4096
MAX_BYTES = 64 * 1024 * 1024
_LISTENS = 0x10000  # __SO_ACCEPTCON, net/unix/af_unix.c unix_seq_show


def path_exists(path: str) -> bool:
    """Whether a socket is at this path."""
    try:
        return stat.S_ISSOCK(Path(path).lstat().st_mode)
    except OSError:
        return False


def is_listening(path: str) -> bool:
    """Whether a listening socket was bound to this path, even if the path itself is gone since.

    In a mount namespace of their own, anybody can bind a socket under this name, and the kernel
    lists it like the host's. So the listening socket's file has to be the one at the path; if
    nothing is at the path any more, a file on the same file system as the path's directory. A
    kernel without unix_diag lists names alone.
    """
    try:
        bound = [listener for listener in _listeners() if listener.name == path]
    except OSError:
        return _is_named(path)
    try:
        file = os.lstat(path)
        inode = file.st_ino & 0xFFFFFFFF
        bound = [bound_socket for bound_socket in bound if bound_socket.inode == inode]
    except OSError:
        try:
            file = os.stat(os.path.dirname(path))
        except OSError:
            return False
    return (os.major(file.st_dev), os.minor(file.st_dev)) in {
        bound_socket.device for bound_socket in bound
    }


def _listeners() -> Iterator[Listener]:
    """The unix sockets that listen, as far as they have a file. Raises OSError."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG
    ) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.sendto(listeners_request(), (0, 0))
        for _ in range(_DATAGRAMS):
            found, ended = parse_listeners(sock.recv(DATAGRAM_BYTES))
            yield from found
            if ended:
                raise OSError(ended, os.strerror(ended))
            if ended is not None:
                return


def _is_named(path: str) -> bool:
    """Lines of /proc/net/unix: Num: RefCount Protocol Flags Type St Inode Path (proc(5))."""
    try:
        lines = read_proc("/proc/net/unix", limit_bytes=MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    for line in lines.splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[7] == path and int(fields[3], 16) & _LISTENS:
            return True
    return False
