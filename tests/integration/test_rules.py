# SPDX-License-Identifier: Apache-2.0
"""What is remembered of who installed the rules, against the real nft, in a private network."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from podwatch.adapters.libnftables import Nftables
from podwatch.daemon.rules import NftablesRules
from podwatch.drivers.nftables import DORMANT, MARKS, MARKS_FIRST
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

FORWARD = """
table inet netavark {
    chain NETAVARK-ISOLATION-1 {
    }
    chain FORWARD {
        type filter hook forward priority filter; policy accept;
        ct state invalid drop
        ct mark & 0x1000 == 0x1000 accept
        jump NETAVARK-ISOLATION-1
    }
}
"""
"""What netavark 2.1 puts there for all containers (its src/firewall/nft.rs)."""

SEEN = frozenset({MARKS, MARKS_FIRST})


def with_rules(body: Callable[[Nftables, NftablesRules], Awaitable[None]]) -> None:
    """Run `body` with netavark's table as 2.1 makes it."""

    async def run() -> None:
        nft = Nftables()
        try:
            await nft.apply(FORWARD)
            await body(nft, NftablesRules(nft))
        finally:
            nft.close()

    asyncio.run(run())


@in_private_network
def test_what_was_seen_is_known_after_the_loss() -> None:
    """Of a table that is emptied, or gone, it is known which netavark had filled it."""

    async def body(nft: Nftables, rules: NftablesRules) -> None:
        assert (await rules.read()).traits == SEEN
        await nft.apply("flush table inet netavark")
        assert (await rules.read()).traits == SEEN
        await nft.apply("flush ruleset")
        assert (await rules.read()).traits == SEEN

    with_rules(body)


@in_private_network
def test_what_a_saved_copy_shows_is_known_too() -> None:
    """A podwatch that starts after the loss knows it from the copy of an earlier one."""

    async def body(nft: Nftables, rules: NftablesRules) -> None:
        copy = (await rules.read()).chains
        await nft.apply("flush ruleset")
        later = NftablesRules(nft)
        assert (await later.read()).traits == frozenset()
        later.remember(copy)
        assert (await later.read()).traits == SEEN

    with_rules(body)


@in_private_network
def test_clearing_forgets_and_a_copy_reminds() -> None:
    """Whoever fills a table that podwatch took away may be another netavark than before."""

    async def body(nft: Nftables, rules: NftablesRules) -> None:
        await nft.apply("add table inet netavark { flags dormant; }")
        before = await rules.read()
        assert before.traits == {DORMANT, *SEEN}
        await rules.clear()
        assert (await rules.read()).traits == frozenset()
        rules.remember(before.chains)
        assert (await rules.read()).traits == SEEN

    with_rules(body)
