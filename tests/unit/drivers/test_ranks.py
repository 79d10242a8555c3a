# SPDX-License-Identifier: Apache-2.0
"""The ranks of rules that have to stand before others, whichever driver they are of."""

from dataclasses import replace
from typing import Protocol

import pytest

from podwatch.drivers import cni, iptables, nftables
from podwatch.words.network import Isolation, Setup
from podwatch.words.rules import Chain, Rule, Ruleset
from tests.unit.drivers import test_cni, test_iptables, test_nftables

LET_THROUGH = {
    f"{family} filter CNI-FORWARD": Chain(
        "",
        tuple(
            f"-s {address}/{address.max_prefixlen} -j ACCEPT"
            for endpoint in test_cni.SETUP.endpoints
            for address, _ in endpoint.addresses
        ),
    )
    for family in ("ip", "ip6")
}


class Expected(Protocol):
    """What a driver expects of a setup."""

    def __call__(self, setup: Setup, observed: Ruleset) -> list[Rule]: ...


@pytest.mark.parametrize(
    ("expected", "setup", "observed"),
    [
        (
            nftables.expected_rules,
            test_nftables.SETUP,
            nftables.parse_listing(test_nftables.NEWEST),
        ),
        (
            iptables.expected_rules,
            test_iptables.setup_of(*(test_nftables.ENDPOINT.port_mappings or ()), stateful=True),
            test_iptables.WHOLE,
        ),
        (cni.expected_rules, test_cni.SETUP, Ruleset(present=True, chains=LET_THROUGH)),
    ],
    ids=["nftables", "iptables", "cni"],
)
def test_ranks_are_counted_from_zero(expected: Expected, setup: Setup, observed: Ruleset) -> None:
    """In each group somebody stands first, and no two ranks are one: none is left out."""
    found: dict[tuple[str, str], set[int]] = {}
    for isolation in Isolation:
        networks = {
            key: replace(network, isolation=isolation) for key, network in setup.networks.items()
        }
        for rule in expected(replace(setup, networks=networks), observed):
            if rule.order:
                found.setdefault((rule.chain, rule.order[0]), set()).add(rule.order[1])

    lone = {group for group, ranks in found.items() if len(ranks) < 2}
    gaps = {group for group, ranks in found.items() if ranks != set(range(len(ranks)))}
    assert (lone, gaps) == (set(), set())
    assert len(found) > len(setup.networks)
