# SPDX-License-Identifier: Apache-2.0
"""libnftables against the real kernel, in a network namespace of the test's own."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podwatch.adapters import libnftables
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import generation
from podwatch.drivers.nft_script import repair_script
from podwatch.drivers.nftables import parse_listing
from podwatch.drivers.saved import Repair
from podwatch.words.errors import RestoreFailed, RulesUnreadable
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

TABLE = """
table inet netavark {
    chain INPUT {
        type filter hook input priority filter; policy accept;
        ip saddr 10.88.0.0/16 meta l4proto { tcp, udp } th dport 53 accept
    }
    chain NETAVARK-HOSTPORT-DNAT {
        tcp dport 8080 counter packets 5 bytes 300 accept
    }
}
"""


def with_nftables(body: Callable[[Nftables], Awaitable[None]]) -> None:
    """Run `body` with an Nftables that is closed afterwards."""

    async def run() -> None:
        nft = Nftables()
        try:
            await body(nft)
        finally:
            nft.close()

    asyncio.run(run())


@in_private_network
def test_a_table_is_listed_as_the_drivers_read_it() -> None:
    """What was applied is listed, parses into its chains, and carries no counters."""

    async def body(nft: Nftables) -> None:
        await nft.apply(TABLE)
        listing = await nft.list_table("inet", "netavark")
        rules = parse_listing(listing)
        assert rules.chains["INPUT"].hook.startswith("type filter hook input")
        assert len(rules.chains["INPUT"].rules) == 1
        assert rules.chains["NETAVARK-HOSTPORT-DNAT"].rules == ("tcp dport 8080 counter accept",)

    with_nftables(body)


@in_private_network
def test_a_missing_table_is_an_empty_listing() -> None:
    """A table that does not exist lists as "", before and after it did."""

    async def body(nft: Nftables) -> None:
        assert await nft.list_table("inet", "netavark") == ""
        await nft.apply(TABLE)
        await nft.apply("delete table inet netavark")
        assert await nft.list_table("inet", "netavark") == ""

    with_nftables(body)


@in_private_network
def test_a_listing_can_be_put_back_in_one_transaction() -> None:
    """The listing of a table, applied after its loss, restores it and counts as one transaction."""

    async def body(nft: Nftables) -> None:
        await nft.apply(TABLE)
        listing = parse_listing(await nft.list_table("inet", "netavark"))
        await nft.apply("flush ruleset")
        before = generation()
        bare = parse_listing(await nft.list_table("inet", "netavark"))
        todo = [
            Repair(name, chain, False, False, (None,) * len(chain.rules))  # noqa: FBT003
            for name, chain in listing.chains.items()
        ]
        await nft.apply(repair_script(todo, bare))
        assert generation() == before + 1
        assert parse_listing(await nft.list_table("inet", "netavark")).chains == listing.chains

    with_nftables(body)


@in_private_network
def test_a_script_with_an_error_changes_nothing() -> None:
    """When one command of a script fails nothing is committed, and the error has the message."""

    async def body(nft: Nftables) -> None:
        await nft.apply(TABLE)
        before = generation()
        script = "flush table inet netavark\nadd rule inet netavark NOWHERE accept\n"
        with pytest.raises(RestoreFailed, match="No such file or directory"):
            await nft.apply(script)
        with pytest.raises(RestoreFailed, match="syntax error"):
            await nft.apply("add rubbish")
        assert generation() == before

    with_nftables(body)


@in_private_network
def test_another_failure_is_not_a_missing_table() -> None:
    """A listing that fails for any reason but ENOENT raises instead of looking like a loss."""

    async def body(nft: Nftables) -> None:
        with pytest.raises(RulesUnreadable, match="nft list table nofamily netavark"):
            await nft.list_table("nofamily", "netavark")

    with_nftables(body)


@in_private_network
def test_a_call_that_hangs_is_given_up_and_the_next_one_works() -> None:
    """A call over its limit raises with a hint; the next gets a new thread and answers."""

    async def body(nft: Nftables) -> None:
        libnftables.LIST_TIMEOUT_S = 0.05  # this child's only
        stuck = threading.Event()
        hanging = asyncio.ensure_future(nft._worker.call(lambda _: stuck.wait(20), timeout_s=0.1))
        with pytest.raises(TimeoutError):
            await hanging
        libnftables.LIST_TIMEOUT_S = 10.0
        await nft.apply(TABLE)
        assert await nft.list_table("inet", "netavark")
        stuck.set()

    with_nftables(body)


@in_private_network
def test_a_thousand_listings_leave_memory_and_descriptors_as_they_were() -> None:
    """1,000 listings of a table of 400 rules grow resident memory by less than 2 MB."""

    def resident_kb() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError

    async def body(nft: Nftables) -> None:
        await nft.apply(
            "table inet netavark { chain A {\n" + "tcp dport 1 accept\n" * 400 + "}\n}\n"
        )
        for _ in range(100):
            await nft.list_table("inet", "netavark")
        before, descriptors = resident_kb(), len(os.listdir("/proc/self/fd"))
        for _ in range(1000):
            await nft.list_table("inet", "netavark")
        assert resident_kb() - before < 2048
        assert len(os.listdir("/proc/self/fd")) == descriptors

    with_nftables(body)


@in_private_network
def test_a_listing_leaves_the_loop_free() -> None:
    """While libnftables lists a large table the loop goes on turning."""

    async def body(nft: Nftables) -> None:
        await nft.apply(
            "table inet netavark { chain A {\n" + "tcp dport 1 accept\n" * 20_000 + "}\n}\n"
        )
        listing = asyncio.ensure_future(nft.list_table("inet", "netavark"))
        turns = 0
        began = time.monotonic()
        while not listing.done() and time.monotonic() - began < 10:
            await asyncio.sleep(0)
            turns += 1
        await listing
        assert turns > 50

    with_nftables(body)


@in_private_network
def test_the_tool_is_tried_for_real(tmp_path: Path) -> None:
    """tool_works says nothing for a working nft, and the reason for one that fails or is absent."""

    async def body(nft: Nftables) -> None:
        assert await nft.tool_works() == ""
        fake = tmp_path / "nft"
        fake.write_text("#!/bin/sh\necho 'Error: broken' >&2\nexit 3\n")
        fake.chmod(0o755)
        os.environ["PATH"] = str(tmp_path)
        assert await nft.tool_works() == "exit code 3: Error: broken"
        fake.unlink()
        assert await nft.tool_works() == "nft: not found"

    with_nftables(body)
