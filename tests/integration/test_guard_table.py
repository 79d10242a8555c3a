# SPDX-License-Identifier: Apache-2.0
"""The guard's table in a real kernel: podwatch's alone, counted, renamed, gone with its owner."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from socket import SOCK_DGRAM, socket

import pytest

from podwatch.adapters.netlink import table_exists
from podwatch.daemon.guard_table import GuardTable
from podwatch.drivers.guard import anchor, guard
from podwatch.words.guard import Forward, Held
from podwatch.words.network import (
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from tests.integration.namespace import in_private_network
from tests.lab.machine import until

pytestmark = pytest.mark.integration

SOON_S = 10.0


def full(ports: int = 2, networks: int = 3) -> Held:
    """A guard of all that it can hold: both families, host addresses, names, isolation, marks."""
    made = [
        Network(
            f"{number:064x}",
            f"podman{number}",
            (ip_network(f"10.89.{number}.0/24"), ip_network(f"fd10:89:{number}::/64")),
            list(Isolation)[number % 3],
            outbound=(ip_address("192.0.2.1"),) if number == 1 else (),
        )
        for number in range(networks)
    ]
    endpoints = [
        Endpoint(
            f"c{number}",
            network.id,
            network.bridge,
            tuple((subnet[2], subnet) for subnet in network.subnets),
            (
                PortMapping(8000 + 100 * number, 80, "tcp", ports),
                PortMapping(8000 + 100 * number, 80, "sctp", host_ip=ip_address("192.0.2.1")),
            ),
            dns_port=1053,
            dns_servers=tuple(subnet[1] for subnet in network.subnets),
        )
        for number, network in enumerate(made)
    ]
    setup = Setup(FirewallDriver.NFTABLES, {one.id: one for one in made}, tuple(endpoints))
    return guard(setup, marks=True)


def nft(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Somebody else's nft."""
    return subprocess.run(["nft", *arguments], capture_output=True, text=True, check=False)


def holding(*acts: Callable[[GuardTable], Awaitable[None]]) -> None:
    """A table, and what is done with it; the kernel deletes it when its owner lets go."""

    async def body() -> str:
        table = GuardTable()
        try:
            for act in acts:
                await act(table)
        finally:
            table.let_go()
        return table.name

    name = asyncio.run(body())
    assert until(lambda: not table_exists("inet", name), SOON_S)


@pytest.mark.parametrize("held", [anchor(), full()], ids=["anchor", "full"])
@in_private_network
def test_nobody_else_takes_it_away(held: Held) -> None:
    """A flush passes it over, and whoever aims at it is refused."""

    async def act(table: GuardTable) -> None:
        await table.hold(held, ())
        listed = nft("list", "table", "inet", table.name)
        assert "flags owner" in listed.stdout
        assert nft("flush", "ruleset").returncode == 0
        for verb in ("delete", "flush"):
            refused = nft(verb, "table", "inet", table.name)
            assert "Operation not permitted" in refused.stderr
        assert nft("list", "table", "inet", table.name).stdout == listed.stdout

    holding(act)


@in_private_network
def test_a_change_is_what_was_changed() -> None:
    """One that was changed is listed as one that was made so at once."""
    few, more = full(), full(3)

    async def act(table: GuardTable) -> None:
        await table.hold(more, ())
        wanted = nft("list", "table", "inet", table.name).stdout
        await table.hold(few, ())
        await table.hold(more, ())
        assert nft("list", "table", "inet", table.name).stdout == wanted
        await table.hold(anchor(), ())
        await table.hold(full(2, 2), ())
        await table.hold(more, ())
        assert nft("list", "table", "inet", table.name).stdout == wanted
        await table.take_away()
        assert not table_exists("inet", table.name)
        await table.hold(replace(more, forwards={}), ())

    holding(act)


@in_private_network
def test_another_name_is_one_transaction() -> None:
    """The old table has ended when the new one is there."""

    async def act(table: GuardTable) -> None:
        await table.hold(full(), ())
        before = table.name
        await table.hold(full(), (before,))
        assert table.name != before
        assert not table_exists("inet", before)
        assert table_exists("inet", table.name)

    holding(act)


@in_private_network
def test_it_counts_what_it_carries() -> None:
    """A connection that no other table translates; one counter for all its ports."""

    def ask() -> None:
        with socket(type=SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", 9))

    async def act(table: GuardTable) -> None:
        # An address to masquerade with: 127.0.0.1 is none.
        subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", "lo"], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        held = full()
        await table.hold(held, ())
        ask()
        assert not await table.count()
        forward = {("ports4", "udp . 9"): Forward("127.0.0.1 . 10", "web")}
        await table.hold(replace(held, forwards={**held.forwards, **forward}), ())
        ask()
        assert await table.count()
        assert table.carried == 1
        await table.hold(full(2, 2), ())
        assert not await table.count()
        assert table.carried == 1

    holding(act)
