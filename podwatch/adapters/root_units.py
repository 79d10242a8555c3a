# SPDX-License-Identifier: Apache-2.0
"""What small units of podwatch's own do as root for a podwatch that is not root.

firewalld has one right for all of its configuration, and who has that has root run iptables with
arguments of their choice, and read files. systemd has none to enable one unit and no other, and a
rule of polkit's that names a unit of another package lets its holder run anything where that
package is not installed. So podwatch's user may start these units alone: each does one thing, for
the subnet or the proxy that its instance names.
"""

from collections.abc import Sequence
from typing import Protocol

from podwatch.words.errors import RestoreFailed

ENABLE = "podwatch-dhcp-enable"
RESTART = "podwatch-dhcp-restart"
TRUST = "podwatch-trust"

_LIMIT_S = 10.0


class Units(Protocol):
    """Who starts units and waits for the end of their jobs: systemd's adapter."""

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """How each job ended, by the unit's name; "done" where it went well."""


class Sources(Protocol):
    """Who makes sources of subnets: firewalld's adapter, or RootUnits."""

    async def trust(self, subnet: str, zone: str) -> None:
        """Make `subnet` a source of a zone. Raises PodwatchError."""


class RootUnits:
    """As adapters.systemd.Systemd for the DHCP proxies' sockets, and as
    adapters.firewalld.FirewalldWatch for sources.
    """

    def __init__(self, systemd: Units) -> None:
        self._systemd = systemd

    async def enable(self, name: str) -> None:
        """Have a socket started at every boot. Raises BusUnavailable or RestoreFailed."""
        await self._run(ENABLE, name.removesuffix(".socket"))

    async def start(self, name: str, *, also_reset: Sequence[str] = (), restart: bool) -> None:
        """Start a socket, or start it anew; failures before, of its service too, are forgotten.

        Raises BusUnavailable or RestoreFailed.
        """
        await self._run(RESTART, name.removesuffix(".socket"))

    async def trust(self, subnet: str, zone: str) -> None:
        """Make `subnet` a source of the zone that netavark's driver wants it in.

        The unit finds the zone by itself. Raises BusUnavailable or RestoreFailed.
        """
        await self._run(TRUST, subnet.replace("/", "-"))

    async def _run(self, template: str, instance: str) -> None:
        unit = f"{template}@{instance}.service"
        said = (await self._systemd.run_units([unit], at_once=1, timeout_s=_LIMIT_S))[unit]
        if said != "done":
            raise RestoreFailed(f"{unit}: {said}", hint=f"journalctl -u {unit}")
