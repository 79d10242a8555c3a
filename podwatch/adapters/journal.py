# SPDX-License-Identifier: Apache-2.0
"""journald's native protocol: one datagram of fields for each entry.

Format: https://systemd.io/JOURNAL_NATIVE_PROTOCOL (NAME=value lines; a value with a newline in it
is written as NAME, its length as 64 bits little-endian, and the value).
"""

import os
import re
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
LIMIT_BYTES = 48 * 1024
"""A longer value is cut: the socket takes datagrams of about 200 KB."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def connected_to_journal() -> bool:
    """Whether stderr goes to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        info = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


def send(fields: Mapping[str, str | int | float]) -> bool:
    """Write one entry; fields whose name the journal would not take are left out.

    Returns False when the journal does not take it: the caller has another way to be heard.
    """
    datagram = b"".join(
        _field(name, str(value).encode("utf-8", "replace")[:LIMIT_BYTES])
        for name, value in fields.items()
        if _NAME.fullmatch(name)
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.sendto(datagram, str(SOCKET))
    except OSError:
        return False
    return True


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
