# SPDX-License-Identifier: Apache-2.0
"""A look: what it asks whom, and which firewalls of others interfere."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon import look, reading
from podwatch.daemon.containers import Containers
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.installed import Installed
from podwatch.daemon.surroundings import Surroundings
from podwatch.drivers.firewalld import POLICIES
from podwatch.drivers.saved import SavedRules
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Firewalld
from podwatch.words.way import BaseChain

INSTALLED = Installed.at(Paths(), None)


class _JustSetUp:
    """What is expected, on a host where a network is set up while it is read for the first time."""

    stamp: object = None
    asks_podman = False
    driver = FirewallDriver.UNKNOWN
    endpoints: tuple[Endpoint, ...] = ()
    networks: Mapping[str, Network] = MappingProxyType({})

    async def read(self) -> Setup:
        self.stamp = 1
        return Setup(self.driver, self.networks, self.endpoints)

    def is_current(self) -> bool:
        return True

    def take_listed(self) -> None:
        """podman was not asked."""


def _looker_at(
    expected: Any,
    rules: Any,
    firewalld: Any,
    *,
    heard_late: Callable[[], None] = lambda: None,
    tables: Collection[str] = (),
    **how: Any,
) -> look.Looker:
    """A looker on a host where the kernel has these tables of firewalld's, and no rule changes."""
    return look.Looker(
        expected,
        INSTALLED,
        rules,
        FirewalldLook(firewalld, heard_late, lambda _, name: name in tables),
        Containers(expected, INSTALLED, lambda: 7),
        Surroundings(INSTALLED, rules, None, None),
        changes=lambda: 7,
        **how,
    )


class _Firewalld:
    """firewalld, which has the new network's source only from the second question on."""

    asked = changes = 0
    policies: tuple[str, ...] = ()

    async def read(self, policies: tuple[str, ...] = ()) -> Firewalld:
        self.policies = policies
        self.asked += 1
        return Firewalld(
            running=True, sources={"10.88.0.0/16": "trusted"} if self.asked > 1 else {}
        )


def test_firewalld_is_not_older_than_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer from before a network was set up is no loss of it: firewalld is asked again."""
    firewalld: Any = _Firewalld()
    expected: Any = _JustSetUp()
    looker = _looker_at(expected, {}, firewalld)

    for asked in (2, 3):  # and once a look where nothing has changed
        found = asyncio.run(looker.look())
        assert found.firewalld is not None
        assert found.firewalld.sources == {"10.88.0.0/16": "trusted"}
        assert firewalld.asked == asked
        assert firewalld.policies == ()


def test_policies_are_asked_for_where_the_rules_are_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With netavark's firewalld driver; again, too, where it was not known when first asked."""
    firewalld: Any = _Firewalld()
    expected: Any = _JustSetUp()
    expected.stamp, expected.driver = 1, FirewallDriver.FIREWALLD
    looker = _looker_at(expected, {}, firewalld)

    for asked in (2, 3):
        asyncio.run(looker.look())
        assert (firewalld.asked, firewalld.policies) == (asked, POLICIES)


def test_a_driver_that_no_state_names_is_told_by_what_firewalld_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No rule in iptables, and the network's subnet in netavark's zone: policies are asked for."""
    network = Network("n" * 64, "podman0", (ip_network("10.88.0.0/16"),))
    address = (ip_address("10.88.0.2"), network.subnets[0])
    firewalld: Any = _Slow()
    expected: Any = _JustSetUp()
    firewalld.let.set()
    firewalld.said = Firewalld(running=True, sources={"10.88.0.0/16": "netavark_zone"})
    expected.asks_podman, expected.driver = True, FirewallDriver.IPTABLES
    expected.endpoints = (Endpoint("c" * 64, network.id, "podman", (address,)),)
    expected.networks = {network.id: network}
    rules: Any = {FirewallDriver.IPTABLES: _Rules()}
    looker = _looker_at(expected, rules, firewalld)

    found = asyncio.run(looker.look())
    assert found.setup is not None
    assert found.setup.driver is FirewallDriver.FIREWALLD
    assert firewalld.policies == POLICIES


class _Rules:
    """A driver's rules, all of them there."""

    async def read(self) -> Ruleset:
        return Ruleset(present=True, chains={})

    def filter_chains(self) -> tuple[BaseChain, ...]:
        return ()

    def exist(self) -> bool:
        return True


class _Slow:
    """firewalld on a bus that somebody keeps busy: it answers when it is let."""

    def __init__(self) -> None:
        self.said = Firewalld(running=True, sources={"10.88.0.0/16": "trusted"})
        self.let = asyncio.Event()
        self.asked = self.changes = 0
        self.policies: tuple[str, ...] = ()

    async def read(self, policies: tuple[str, ...] = ()) -> Firewalld:
        self.asked, self.policies = self.asked + 1, policies
        await self.let.wait()
        return self.said


