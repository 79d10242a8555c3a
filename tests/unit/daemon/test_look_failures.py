# SPDX-License-Identifier: Apache-2.0
"""A look at what cannot be read or does not hold still, and whether its snapshot still counts."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon.containers import Containers
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.installed import Installed
from podwatch.daemon.look import Looker
from podwatch.daemon.surroundings import Surroundings
from podwatch.drivers.saved import SavedRules
from podwatch.words.errors import RulesUnreadable, StateUnreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Part
from tests.unit.daemon.damaged_host import SETUP, KernelRules, ToldSetup, chains_of

BUSY = "podman is changing a network"


class FakeSetup(ToldSetup):
    """What is set up, which may be unreadable, or change while it is read."""

    fails = ""
    in_read: Callable[[], None] = staticmethod(lambda: None)

    async def read(self) -> Setup:
        """The setup now."""
        if self.fails:
            raise StateUnreadable(self.fails, hint="look there")
        setup = await super().read()
        self.in_read()
        return setup


class FakeRules(KernelRules):
    """Rules that may be unreadable, are elsewhere, or change while they are read."""

    writers = frozenset({"nft", "iptables"})
    fails = ""
    reads = 0
    in_read: Callable[[], None] = staticmethod(lambda: None)
    found_elsewhere: Ruleset | None = None

    def __init__(self, chains: Mapping[str, Chain]) -> None:
        super().__init__(chains)
        self.remembered: list[Mapping[str, Chain]] = []

    async def read(self) -> Ruleset:
        """The rules as they are."""
        self.reads += 1
        self.in_read()
        if self.fails:
            raise RulesUnreadable(self.fails, hint="run nft")
        return await super().read()

    async def elsewhere(self, setup: Setup) -> Ruleset | None:
        """What the test says, for the same setup."""
        return self.found_elsewhere if setup is SETUP else None

    def remember(self, chains: Mapping[str, Chain]) -> None:
        """Once, by what an earlier podwatch saved."""
        self.remembered.append(chains)


class FakeLock:
    """podman's network lock, taken by whom the test says."""

    by = ""

    def holder(self) -> str:
        """Who changes a network."""
        return self.by

    def held(self) -> None:
        """Of no interest here."""


class Host:
    """A host whose rules are all there, and a looker on it."""

    def __init__(self, nowhere: Path) -> None:
        self.expected, self.rules, self.lock = (
            FakeSetup(SETUP),
            FakeRules(chains_of(SETUP)),
            FakeLock(),
        )
        self.transactions = 0
        at = Installed.at(Paths(locks=(), netavark_networks=nowhere, aardvark=nowhere), None)
        lock: Any = self.lock
        expected: Any = self.expected
        installed = Installed(at.paths, at.podman, lock, at.networks, at.name_server)
        rules = {FirewallDriver.NFTABLES: self.rules}
        self.looker = Looker(
            expected,
            installed,
            rules,
            FirewalldLook(None),
            Containers(expected, installed, self.changes),
            Surroundings(installed, rules, None, None),
            changes=self.changes,
        )

    def changes(self) -> int:
        """How many transactions there were on the driver's table."""
        return self.transactions

    def commit(self) -> None:
        """Somebody changes the rules."""
        self.transactions += 1


def on(tmp_path: Path) -> Callable[[Callable[[Host], Coroutine[Any, Any, None]]], None]:
    """Run this on a host of its own."""
    return lambda body: asyncio.run(body(Host(tmp_path)))


def test_a_look_at_what_holds_still_is_read_once(tmp_path: Path) -> None:
    """All is known, nobody is in the middle of a change, and the snapshot counts."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        found = await host.looker.look(paused="by hand")
        assert (found.setup, found.unknown, found.busy) == (SETUP, (), "")
        assert found.paused == "by hand"
        assert host.rules.reads == 1
        assert host.looker.setup is SETUP
        assert host.looker.outdated(found) == ""


def test_a_setup_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """No rule is read for it: there is nothing to hold it against."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        host.expected.fails = "the state is no good"
        found = await host.looker.look(hurries=True)
        (unknown,) = found.unknown
        assert (unknown.part, unknown.what) == (Part.SETUP, "netavark's state")
        assert (unknown.why, unknown.hint) == ("the state is no good", "look there")
        assert found.setup is None
        assert found.rules is None
        assert found.copied == {}
        assert host.rules.reads == 0


def test_rules_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    """What is set up is known all the same, and no rule counts as lost."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        host.rules.fails = "nft hangs"
        found = await host.looker.look()
        (unknown,) = found.unknown
        assert (unknown.part, unknown.what) == (Part.RULES, FirewallDriver.NFTABLES)
        assert (unknown.why, unknown.hint) == ("nft hangs", "run nft")
        assert found.setup is SETUP
        assert found.rules is None
        assert found.others == {}


def test_rules_are_not_read_for_nobody(tmp_path: Path) -> None:
    """Without a container, or with a driver that podwatch does not know, none is expected."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        for setup in (
            Setup(FirewallDriver.NFTABLES),
            Setup(FirewallDriver.NONE, {}, SETUP.endpoints),
        ):
            host.expected.change(setup)
            found = await host.looker.look()
            assert found.setup is setup
            assert found.rules is None
            assert found.unknown == ()
        assert host.rules.reads == 0


