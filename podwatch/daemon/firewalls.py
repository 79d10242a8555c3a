# SPDX-License-Identifier: Apache-2.0
"""Other firewalls of the host: which are active and interfere, and which of their chains drop."""

import math
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from podwatch.adapters import namespace
from podwatch.adapters.files import read_whole
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import chain_exists, generation
from podwatch.drivers import forwarding
from podwatch.drivers.forwarding import parse_chains
from podwatch.words.errors import Unreadable
from podwatch.words.links import NETWORK_MANAGER, NETWORKD
from podwatch.words.way import BaseChain

if TYPE_CHECKING:  # a user's podwatch does without, and without the bus
    from podwatch.adapters.systemd import Systemd

_NFTABLES_FILES = (Path("/etc/nftables.conf"), Path("/etc/sysconfig/nftables.conf"))
_UFW_FILE = Path("/etc/ufw/ufw.conf")
MAX_FILE_BYTES = 1 << 20
MAX_TABLES = 16

_NETAVARKS = ("netavark-firewalld-reload.service", "netavark-nftables-reload.service")
"""netavark's own reload units: each of their runs adds every port rule again (1.9 to 2.1)."""

KEEPERS = (NETWORK_MANAGER, NETWORKD)
"""They have no rules, but may configure Podman's bridges: one that starts takes them at once."""

_OTHERS = ("docker.service", "ufw.service", "nftables.service")
_RUNS = ("active", "reloading")
OTHERS_EVERY_S = 60.0
"""Other firewalls, and their rules, are looked at again after so long."""


class Neighbours:
    """The units that have rules of their own, as systemd tells it; none without systemd.

    `clock` counts seconds.
    """

    def __init__(
        self, systemd: "Systemd | None", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._systemd = systemd
        self._clock = clock
        self._others: tuple[str, ...] = ()
        self._others_at = -math.inf

    async def active(self) -> tuple[str, ...]:
        """Those that are active: netavark's own, others that interfere, and `KEEPERS`.

        Of other firewalls only those that were so are asked for, but for once a minute.
        """
        if self._systemd is None:
            return ()
        now = self._clock()
        is_due = now >= self._others_at + OTHERS_EVERY_S
        asked = (*_NETAVARKS, *(_OTHERS if is_due else self._others), *KEEPERS)
        try:
            states = await self._systemd.active_states(asked)
        except Unreadable:
            return ()  # only a courtesy: what they do is seen in the rules anyway
        active = [name for name in asked if states.get(name) in _RUNS]
        if is_due:
            self._others_at = now
        self._others = tuple(
            name for name in active if name in _OTHERS and (not is_due or interferes(name))
        )
        return tuple(name for name in active if name not in _OTHERS or name in self._others)


def interferes(unit: str) -> bool:
    """Whether an active unit of another firewall takes or drops what is not its own."""
    if unit == "nftables.service":
        return any("\nflush ruleset" in f"\n{_text(path)}" for path in _NFTABLES_FILES)
    if unit == "ufw.service":  # active as soon as it is installed
        return "\nENABLED=yes" in _text(_UFW_FILE)
    return True


def _text(path: Path) -> str:
    try:
        return read_whole(path, limit_bytes=MAX_FILE_BYTES) or ""
    except Unreadable:
        return ""


async def drops_of_others(
    nft: Nftables, own: Iterable[str], hooks: Collection[str] = forwarding.HOOKS
) -> tuple[BaseChain, ...]:
    """Chains at these hooks that drop, in tables that are neither `own` nor firewalld's.

    Only a table with such a chain is listed as a whole: what it holds is not ours to pay for.
    Raises RulesUnreadable.
    """
    own = frozenset(own)
    heads = parse_chains(await nft.list_chains())
    passed = [head for head in heads if forwarding.is_of_others(head, own, hooks)]
    tables: dict[str, None] = {}
    for head in passed[:MAX_TABLES]:
        family, _, name = head.table.partition(" ")
        for chain in parse_chains(await nft.list_chain(family, name, head.name)):
            if forwarding.drops(chain):
                tables[head.table] = None
    found: list[BaseChain] = []
    for table in tables:
        family, _, name = table.partition(" ")
        found += parse_chains(await nft.list_table(family, name))
    return tuple(
        chain
        for chain in found
        if forwarding.is_of_others(chain, own, hooks) and forwarding.drops(chain)
    )


class DropsListing:
    """The chains of others that drop, listed again only after a transaction of anybody's.

    `nft` is None where nobody is to be asked. `generated` is the ruleset's generation.
    """

    def __init__(self, nft: Nftables | None, generated: Callable[[], int] = generation) -> None:
        self._nft = nft
        self._generated = generated
        self._listed: tuple[object, tuple[BaseChain, ...]] = (None, ())

    async def of(self, own: frozenset[str]) -> tuple[BaseChain, ...]:
        """Those in tables that are not `own`; none where they cannot be listed."""
        if self._nft is None:
            return ()
        try:
            stamp = (namespace.number(), self._generated(), own)
            if stamp != self._listed[0]:
                self._listed = (None, ())
                self._listed = (stamp, await drops_of_others(self._nft, own))
        except Unreadable:
            self._listed = (None, ())
        return self._listed[1]


def is_there(chain: BaseChain) -> bool:
    """Whether a chain is still in the kernel; it is where the kernel does not tell."""
    family, _, table = chain.table.partition(" ")
    try:
        return chain_exists(family, table, chain.name)
    except Unreadable:
        return True
