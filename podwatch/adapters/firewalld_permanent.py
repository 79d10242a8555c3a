# SPDX-License-Identifier: Apache-2.0
"""firewalld's permanent configuration: read, and one source added or taken away, over D-Bus.

Nothing of it is in effect before firewalld's next reload or start. uid 0 may change it: polkit is
asked for everybody else (firewall/server/config_zone.py, 1.3 to 2.5).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from podwatch.adapters.dbus import SystemBus
from podwatch.adapters.files import read_whole
from podwatch.drivers.about import TRUSTED
from podwatch.formats.firewalld_conf import has_policy, reload_policy
from podwatch.words.snapshot import Permanent
from podwatch.words.text import clean

_NAME = "org.fedoraproject.FirewallD1"
_PATH = "/org/fedoraproject/FirewallD1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
MAX_BYTES = 1 << 20


class PermanentFirewalld:
    """What firewalld has on disk; `conf` is its firewalld.conf."""

    def __init__(self, bus: SystemBus, conf: Path) -> None:
        self._bus = bus
        self._conf = conf

    def stamp(self) -> object:
        """What changes whenever firewalld.conf, of which firewalld tells nothing, is another."""
        try:
            info = self._conf.stat()
        except OSError:
            return None
        return info.st_ino, info.st_mtime_ns, info.st_size

    async def read(self, subnets: Iterable[str]) -> Permanent:
        """What it has of zone trusted, and in which zones these subnets are.

        Raises Unreadable where firewalld does not answer, or its file cannot be read.
        """
        version = await self._property("", "version")
        backend = await self._property("config", "FirewallBackend")
        trusted = await self._trusted()
        (listed,) = await self._ask(trusted, "config.zone", "getSources", returns="as")
        sources = {clean(source): TRUSTED for source in listed}
        for subnet in subnets:
            if subnet not in sources:
                (zone,) = await self._ask(
                    f"{_PATH}/config", "config", "getZoneOfSource", [subnet], returns="s"
                )
                if zone:
                    sources[subnet] = clean(zone)
        policy = {}
        if has_policy(version):
            policy = reload_policy(read_whole(self._conf, limit_bytes=MAX_BYTES) or "")
        return Permanent(version, backend == "nftables", sources, policy)

    async def add(self, subnet: str) -> None:
        """Make a subnet a permanent source of zone trusted.

        firewalld refuses where it is one already, of any zone. Raises BusUnavailable.
        """
        await self._ask(await self._trusted(), "config.zone", "addSource", [subnet])

    async def remove(self, subnet: str) -> None:
        """Take a permanent source out of zone trusted. Raises BusUnavailable."""
        await self._ask(await self._trusted(), "config.zone", "removeSource", [subnet])

    async def _trusted(self) -> str:
        """The object of zone trusted: a reload makes others."""
        (path,) = await self._ask(
            f"{_PATH}/config", "config", "getZoneByName", [TRUSTED], returns="o"
        )
        return str(path)

    async def _property(self, part: str, name: str) -> str:
        path = f"{_PATH}/{part}" if part else _PATH
        interface = f"{_NAME}.{part}" if part else _NAME
        (found,) = await self._bus.call(
            _NAME, path, _PROPERTIES, "Get", "ss", [interface, name], returns="v"
        )
        return clean(found.value) if found.signature == "s" else ""

    async def _ask(
        self,
        path: str,
        part: str,
        member: str,
        body: list[Any] | None = None,
        *,
        returns: str | None = None,
    ) -> list[Any]:
        texts = body or []
        return await self._bus.call(
            _NAME, path, f"{_NAME}.{part}", member, "s" * len(texts), texts, returns=returns
        )
