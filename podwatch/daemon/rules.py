# SPDX-License-Identifier: Apache-2.0
"""The rules of each firewall driver in the kernel: how they are read, and how they are put right.

Looking and restoring go through these; which one is in use is decided by the setup of each look.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from podwatch.adapters import iptables as iptables_tool
from podwatch.adapters import namespace
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import chain_exists, generation, table_exists
from podwatch.drivers import cni, iptables, iptables_save, nft_script, nftables
from podwatch.drivers.driver import expected_rules, is_whole
from podwatch.drivers.saved import Repair
from podwatch.words.errors import RestoreFailed, RulesUnreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.way import BaseChain

_TABLE = f"{nftables.FAMILY} {nftables.TABLE}"
_PASSING = frozenset({nftables.DORMANT, iptables_save.LEGACY, iptables_save.ELSEWHERE})
"""The traits of rules as they were read once, which tell nothing of who installed them."""


class Rules(Protocol):
    """One driver's rules in the kernel.

    `tool` is the program netavark calls for them, `writers` the names under which the kernel knows
    what this object commits, besides podwatch's own.
    """

    tool: str
    writers: frozenset[str]

    async def read(self) -> Ruleset:
        """The rules as they are. Raises RulesUnreadable."""

    async def elsewhere(self, setup: Setup) -> Ruleset | None:
        """All that has to be there for `setup`, if another program of the same kind has it."""

    def remember(self, chains: Mapping[str, Chain]) -> None:
        """What these rules, verified by an earlier podwatch, tell of who installed them."""

    def exist(self) -> bool:
        """Whether any of them may be there, whoever's they are; at once. Raises RulesUnreadable."""

    def filter_chains(self) -> tuple[BaseChain, ...]:
        """Everybody's chains that packets pass, in the tables that were read last."""

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> int:
        """Make these chains what they have to be, in as few transactions as the driver allows.

        Returns how many those were. What others have added since `observed` was read stays; where
        they have taken away what it builds on, nothing is changed.

        Raises RestoreFailed.
        """

    async def clear(self) -> None:
        """Take away all of the driver's rules. Raises RestoreFailed, RulesUnreadable.

        What is installed next is the present netavark's: what was known of an earlier one is not.
        """

    async def tool_works(self) -> str:
        """Whether `tool` works: "" or the reason it does not."""


class NftablesRules:
    """netavark's table, through libnftables.

    `generated` gives the ruleset's generation: as long as it is the same, so is the table. To list
    it takes longer than all the rest of a look.
    """

    tool = "nft"

    def __init__(self, nft: Nftables, generated: Callable[[], int] = generation) -> None:
        self.nft = nft
        self.writers = nft.writers
        self._generated = generated
        self._known: tuple[tuple[int, int], Ruleset] | None = None
        self._seen: frozenset[str] = frozenset()

    async def read(self) -> Ruleset:
        """The table as it is, with what an earlier one told of who filled it."""
        before = self._stamp()
        if self._known is not None and self._known[0] == before:
            found = self._known[1]
        else:
            listing = await self.nft.list_table(nftables.FAMILY, nftables.TABLE)
            found = nftables.parse_listing(listing)
            self._known = (before, found) if self._stamp() == before else None
        self._seen |= nftables.traits(found)
        return replace(found, traits=self._seen | found.traits)

    def _stamp(self) -> tuple[int, int]:
        return namespace.number(), self._generated()

    async def elsewhere(self, setup: Setup) -> Ruleset | None:
        """Nowhere: nftables has no second program."""
        return None

    def remember(self, chains: Mapping[str, Chain]) -> None:
        """Which netavark filled the table."""
        self._seen |= nftables.traits(Ruleset(present=True, chains=chains))

    def exist(self) -> bool:
        """Whether the table exists."""
        return table_exists(nftables.FAMILY, nftables.TABLE)

    def filter_chains(self) -> tuple[BaseChain, ...]:
        """None: the table is netavark's alone."""
        return ()

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> int:
        """All chains in one transaction, after one that wakes the table if it is dormant.

        The kernel takes no new base chains into a table in the transaction that wakes it.
        """
        self._known = None  # whoever is interrupted in the middle still has it carried out
        dormant = nftables.DORMANT in observed.traits
        if dormant:
            await self.nft.apply(f"add table {_TABLE}\n")
        try:
            script = nft_script.repair_script(todo, observed)
        except ValueError as exc:
            raise RestoreFailed(str(exc)) from exc
        await self.nft.apply(script)
        return 1 + dormant

    async def clear(self) -> None:
        """Delete the table."""
        self._known = None
        await self.nft.apply(f"add table {_TABLE}\ndelete table {_TABLE}\n")
        self._seen = frozenset()

    async def tool_works(self) -> str:
        """Whether nft runs."""
        return await self.nft.tool_works()


