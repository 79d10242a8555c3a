# SPDX-License-Identifier: Apache-2.0
"""The rules of each firewall driver in the kernel: how they are read, and how they are put right.

Looking and restoring go through these; which one is in use is decided by the setup of each look.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from podwatch.adapters.libnftables import THREAD, Nftables
from podwatch.drivers import nftables
from podwatch.drivers.saved import Repair
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Ruleset

_TABLE = f"{nftables.FAMILY} {nftables.TABLE}"


class Rules(Protocol):
    """One driver's rules in the kernel.

    `tool` is the program netavark calls for them, `writers` the names under which the kernel knows
    what this object commits, besides podwatch's own.
    """

    tool: str
    writers: frozenset[str]

    async def read(self) -> Ruleset:
        """The rules as they are. Raises RulesUnreadable."""

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> None:
        """Make these chains what they have to be, in as few transactions as the driver allows.

        Raises RestoreFailed.
        """

    async def clear(self) -> str:
        """Take away all of the driver's rules; what `put_back` needs to undo it."""

    async def put_back(self, before: str) -> None:
        """Make the driver's rules what they were before `clear`."""

    async def tool_works(self) -> str:
        """Whether `tool` works: "" or the reason it does not."""


class NftablesRules:
    """netavark's table, through libnftables."""

    tool = "nft"
    writers = frozenset({THREAD})

    def __init__(self, nft: Nftables) -> None:
        self.nft = nft

    async def read(self) -> Ruleset:
        """The table as it is."""
        return nftables.parse_listing(await self._listing())

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> None:
        """All chains in one transaction."""
        await self.nft.apply(nftables.repair_script(todo))

    async def clear(self) -> str:
        """Delete the table."""
        before = await self._listing()
        await self.nft.apply(f"add table {_TABLE}\ndelete table {_TABLE}\n")
        return before

    async def put_back(self, before: str) -> None:
        """The table as it was listed."""
        await self.nft.apply(f"add table {_TABLE}\ndelete table {_TABLE}\n{before}")

    async def tool_works(self) -> str:
        """Whether nft runs."""
        return await self.nft.tool_works()

    async def _listing(self) -> str:
        return await self.nft.list_table(nftables.FAMILY, nftables.TABLE)


def known_rules(nft: Nftables) -> Mapping[FirewallDriver, Rules]:
    """The drivers whose rules podwatch can put right."""
    return {FirewallDriver.NFTABLES: NftablesRules(nft)}
