# SPDX-License-Identifier: Apache-2.0
"""Whose rules a host without state has: told by what is there, by what was, or by nothing."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network

from podwatch.daemon.in_use import InUse
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Unknown

NET = Network("1" * 64, "podman0", (ip_network("10.88.0.0/16"),))
SETUP = Setup(
    FirewallDriver.IPTABLES,
    {NET.id: NET},
    (Endpoint("aa" * 32, NET.id, "podman", ((ip_address("10.88.0.2"), NET.subnets[0]),)),),
)
RULES = Ruleset(
    present=True,
    chains={"ip filter NETAVARK_FORWARD": Chain("", ("-s 10.88.0.0/16 -j ACCEPT",))},
)
GONE = Ruleset(present=False)
LEFT = Firewalld(running=True, policies={"netavark_policy": Chain("netavark_policy", ())})
MADE = replace(LEFT, sources={"10.88.0.0/16": "netavark_zone"})
BARE = Firewalld(running=True)


def whose(
    in_use: InUse, said: Firewalld, rules: Ruleset | None, setup: Setup = SETUP
) -> FirewallDriver:
    """The driver found in use; of no other one's rules anything is judged."""

    async def ask(other: Setup) -> Firewalld:
        assert other.driver is FirewallDriver.FIREWALLD
        return said

    unknown: list[Unknown] = []
    found, left, _ = asyncio.run(in_use.find(setup, rules, ask, unknown))
    assert bool(unknown) is (found.driver is FirewallDriver.UNKNOWN)
    assert (left is None) is (rules is None or found.driver is not FirewallDriver.IPTABLES)
    return found.driver


def test_the_rules_tell_the_driver() -> None:
    """What was seen counts until no container runs; what was never seen and may be is unknown."""
    in_use = InUse()

    assert whose(in_use, BARE, GONE) is FirewallDriver.IPTABLES
    assert whose(in_use, LEFT, GONE) is FirewallDriver.UNKNOWN
    assert whose(in_use, LEFT, None) is FirewallDriver.IPTABLES  # which could not be read
    assert whose(in_use, MADE, GONE) is FirewallDriver.FIREWALLD
    assert whose(in_use, LEFT, GONE) is FirewallDriver.FIREWALLD
    assert whose(in_use, ABSENT_FIREWALLD, GONE) is FirewallDriver.FIREWALLD
    assert whose(in_use, MADE, RULES) is FirewallDriver.IPTABLES
    assert whose(in_use, MADE, GONE) is FirewallDriver.IPTABLES
    assert whose(in_use, MADE, None, replace(SETUP, endpoints=())) is FirewallDriver.IPTABLES
    assert whose(in_use, MADE, GONE) is FirewallDriver.FIREWALLD


def test_firewalld_is_asked_only_where_nothing_else_tells() -> None:
    """Not while iptables has the rules, nor once it had them, nor where they could not be read."""
    asked: list[Setup] = []

    async def ask(other: Setup) -> Firewalld:
        asked.append(other)
        return MADE

    in_use = InUse()
    for rules, times in ((None, 0), (GONE, 1), (RULES, 1), (GONE, 1)):
        asyncio.run(in_use.find(SETUP, rules, ask, []))
        assert len(asked) == times


def test_a_copy_of_iptables_rules_tells_the_driver() -> None:
    """Where nothing else does: what an earlier podwatch saw can be put back."""
    in_use = InUse()
    in_use.remember(FirewallDriver.IPTABLES)

    assert whose(in_use, LEFT, GONE) is FirewallDriver.IPTABLES
    assert whose(in_use, MADE, GONE) is FirewallDriver.FIREWALLD
