# SPDX-License-Identifier: Apache-2.0
"""What is left over: which rules nobody needs, and which are none of podwatch's business."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.leftovers import leftovers, mentions
from podwatch.drivers import cni, iptables
from podwatch.drivers.driver import expected_rules
from podwatch.drivers.iptables_save import BUILT_IN
from podwatch.drivers.saved import without
from podwatch.words.network import (
    BadFile,
    Container,
    Endpoint,
    FirewallDriver,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, Rule, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State, WarningKind
from tests.unit.drivers.installed import chains_of

SUBNET = ip_network("10.88.0.0/16")
OTHER = ip_network("10.89.7.0/24")
DRIVERS = (FirewallDriver.NFTABLES, FirewallDriver.IPTABLES, FirewallDriver.CNI)


def setup_of(driver: FirewallDriver, *addresses: str) -> Setup:
    """One network, and a container that publishes a port on each address."""
    network = Network(id="2f259bab93aaaaa2", bridge="podman0", subnets=(SUBNET,))
    endpoints = tuple(
        Endpoint(
            container_id=f"{number:02x}" * 32,
            network_id=network.id,
            network_name="podman",
            addresses=((ip_address(address), SUBNET),),
            port_mappings=(PortMapping(8080 + number, 80, "tcp"),),
        )
        for number, address in enumerate(addresses)
    )
    return Setup(driver, {network.id: network}, endpoints)


def installed(setup: Setup) -> Ruleset:
    """Everything that is expected for the setup, and nothing else."""
    # That connections are marked, which tells netavark 2.1 by, shows in the rules themselves.
    return built(setup, built(setup, Ruleset(present=False)))


def built(setup: Setup, observed: Ruleset) -> Ruleset:
    """The rules expected beside `observed`, each in its newest spelling and in its place."""
    chains = chains_of(expected_rules(setup, observed))
    for name in ("PREROUTING", "POSTROUTING", "OUTPUT", "FORWARD", "INPUT"):
        for chain_name in chains:
            if chain_name.endswith(f" {name}"):
                chains[chain_name] = replace(chains[chain_name], hook=BUILT_IN)
    return Ruleset(present=True, chains=chains)


def of(setup: Setup, observed: Ruleset, *others: str) -> list[tuple[str, str]]:
    """(chain, rule) of what is left over of the driver in use; `others` are inside, too."""
    found = leftovers(seen(setup, observed, *others), rules_of(setup, observed))
    return [(each.chain, each.text) for each in found]


def seen(setup: Setup, observed: Ruleset, *others: str) -> Snapshot:
    """A look at which the setup's containers, and the `others`, have their addresses inside."""
    inside = Counter(address for each in setup.endpoints for address, _ in each.addresses)
    inside.update(map(ip_address, others))
    return Snapshot(setup, observed, ABSENT_FIREWALLD, inside=inside)


def rules_of(setup: Setup, observed: Ruleset) -> list[Rule]:
    """What is expected."""
    return expected_rules(setup, observed)


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_is_expected_is_not_left_over(driver: FirewallDriver) -> None:
    """On a host in order nothing is left over."""
    setup = setup_of(driver, "10.88.0.2", "10.88.0.3")
    assert of(setup, installed(setup)) == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_rules_of_a_dead_container_are_found(driver: FirewallDriver) -> None:
    """Every rule that a dead container alone had is found, and no other."""
    both, one = setup_of(driver, "10.88.0.2", "10.88.0.3"), setup_of(driver, "10.88.0.2")
    observed = installed(both)
    living = {(each.chain, text) for each in rules_of(one, observed) for text in each.texts}
    dead = {(each.chain, each.text) for each in rules_of(both, observed)} - living

    found = of(one, observed)

    assert set(found) == dead
    assert any("10.88.0.3:80" in text for _, text in found)


def test_everybody_elses_rules_are_left_alone() -> None:
    """Rules that people put into netavark's chains, and spellings of DNS, are no leftovers."""
    setup = setup_of(FirewallDriver.NFTABLES, "10.88.0.2")
    observed = installed(setup)
    for chain, text in (
        ("FORWARD", "ip saddr 203.0.113.1 drop"),
        ("INPUT", "tcp dport 22 accept"),
        ("nv_2f259bab_10_88_0_0_nm16", "ip daddr 203.0.113.2 accept"),
        ("NETAVARK-HOSTPORT-DNAT", "tcp dport 99 jump mine"),
        ("NETAVARK-HOSTPORT-DNAT", "ip daddr 10.88.0.1 udp dport 53 dnat ip to 10.88.0.1:1053"),
        ("mine", "dnat ip to 198.51.100.1:80"),
    ):
        was = observed.chains.get(chain, Chain("", ()))
        chains = {**observed.chains, chain: replace(was, rules=(text, *was.rules))}
        observed = replace(observed, chains=chains)
    assert of(setup, observed) == []


