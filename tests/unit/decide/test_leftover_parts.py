# SPDX-License-Identifier: Apache-2.0
"""What is left over, part by part: who may still need a rule, and what is told of the others."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.leftovers import (
    Leftover,
    candidates,
    jump_target,
    leftovers,
    may_be_needed,
    mentions,
    notices,
    strangers,
    target_now,
    target_of,
)
from podwatch.drivers.driver import expected_rules
from podwatch.words.network import BadFile, Container, FirewallDriver, Network, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.verdict import Missing, MissingKind, WarningKind
from tests.unit.decide.test_leftovers import OTHER, installed, of, seen, setup_of

NFT, CNI = FirewallDriver.NFTABLES, FirewallDriver.CNI
ONE, BOTH = setup_of(NFT, "10.88.0.2"), setup_of(NFT, "10.88.0.2", "10.88.0.3")
RULES = tuple(expected_rules(ONE, installed(ONE)))
DNAT = "nv_2f259bab_10_88_0_0_nm16_dnat"


def test_without_a_setup_nothing_is_left_over() -> None:
    """Where the state is unknown, or names no container, no rule is anybody's left-over."""
    whole = seen(ONE, installed(BOTH))
    nobody = replace(ONE, endpoints=())
    cni = {CNI: installed(setup_of(CNI, "10.88.0.7"))}

    assert leftovers(whole, RULES)
    assert leftovers(replace(whole, setup=None), RULES) == []
    assert candidates(replace(whole, setup=None), RULES) == []
    assert candidates(replace(whole, others=cni), RULES)
    assert candidates(replace(whole, setup=nobody, others=cni), RULES) == []


def test_of_a_driver_that_expects_nothing_nothing_is_left_over() -> None:
    """With netavark's driver none, or rules that could not be read, there is nothing to go by."""
    whole = seen(ONE, installed(BOTH))
    assert whole.setup is not None
    none = replace(whole, setup=replace(whole.setup, driver=FirewallDriver.NONE))

    assert candidates(none, ()) == []
    assert candidates(replace(whole, rules=None), RULES) == []


def on_two_networks() -> tuple[Setup, Ruleset]:
    """The setup of one container, beside one on a network of its own that has no state.

    Of a third container, on the first network, the rules alone are left.
    """
    lone = Network("77777777" + "7" * 56, "podman7", (OTHER,))
    there = replace(
        BOTH.endpoints[0],
        container_id="77" * 32,
        network_id=lone.id,
        network_name="lone",
        addresses=((OTHER[7], OTHER),),
    )
    everybody = replace(
        BOTH,
        networks={**BOTH.networks, lone.id: lone},
        endpoints=(*BOTH.endpoints, there),
    )
    return replace(ONE, endpoints=(*ONE.endpoints, there)), installed(everybody)


def test_of_a_whole_state_all_of_a_dead_containers_rules_are_told() -> None:
    """Where a part is unknown, or missing, only what forwards to nobody is surely nobody's."""
    whole = seen(ONE, installed(BOTH))
    assert whole.setup is not None
    bad = (BadFile("/run/x", "not JSON", container_id="ee" * 32),)
    blind = replace(whole, setup=replace(whole.setup, bad_files=bad))
    loss = Missing(MissingKind.RULE, "a rule is gone", "x", container_ids=("00" * 32,))

    assert {bool(rule.to) for rule in leftovers(whole, RULES)} == {True, False}
    assert {bool(rule.to) for rule in leftovers(blind, RULES)} == {True}
    assert {bool(rule.to) for rule in leftovers(whole, RULES, [loss])} == {True}
    setup, observed = on_two_networks()
    rules = expected_rules(setup, observed)
    assert {bool(rule.to) for rule in leftovers(seen(setup, observed), rules)} == {True}


