# SPDX-License-Identifier: Apache-2.0
"""The DHCP proxies' sockets, enabled and started for a podwatch that is not root.

Of such a podwatch systemd takes orders only for units of podwatch's own (packaging/polkit): there
is no right to enable one unit and no other, and a rule that names a unit of another package lets
its holder run anything where that package is not installed. So two small units do it as root, each
for the proxy that its instance names.
"""

from collections.abc import Sequence
from typing import Protocol

from podwatch.words.errors import RestoreFailed

ENABLE = "podwatch-dhcp-enable"
RESTART = "podwatch-dhcp-restart"

_LIMIT_S = 10.0


class Units(Protocol):
    """Who starts units and waits for the end of their jobs: systemd's adapter."""

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """How each job ended, by the unit's name; "done" where it went well."""


class ProxyUnits:
    """As adapters.systemd.Systemd, for the proxies' sockets alone."""

    def __init__(self, systemd: Units) -> None:
        self._systemd = systemd

    async def enable(self, name: str) -> None:
        """Have a socket started at every boot. Raises BusUnavailable or RestoreFailed."""
        await self._run(ENABLE, name)

    async def start(self, name: str, *, also_reset: Sequence[str] = (), restart: bool) -> None:
        """Start a socket, or start it anew; failures before, of its service too, are forgotten.

        Raises BusUnavailable or RestoreFailed.
        """
        await self._run(RESTART, name)

    async def _run(self, template: str, socket: str) -> None:
        unit = f"{template}@{socket.removesuffix('.socket')}.service"
        said = (await self._systemd.run_units([unit], at_once=1, timeout_s=_LIMIT_S))[unit]
        if said != "done":
            raise RestoreFailed(f"{unit}: {said}", hint=f"journalctl -u {unit}")
