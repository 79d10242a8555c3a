# SPDX-License-Identifier: Apache-2.0
"""Other firewalls of the host: which are active, and touch what is not their own."""

import math
import time
from pathlib import Path

from podwatch.adapters.files import read_whole
from podwatch.adapters.systemd import Systemd
from podwatch.words.errors import Unreadable

_NFTABLES_FILES = (Path("/etc/nftables.conf"), Path("/etc/sysconfig/nftables.conf"))
_UFW_FILE = Path("/etc/ufw/ufw.conf")
_FILE_BYTES = 1 << 20

_NETAVARKS = ("netavark-firewalld-reload.service", "netavark-nftables-reload.service")
"""netavark's own reload units: each of their runs adds every port rule again (1.9 to 2.1)."""

_OTHERS = ("docker.service", "ufw.service", "nftables.service")
OTHERS_EVERY_S = 60.0
"""Other firewalls, and their rules, are looked at again after so long."""


class Neighbours:
    """The units that have rules of their own, as systemd tells it; none without systemd."""

    def __init__(self, systemd: Systemd | None) -> None:
        self._systemd = systemd
        self._others: tuple[str, ...] = ()
        self._others_at = -math.inf

    async def active(self) -> tuple[str, ...]:
        """netavark's own that are active, and the others that are and interfere.

        Of the others only those that were so are asked for, but for once a minute.
        """
        if self._systemd is None:
            return ()
        now = time.monotonic()
        is_due = now >= self._others_at + OTHERS_EVERY_S
        asked = _NETAVARKS + (_OTHERS if is_due else self._others)
        try:
            states = await self._systemd.active_states(asked)
        except Unreadable:
            return ()  # only a courtesy: what they do is seen in the rules anyway
        active = [name for name in asked if states.get(name) == "active"]
        if is_due:
            self._others_at = now
        self._others = tuple(
            name for name in active if name in _OTHERS and (not is_due or interferes(name))
        )
        return (*(name for name in active if name in _NETAVARKS), *self._others)


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
