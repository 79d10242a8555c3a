# SPDX-License-Identifier: Apache-2.0
"""Dead containers' rules before a running one's: which are a loss, and which are left alone."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.decision import Limits, Memory
from podwatch.decide.judge import judge
from podwatch.decide.policy import step
from podwatch.drivers.saved import without
from podwatch.words.means import Method
from podwatch.words.network import Address, Container, FirewallDriver, PortMapping, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind, State, WarningKind
from tests.unit.decide.test_leftovers import installed, seen, setup_of

NFT, IPTABLES = FirewallDriver.NFTABLES, FirewallDriver.IPTABLES
DEAD = "10.88.0.50"
_DNAT = {NFT: "nv_2f259bab_10_88_0_0_nm16_dnat", IPTABLES: ""}


def stale_first(driver: FirewallDriver, dead: str = DEAD) -> tuple[Setup, Ruleset, str, str]:
    """A running container behind the rule of one that had its port before; (…, chain, rule)."""
    setup = setup_of(driver, "10.88.0.2")
    observed = installed(setup)
    (chain, text), *_ = (
        (name, text)
        for name, each in observed.chains.items()
        for text in each.rules
        if "10.88.0.2:80" in text
    )
    rule = text.replace("10.88.0.2", dead)
    was = observed.chains[chain]
    at = was.rules.index(text)
    rules = (*was.rules[:at], rule, *was.rules[at:])
    chains = {**observed.chains, chain: replace(was, rules=rules)}
    return setup, replace(observed, chains=chains), chain, rule


def stale(snapshot: Snapshot) -> list[Missing]:
    """What is told as standing in the way."""
    return [each for each in judge(snapshot).missing if each.kind is MissingKind.STALE]


@pytest.mark.parametrize("driver", [NFT, IPTABLES])
def test_a_way_that_a_dead_containers_rule_closes_is_lost(driver: FirewallDriver) -> None:
    """It is named with the container, the port and the rule; taken away, all is well."""
    setup, observed, chain, rule = stale_first(driver)
    verdict = judge(seen(setup, observed))
    (found,) = verdict.missing
    assert (verdict.state, found.kind) == (State.LOST, MissingKind.STALE)
    assert (found.chain, found.detail) == (chain, rule)
    assert found.what == (
        f"000000000000: 8080/tcp is taken by a rule left over, “{rule}”: "
        f"no running container has {DEAD}"
    )
    assert not [each for each in verdict.warnings if each.kind is WarningKind.LEFTOVER]

    (repair,) = without(observed, [(chain, rule)])
    mended = replace(observed, chains={**observed.chains, chain: repair.chain})
    assert judge(seen(setup, mended)).state is State.OK


def test_who_has_an_address_is_not_dead() -> None:
    """While any namespace has the address, or the kernel does not tell, it is no loss."""
    setup, observed, _, _ = stale_first(NFT)
    assert stale(seen(setup, observed))
    assert not stale(seen(setup, observed, DEAD))
    assert not stale(replace(seen(setup, observed), inside=None))
    assert not stale(replace(seen(setup, observed), busy="podman is changing a network"))


def test_what_is_no_containers_address_is_meant_so() -> None:
    """A forward that leads out of Podman's networks is somebody's, in whatever chain it is."""
    setup, observed, _, _ = stale_first(NFT, "198.51.100.7")
    assert not stale(seen(setup, observed))


def test_what_stands_behind_closes_nothing() -> None:
    """A rule of the dead behind that of the living is told as left over, and is no loss."""
    setup, observed, chain, rule = stale_first(NFT)
    rules = tuple(each for each in observed.chains[chain].rules if each != rule)
    chains = {**observed.chains, chain: Chain("", (*rules, rule))}
    verdict = judge(seen(setup, replace(observed, chains=chains)))
    assert not verdict.missing
    assert [each.kind for each in verdict.warnings] == [WarningKind.LEFTOVER]


def test_several_dead_are_all_found() -> None:
    """Each of those that had the port before is named, whatever the port's place in a range."""
    setup, observed, chain, rule = stale_first(NFT)
    was = observed.chains[chain]
    again = rule.replace(DEAD, "10.88.0.51")
    chains: Mapping[str, Chain] = {**observed.chains, chain: Chain("", (again, *was.rules))}
    found = stale(seen(setup, replace(observed, chains=chains)))
    assert [each.detail for each in found] == [again, rule]

    ranged = replace(setup.endpoints[0], port_mappings=(PortMapping(8078, 78, "tcp", 5),))
    wide = replace(setup, endpoints=(ranged,))
    whole = installed(wide)
    chain_name = next(name for name in whole.chains if name.endswith("_dnat"))
    first = Chain("", (rule, *whole.chains[chain_name].rules))
    damaged = replace(whole, chains={**whole.chains, chain_name: first})
    assert [each.detail for each in stale(seen(wide, damaged))] == [rule]