def test_a_forward_to_whose_own_rule_is_lost_may_be_its_spelling() -> None:
    """A loss of one container makes its own forwards doubtful; one of a network makes none."""
    chain = installed(ONE).chains[DNAT]
    text = "tcp dport 9999 dnat ip to 10.88.0.2:81"
    rules = {**installed(ONE).chains, DNAT: replace(chain, rules=(*chain.rules, text))}
    snapshot = seen(ONE, Ruleset(present=True, chains=rules))
    ids = (ONE.endpoints[0].container_id,)
    own = Missing(MissingKind.RULE, "gone", "x", container="web", container_ids=ids)

    assert leftovers(snapshot, RULES, [own]) == []
    (left,) = leftovers(snapshot, RULES, [replace(own, container="")])
    assert (left.chain, left.text, left.to) == (DNAT, text, "10.88.0.2")
    (left,) = leftovers(snapshot, RULES, [replace(own, container_ids=("ee" * 32,))])
    assert left.text == text


def test_who_is_a_stranger() -> None:
    """An address in more namespaces than there are containers with it, and no link's own."""
    here, there = ip_address("10.88.0.2"), ip_address("10.88.0.9")
    nameless = replace(ONE, networks={})

    assert strangers(ONE, {here: 1}) == frozenset()
    assert strangers(ONE, {here: 2}) == {here}
    assert strangers(ONE, {here: 1, there: 1}) == {there}
    assert strangers(ONE, {here: 1, ip_address("fe80::1"): 1}) == frozenset()
    assert strangers(nameless, {}) == {here}
    assert strangers(nameless, {here: 1, there: 0}) == {here}


@pytest.mark.parametrize(
    ("chain", "text", "is_needed"),
    [
        ("POSTROUTING", "-s 10.88.0.3/32 -j CNI-333333333333333333333333", False),
        ("POSTROUTING", "-s 10.88.0.4/32 -j CNI-444444444444444444444444", True),
        ("POSTROUTING", "-j CNI-444444444444444444444444", True),
        ("CNI-333333333333333333333333", "! -d 224.0.0.0/4 -j MASQUERADE", False),
        ("CNI-444444444444444444444444", "! -d 224.0.0.0/4 -j MASQUERADE", True),
    ],
)
def test_a_strangers_rules_in_a_shared_chain_keep_no_others(
    chain: str,
    text: str,
    is_needed: bool,  # noqa: FBT001
) -> None:
    """A rule is the stranger's by itself, by its own container's chain, or by that it leads to."""
    masquerade = "! -d 224.0.0.0/4 -j MASQUERADE"
    chains = {
        "POSTROUTING": ("-s 10.88.0.4/32 -j CNI-444444444444444444444444",),
        "CNI-333333333333333333333333": ("-d 10.88.0.3/32 -j ACCEPT", masquerade),
        "CNI-444444444444444444444444": ("-d 10.88.0.4/32 -j ACCEPT", masquerade),
    }
    observed = Ruleset(
        present=True, chains={f"ip nat {name}": Chain("", rules) for name, rules in chains.items()}
    )
    rule = Leftover(CNI, f"ip nat {chain}", text)

    assert may_be_needed(rule, observed, [ip_address("10.88.0.4")]) is is_needed
    assert not may_be_needed(rule, observed, [])


@pytest.mark.parametrize(("to", "is_needed"), [("10.88.0.3", False), ("10.88.0.4", True)])
def test_where_a_rule_forwards_to_says_who_needs_it(to: str, is_needed: bool) -> None:  # noqa: FBT001
    """Whatever else stands in its chain."""
    rule = Leftover(NFT, DNAT, "x", to)
    chains = {DNAT: Chain("", ("tcp dport 1 dnat ip to 10.88.0.4:1",))}
    observed = Ruleset(present=True, chains=chains)

    assert may_be_needed(rule, observed, [ip_address("10.88.0.4")]) is is_needed


