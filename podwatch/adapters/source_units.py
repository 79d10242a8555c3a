# SPDX-License-Identifier: Apache-2.0
"""Sources of firewalld's zones, made by a unit of root's for a podwatch that is not root.

firewalld has one right for all of its configuration, and who has that has root run iptables with
arguments of their choice, and read files. So podwatch's user may only ask firewalld, and a small
unit does as root the one change that podwatch makes, for a subnet that netavark set up.
"""

from collections.abc import Sequence
from typing import Protocol

from podwatch.words.errors import RestoreFailed

TRUST = "podwatch-trust"

_LIMIT_S = 10.0


class Units(Protocol):
    """Who starts units and waits for the end of their jobs: systemd's adapter."""

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """How each job ended, by the unit's name; "done" where it went well."""


class Sources(Protocol):
    """Who makes sources of subnets: firewalld's adapter, or units of root's."""

    async def trust(self, subnet: str, zone: str) -> None:
        """Make `subnet` a source of a zone. Raises PodwatchError."""


class SourceUnits:
    """As adapters.firewalld.FirewalldWatch, for sources alone."""

    def __init__(self, systemd: Units) -> None:
        self._systemd = systemd

    async def trust(self, subnet: str, zone: str) -> None:
        """Make `subnet` a source of the zone that netavark's driver wants it in.

        The unit finds the zone by itself. Raises BusUnavailable or RestoreFailed.
        """
        unit = f"{TRUST}@{subnet.replace('/', '-')}.service"
        said = (await self._systemd.run_units([unit], at_once=1, timeout_s=_LIMIT_S))[unit]
        if said != "done":
            raise RestoreFailed(f"{unit}: {said}", hint=f"journalctl -u {unit}")
