# SPDX-License-Identifier: Apache-2.0
"""Rules of others with which a full guard would do what they keep netavark's from."""

from dataclasses import replace

import pytest

from podwatch.decide.exemptions import exemption
from podwatch.drivers import iptables
from podwatch.drivers.iptables_save import BUILT_IN
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Chain, Ruleset
from tests.unit.decide.open_host import EXPECTED, SETUP, SUBNET, installed, ruleset
from tests.unit.drivers.installed import chains_of

SUBNET_CHAIN = "nv_bbbbbbbb_10_88_0_0_nm16"


def with_rule(chain: str, text: str, at: int = 0) -> Ruleset:
    """All rules, and one of somebody else's at a place of a chain."""
    whole = installed(SETUP)
    old = whole.chains[chain]
    rules = (*old.rules[:at], text, *old.rules[at:])
    return replace(whole, chains={**whole.chains, chain: replace(old, rules=rules)})


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        ("POSTROUTING", "ip saddr 10.88.0.0/16 ip daddr 192.0.2.2 accept"),
        ("PREROUTING", "ip saddr 192.0.2.2 tcp dport 8080 counter accept"),
        ("OUTPUT", "return"),
        (SUBNET_CHAIN, "ip daddr 192.0.2.2 return"),
        ("NETAVARK-HOSTPORT-DNAT", "ip saddr 192.0.2.2 accept"),
    ],
)
def test_what_passes_before_netavark_translates_is_one(chain: str, text: str) -> None:
    """In whichever chain that translates, with a condition or without."""
    told = exemption(EXPECTED, with_rule(chain, text), isolates=False)
    assert told == f"chain {chain}: “{text}” stands before netavark's rules"


@pytest.mark.parametrize("isolates", [True, False])
def test_what_passes_between_networks_counts_where_they_are_kept_apart(*, isolates: bool) -> None:
    """Elsewhere the guard has no rule for what is forwarded."""
    for chain in ("FORWARD", "NETAVARK-ISOLATION-1"):
        found = exemption(EXPECTED, with_rule(chain, 'iifname "wg0" accept'), isolates=isolates)
        assert bool(found) is isolates


@pytest.mark.parametrize(
    ("chain", "text", "at"),
    [
        ("POSTROUTING", "ip saddr 10.88.0.0/16 ip daddr 192.0.2.2 accept", 99),
        ("POSTROUTING", "ip saddr 192.0.2.2 drop", 0),
        ("POSTROUTING", "counter packets", 0),
        ("PREROUTING", "tcp dport 9999 dnat ip to 10.88.0.2:80", 0),
        ("FORWARD", 'iifname "wg0" accept', 99),
        ("INPUT", "accept", 0),
    ],
)
def test_what_comes_later_or_lets_nothing_past_is_none(chain: str, text: str, at: int) -> None:
    """A drop is final for the guard, too, and what is translated it never meets."""
    assert exemption(EXPECTED, with_rule(chain, text, at), isolates=True) == ""


def test_a_host_as_it_should_be_has_none() -> None:
    """Nor one where all is lost."""
    assert exemption(EXPECTED, installed(SETUP), isolates=True) == ""
    assert exemption(EXPECTED, ruleset(chain="POSTROUTING"), isolates=True) == ""
    assert exemption(EXPECTED, Ruleset(present=False), isolates=True) == ""


def test_iptables_has_the_same_in_its_own_words() -> None:
    """In the chains of everybody, in front of the driver's jumps."""
    made = replace(SETUP, driver=FirewallDriver.IPTABLES)
    rules = iptables.expected_rules(made, Ruleset(present=True))
    whole = Ruleset(present=True, chains=chains_of(rules))
    assert exemption(rules, whole, isolates=True) == ""
    found = 0
    for name, chain in whole.chains.items():
        table = name.split()[1]
        more = Chain(BUILT_IN, (f"-s {SUBNET} -d 192.0.2.2/32 -j ACCEPT", *chain.rules))
        seen = replace(whole, chains={**whole.chains, name: more})
        if table == "nat" and len(chain.rules) and "POSTROUTING" in name:
            assert "-j ACCEPT” stands before" in exemption(rules, seen, isolates=False)
            found += 1
    assert found