def _looker(
    firewalld: _Slow, heard_late: Callable[[], None] = lambda: None, **how: Any
) -> tuple[look.Looker, Any]:
    """A looker at a host with one container, whose rules are all there; and what it expects."""
    expected: Any = _JustSetUp()
    expected.stamp, expected.driver = 1, FirewallDriver.NFTABLES
    expected.endpoints = (Endpoint("c" * 64, "n" * 64, "podman", ()),)
    rules: Any = {FirewallDriver.NFTABLES: _Rules()}
    return _looker_at(expected, rules, firewalld, heard_late=heard_late, **how), expected


def test_a_look_does_not_wait_for_a_busy_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What firewalld said last counts meanwhile; one question is on its way, and news are told.

    Only the first look has to know, and waits.
    """

    async def body() -> None:
        firewalld, late = _Slow(), asyncio.Event()
        looker, _ = _looker(firewalld, late.set)
        first = asyncio.ensure_future(looker.look(hurries=True))
        done, _ = await asyncio.wait([first], timeout=2 * look.PATIENCE_S)
        assert not done
        firewalld.let.set()
        trusted = (await first).firewalld
        assert trusted is not None
        assert trusted.sources
        asked = firewalld.asked

        firewalld.let.clear()
        for _ in range(2):
            assert (await looker.look(hurries=True)).firewalld == trusted
        assert firewalld.asked == asked + 1
        firewalld.let.set()
        await looker.look(hurries=True)
        assert not late.is_set()  # that it is as it was is no news

        firewalld.let.clear()
        assert (await looker.look(hurries=True)).firewalld == trusted
        firewalld.said = Firewalld(running=True)
        firewalld.let.set()
        await asyncio.wait_for(late.wait(), 10)
        untrusted = (await looker.look(hurries=True)).firewalld
        assert untrusted is not None
        assert not untrusted.sources

    asyncio.run(body())


def test_who_comes_while_others_are_waited_for_is_not_judged_by_old_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rules are read again after a wait; where somebody came in it, a change is going on."""
    monkeypatch.setattr(reading, "WAITED_S", -1.0)

    async def body() -> None:
        firewalld = _Slow()
        firewalld.let.set()
        looker, expected = _looker(firewalld)
        expected.stamp = None
        await looker.look()
        assert not (await looker.look()).busy

        reads = 0

        async def somebody_comes() -> Setup:
            nonlocal reads
            reads += 1
            expected.stamp = 1 if reads == 1 else 2
            return Setup(expected.driver, endpoints=expected.endpoints)

        expected.read = somebody_comes
        found = await looker.look()
        assert reads == 2
        assert found.stamp == 2
        assert found.busy == "podman is changing a network"

    asyncio.run(body())


def test_rules_that_are_lost_wait_for_nobodys_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What firewalld said last counts at once, and what the kernel says of its tables now.

    Where the rules are as in the copy, an answer is waited for.
    """
    tables: set[str] = set()
    monkeypatch.setattr(look, "PATIENCE_S", 60.0)

    async def body() -> None:
        firewalld = _Slow()
        firewalld.let.set()
        copied: list[str] = []
        looker, _ = _looker(
            firewalld,
            tables=tables,
            copied=lambda driver: SavedRules(
                {name: Chain("", ("accept",)) for name in copied}, driver
            ),
        )
        await looker.look(hurries=True)

        firewalld.let.clear()
        waits = asyncio.ensure_future(looker.look(hurries=True))
        done, _ = await asyncio.wait([waits], timeout=0.1)
        assert not done
        firewalld.let.set()
        await waits

        firewalld.let.clear()
        tables.add("firewalld_policy_drop")
        copied.append("FORWARD")
        found = await asyncio.wait_for(looker.look(hurries=True), 30)
        assert found.firewalld is not None
        assert found.firewalld.sources
        assert found.firewalld.reloading
        firewalld.let.set()

    asyncio.run(body())


def test_after_podmans_own_doing_firewalld_is_not_asked_again() -> None:
    """It would have told; where it did, or the networks are others, it is asked."""
    firewalld: Any = _Slow()
    firewalld.let.set()
    looker, expected = _looker(firewalld)

    def asked(*, of_podman: bool) -> int:
        before: int = firewalld.asked
        found = asyncio.run(looker.look(of_podman=of_podman))
        assert found.firewalld is not None
        assert found.firewalld.sources == firewalld.said.sources
        now: int = firewalld.asked
        return now - before

    assert asked(of_podman=True) > 0, "it was never asked before"
    assert asked(of_podman=True) == 0
    assert asked(of_podman=False) == 1
    expected.stamp += 1
    assert asked(of_podman=True) == 0
    firewalld.changes += 1
    assert asked(of_podman=True) == 1
    network = Network("n" * 64, "podman0", (ip_network("10.88.0.0/16"),))
    expected.networks = {network.id: network}
    assert asked(of_podman=True) == 1
