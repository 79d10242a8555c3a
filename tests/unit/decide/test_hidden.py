# SPDX-License-Identifier: Apache-2.0
"""Rules of others that stand before Podman's: which are told of, and which are no harm."""

from dataclasses import replace

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.drivers.driver import expected_rules
from podwatch.words.network import Container, FirewallDriver, PortMapping, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State, WarningKind
from podwatch.words.way import Hop, Kernel, Mark
from tests.unit.decide.test_leftovers import DRIVERS, installed, setup_of

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


def forward(setup: Setup, observed: Ruleset, *dead: str) -> Hop:
    """The hop "port forward" of the first way; `dead` are ids of containers that do not run."""
    containers = {each: Container(each, "old", running=False) for each in dead}
    way, *_ = explain(Snapshot(setup, observed, ABSENT_FIREWALLD, containers), Kernel())
    (hop,) = [each for each in way.hops if each.place == "port forward"]
    return hop


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("apart", [False, True], ids=["one network", "two networks"])
@pytest.mark.parametrize("ports", [PortMapping(8080, 80, "tcp"), PortMapping(8079, 79, "tcp", 2)])
def test_the_first_forward_of_a_port_is_the_one_that_counts(
    driver: FirewallDriver, ports: PortMapping, *, apart: bool
) -> None:
    """A dead container's rule before a live one's is named, on whichever chain; behind it not."""
    if driver is FirewallDriver.CNI:  # which has no ranges
        ports = PortMapping(8080, 80, "tcp")
    both = setup_of(driver, "10.88.0.9", "10.88.0.2")
    dead = replace(both.endpoints[0], port_mappings=(ports,))
    if apart:
        (network,) = both.networks.values()
        other = replace(network, id="77777777" + "7" * 56, bridge="podman7")
        both = replace(both, networks={**both.networks, other.id: other})
        dead = replace(dead, network_id=other.id, network_name="other")
    live = replace(both.endpoints[1], port_mappings=(PortMapping(8080, 80, "tcp"),))
    setup = replace(both, endpoints=(live,))

    hop = forward(setup, installed(replace(both, endpoints=(dead, live))))
    assert (hop.mark, hop.advice) == (Mark.BROKEN, "podwatch restore --stale")
    assert "10.88.0.9" in hop.what
    assert hop.what.endswith(" takes 8080/tcp first")
    assert forward(setup, installed(replace(both, endpoints=(live, dead)))).mark is Mark.OPEN
    if not apart:  # and where the dead one's state is still there
        with_state = replace(both, endpoints=(live, dead))
        again = forward(
            with_state, installed(replace(both, endpoints=(dead, live))), dead.container_id
        )
        assert again == hop


def test_somebodys_own_forward_is_not_called_stale() -> None:
    """A rule that is none of netavark's is not what `podwatch restore --stale` takes away."""
    setup = setup_of(NFT, "10.88.0.2")
    rules = installed(setup)
    chain = "NETAVARK-HOSTPORT-DNAT"
    text = "tcp dport 8080 dnat ip to 198.51.100.1:80"
    was = rules.chains[chain]
    found = {**rules.chains, chain: replace(was, rules=(text, *was.rules))}

    hop = forward(setup, replace(rules, chains=found))
    assert (hop.mark, hop.advice) == (Mark.BROKEN, "delete it, unless it is meant so")


def test_a_rule_that_only_looks_at_packets_takes_none() -> None:
    """What logs or marks a port's packets lets them go on."""
    setup = setup_of(IPTABLES, "10.88.0.2")
    rules = installed(setup)
    chain = "ip nat PREROUTING"
    was = rules.chains[chain]
    found = {
        **rules.chains,
        chain: replace(was, rules=("-p tcp -m tcp --dport 8080 -j LOG", *was.rules)),
    }

    assert forward(setup, replace(rules, chains=found)).mark is Mark.OPEN


@pytest.mark.parametrize("driver", [NFT, IPTABLES])
def test_of_a_range_the_port_that_is_taken_is_named(driver: FirewallDriver) -> None:
    """One port that goes to a dead container is told, wherever in the range it is."""
    both = setup_of(driver, "10.88.0.9", "10.88.0.2")
    dead = replace(both.endpoints[0], port_mappings=(PortMapping(9002, 80, "tcp"),))
    live = replace(both.endpoints[1], port_mappings=(PortMapping(9000, 9000, "tcp", 3),))

    hop = forward(
        replace(both, endpoints=(live,)), installed(replace(both, endpoints=(dead, live)))
    )
    assert hop.mark is Mark.BROKEN
    assert hop.what.endswith(" takes 9002/tcp first")
