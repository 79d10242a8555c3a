# SPDX-License-Identifier: Apache-2.0
"""Which of netavark's drivers a user's is, by the rules that are there, or were."""

import asyncio
from dataclasses import dataclass

import pytest

from podwatch.daemon.user_driver import UserDriver
from podwatch.words.errors import Unreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Firewalld, Part, Unknown
from tests.unit.decide.one_network import endpoint

SETUP = Setup(FirewallDriver.UNKNOWN, endpoints=(endpoint("c" * 64),))


@dataclass
class Kernel:
    """What the kernel has in the user's namespace, or that it does not say."""

    table: bool = False
    chain: bool = False
    deaf: bool = False

    def has_table(self, family: str, name: str) -> bool:
        """Whether there is netavark's table of nftables."""
        assert (family, name) == ("inet", "netavark")
        if self.deaf:
            raise Unreadable("it does not say")
        return self.table

    def has_chain(self, family: str, table: str, name: str) -> bool:
        """Whether there is netavark's chain of iptables."""
        assert (family, table, name) == ("ip", "filter", "NETAVARK_FORWARD")
        return self.chain


def named(driver: UserDriver) -> FirewallDriver:
    """Which driver the setup has, once it was named."""
    return driver.name(SETUP).driver


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (Kernel(), FirewallDriver.UNKNOWN),
        (Kernel(table=True), FirewallDriver.NFTABLES),
        (Kernel(chain=True), FirewallDriver.IPTABLES),
        (Kernel(table=True, chain=True), FirewallDriver.NFTABLES),
        (Kernel(table=True, deaf=True), FirewallDriver.UNKNOWN),
    ],
)
def test_the_rules_tell_the_driver(kernel: Kernel, expected: FirewallDriver) -> None:
    """netavark's table, else its chain; without either nothing does."""
    driver = UserDriver(kernel.has_table, kernel.has_chain)
    assert named(driver) is expected
    assert driver.name(SETUP).endpoints == SETUP.endpoints


@pytest.mark.parametrize("how", ["flushed", "unreadable"])
def test_what_was_seen_once_counts(how: str) -> None:
    """The rules may be what is lost."""
    kernel = Kernel(table=True)
    driver = UserDriver(kernel.has_table, kernel.has_chain)
    named(driver)
    kernel.table, kernel.deaf = how == "unreadable", how == "unreadable"
    assert named(driver) is FirewallDriver.NFTABLES


def test_the_saved_copy_remembers_it() -> None:
    """Until the kernel has rules of the other one."""
    kernel = Kernel()
    driver = UserDriver(kernel.has_table, kernel.has_chain)
    driver.remember(FirewallDriver.IPTABLES)
    assert named(driver) is FirewallDriver.IPTABLES
    kernel.table = True
    assert named(driver) is FirewallDriver.NFTABLES


def found(setup: Setup) -> list[Unknown]:
    """What a look does not know of it; all else is as it was."""

    async def never(_: Setup) -> Firewalld:
        pytest.fail("firewalld is root's")

    unknown: list[Unknown] = []
    rules = Ruleset(present=True)
    answer = asyncio.run(UserDriver().find(setup, rules, never, unknown))
    assert answer == (setup, rules, None)
    return unknown


def test_a_driver_that_nothing_tells_is_unknown() -> None:
    """With the one command by which netavark writes its rules again."""
    (unknown,) = found(SETUP)
    assert unknown.part is Part.RULES
    assert unknown.hint == "podman network reload --all"
    assert found(Setup(FirewallDriver.NFTABLES, endpoints=SETUP.endpoints)) == []


def test_without_a_network_no_driver_is_missed() -> None:
    """A user without a container on a bridge has no rules."""
    assert found(Setup(FirewallDriver.UNKNOWN)) == []
