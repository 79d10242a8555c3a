# SPDX-License-Identifier: Apache-2.0
"""The network namespace that Podman's networks are in, and how it is reached from outside.

Root's networks are in the namespace of this process. A user's are in one of their own, which only
shows inside that user's mount namespace (`podman unshare --rootless-netns` goes there, and may
repair or destroy it: it is no way to look). What the kernel grants goes by where a socket or a file
was opened, and by who uses it; and the owner of a user namespace has every capability over it from
outside (user_namespaces(7)). So only to open takes to enter: a child does that, hands the
descriptors out, and ends. Nothing of podwatch's stays inside.

Whatever else is opened in the networks' namespace is opened here: netlink sockets, /proc/net and
/proc/sys/net. A process looks after one Podman, so which namespace that is, is set once for all.
"""

import array
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import NoReturn

from podwatch.adapters.files import open_regular, read_proc

_NEWUSER, _NEWNS, _NEWNET = 0x10000000, 0x00020000, 0x40000000  # linux/sched.h
_SIOCGIFNAME, _SIOCGIFINDEX = 0x8910, 0x8933  # linux/sockios.h
_IFREQ = struct.Struct("16si20x")
_PIECE_BYTES = 65536
_MAX_FILES = 128
"""So many files of /proc are kept open; each look reads the same ones again."""


_ANSWER_S = 5.0


class NotThere(OSError):
    """The networks' namespace is not there: its Podman has no network now."""

    def __init__(self) -> None:
        super().__init__(errno.ENETDOWN, "the networks' namespace is not there")


class Own:
    """The namespace of this process."""

    is_there = True
    enter: Callable[[], None] | None = None
    """What a child has to do before it runs a program there."""

    def netlink(self, protocol: int) -> socket.socket:
        """A netlink socket of this protocol. Raises OSError."""
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)

    @contextmanager
    def question(self, protocol: int) -> Iterator[socket.socket]:
        """A netlink socket to ask by; whoever is done has read the whole answer. Raises OSError."""
        with self.netlink(protocol) as sock:
            yield sock

    def read(self, path: str, limit_bytes: int) -> bytes:
        """What a file below /proc/net or /proc/sys holds there. Raises OSError."""
        return read_proc(path, limit_bytes=limit_bytes)

    def write(self, path: str, value: str) -> None:
        """Set a file below /proc/sys. Raises OSError."""
        with os.fdopen(open_regular(path, os.O_WRONLY), "wb", buffering=0) as file:
            file.write(value.encode())

    def has(self, name: str) -> bool:
        """Whether /sys/class/net has this, relative to it."""
        return os.path.lexists(f"/sys/class/net/{name}")

    def holds(self, process: str) -> bool:
        """Whether a process, by its directory in /proc, may be in it; it is not asked of root's."""
        return True

    def close(self) -> None:
        """Let go of it."""


class Nowhere(Own):
    """A user's namespace while there is none: nothing is in it."""

    is_there = False

    def netlink(self, protocol: int) -> socket.socket:
        """Raises NotThere."""
        raise NotThere

    def read(self, path: str, limit_bytes: int) -> bytes:
        """Raises NotThere."""
        raise NotThere

    def write(self, path: str, value: str) -> None:
        """Raises NotThere."""
        raise NotThere

    def has(self, name: str) -> bool:
        """Nothing."""
        return False