class IptablesRules:
    """The chains whose names begin with `prefixes`, and the jumps to them, through iptables.

    `ports` is the chain of published ports, of those that are there for all containers.
    """

    tool = "iptables"
    writers = iptables_tool.WRITERS

    def __init__(
        self,
        prefixes: tuple[str, ...],
        traits: Callable[[Ruleset], frozenset[str]],
        ports: str,
    ) -> None:
        self._prefixes = prefixes
        self._ports = ports
        self._traits = traits
        self._seen: frozenset[str] = frozenset()
        self._filter_chains: tuple[BaseChain, ...] = ()

    async def read(self) -> Ruleset:
        """The rules of both families, with what earlier ones told of who installed them."""
        listings = await iptables_tool.save()
        found = iptables_save.parse_save(listings, prefixes=self._prefixes)
        self._filter_chains = iptables_save.filter_chains(listings, own=self._is_own)
        self._seen |= self._traits(found)
        return replace(found, traits=self._seen | found.traits)

    async def elsewhere(self, setup: Setup) -> Ruleset | None:
        """The rules as the other iptables has them: somebody switched while containers ran.

        Only if nothing is missing there: what is, comes back where Podman will look for it.
        """
        if not expected_rules(setup, Ruleset(present=False)):
            return None
        for variant in iptables_save.VARIANTS:
            try:
                listings = await iptables_tool.save(variant)
                found = iptables_save.parse_save(listings, prefixes=self._prefixes)
            except RulesUnreadable:
                continue
            if found.present and is_whole(setup, replace(found, traits=self._seen)):
                return replace(found, traits=self._seen | found.traits | {iptables_save.ELSEWHERE})
        return None

    def remember(self, chains: Mapping[str, Chain]) -> None:
        """Who installed the rules, in which version, and for whom."""
        self._seen |= self._traits(Ruleset(present=True, chains=chains))

    def _is_own(self, chain: str) -> bool:
        return chain.startswith(self._prefixes) and chain != cni.ADMIN

    def exist(self) -> bool:
        """Whether a port was ever published: by iptables-nft, the other kind is not asked."""
        return any(chain_exists(family, "nat", self._ports) for family in iptables_save.FAMILIES)

    def filter_chains(self) -> tuple[BaseChain, ...]:
        """FORWARD and INPUT of both families."""
        return self._filter_chains

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> int:
        """One transaction for each table of each family."""
        return await iptables_tool.restore(
            iptables_save.restore_scripts(todo, observed, prefixes=self._prefixes)
        )

    async def clear(self) -> None:
        """Delete the chains and the jumps to them."""
        now = await self.read()
        await iptables_tool.restore(iptables_save.clearing_scripts(now, prefixes=self._prefixes))
        self._seen = frozenset()

    async def tool_works(self) -> str:
        """Whether iptables runs."""
        return await iptables_tool.tool_works()


def known_rules(nft: Nftables) -> Mapping[FirewallDriver, Rules]:
    """The drivers whose rules podwatch can put right."""
    return {
        FirewallDriver.NFTABLES: NftablesRules(nft),
        FirewallDriver.IPTABLES: IptablesRules(iptables.PREFIXES, iptables.traits, iptables.DNAT),
        FirewallDriver.CNI: IptablesRules(cni.PREFIXES, cni.traits, cni.DNAT),
    }
