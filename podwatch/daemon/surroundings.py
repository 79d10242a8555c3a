# SPDX-License-Identifier: Apache-2.0
"""The surroundings of Podman's networks: other firewalls, their rules, routes, settings.

They are no part of a loss, but they may close a way. It owns when they are looked at: now and then,
soon after somebody's rules were changed, and never while the driver's own rules change.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from podwatch.adapters import kernel, namespace
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.link_keepers import keeps
from podwatch.adapters.netlink import generation
from podwatch.daemon.asking import Asking
from podwatch.daemon.firewalls import (
    KEEPERS,
    OTHERS_EVERY_S,
    DropsListing,
    Neighbours,
    is_there,
)
from podwatch.daemon.installed import Installed
from podwatch.daemon.routes import MAX_NETWORKS, routed
from podwatch.daemon.rules import Rules
from podwatch.drivers.driver import about
from podwatch.words.errors import Unreadable
from podwatch.words.links import Around
from podwatch.words.network import ContainerClass, FirewallDriver, Network, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.way import BaseChain

if TYPE_CHECKING:  # a user's podwatch does without, and without the bus
    from podwatch.adapters.systemd import Systemd

_OTHERS_SOON_S = 5.0
"""A firewall that is switched on is there as a whole so long after its first transaction."""


class Surroundings:
    """What is around the networks of one Podman, as it was last looked at.

    `rules` are those of every driver podwatch knows; `nft` and `systemd` are None where nobody is
    to be asked. The rules of others are looked at again `every_s` seconds after the last look at
    them, if `generated`, the ruleset's generation, is another. `heard_late` is called when systemd
    answers what no look waited for, and says otherwise than before. `clock` counts seconds.
    """

    def __init__(
        self,
        installed: Installed,
        rules: Mapping[FirewallDriver, Rules],
        systemd: "Systemd | None",
        nft: Nftables | None,
        *,
        every_s: float = OTHERS_EVERY_S,
        heard_late: Callable[[], None] = lambda: None,
        still_there: Callable[[BaseChain], bool] = is_there,
        generated: Callable[[], int] = generation,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.due_at: float | None = None
        """When to look at the rules of others, since they were changed."""
        self.others: Mapping[FirewallDriver, Ruleset] = {}
        """Rules in the kernel of drivers that are not in use."""
        self.drops: tuple[BaseChain, ...] = ()
        """Chains of others that drop, where they are looked at."""
        self._installed = installed
        self._rules = rules
        self._listing = DropsListing(nft, generated)
        self._neighbours = Neighbours(systemd)
        self._asking: Asking[tuple[str, ...]] = Asking(heard_late)
        self._active: tuple[str, ...] = ()
        self._looked_at, self._looked_for = -math.inf, FirewallDriver.UNKNOWN
        self._every_s = every_s
        self._still_there = still_there
        self._clock = clock
        self._around: tuple[Around, bool] | None = None
        """As it was at the last look, and whether a chain dropped then; None where nobody had to
        know."""

    # Active units that have rules of their own.

    def begin(self) -> "asyncio.Task[tuple[str, ...]]":
        """Ask systemd which units are active, unless a question is under way."""
        return self._asking.begin(self._neighbours.active)

    async def hear(
        self, asked: "asyncio.Task[tuple[str, ...]] | None", limit_s: float | None
    ) -> tuple[str, ...]:
        """The active units; after `limit_s` seconds those of the answer before, if there is one.

        Where nothing was asked, those of a recent answer are good enough.
        """
        if asked is not None or self._asking.recent() is None:
            self._active = await self._asking.hear(asked or self.begin(), limit_s)
        return tuple(unit for unit in self._active if unit not in KEEPERS)

    @property
    def has_netavarks_units(self) -> bool:
        """Whether units of netavark's own repair at a restart of firewalld, too."""
        return any(unit.startswith("netavark-") for unit in self._active)

    # The rules of others.

    def changed(self, at: float, deleted: Collection[str] = ()) -> float | None:
        """Rules of others were changed at this moment; when to look, unless that was said before.

        At once where one of the tables `deleted` has a chain that drops: that does so no more.
        """
        if any(chain.table in deleted for chain in self.drops):
            return at
        if self.due_at is not None:
            return None
        self.due_at = max(at + _OTHERS_SOON_S, self._looked_at + self._every_s)
        return self.due_at

    async def look(self, setup: Setup, *, is_quiet: bool) -> None:
        """Look at the rules of others: now and then, when the driver is another, until they go.

        While the driver's rules change (not `is_quiet`), nobody waits for it.
        """
        now = self._clock()
        is_due = is_quiet and now >= self._looked_at + self._every_s
        if is_due or setup.driver != self._looked_for:
            is_due = True
            self._looked_at, self._looked_for, self.due_at = now, setup.driver, None
            self.drops = await self._listing.of(about(setup.driver).tables)
        else:
            self.drops = tuple(chain for chain in self.drops if self._still_there(chain))
            if self.due_at is not None:
                self.due_at = max(self.due_at, now + _OTHERS_SOON_S)
        if is_due or self.others:
            others = {name: rules for name, rules in self._rules.items() if name != setup.driver}
            try:
                self.others = {
                    name: await rules.read() for name, rules in others.items() if rules.exist()
                }
            except Unreadable:
                self.others = {}

    # Routes, and settings of others.

    @property
    def around(self) -> Around:
        """The host's network around Podman's, as it was last looked at."""
        return self._around[0] if self._around is not None else Around()

    def look_further(self, setup: Setup | None, *, drops: bool = False) -> None:
        """Look at routes and settings; `drops` where a chain, or firewalld, drops what it does not
        know: whom that parts counts, too.

        None for `setup` where nobody has to know.
        """
        self._around = None if setup is None else (self._read(setup, drops=drops), drops)

    def are_others(self, setup: Setup | None) -> bool:
        """Whether routes or settings are not what they were at the last look."""
        if setup is None or self._around is None:
            return False
        before, drops = self._around
        return self._read(setup, drops=drops) != before

    def _read(self, setup: Setup, *, drops: bool) -> Around:
        try:
            keepers = [unit for unit in KEEPERS if unit in self._active]
            return around(setup, self._installed, drops=drops, keepers=keepers)
        except Unreadable:
            return Around()


def around(
    setup: Setup, installed: Installed, *, drops: bool, keepers: Collection[str] = ()
) -> Around:
    """What the host's network is like around Podman's; whom a chain that `drops` parts as well.

    `keepers` are units that run, and may configure links.

    Raises Unreadable where the kernel does not tell.
    """
    versions = kernel.bridged() if drops else frozenset()
    deaf = kernel.deaf_to_routers()
    return Around(
        tuple(routed(setup, installed)),
        versions,
        tuple(_internal(installed)) if versions else (),
        deaf,
        not deaf or kernel.has_default_v6(),
        tuple(_kept(setup, keepers)),
    )


def _kept(setup: Setup, keepers: Collection[str]) -> Iterator[tuple[str, str]]:
    for network in list(setup.networks.values())[:MAX_NETWORKS] if keepers else ():
        try:
            index = namespace.index_of(network.bridge)
        except OSError:
            continue
        yield from ((unit, network.bridge) for unit in keepers if keeps(unit, index))


def _internal(installed: Installed) -> Iterator[Network]:
    for file in installed.networks.read_files().values():
        if file.kind is ContainerClass.INTERNAL and kernel.is_link(file.interface):
            yield Network(file.name, file.interface, file.subnets, internal=True)