@dataclass
class Entered(Own):
    """A user's namespace, by descriptors of its user, mount and network namespace."""

    user: int
    mount: int
    net: int
    _files: dict[str, int] = field(default_factory=dict)
    _idle: dict[int, list[socket.socket]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.enter = self._enter

    @classmethod
    def through(cls, pid: int, path: str) -> "Entered":
        """The namespace that has the file `path` in the mount namespace of this process.

        Raises OSError where the process has ended, is another user's, or has no such file.
        """
        user = open_regular(f"/proc/{pid}/ns/user", follow=True)
        try:
            mount = open_regular(f"/proc/{pid}/ns/mnt", follow=True)
        except OSError:
            os.close(user)
            raise
        try:

            def find() -> list[int]:
                _setns(user, _NEWUSER)
                _setns(mount, _NEWNS)
                found = open_regular(path, follow=True)
                _setns(found, _NEWNET)  # refused where it is no network namespace
                return [found]

            (net,) = _from_child(find)
        except OSError:
            os.close(user)
            os.close(mount)
            raise
        return cls(user, mount, net)

    @property
    def inode(self) -> int:
        """The number by which the kernel tells it from others."""
        return os.fstat(self.net).st_ino

    def _enter(self) -> None:
        _setns(self.user, _NEWUSER)
        _setns(self.mount, _NEWNS)
        _setns(self.net, _NEWNET)

    def netlink(self, protocol: int) -> socket.socket:
        """A netlink socket of this protocol, opened inside. Raises OSError."""

        def opened() -> list[int]:
            self._enter()
            return [Own.netlink(self, protocol).detach()]

        return socket.socket(fileno=_from_child(opened)[0])

    @contextmanager
    def question(self, protocol: int) -> Iterator[socket.socket]:
        """The same one each time, and for a question within another, a second one.

        To open one takes a child. Raises OSError.
        """
        idle = self._idle.setdefault(protocol, [])
        sock = idle.pop() if idle else self.netlink(protocol)
        try:
            yield sock
        except BaseException:
            sock.close()  # an answer may still come
            raise
        idle.append(sock)

    def read(self, path: str, limit_bytes: int) -> bytes:
        """What a file below /proc/net or /proc/sys holds inside. Raises OSError."""
        for _ in range(2):
            descriptor, is_known = self._opened(path)
            try:
                return b"".join(_pieces(descriptor, limit_bytes))
            except OSError:
                self._forget(path)
                if not is_known:
                    raise
        raise NotThere

    def write(self, path: str, value: str) -> None:
        """Set a file below /proc/sys inside. Raises OSError."""
        os.pwrite(self._opened(path)[0], value.encode(), 0)

    def has(self, name: str) -> bool:
        """Nothing: /sys shows the host's interfaces inside, too."""
        return False

    def holds(self, process: str) -> bool:
        """Whether a process is in it; also where the kernel does not tell."""
        try:
            return os.stat(f"{process}/ns/net").st_ino == self.inode
        except OSError:
            return True

    def bind(self, path: str) -> None:
        """Give the namespace its file again, in the mount namespace. Raises OSError."""

        def bound() -> list[int]:
            _setns(self.user, _NEWUSER)
            _setns(self.mount, _NEWNS)
            _bind(f"/proc/self/fd/{self.net}", path)
            return []

        _from_child(bound)

    def close(self) -> None:
        """Let go of it: nothing of podwatch's keeps it any more."""
        for path in list(self._files):
            self._forget(path)
        while self._idle:
            for sock in self._idle.popitem()[1]:
                sock.close()
        for descriptor in (self.user, self.mount, self.net):
            with suppress(OSError):
                os.close(descriptor)
        self.user = self.mount = self.net = -1

    def _opened(self, path: str) -> tuple[int, bool]:
        """A descriptor of a file inside, and whether it was open already."""
        if path in self._files:
            return self._files[path], True
        flags = os.O_RDWR if path.startswith("/proc/sys/") else os.O_RDONLY

        def opened() -> list[int]:
            self._enter()
            return [open_regular(path, flags, follow=True)]

        while len(self._files) >= _MAX_FILES:
            self._forget(next(iter(self._files)))
        self._files[path] = _from_child(opened)[0]
        return self._files[path], False

    def _forget(self, path: str) -> None:
        os.close(self._files.pop(path))


_OWN, _NOWHERE = Own(), Nowhere()
_networks: Own = _OWN
_number = 0


def networks() -> Own:
    """The namespace of Podman's networks."""
    return _networks


def look_after(namespace: Own | None) -> None:
    """From now on Podman's networks are in this namespace; None where they are in none now."""
    global _networks, _number
    before, _networks = _networks, namespace or _NOWHERE
    if before is not _networks:
        before.close()
        _number += 1


def number() -> int:
    """Which namespace it is: another number for each that was looked after.

    What was learnt of one says nothing of the next, though links and rules have the same numbers.
    """
    return _number


def is_there() -> bool:
    """Whether Podman's networks are in any namespace now."""
    return _networks.is_there


def index_of(name: str) -> int:
    """The index of a link there. Raises OSError."""
    request = _IFREQ.pack(name.encode()[:15], 0)
    return int(_IFREQ.unpack(_asked(_SIOCGIFINDEX, request))[1])


def name_of(index: int) -> str:
    """The name of the link with this index there. Raises OSError."""
    found = _IFREQ.unpack(_asked(_SIOCGIFNAME, _IFREQ.pack(b"", index)))[0]
    return bytes(found).rstrip(b"\0").decode("utf-8", "replace")


def _asked(number: int, request: bytes) -> bytes:
    with _networks.question(socket.NETLINK_ROUTE) as sock:
        return fcntl.ioctl(sock, number, request)


# What is done inside.


def _from_child(task: Callable[[], list[int]]) -> list[int]:
    """The descriptors that a child opens by this task, which enters a namespace. Raises OSError.

    A process that has threads cannot enter a user namespace, and one that entered has no way back.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            pid = os.fork()
            if pid == 0:
                _do(task, theirs)
        try:
            ours.settimeout(_ANSWER_S)
            return _received(ours)
        finally:
            os.waitpid(pid, 0)


def _do(task: Callable[[], list[int]], theirs: socket.socket) -> NoReturn:
    try:
        try:
            found, number = task(), 0
        except OSError as exc:
            found, number = [], exc.errno or errno.EIO
        socket.send_fds(theirs, [struct.pack("=i", number)], found)
    finally:
        os._exit(0)


def _received(ours: socket.socket) -> list[int]:
    descriptors = array.array("i")
    data, ancillary, _, _ = ours.recvmsg(4, socket.CMSG_SPACE(4 * 8), socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    number = struct.unpack("=i", data)[0] if len(data) == 4 else errno.EIO
    if number:
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError(number, os.strerror(number))
    return list(descriptors)


def _pieces(descriptor: int, limit_bytes: int) -> Iterator[bytes]:
    """What a file of /proc holds from its beginning, up to so many bytes."""

    def pieces() -> Iterator[bytes]:
        at = 0
        while piece := os.pread(descriptor, min(limit_bytes, _PIECE_BYTES), at):
            at += len(piece)
            yield piece

    return islice(pieces(), -(-limit_bytes // _PIECE_BYTES))


def _setns(descriptor: int, kind: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, kind)
    else:
        _called("setns", descriptor, kind)


def _bind(source: str, target: str) -> None:
    _called("mount", source.encode(), target.encode(), None, 4096, None)  # MS_BIND


def _called(name: str, *arguments: object) -> None:
    """Call a function of libc that Python does not have."""
    import ctypes

    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
