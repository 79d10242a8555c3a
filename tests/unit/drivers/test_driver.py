# SPDX-License-Identifier: Apache-2.0
"""Which driver made the rules, on the recorded host whose netavark 1.4 keeps no state to say so."""

from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.drivers.about import About
from podwatch.drivers.driver import (
    DRIVERS,
    about,
    expected_rules,
    has_any,
    is_of_one,
    is_whole,
    leading,
    marks,
    observed_of,
    purpose_of,
    told_by_firewalld,
)
from podwatch.drivers.firewalld import POLICIES
from podwatch.drivers.iptables import PREFIXES
from podwatch.drivers.iptables_save import parse_save
from podwatch.drivers.nftables import parse_listing
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import FROM_THEIR_OWN_NETWORK, Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from tests.unit.drivers import test_nftables

DATA = Path(__file__).parents[2] / "data" / "bookworm-netavark-standard"
NAMES = ("networks.json", "ps.json", "inspect.json", "iptables.save", "ip6tables.save")
TEXTS = {name: (DATA / name).read_text(encoding="utf-8") for name in NAMES}
SETUP, _ = parse_setup("".join(TEXTS[name] for name in NAMES[:3]))
MARKS = [f"{name}-HOSTPORT-SETMARK" for name in ("NETAVARK", "CNI")]
WHOLE = parse_save(
    {"ip": TEXTS["iptables.save"], "ip6": TEXTS["ip6tables.save"]}, prefixes=PREFIXES
)


def test_any_rule_of_a_network_tells_of_iptables() -> None:
    """One that is left of a network's is enough; those for all networks may be left over."""
    assert has_any(SETUP, WHOLE)
    assert not has_any(SETUP, Ruleset(present=False))
    assert not has_any(replace(SETUP, endpoints=()), WHOLE)
    for rule in expected_rules(SETUP, WHOLE):
        alone = Ruleset(present=True, chains={rule.chain: Chain("", rule.texts)})
        assert has_any(SETUP, alone) == bool(rule.network_id)


@pytest.mark.parametrize(
    ("said", "driver"),
    [
        (ABSENT_FIREWALLD, FirewallDriver.IPTABLES),
        (Firewalld(running=True), FirewallDriver.IPTABLES),
        (
            Firewalld(running=True, sources={"10.88.0.0/16": "netavark_zone"}),
            FirewallDriver.FIREWALLD,
        ),
        (Firewalld(running=True, sources={"10.88.0.0/16": "trusted"}), FirewallDriver.IPTABLES),
        (
            Firewalld(running=True, sources={"192.0.2.0/24": "netavark_zone"}),
            FirewallDriver.IPTABLES,
        ),
        (
            Firewalld(running=True, policies={name: Chain(name, ()) for name in POLICIES[:2]}),
            FirewallDriver.UNKNOWN,
        ),
        (
            Firewalld(
                running=True,
                sources={"fd10:89:10::/64": "netavark_zone"},
                policies={name: Chain(name, ()) for name in POLICIES[:2]},
            ),
            FirewallDriver.FIREWALLD,
        ),
    ],
)
def test_what_firewalld_tells(said: Firewalld, driver: FirewallDriver) -> None:
    """Its subnets in netavark's zone tell of its driver; policies alone may be of another time."""
    assert told_by_firewalld(SETUP, said) is driver


@pytest.mark.parametrize(
    ("chain", "is_ones"),
    [
        ("nv_53ce4390_10_88_0_0_nm16_dnat", True),
        ("ip nat NETAVARK-1D8721804F16F", True),
        ("ip nat NETAVARK-DN-1D8721804F16F", True),
        (f"ip6 nat CNI-{'0a' * 12}", True),
        (f"ip nat CNI-DN-{'0a' * 10}0", True),
        ("NETAVARK-HOSTPORT-DNAT", False),
        ("ip nat CNI-HOSTPORT-DNAT", False),
        ("netavark_policy", False),
        ("", False),
    ],
)
def test_whose_a_chain_is_shows_in_its_name(chain: str, *, is_ones: bool) -> None:
    """Each driver names the chains of one network or one container in its own way."""
    assert is_of_one(chain) is is_ones


def test_what_a_shared_chain_is_for() -> None:
    """A driver says of its own chains what they are for; of those of others nobody says."""
    assert purpose_of("NETAVARK-ISOLATION-3") == "strict isolation"
    assert {purpose_of(name) for name in MARKS} == {FROM_THEIR_OWN_NETWORK}
    assert purpose_of("DOCKER-USER") == ""
    assert purpose_of("ip filter FORWARD") == purpose_of("FORWARD") == "for all networks"


