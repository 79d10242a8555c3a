# SPDX-License-Identifier: Apache-2.0
"""Other firewalls of the host: whether one that is active touches what is not its own."""

from pathlib import Path

from podwatch.adapters.files import read_whole
from podwatch.words.errors import Unreadable

_NFTABLES_FILES = (Path("/etc/nftables.conf"), Path("/etc/sysconfig/nftables.conf"))
_UFW_FILE = Path("/etc/ufw/ufw.conf")
_FILE_BYTES = 1 << 20


def interferes(unit: str) -> bool:
    """Whether an active unit of another firewall takes or drops what is not its own."""
    if unit == "nftables.service":
        return any("\nflush ruleset" in f"\n{_text(path)}" for path in _NFTABLES_FILES)
    if unit == "ufw.service":  # active as soon as it is installed
        return "\nENABLED=yes" in _text(_UFW_FILE)
    return True


def _text(path: Path) -> str:
    try:
        return read_whole(path, limit_bytes=_FILE_BYTES) or ""
    except Unreadable:
        return ""
