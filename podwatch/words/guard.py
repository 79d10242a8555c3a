# SPDX-License-Identifier: Apache-2.0
"""The guard: a second table, podwatch's own, which nobody else's command can take away. Words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PREFIX = "podwatch-guard-"
"""What the table's name begins with; the rest is another one each time it is made."""

FAMILY = "inet"

THREAD = "podwatch-guard"
"""The thread that commits it, as the kernel knows it from Python 3.14 on."""


class GuardMode(StrEnum):
    """How much of it there is."""

    OFF = "off"
    ANCHOR = "anchor"
    """It meets no packet, and keeps the kernel's NAT and conntrack hooks: no established connection
    is reset while netavark's rules are gone."""
    FULL = "full"
    """It forwards ports, masquerades and isolates as netavark's rules do, one step behind them: no
    new connection is lost either."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One port of the host that the guard forwards: to whom, as nft writes it, and whose it is.

    `container_id` is "" for the name server of a network.
    """

    to: str
    container_id: str = ""


Key = tuple[str, str]
"""A map of the guard, and the key there as nft writes it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is in the guard: its chains and maps as nft's text, and the forwards in the maps."""

    mode: GuardMode
    frame: str
    forwards: Mapping[Key, Forward] = field(default_factory=dict)

    @property
    def containers(self) -> int:
        """How many containers' ports there are."""
        return len({way.container_id for way in self.forwards.values() if way.container_id})

    @property
    def ports(self) -> int:
        """How many ports of containers there are."""
        own = (item for item in self.forwards.items() if item[1].container_id)
        return len({(way.container_id, *key.split(" . ")[-2:]) for (_, key), way in own})


def is_guard(table: str) -> bool:
    """Whether a table, "family name", is called as a guard is; anybody may call his so."""
    return table.startswith(f"{FAMILY} {PREFIX}")
