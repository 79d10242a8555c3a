# SPDX-License-Identifier: Apache-2.0
"""The journal, in its native protocol, so that entries keep their fields.

Each entry is one datagram (systemd docs/JOURNAL_NATIVE_PROTOCOL.md). A field is `NAME=value` and a
newline; a value of several lines is the name, a newline, the length as 64 bits little endian, the
value and a newline.
"""

import errno
import os
import re
import socket
import struct
from collections.abc import Mapping

from podwatch.adapters.program import run
from podwatch.words.text import clean

SOCKET = "/run/systemd/journal/socket"
_READ_TIMEOUT_S = 5.0
MAX_FIELD_BYTES = 48 * 1024
"""The longest value sent; journald itself cuts fields when it forwards them to syslog."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LENGTH = struct.Struct("<Q")


def connected_to_journal() -> bool:
    """Whether stderr goes to the journal (systemd.exec(5), JOURNAL_STREAM= "device:inode")."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(2)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False  # no stderr, or not started by systemd


def encode(fields: Mapping[str, str | int]) -> bytes:
    """One entry's datagram. Names the journal would refuse are left out, long values are cut."""
    parts: list[bytes] = []
    for name, value in fields.items():
        if _NAME.fullmatch(name) is None:
            continue
        data = str(value).encode("utf-8", "replace")[:MAX_FIELD_BYTES]
        if b"\n" in data:
            parts += [name.encode(), b"\n", _LENGTH.pack(len(data)), data, b"\n"]
        else:
            parts += [name.encode(), b"=", data, b"\n"]
    return b"".join(parts)


def send(fields: Mapping[str, str | int], *, path: str = SOCKET) -> bool:
    """Send one entry; False when the journal did not take it. Never raises, never waits.

    An entry larger than a datagram goes as a sealed memory file, as journald wants it.
    """
    entry = encode(fields)
    if not entry:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0)
        try:
            sock.sendto(entry, path)
        except OSError as exc:
            if exc.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                return False  # no journal here, or its queue is full: logging must not stop us
            return _send_file(sock, entry, path)
    return True


async def last_words(unit: str, since: float) -> str:
    """The last line that a unit's program wrote since then (seconds since the epoch).

    "" where the journal does not say. Entries of systemd itself about the unit are left out.
    """
    await run(["journalctl", "--sync"], timeout_s=_READ_TIMEOUT_S)
    wanted = [f"_SYSTEMD_UNIT={unit}", f"--since=@{int(since)}", "--lines=5"]
    shown = ["--output=cat", "--quiet", "--no-pager"]
    result = await run(["journalctl", *wanted, *shown], timeout_s=_READ_TIMEOUT_S)
    return clean(result.stdout.strip().rpartition("\n")[2][:400])


def _send_file(sock: socket.socket, entry: bytes, path: str) -> bool:
    import fcntl

    fd = os.memfd_create("podwatch-journal", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(entry)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        descriptors = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", fd))
        sock.sendmsg([b""], [descriptors], 0, path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
