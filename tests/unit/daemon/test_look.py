# SPDX-License-Identifier: Apache-2.0
"""A look: what it asks whom, and which firewalls of others interfere."""

import asyncio
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon import firewalls, look
from podwatch.daemon.firewalls import interferes
from podwatch.daemon.installed import Installed
from podwatch.drivers.firewalld import POLICIES
from podwatch.drivers.saved import SavedRules
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Firewalld
from podwatch.words.way import BaseChain

INSTALLED = Installed.at(Paths(), None)


@pytest.mark.parametrize(
    ("unit", "text", "told"),
    [
        ("ufw.service", "# ufw\nENABLED=yes\nLOGLEVEL=low\n", True),
        ("ufw.service", "ENABLED=no\n", False),
        ("ufw.service", "#ENABLED=yes\n", False),
        ("ufw.service", None, False),
        ("nftables.service", "#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {}\n", True),
        ("nftables.service", "#!/usr/sbin/nft -f\n#flush ruleset\n", False),
        ("nftables.service", None, False),
        ("docker.service", None, True),
    ],
)
def test_which_firewall_interferes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, text: str | None, told: object
) -> None:
    """An active unit counts by its file: ufw that is enabled, nftables that flushes everything."""
    file = tmp_path / "its.conf"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(firewalls, "_UFW_FILE", file)
    monkeypatch.setattr(firewalls, "_NFTABLES_FILES", (tmp_path / "absent", file))

    assert interferes(unit) is told


class _JustSetUp:
    """What is expected, on a host where a network is set up while it is read for the first time."""

    stamp: object = None
    listed = None
    asks_podman = False
    driver = FirewallDriver.UNKNOWN
    endpoints: tuple[Endpoint, ...] = ()
    networks: Mapping[str, Network] = MappingProxyType({})

    async def read(self) -> Setup:
        self.stamp = 1
        return Setup(self.driver, self.networks, self.endpoints)

    def is_current(self) -> bool:
        return True


class _Firewalld:
    """firewalld, which has the new network's source only from the second question on."""

    asked = 0
    policies: tuple[str, ...] = ()

    async def read(self, policies: tuple[str, ...] = ()) -> Firewalld:
        self.policies = policies
        self.asked += 1
        return Firewalld(
            running=True, sources={"10.88.0.0/16": "trusted"} if self.asked > 1 else {}
        )


def test_firewalld_is_not_older_than_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer from before a network was set up is no loss of it: firewalld is asked again."""
    monkeypatch.setattr(look, "table_exists", lambda *_: False)
    firewalld: Any = _Firewalld()
    expected: Any = _JustSetUp()
    looker = look.Looker(expected, INSTALLED, {}, firewalld, None, None)

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
    monkeypatch.setattr(look, "table_exists", lambda *_: False)
    firewalld: Any = _Firewalld()
    expected: Any = _JustSetUp()
    expected.stamp, expected.driver = 1, FirewallDriver.FIREWALLD
    looker = look.Looker(expected, INSTALLED, {}, firewalld, None, None)

    for asked in (2, 3):
        asyncio.run(looker.look())
        assert (firewalld.asked, firewalld.policies) == (asked, POLICIES)


def test_a_driver_that_no_state_names_is_told_by_what_firewalld_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No rule in iptables, and the network's subnet in netavark's zone: policies are asked for."""
    monkeypatch.setattr(look, "table_exists", lambda *_: False)
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
    looker = look.Looker(expected, INSTALLED, rules, firewalld, None, changes=lambda: 7)

    found = asyncio.run(looker.look())
    assert found.setup is not None
    assert found.setup.driver is FirewallDriver.FIREWALLD
    assert firewalld.policies == POLICIES


def test_changes_of_others_are_looked_at_once_a_minute_at_most() -> None:
    """However many there are, one look is due: soon, or a minute after the last one."""
    looker = look.Looker(Any, INSTALLED, {}, None, None, None)  # type: ignore[arg-type]
    setup = Setup(FirewallDriver.NFTABLES)
    assert looker.others_due is None  # an idle host has no timer
    soon = looker.others_changed(100.0)
    assert soon is not None
    assert 100.0 < soon < 110.0
    assert looker.others_changed(101.0) is None

    began = time.monotonic()
    asyncio.run(looker._look_around(setup, is_quiet=False))  # the first one of this driver
    assert looker.others_due is None
    due = looker.others_changed(began)
    assert due is not None
    assert due >= began + 60
    asyncio.run(looker._look_around(setup, is_quiet=True))
    assert looker.others_due == due


