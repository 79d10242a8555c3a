# SPDX-License-Identifier: Apache-2.0
"""The chains of other firewalls that drop what containers need, as nftables has them."""

from collections.abc import Collection, Iterable

from podwatch.adapters.libnftables import Nftables
from podwatch.drivers import forwarding
from podwatch.drivers.proc_net import parse_chains
from podwatch.words.way import BaseChain

_MOST_TABLES = 16


async def drops_of_others(
    nft: Nftables, own: Iterable[str], hooks: Collection[str] = forwarding.HOOKS
) -> tuple[BaseChain, ...]:
    """Chains at these hooks that drop, in tables that are neither `own` nor firewalld's.

    Only a table with such a chain is listed as a whole: what it holds is not ours to pay for.
    Raises RulesUnreadable.
    """
    own = frozenset(own)
    heads = parse_chains(await nft.list_chains())
    passed = [each for each in heads if forwarding.is_of_others(each, own, hooks)]
    tables: dict[str, None] = {}
    for head in passed[:_MOST_TABLES]:
        family, _, name = head.table.partition(" ")
        for chain in parse_chains(await nft.list_chain(family, name, head.name)):
            if forwarding.drops(chain):
                tables[head.table] = None
    found: list[BaseChain] = []
    for table in tables:
        family, _, name = table.partition(" ")
        found += parse_chains(await nft.list_table(family, name))
    return tuple(
        each
        for each in found
        if forwarding.is_of_others(each, own, hooks) and forwarding.drops(each)
    )