@pytest.mark.parametrize("place", ["", "ip nat "])
def test_the_rules_that_lead_to_a_chain_are_in_the_chain_of_a_hook(place: str) -> None:
    """The hook itself, and jumps to a chain of the same table; other hooks' are none."""
    hook = Rule(f"{place}FORWARD", ("type filter hook forward",), RuleKind.HOOK)
    jump = Rule(f"{place}FORWARD", ("-j THERE", "counter jump THERE"), RuleKind.HOST)
    rules = [
        hook,
        jump,
        Rule(f"{place}FORWARD", ("jump ELSEWHERE",), RuleKind.HOST),
        Rule(f"{place}INPUT", ("jump THERE",), RuleKind.HOST),
        Rule(f"{place}INPUT", ("type filter hook input",), RuleKind.HOOK),
    ]
    assert leading(rules, "forward", {f"{place}THERE"}) == [hook, jump]
    assert leading(rules, "forward", {"ip6 filter THERE"}) == [hook]


def test_one_chain_of_a_driver_marks_what_is_to_be_masqueraded() -> None:
    """In iptables it is called with its table; firewalld masquerades without one."""
    assert all(marks(name) and marks(f"ip6 nat {name}") for name in MARKS)
    others = ("", "ip nat ", "NETAVARK-HOSTPORT-MASQ", "MY-SETMARK", "ip nat CNI-HOSTPORT-DNAT")
    assert not any(marks(name) for name in others)


@pytest.mark.parametrize("driver", FirewallDriver)
def test_firewalld_has_the_rules_of_one_driver(driver: FirewallDriver) -> None:
    """Its policies are read for netavark's firewalld driver alone, which has a zone of its own."""
    is_firewalld = driver is FirewallDriver.FIREWALLD
    assert about(driver).in_firewalld is is_firewalld
    assert about(driver).zone == ("netavark_zone" if is_firewalld else "trusted")


def test_what_is_special_about_a_driver_is_its_own() -> None:
    """Where its rules are, and whether it trusts subnets or addresses; of others nothing is."""
    assert about(FirewallDriver.NFTABLES).tables == {"inet netavark"}
    assert about(FirewallDriver.IPTABLES).tables == about(FirewallDriver.CNI).tables
    assert "ip filter" in about(FirewallDriver.CNI).tables
    assert about(FirewallDriver.FIREWALLD).tables == frozenset()
    assert [name for name in DRIVERS if about(name).trusts_addresses] == [FirewallDriver.CNI]
    assert [name for name in DRIVERS if about(name).only_forwards] == [FirewallDriver.CNI]
    assert about(FirewallDriver.NONE) == about(FirewallDriver.UNKNOWN) == About(place="")


def test_nothing_is_observed_of_a_firewalld_that_was_not_asked() -> None:
    """Its rules are then not known, whatever iptables has."""
    snapshot = Snapshot(None, Ruleset(present=True), None)
    assert observed_of(Setup(FirewallDriver.FIREWALLD), snapshot) is None


@pytest.mark.parametrize("driver", FirewallDriver)
@pytest.mark.parametrize("runs", [True, False])
def test_where_the_rules_of_a_driver_are_observed(driver: FirewallDriver, *, runs: bool) -> None:
    """In the kernel, in a firewalld that runs, or, of a driver that is not known, nowhere."""
    rules = Ruleset(present=True)
    said = Firewalld(running=runs, policies={"netavark_policy": Chain("netavark_policy", ())})
    found = observed_of(Setup(driver), Snapshot(None, rules, said))
    if driver in (FirewallDriver.NONE, FirewallDriver.UNKNOWN):
        assert found is None
    elif driver is not FirewallDriver.FIREWALLD:
        assert found is rules
    elif runs:
        assert found is not None
        assert found.chains == said.policies
    else:
        assert found is None


def test_a_setup_is_whole_with_every_rule_of_it() -> None:
    """A chain is there by its name, a rule by any of its spellings; where it stands is no matter.

    It is not with any of them gone, nor with a chain that is jumped to.
    """
    setup, listed = test_nftables.SETUP, parse_listing(test_nftables.V1_14)
    assert is_whole(setup, listed)
    turned = {name: Chain("", chain.rules[::-1]) for name, chain in listed.chains.items()}
    assert is_whole(setup, replace(listed, chains=turned))
    for name, chain in listed.chains.items():
        left = {key: each for key, each in listed.chains.items() if key != name}
        assert not is_whole(setup, replace(listed, chains=left))
        for at in range(len(chain.rules)):
            fewer = Chain(chain.hook, chain.rules[:at] + chain.rules[at + 1 :])
            assert not is_whole(setup, replace(listed, chains={**left, name: fewer}))
    assert is_whole(Setup(FirewallDriver.UNKNOWN, setup.networks, setup.endpoints), listed)