def test_twenty_forwards_are_named_and_the_rest_is_counted() -> None:
    """Each with whose address it leads to; those that forward nothing are counted alone."""

    def told(forwards: int, others: int) -> list[tuple[WarningKind, str]]:
        found = [Leftover(NFT, DNAT, f"rule {n}", f"10.88.1.{n}") for n in range(forwards)]
        found += [Leftover(NFT, DNAT, "jump")] * others
        return [(notice.kind, notice.what) for notice in notices(found, ONE, {})]

    place = "left over in table inet netavark"
    assert told(0, 0) == []
    assert told(1, 0) == [
        (
            WarningKind.LEFTOVER,
            f"left over in chain {DNAT}: “rule 0”: no running container has 10.88.1.0",
        )
    ]
    assert told(0, 2) == [
        (WarningKind.REMAINS, f"{place}: 2 rules that no running container needs")
    ]
    assert len(told(20, 0)) == 20
    assert told(21, 0)[20:] == [
        (WarningKind.LEFTOVER, f"{place}: 1 rule that no running container needs")
    ]
    assert told(20, 3)[20:] == [
        (WarningKind.LEFTOVER, f"{place}: 3 rules that no running container needs")
    ]


def test_whose_an_address_is_now() -> None:
    """By the name that podman knows, else by the short id."""
    rule = Leftover(NFT, DNAT, "x", "10.88.0.2")
    key = ONE.endpoints[0].container_id

    assert target_now(rule, ONE, {}) == "10.88.0.2 is 000000000000's now, which does not need it"
    named = target_now(rule, ONE, {key: Container(key, "web")})
    assert named == "10.88.0.2 is web's now, which does not need it"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("tcp dport 8080 dnat ip to 10.88.0.9:80", "10.88.0.9"),
        ("tcp dport 8080 dnat ip6 to [fd10::9]:80", "fd10::9"),
        ("-p tcp -j DNAT --to-destination 10.88.0.9:80-81/80", "10.88.0.9"),
        ("-p tcp -j DNAT --to-destination [fd10::9]:80", "fd10::9"),
        ("ct state invalid drop", ""),
    ],
)
def test_where_a_rule_forwards_to(text: str, target: str) -> None:
    """The address alone, of either family, as nft and iptables-save print it."""
    assert target_of(text) == target
    places = [ip_network("10.88.0.0/16"), ip_network("fd10::/64")]
    assert mentions(text, places) is bool(target)
    assert not mentions(text, places[:1] if ":" in target else places[1:])


@pytest.mark.parametrize(
    ("name", "text", "target"),
    [
        ("PREROUTING", "tcp dport 80 jump MINE", "MINE"),
        ("PREROUTING", "goto MINE", "MINE"),
        ("PREROUTING", "jump GONE", ""),
        ("PREROUTING", "accept", ""),
        ("ip nat PREROUTING", "-p tcp -j MINE", "ip nat MINE"),
        ("ip nat PREROUTING", "-g MINE", "ip nat MINE"),
        ("ip6 nat PREROUTING", "-j MINE", ""),
    ],
)
def test_the_chain_that_a_rule_leads_to(name: str, text: str, target: str) -> None:
    """One of the same table; none where it is no chain that is there."""
    observed = Ruleset(present=True, chains=dict.fromkeys(("MINE", "ip nat MINE"), Chain("", ())))
    assert jump_target(name, text, observed) == target


def test_rules_of_a_chain_of_nobodys_are_nobodys() -> None:
    """All of a dead network's chain; of a shared one only what leads into such a chain."""
    chain, masquerade = "nv_77777777_10_89_7_0_nm24", "ip daddr != 224.0.0.0/4 masquerade"
    observed = installed(ONE)
    forward = observed.chains["FORWARD"]
    chains = {
        **observed.chains,
        chain: Chain("", (masquerade,)),
        "FORWARD": replace(forward, rules=(f"jump {chain}", "jump mine", *forward.rules)),
    }
    found = of(ONE, replace(observed, chains=chains))
    assert sorted(found) == [
        ("FORWARD", f"jump {chain}"),
        (chain, "ip daddr != 224.0.0.0/4 masquerade"),
    ]