def test_a_chain_that_is_gone_drops_nothing_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where its table is deleted a look is due at once, and does not list anybody's rules."""
    looker = look.Looker(Any, INSTALLED, {}, None, None, None)  # type: ignore[arg-type]
    setup = Setup(FirewallDriver.NFTABLES)
    asyncio.run(looker._look_around(setup, is_quiet=True))
    looker._drops = (BaseChain("inet site", "passing", "forward", "drop"),)
    assert looker.others_changed(100.0, {"inet other"}) != 100.0
    assert looker.others_changed(100.0, {"inet site"}) == 100.0

    monkeypatch.setattr(look, "is_there", lambda _: True)
    asyncio.run(looker._look_around(setup, is_quiet=True))
    assert looker._drops
    monkeypatch.setattr(look, "is_there", lambda _: False)
    asyncio.run(looker._look_around(setup, is_quiet=True))
    assert not looker._drops


def test_a_look_at_others_waits_while_the_own_rules_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss is not kept waiting by it: it is put off until nothing has changed since a look."""
    looker = look.Looker(Any, INSTALLED, {}, None, None, None)  # type: ignore[arg-type]
    setup = Setup(FirewallDriver.NFTABLES)
    asyncio.run(looker._look_around(setup, is_quiet=False))
    monkeypatch.setattr(look, "OTHERS_EVERY_S", 0.0)
    now = time.monotonic()
    looker.others_due = now
    asyncio.run(looker._look_around(setup, is_quiet=False))
    assert looker.others_due > now
    asyncio.run(looker._look_around(setup, is_quiet=True))
    assert looker.others_due is None


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
        self.asked = 0
        self.policies: tuple[str, ...] = ()

    async def read(self, policies: tuple[str, ...] = ()) -> Firewalld:
        self.asked, self.policies = self.asked + 1, policies
        await self.let.wait()
        return self.said


def _looker(
    firewalld: _Slow, heard_late: Callable[[], None] = lambda: None
) -> tuple[look.Looker, Any]:
    """A looker at a host with one container, whose rules are all there; and what it expects."""
    expected: Any = _JustSetUp()
    expected.stamp, expected.driver = 1, FirewallDriver.NFTABLES
    expected.endpoints = (Endpoint("c" * 64, "n" * 64, "podman", ()),)
    rules: Any = {FirewallDriver.NFTABLES: _Rules()}
    looker = look.Looker(
        expected,
        INSTALLED,
        rules,
        firewalld,  # type: ignore[arg-type]
        None,
        changes=lambda: 7,
        heard_late=heard_late,
    )
    return looker, expected


def test_a_look_does_not_wait_for_a_busy_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What firewalld said last counts meanwhile; one question is on its way, and news are told.

    Only the first look has to know, and waits.
    """
    monkeypatch.setattr(look, "table_exists", lambda *_: False)

    async def body() -> None:
        firewalld, late = _Slow(), asyncio.Event()
        looker, _ = _looker(firewalld, late.set)
        first = asyncio.ensure_future(looker.look(hurries=True))
        done, _ = await asyncio.wait([first], timeout=2 * look._PATIENCE_S)
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
    monkeypatch.setattr(look, "table_exists", lambda *_: False)
    monkeypatch.setattr(look, "_WAITED_S", -1.0)

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
    monkeypatch.setattr(look, "table_exists", lambda _, name: name in tables)
    monkeypatch.setattr(look, "_PATIENCE_S", 60.0)

    async def body() -> None:
        firewalld = _Slow()
        firewalld.let.set()
        looker, _ = _looker(firewalld)
        await looker.look(hurries=True)

        firewalld.let.clear()
        waits = asyncio.ensure_future(looker.look(hurries=True))
        done, _ = await asyncio.wait([waits], timeout=0.1)
        assert not done
        firewalld.let.set()
        await waits

        firewalld.let.clear()
        tables.add("firewalld_policy_drop")
        looker.copied = lambda driver: SavedRules({"FORWARD": Chain("", ("accept",))}, driver)
        found = await asyncio.wait_for(looker.look(hurries=True), 30)
        assert found.firewalld is not None
        assert found.firewalld.sources
        assert found.firewalld.reloading

    asyncio.run(body())
