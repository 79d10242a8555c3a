# SPDX-License-Identifier: Apache-2.0
"""Rules of others that stand before Podman's: which are told of, and which are no harm."""

from dataclasses import replace

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.driver import expected_rules
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State, WarningKind
from tests.unit.decide.test_leftovers import installed, setup_of

NFT, IPTABLES = FirewallDriver.NFTABLES, FirewallDriver.IPTABLES


def told(driver: FirewallDriver, chain: str, text: str, at: int = 0) -> list[str]:
    """What is told of a host in order, with one rule of somebody's put into a chain."""
    setup = setup_of(driver, "10.88.0.2")
    rules: Ruleset = installed(setup)
    was = rules.chains[chain]
    end = len(was.rules) if at < 0 else at
    texts = (*was.rules[:end], text, *was.rules[end:])
    found = replace(rules, chains={**rules.chains, chain: replace(was, rules=texts)})
    verdict = judge(Snapshot(setup, found, ABSENT_FIREWALLD))
    assert not verdict.missing
    assert expected_rules(setup, found)
    notices = [each for each in verdict.warnings if each.kind is WarningKind.HIDDEN]
    assert verdict.state is (State.DEGRADED if verdict.warnings else State.OK)
    return [each.what for each in notices]


@pytest.mark.parametrize(
    ("driver", "chain", "text", "at"),
    [
        (NFT, "FORWARD", "drop", -1),
        (IPTABLES, "ip filter NETAVARK_FORWARD", "-j REJECT", -1),
        (NFT, "NETAVARK-HOSTPORT-DNAT", "return", 0),
        (NFT, "FORWARD", "counter drop", 0),
        (NFT, "NETAVARK-HOSTPORT-DNAT", "tcp dport 8080 dnat ip to 198.51.100.1:80", 0),
        (IPTABLES, "ip filter NETAVARK_FORWARD", "-j DROP", 0),
        (IPTABLES, "ip nat NETAVARK-HOSTPORT-DNAT", "-j RETURN", 0),
        (IPTABLES, "ip nat PREROUTING", "-j ACCEPT", 0),
        (IPTABLES, "ip nat POSTROUTING", '-m comment --comment "mine" -j ACCEPT', 0),
        (
            IPTABLES,
            "ip nat PREROUTING",
            "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.88.0.99:80",
            0,
        ),
    ],
)
def test_what_hides_is_told_word_for_word(
    driver: FirewallDriver, chain: str, text: str, at: int
) -> None:
    """A rule that keeps packets from Podman's, or from the end of its chain, is named."""
    (what,) = told(driver, chain, text, at)
    assert f"chain {chain}: “{text}”" in what


@pytest.mark.parametrize(
    ("driver", "chain", "text", "at"),
    [
        (NFT, "FORWARD", "ip saddr 203.0.113.1 drop", 0),
        (NFT, "NETAVARK-HOSTPORT-DNAT", "tcp dport 9999 dnat ip to 198.51.100.1:80", 0),
        (NFT, "NETAVARK-HOSTPORT-DNAT", "udp dport 8080 dnat ip to 198.51.100.1:80", 0),
        (IPTABLES, "ip filter FORWARD", "-j ACCEPT", 0),
        (IPTABLES, "ip filter FORWARD", "-s 203.0.113.1/32 -j DROP", 0),
        (IPTABLES, "ip nat PREROUTING", "-s 203.0.113.1/32 -j ACCEPT", 0),
        (IPTABLES, "ip nat PREROUTING", "-j ACCEPT", -1),
    ],
)
def test_what_hides_nothing_is_left_alone(
    driver: FirewallDriver, chain: str, text: str, at: int
) -> None:
    """Rules for some packets alone, or behind all of Podman's, or for other ports, are no harm."""
    assert told(driver, chain, text, at) == []