@pytest.mark.parametrize(("dead", "found"), [(10, 10), (11, 10)])
def test_ten_rules_before_a_port_are_found_at_once(dead: int, found: int) -> None:
    """The others are when these are gone."""
    setup, observed, chain, rule = stale_first(NFT)
    before = tuple(rule.replace(DEAD, f"10.88.1.{number}") for number in range(dead - 1))
    was = observed.chains[chain]
    chains = {**observed.chains, chain: Chain("", (*before, *was.rules))}

    assert len(stale(seen(setup, replace(observed, chains=chains)))) == found


def test_only_the_port_that_is_taken_is_named() -> None:
    """With the container as podman calls it; the port of another protocol is well."""
    setup, _, chain, rule = stale_first(NFT)
    mapping = PortMapping(8080, 80, "tcp")
    ports = (replace(mapping, protocol="udp"), mapping, PortMapping(8081, 81, "tcp"))
    quiet = replace(setup.endpoints[0], container_id="q" * 64, port_mappings=None)
    more = replace(setup, endpoints=(quiet, replace(setup.endpoints[0], port_mappings=ports)))
    whole = installed(more)
    was = whole.chains[chain]
    chains = {**whole.chains, chain: Chain("", (rule, *was.rules))}
    key = setup.endpoints[0].container_id
    snapshot = replace(
        seen(more, replace(whole, chains=chains)), containers={key: Container(key, "web")}
    )

    (found,) = stale(snapshot)
    assert found.what.startswith("web: 8080/tcp is taken by a rule left over, ")
    assert (found.container, found.container_ids, found.reloadable) == ("web", (key,), False)


def test_what_stands_behind_somebody_elses_rule_is_not_named() -> None:
    """Taken away it would open nothing."""
    setup, observed, chain, rule = stale_first(NFT)
    foreign = rule.replace(DEAD, "198.51.100.7")
    was = observed.chains[chain]
    chains = {**observed.chains, chain: Chain("", (foreign, *was.rules))}

    assert stale(seen(setup, replace(observed, chains=chains))) == []


def test_it_is_taken_away_at_once_and_reloads_nobody() -> None:
    """The policy has the rule taken away by a replay; where that is switched off, it is told."""
    setup, observed, chain, rule = stale_first(NFT)
    verdict = judge(seen(setup, observed))
    _, decision = step(Memory(), verdict, 100.0, Limits())
    assert decision.method is Method.REPLAY
    assert [(loss.chain, loss.detail) for loss in decision.missing] == [(chain, rule)]
    without_replay = Limits(methods=frozenset({Method.RELOAD, Method.ESCALATE}))
    memory, decision = step(Memory(), verdict, 100.0, without_replay)
    for now in (101.0, 1000.0):
        memory, decision = step(memory, verdict, now, without_replay)
        assert decision.method is None
        assert "podwatch restore --stale" in decision.why


def test_a_rule_of_another_address_family_takes_nothing() -> None:
    """IPv6 packets are not taken by a rule for IPv4."""
    setup, observed, _, _ = stale_first(NFT)
    six: Address = ip_address("fd00::2")
    (endpoint,) = setup.endpoints
    only_six = replace(
        endpoint,
        addresses=((six, next(iter(setup.networks.values())).subnets[0]),),
    )
    assert not stale(seen(replace(setup, endpoints=(only_six,)), observed, "10.88.0.2"))