def test_rules_that_change_meanwhile_are_read_again(tmp_path: Path) -> None:
    """A snapshot is of one moment."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        changes = [host.commit]
        host.rules.in_read = lambda: changes.pop()() if changes else None
        found = await host.looker.look()
        assert (host.rules.reads, found.busy, found.changes) == (2, "", 1)


def test_rules_that_never_hold_still_are_given_up(tmp_path: Path) -> None:
    """Somebody is in the middle of a change: nothing is decided from what was read."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        host.rules.in_read = host.commit
        found = await host.looker.look()
        assert found.busy == "the rules change faster than they can be read"
        assert host.rules.reads == 3


def test_a_setup_that_changes_while_the_rules_are_read_is_read_again(tmp_path: Path) -> None:
    """The rules of one moment are not held against the containers of another."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        await host.looker.look()
        changes: list[Callable[[], None]] = [lambda: host.expected.change(SETUP)]
        host.rules.in_read, host.rules.reads = lambda: changes.pop()() if changes else None, 0
        assert (await host.looker.look()).busy == ""
        assert host.rules.reads == 2


@pytest.mark.parametrize("when", ["before", "during"])
def test_who_holds_podmans_lock_is_in_the_middle_of_a_change(tmp_path: Path, when: str) -> None:
    """Whether it was taken before the look or in it, podman may be writing rules."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        if when == "before":
            host.lock.by = BUSY
            host.rules.in_read = lambda: setattr(host.lock, "by", "")
        else:
            host.rules.in_read = lambda: setattr(host.lock, "by", BUSY)
        assert (await host.looker.look()).busy == BUSY


@pytest.mark.parametrize("when", ["before", "during"])
def test_so_is_who_holds_it_where_nothing_is_set_up(tmp_path: Path, when: str) -> None:
    """The first container's rules may be on their way."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        host.expected.change(Setup(FirewallDriver.NFTABLES))
        if when == "before":
            host.lock.by = BUSY
            host.expected.in_read = lambda: setattr(host.lock, "by", "")
        else:
            host.expected.in_read = lambda: setattr(host.lock, "by", BUSY)
        assert (await host.looker.look()).busy == BUSY


def test_rules_of_another_program_of_the_same_kind_count(tmp_path: Path) -> None:
    """Those are looked for only where the driver's own are not there."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        elsewhere = Ruleset(present=True, chains=chains_of(SETUP))
        host.rules.found_elsewhere = elsewhere
        assert (await host.looker.look()).rules is not elsewhere
        host.rules.chains = {}
        assert (await host.looker.look()).rules is elsewhere
        host.rules.found_elsewhere = None
        found = (await host.looker.look()).rules
        assert found is not None
        assert not found.present


def test_a_snapshot_is_outdated_by_a_container_and_by_a_change_that_goes_on(
    tmp_path: Path,
) -> None:
    """It is asked at the moment of the repair; a change that was seen before is no news."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        found = await host.looker.look()
        host.lock.by = BUSY
        assert host.looker.outdated(found) == BUSY
        assert host.looker.outdated(await host.looker.look()) == ""

        host.lock.by = ""
        host.expected.change(SETUP)  # come, and not read yet
        assert host.looker.outdated(found) == "a container has come or gone"
        await host.expected.read()
        assert host.looker.outdated(found) == "a container has come or gone"

        found = await host.looker.look()
        assert host.looker.outdated(found) == ""
        gone = replace(found, held={"inner": {"c" * 64: ()}})
        assert host.looker.outdated(gone) == "a container has come or gone"


def test_settings_that_nobody_tells_of_outdate_a_look(tmp_path: Path) -> None:
    """The kernel sends no event for a sysctl: they are compared with those that were read."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        await host.looker.look()
        assert not host.looker.is_outdated()
        host.looker.settings.values = {"net/ipv4/ip_forward": "neither"}
        assert host.looker.is_outdated()


def test_tables_are_every_drivers_until_one_is_known(tmp_path: Path) -> None:
    """A change before the first look may be a loss, whoever's rules they are."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        everybodys = host.looker.tables
        assert {"inet netavark", "ip nat"} <= everybodys
        await host.looker.look()
        assert host.looker.tables == {"inet netavark"}
        host.expected.change(Setup(FirewallDriver.NONE, {}, SETUP.endpoints))
        await host.looker.look()
        assert host.looker.tables == everybodys


def test_what_an_earlier_podwatch_saw_is_taken_up(tmp_path: Path) -> None:
    """By the driver it was of, if that is known; its settings by any."""

    @on(tmp_path)
    async def body(host: Host) -> None:
        assert host.looker.writers == {"nft", "iptables"}
        chains = chains_of(SETUP)
        host.looker.remember(
            SavedRules(chains, FirewallDriver.NFTABLES, sysctls=frozenset({"a/b"}))
        )
        host.looker.remember(SavedRules({}, FirewallDriver.CNI, sysctls=frozenset({"c/d"})))
        assert host.rules.remembered == [chains]
        assert host.looker.settings.seen == {"a/b", "c/d"}