def test_nobodys_rule_is_told_word_for_word() -> None:
    """The verdict is degraded, and names the rule, whose address it is, and what to do.

    As it stands behind the rule of who has the port now; before it, it would be a loss.
    """
    setup = setup_of(FirewallDriver.NFTABLES, "10.88.0.2")
    rules = installed(setup)
    chain = "nv_2f259bab_10_88_0_0_nm16_dnat"
    for target, whose in (
        ("10.88.0.9", "no running container has 10.88.0.9"),
        ("10.88.0.2", "10.88.0.2 is web's now, which does not need it"),
    ):
        text = f"tcp dport 8080 dnat ip to {target}:81"
        was = rules.chains[chain]
        chains = {**rules.chains, chain: replace(was, rules=(*was.rules, text))}
        key = setup.endpoints[0].container_id
        found = seen(setup, replace(rules, chains=chains))
        verdict = judge(replace(found, containers={key: Container(key, "web")}))
        assert verdict.state is State.DEGRADED
        (notice,) = verdict.warnings
        assert notice.kind is WarningKind.LEFTOVER
        assert notice.what == f"left over in chain {chain}: “{text}”: {whose}"
        assert "podwatch restore --stale" in notice.advice


GONE = setup_of(FirewallDriver.NFTABLES, "10.88.0.2", "10.88.0.3")
"""Two containers; of the second only the rules are left where the setup is HERE."""
HERE = setup_of(FirewallDriver.NFTABLES, "10.88.0.2")


def told(snapshot: Snapshot) -> list[str]:
    """What is told of left-over rules."""
    return [each.what for each in judge(snapshot).warnings if each.kind is WarningKind.LEFTOVER]


def test_amid_a_change_nothing_is_left_over() -> None:
    """Whoever is at work on a network may be about to need it."""
    assert told(seen(HERE, installed(GONE)))
    assert not told(replace(seen(HERE, installed(GONE)), busy="podman is changing a network"))


def test_before_the_kernel_has_told_who_is_there_nothing_is_left_over() -> None:
    """The verdict says that it has to be asked, and only where that decides anything."""
    blind = replace(seen(HERE, installed(GONE)), inside=None)
    assert not told(blind)
    assert judge(blind).asks_inside
    assert not judge(replace(seen(HERE, installed(HERE)), inside=None)).asks_inside


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_somebody_unknown_may_need_is_kept(driver: FirewallDriver) -> None:
    """Whom no list has, and who has an address in a namespace, keeps his rules: all of them."""
    both, one = setup_of(driver, "10.88.0.2", "10.88.0.3"), setup_of(driver, "10.88.0.2")
    observed = installed(both)
    assert of(one, observed)
    left = {text for _, text in of(one, observed, "10.88.0.3")}
    assert not left & {text for each in rules_of(both, observed) for text in each.texts}
    assert of(one, observed, "10.88.0.4")  # somebody else's forward is left over all the same


def test_what_forwards_nothing_is_no_matter() -> None:
    """A network's own rules, left by its last container, are told, and make no state degraded."""
    network = Network(id="77777777" + "7" * 56, bridge="podman7", subnets=(OTHER,))
    lone = replace(
        GONE.endpoints[1],
        network_id=network.id,
        network_name="other",
        addresses=((OTHER[3], OTHER),),
        port_mappings=None,
    )
    both = replace(
        HERE, networks={**HERE.networks, network.id: network}, endpoints=(*HERE.endpoints, lone)
    )
    verdict = judge(seen(HERE, installed(both)))
    (notice,) = verdict.warnings
    assert (verdict.state, notice.kind) == (State.OK, WarningKind.REMAINS)
    assert "podwatch restore --stale" in notice.advice


def test_one_bad_part_does_not_hide_what_nobody_has() -> None:
    """A file of somebody unknown, or a rule lost: what nobody has is told all the same."""
    dead = "10.88.0.3:80"
    whole = seen(HERE, installed(GONE))
    assert whole.rules is not None
    bad = (BadFile("/run/x", "not JSON", container_id="ee" * 32),)
    chains = {**installed(GONE).chains, "NETAVARK-HOSTPORT-SETMARK": Chain("", ())}
    for snapshot in (
        replace(seen(HERE, whole.rules, "10.88.0.4"), setup=replace(HERE, bad_files=bad)),
        replace(whole, rules=Ruleset(present=True, chains=chains)),
    ):
        (only,) = told(snapshot)
        assert dead in only


