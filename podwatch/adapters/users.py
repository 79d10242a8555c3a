# SPDX-License-Identifier: Apache-2.0
"""What the podwatch of each user wrote down last, read by root and believed by nobody.

The file, its directory and what is mounted there are the user's: a FIFO, a link, a file system that
never answers. So a child reads it with that user's rights alone, follows no link, and has seconds
to hand the bytes back. One that does not is ended, and keeps no other user's from being read.
"""

import os
import pwd
import selectors
import signal
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from podwatch.adapters.files import open_below
from podwatch.words.errors import StateUnreadable
from podwatch.words.text import clean

RUNTIMES = Path("/run/user")
"""Where systemd makes the runtime directories of users (pam_systemd(8)); it is root's."""

LIMIT_BYTES = 1024 * 1024
LIMIT_S = 2.0
_AT_ONCE = 50
_PIECE_BYTES = 65536
_PLACE = ("podwatch", "status.json")
_STAMP = struct.Struct("d")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a user's podwatch wrote, at the moment `written` that its file has.

    Without a `text` the user has no podwatch, or `why` says why it could not be read.
    """

    uid: int
    name: str
    text: str | None = None
    written: float = 0.0
    why: str = ""


@dataclass
class _Reader:
    """A child that reads for one user, and what it has handed over so far."""

    claim: Claim
    pid: int
    pipe: int
    data: bytearray = field(default_factory=bytearray)
    why: str = "the process that read it has ended"


def read_claims(runtimes: Path = RUNTIMES, *, limit_s: float = LIMIT_S) -> list[Claim]:
    """The claim of every user who has a runtime directory, but root's, by uid.

    Raises StateUnreadable where no child can be started.
    """
    users = sorted(_users(runtimes))
    found: list[Claim] = []
    for first in range(0, len(users), _AT_ONCE):
        found += _read(runtimes, users[first : first + _AT_ONCE], limit_s)
    return found


def _users(runtimes: Path) -> Iterator[tuple[int, int]]:
    """(uid, gid) of each user with a runtime directory."""
    try:
        entries = list(os.scandir(runtimes))
    except OSError:
        return
    for entry in entries:
        if entry.name.isascii() and entry.name.isdecimal() and entry.name != "0":
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode) and str(info.st_uid) == entry.name:
                yield info.st_uid, info.st_gid


def _read(runtimes: Path, users: Sequence[tuple[int, int]], limit_s: float) -> list[Claim]:
    readers: list[_Reader] = []
    try:
        for uid, gid in users:
            readers.append(_begin(runtimes / str(uid), uid, gid))
        _collect(readers, time.monotonic() + limit_s)
    except OSError as exc:
        raise StateUnreadable(f"cannot read what users' podwatches say: {exc.strerror}") from exc
    finally:
        for reader in readers:
            os.close(reader.pipe)
            os.kill(reader.pid, signal.SIGKILL)
            os.waitpid(reader.pid, 0)
    return [_claim_of(reader) for reader in readers]


def _begin(directory: Path, uid: int, gid: int) -> _Reader:
    ours, theirs = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        raise
    if pid == 0:
        try:
            _hand_over(directory, uid, gid, theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        name = clean(pwd.getpwuid(uid).pw_name)
    except KeyError:
        name = ""
    return _Reader(Claim(uid, name), pid, ours)


def _hand_over(directory: Path, uid: int, gid: int, pipe: int) -> None:
    """In the child: read as that user. Hands over "." and the bytes, "!" and why not, or "-"."""
    with os.fdopen(pipe, "wb") as out:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            with os.fdopen(open_below(directory, *_PLACE, owner=uid), "rb") as file:
                written = os.fstat(file.fileno()).st_mtime
                out.write(b"." + _STAMP.pack(written) + file.read(LIMIT_BYTES + 1))
        except FileNotFoundError:
            out.write(b"-")
        except OSError as exc:
            out.write(b"!" + (exc.strerror or str(exc)).encode())


def _collect(readers: Sequence[_Reader], end: float) -> None:
    """Take what the children hand over, until all have or the time is over."""
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.pipe, selectors.EVENT_READ, reader)
        while selector.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                reader = key.data
                piece = os.read(reader.pipe, _PIECE_BYTES)
                reader.data += piece
                if not piece or len(reader.data) > LIMIT_BYTES + _PIECE_BYTES:
                    selector.unregister(reader.pipe)
        for key in selector.get_map().values():
            key.data.why = "reading it takes too long"
            key.data.data.clear()


def _claim_of(reader: _Reader) -> Claim:
    claim, kind, data = reader.claim, bytes(reader.data[:1]), bytes(reader.data[1:])
    if kind == b"-":
        return claim
    if kind == b"!":
        return replace(claim, why=clean(data.decode("utf-8", "replace")))
    if kind != b"." or len(data) < _STAMP.size:
        return replace(claim, why=reader.why)
    text = data[_STAMP.size :]
    if len(text) > LIMIT_BYTES:
        return replace(claim, why=f"larger than {LIMIT_BYTES} bytes")
    (written,) = _STAMP.unpack(data[: _STAMP.size])
    try:
        return replace(claim, text=text.decode(), written=written)
    except UnicodeDecodeError:
        return replace(claim, why="not UTF-8")