def test_what_may_be_another_spelling_of_what_is_missing_is_kept() -> None:
    """Rules to a living container, while one of its own is missing, are not told as left over."""
    chain, rules = "nv_2f259bab_10_88_0_0_nm16_dnat", installed(HERE)
    text = "tcp dport 8080 counter dnat ip to 10.88.0.2:80"
    others = tuple(each for each in rules.chains[chain].rules if "dnat ip to" not in each)
    chains = {**rules.chains, chain: Chain("", (*others, text))}
    verdict = judge(seen(HERE, Ruleset(present=True, chains=chains)))
    assert verdict.missing
    assert not [each for each in verdict.warnings if each.kind is WarningKind.LEFTOVER]


def test_of_a_network_without_state_every_rule_is_kept() -> None:
    """What is expected on it is not known: its containers' rules are nobody's left-overs."""
    setup = replace(HERE, networks={})
    assert of(setup, installed(HERE)) == []


def test_the_rules_of_another_driver_are_found_on_our_subnets_alone() -> None:
    """Of CNI's rules those are told that concern a subnet of netavark's: CNI has other users."""
    setup = setup_of(FirewallDriver.NFTABLES, "10.88.0.2")
    podmans = setup_of(FirewallDriver.CNI, "10.88.0.7")
    foreign = ip_network("10.244.0.0/24")
    pod = replace(
        podmans.endpoints[0],
        container_id="ee" * 32,
        addresses=((ip_address("10.244.0.7"), foreign),),
    )
    theirs = Setup(FirewallDriver.CNI, podmans.networks, (pod,))
    all_of_them = installed(replace(podmans, endpoints=(*podmans.endpoints, pod)))
    snapshot = replace(seen(setup, installed(setup)), others={FirewallDriver.CNI: all_of_them})

    found = leftovers(snapshot, rules_of(setup, installed(setup)))

    kept = {(each.chain, each.text) for each in rules_of(theirs, all_of_them)}
    assert {(each.chain, each.text) for each in found} == {
        (each.chain, each.text) for each in rules_of(podmans, all_of_them)
    } - kept
    assert {each.to for each in found} == {"", "10.88.0.7"}


@pytest.mark.parametrize("driver", DRIVERS)
def test_taking_away_leaves_what_is_expected(driver: FirewallDriver) -> None:
    """After the repair nothing is left over, and nothing is missing."""
    one = setup_of(driver, "10.88.0.2")
    observed = installed(setup_of(driver, "10.88.0.2", "10.88.0.3"))
    found = leftovers(seen(one, observed), rules_of(one, observed))
    todo = without(observed, [(each.chain, each.text) for each in found])

    after = replace(
        observed, chains={**observed.chains, **{each.name: each.chain for each in todo}}
    )

    assert todo
    verdict = judge(seen(one, after))
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("tcp dport 8080 dnat ip to 10.88.0.9:80", True),
        ("-s 10.88.0.9/32 -j CNI-1", True),
        ("-d 10.88.0.0/16 -j ACCEPT", True),
        ("-p tcp -j DNAT --to-destination 10.88.0.9:80-81/80", True),
        ("! -d 224.0.0.0/4 -j MASQUERADE", False),
        ("-p tcp -j DNAT --to-destination 10.88.0.8:80", False),
        ("tcp dport 8080 dnat ip6 to [fd10::9]:80", False),
        ("ct state invalid drop", False),
    ],
)
def test_addresses_in_rules(text: str, is_named: bool) -> None:  # noqa: FBT001
    """A rule names an address directly, as a target, or by the subnet around it."""
    assert mentions(text, [ip_network("10.88.0.9/32")]) is is_named


def test_chains_of_one_container_are_known_by_their_names() -> None:
    """The names that the drivers give are all recognised, and the shared chains are not."""
    setup = setup_of(FirewallDriver.CNI, "10.88.0.2")
    gone = replace(setup.endpoints[0], container_id="ab" * 32)
    names = {cni.chain_name("", gone), cni.chain_name("DN-", gone)}
    names |= {f"NETAVARK-{iptables.chain_hash('podman')}"}
    rules = Ruleset(
        present=True,
        chains={f"ip nat {each}": Chain("", ("-j RETURN",)) for each in (*names, cni.DNAT)},
    )
    assert {chain for chain, _ in of(setup, rules)} == {f"ip nat {each}" for each in names}
