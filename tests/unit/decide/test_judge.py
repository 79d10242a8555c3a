# SPDX-License-Identifier: Apache-2.0
"""The judge: what it says of a snapshot, sentence by sentence and part by part."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from podwatch.decide.blocked import forbids_renewal
from podwatch.decide.judge import judge
from podwatch.drivers.driver import is_whole
from podwatch.drivers.iptables_save import ELSEWHERE, LEGACY
from podwatch.drivers.nftables import expected_rules
from podwatch.words.names import Entry, NameServer, Served
from podwatch.words.network import (
    BadFile,
    Container,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Part, Snapshot, Unknown
from podwatch.words.verdict import BlockedKind, Missing, MissingKind, State, Verdict, WarningKind
from podwatch.words.way import BaseChain
from tests.unit.drivers.installed import chains_of

FOUR, SIX = ip_network("10.89.3.0/24"), ip_network("fd10::/64")
OPEN = Network(id="0123456789abcdef", bridge="podman1", subnets=(FOUR, SIX))
SHUT_SUBNET = ip_network("10.89.4.0/24")
SHUT = Network(
    id="fedcba9876543210", bridge="podman2", subnets=(SHUT_SUBNET,), isolation=Isolation.STRICT
)
WEB = Endpoint(
    container_id="aa" * 32,
    network_id=OPEN.id,
    network_name="front",
    addresses=((ip_address("10.89.3.2"), FOUR), (ip_address("fd10::2"), SIX)),
    port_mappings=(PortMapping(8080, 80, "tcp"),),
    dns_port=1053,
    dns_servers=(ip_address("10.89.3.1"),),
)
QUIET = replace(
    WEB,
    container_id="bb" * 32,
    addresses=((ip_address("10.89.3.3"), FOUR), (ip_address("fd10::3"), SIX)),
    port_mappings=None,
)
LONE = Endpoint(
    container_id="cc" * 32,
    network_id=SHUT.id,
    network_name="back",
    addresses=((ip_address("10.89.4.2"), SHUT_SUBNET),),
    port_mappings=(PortMapping(7000, 7000, "udp", 2, ip_address("192.0.2.1")),),
)
SETUP = Setup(
    FirewallDriver.NFTABLES,
    {OPEN.id: OPEN, SHUT.id: SHUT},
    (WEB, QUIET, LONE),
    state_dir="/run/netavark",
)
CONTAINERS = {
    WEB.container_id: Container(WEB.container_id, "web"),
    QUIET.container_id: Container(QUIET.container_id, "quiet"),
    LONE.container_id: Container(LONE.container_id, "cc-infra", pod="shop", is_infra=True),
}
SUBNETS = ("10.89.3.0/24", "fd10::/64", "10.89.4.0/24")
FIREWALLD = Firewalld(running=True, sources=dict.fromkeys(SUBNETS, "trusted"))


def installed(setup: Setup = SETUP) -> Ruleset:
    """A ruleset in which everything expected of netavark 2.1 is there, and in order."""
    # That connections are marked, which tells 2.1 from older ones, shows in the rules themselves.
    return built(setup, built(setup, Ruleset(present=False)))


def built(setup: Setup, observed: Ruleset) -> Ruleset:
    """The rules expected beside `observed`, each in its newest spelling."""
    return Ruleset(present=True, chains=chains_of(expected_rules(setup, observed)))


def snapshot(**changes: Any) -> Snapshot:
    """A look at a host on which all is well, but for the changes."""
    return replace(Snapshot(SETUP, installed(), FIREWALLD, CONTAINERS), **changes)


def with_chain(name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Ruleset:
    """Everything in place, but one chain's rules changed."""
    rules = installed()
    chain = rules.chains[name]
    changed = replace(chain, rules=change(chain.rules))
    return replace(rules, chains={**rules.chains, name: changed})


def without(rule: Rule) -> Ruleset:
    """Everything in place but one rule."""
    return with_chain(rule.chain, lambda texts: tuple(text for text in texts if text != rule.text))


def lost(**changes: Any) -> tuple[Missing, ...]:
    """What is missing in a snapshot with the changes."""
    verdict = judge(snapshot(**changes))
    assert verdict.state is State.LOST
    return verdict.missing


def test_all_is_well() -> None:
    """With everything in place the verdict is ok and counts what was looked for."""
    rules = expected_rules(SETUP, installed())
    assert judge(snapshot()) == Verdict(
        State.OK,
        all_container_ids=(WEB.container_id, QUIET.container_id, LONE.container_id),
        setup=SETUP,
        rules=tuple(rules),
    )


@pytest.mark.parametrize(
    "setup", [Setup(FirewallDriver.UNKNOWN), Setup(FirewallDriver.NFTABLES, {OPEN.id: OPEN})]
)
@pytest.mark.parametrize("rules", [None, Ruleset(present=False), installed()])
def test_a_host_without_containers_is_well(setup: Setup, rules: Ruleset | None) -> None:
    """Where no container runs nothing is expected, whatever is installed."""
    verdict = judge(snapshot(setup=setup, rules=rules, firewalld=ABSENT_FIREWALLD))
    assert verdict == Verdict(State.OK, setup=setup)


FRONT, FRONT_6, BACK = SUBNETS
OF_A_SUBNET = {
    (RuleKind.DNS_ACCEPT, FRONT): "DNS from the containers is not accepted",
    (RuleKind.FORWARD_REPLIES, FRONT_6): "replies to the containers are not forwarded",
    (RuleKind.FORWARD_OUT, BACK): "what the containers send is not forwarded",
    (RuleKind.SUBNET_JUMP, FRONT): (
        "what the containers send is not masqueraded (no jump to the chain)"
    ),
    (RuleKind.SUBNET_LOCAL, FRONT_6): (
        "containers do not see each other's own addresses (no accept rule)"
    ),
    (RuleKind.MASQUERADE, BACK): (
        "what the containers send is not masqueraded (no masquerade rule)"
    ),
}


@pytest.mark.parametrize(("key", "sentence"), OF_A_SUBNET.items(), ids=str)
def test_what_a_subnet_misses_is_a_sentence(key: tuple[RuleKind, str], sentence: str) -> None:
    """Each kind of rule of a subnet, gone alone, is told with the network and what it is for."""
    rules = expected_rules(SETUP, installed())
    (rule,) = (rule for rule in rules if (rule.kind, rule.subject) == key)
    name = "back" if rule.subject == BACK else "front"
    assert said_without(rule) == f"network {name} ({rule.subject}): {sentence}"


SENTENCES = {
    (RuleKind.HOST, "FORWARD", "jump NETAVARK-ISOLATION-1"): (
        "chain FORWARD: “jump NETAVARK-ISOLATION-1” (for all networks)"
    ),
    (RuleKind.HOST, "PREROUTING", "fib daddr type local jump NETAVARK-HOSTPORT-DNAT"): (
        "chain PREROUTING: “fib daddr type local jump NETAVARK-HOSTPORT-DNAT” "
        "(published ports seen from outside)"
    ),
    (RuleKind.ISOLATION, "NETAVARK-ISOLATION-1", "podman2"): (
        "network back: podman2 is not isolated in NETAVARK-ISOLATION-1"
    ),
    (RuleKind.DNS_REDIRECT, "NETAVARK-HOSTPORT-DNAT", "10.89.3.1"): (
        "network front: DNS to 10.89.3.1 is not redirected to aardvark-dns"
    ),
    (RuleKind.PORT_JUMP, "NETAVARK-HOSTPORT-DNAT", "8080/tcp → 10.89.3.2:80"): (
        "web: 8080/tcp → 10.89.3.2:80 is not forwarded (no jump from NETAVARK-HOSTPORT-DNAT)"
    ),
    (RuleKind.PORT_MARK, "nv_01234567_10_89_3_0_nm24_dnat", "127.0.0.1"): (
        "web: 8080/tcp → 10.89.3.2:80 (127.0.0.1) has no masquerade mark"
    ),
    (RuleKind.PORT_DNAT, "nv_01234567_10_89_3_0_nm24_dnat", "8080/tcp"): (
        "web: 8080/tcp → 10.89.3.2:80 has no DNAT rule"
    ),
    (RuleKind.PORT_DNAT, "nv_fedcba98_10_89_4_0_nm24_dnat", "7001/udp"): (
        "pod shop: 192.0.2.1:7001/udp → 10.89.4.2:7001 has no DNAT rule"
    ),
}


@pytest.mark.parametrize(("key", "sentence"), SENTENCES.items(), ids=str)
def test_what_is_missing_is_a_sentence(key: tuple[RuleKind, str, str], sentence: str) -> None:
    """Each other kind of rule, gone alone, is told by what it was for and whose it was."""
    kind, chain, about = key
    (rule,) = (
        rule
        for rule in expected_rules(SETUP, installed())
        if (rule.kind, rule.chain) == (kind, chain)
        and (about in rule.subject or rule.text == about)
    )
    assert said_without(rule) == sentence


def said_without(rule: Rule) -> str:
    """What is said of a host on which one rule is gone; all else about it is the rule's own."""
    (missing,) = lost(rules=without(rule))
    assert (missing.kind, missing.detail) == (MissingKind.RULE, rule.text)
    assert (missing.chain, missing.network) == (rule.chain, rule.network_name)
    return missing.what


def test_every_kind_of_rule_has_its_sentence() -> None:
    """The tables leave no kind of rule out; hooks and firewalld's driver have their own tests."""
    elsewhere = {RuleKind.HOOK, RuleKind.FORWARD_PORT}
    assert {kind for kind, *_ in (*OF_A_SUBNET, *SENTENCES)} == set(RuleKind) - elsewhere


@pytest.mark.parametrize(
    ("containers", "name"),
    [
        ({}, "aaaaaaaaaaaa"),
        (CONTAINERS, "web"),
        ({WEB.container_id: Container(WEB.container_id, "x", pod="p", is_infra=True)}, "pod p"),
    ],
)
def test_containers_are_named_as_people_know_them(
    containers: dict[str, Container], name: str
) -> None:
    """By name; a pod's infra container by the pod; by the short id where podman was not asked."""
    missing = lost(
        containers=containers,
        rules=with_chain("nv_01234567_10_89_3_0_nm24_dnat", lambda texts: texts[:-1]),
    )
    assert [each.container for each in missing] == [name]
    assert missing[0].what.startswith(f"{name}: 8080/tcp")


def test_a_missing_port_rule_concerns_its_container_only() -> None:
    """A reload of the one container that misses its rule would bring it back."""
    missing = lost(rules=with_chain("nv_01234567_10_89_3_0_nm24_dnat", lambda _: ()))
    assert {each.container_ids for each in missing} == {(WEB.container_id,)}
    assert all(each.reloadable for each in missing)


@pytest.mark.parametrize(
    ("chain", "ids", "reloadable"),
    [
        ("nv_01234567_10_89_3_0_nm24", (WEB.container_id, QUIET.container_id), False),
        ("nv_fedcba98_10_89_4_0_nm24", (LONE.container_id,), True),
    ],
)
def test_a_subnets_rules_come_back_with_its_only_container(
    chain: str, ids: tuple[str, ...], *, reloadable: bool
) -> None:
    """netavark sets a subnet up anew only once its last container has left."""
    missing = lost(rules=with_chain(chain, lambda _: ()))
    assert len(missing) == 2
    assert {each.container_ids for each in missing} == {ids}
    assert {each.reloadable for each in missing} == {reloadable}


def test_a_host_rule_that_setup_appends_anywhere_needs_one_container() -> None:
    """Any one container's reload brings back a rule of the host whose place does not matter."""
    (missing,) = lost(rules=with_chain("PREROUTING", lambda _: ()))
    assert missing.container_ids == (WEB.container_id,)
    assert missing.reloadable


def test_a_host_rule_that_needs_its_place_is_not_reloadable() -> None:
    """What setup would append behind the rules it has to stand before, a reload cannot heal."""
    missing = lost(rules=with_chain("FORWARD", lambda texts: texts[1:]))
    assert missing[0].detail == "ct state invalid drop"
    assert not missing[0].reloadable
    assert len(missing[0].container_ids) == 3


def test_a_table_that_is_gone_is_one_thing() -> None:
    """The table alone is named, with how much was in it and every container."""
    count = len(expected_rules(SETUP, Ruleset(present=False)))
    (missing,) = lost(rules=Ruleset(present=False))
    assert missing.kind is MissingKind.TABLE
    assert missing.what == f"table inet netavark is gone ({count} rules of 3 containers)"
    assert missing.container_ids == tuple(CONTAINERS)


def test_a_base_chain_that_is_gone_is_named() -> None:
    """Without its base chain, the chain and all its rules are missing."""
    rules = installed()
    chains = {name: chain for name, chain in rules.chains.items() if name != "OUTPUT"}
    missing = lost(rules=replace(rules, chains=chains))
    assert [each.what for each in missing] == [
        "chain OUTPUT is gone",
        "chain OUTPUT: “fib daddr type local jump NETAVARK-HOSTPORT-DNAT” "
        "(published ports seen from the host itself)",
    ]


@pytest.mark.parametrize(
    "hook", ["", "type nat hook output priority -99; policy accept;", "type filter hook output"]
)
def test_a_base_chain_with_another_hook_is_named(hook: str) -> None:
    """A chain that is not tied to its hook, with its priority, does nothing of what it is for."""
    rules = installed()
    chains = {**rules.chains, "OUTPUT": replace(rules.chains["OUTPUT"], hook=hook)}
    (missing,) = lost(rules=replace(rules, chains=chains))
    assert missing.what == (
        "chain OUTPUT is not hooked in (type nat hook output priority -100; policy accept;)"
    )


@pytest.mark.parametrize(
    ("chain", "front", "behind"),
    [
        ("FORWARD", "ct state invalid drop", "jump NETAVARK-ISOLATION-1"),
        ("FORWARD", "jump NETAVARK-ISOLATION-1", "ip saddr 10.89.3.0/24 accept"),
        ("NETAVARK-ISOLATION-3", 'oifname "podman1" drop', "jump NETAVARK-ISOLATION-2"),
        (
            "nv_01234567_10_89_3_0_nm24",
            "ip daddr 10.89.3.0/24 accept",
            "ip daddr != 224.0.0.0/4 masquerade",
        ),
        (
            "nv_01234567_10_89_3_0_nm24_dnat",
            "ip saddr 127.0.0.1 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK",
            "tcp dport 8080 ct mark set meta mark | 0x1000 dnat ip to 10.89.3.2:80",
        ),
    ],
)
def test_order_matters_where_the_first_match_decides(chain: str, front: str, behind: str) -> None:
    """A rule that moved behind one it has to stand before is out of order, not missing."""

    def moved(texts: tuple[str, ...]) -> tuple[str, ...]:
        others = [text for text in texts if text != front]
        at = others.index(behind) + 1
        return (*others[:at], front, *others[at:])

    missing = lost(rules=with_chain(chain, moved))
    assert [each.kind for each in missing] == [MissingKind.ORDER] * len(missing)
    assert any(f"“{front}” stands behind “" in each.what for each in missing)
    assert {each.chain for each in missing} == {chain}
    assert not any(each.reloadable for each in missing)


def test_order_does_not_matter_elsewhere() -> None:
    """Jumps to the ports' chains may stand in any order: a repair changes it."""
    rules = with_chain("NETAVARK-HOSTPORT-DNAT", lambda texts: tuple(reversed(texts)))
    assert judge(snapshot(rules=rules)).state is State.OK


def test_foreign_rules_are_nobodys_business() -> None:
    """Rules and chains of others, before or behind netavark's, change no verdict."""
    rules = with_chain("FORWARD", lambda texts: ("counter", *texts, "ip saddr 203.0.113.1 drop"))
    rules = replace(rules, chains={**rules.chains, "MINE": Chain("", ("accept", "accept"))})
    verdict = judge(snapshot(rules=rules))
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())


def test_duplicates_are_a_warning() -> None:
    """Rules that are there more than once are counted and warned about, never a loss."""
    rules = with_chain("nv_01234567_10_89_3_0_nm24_dnat", lambda texts: texts * 3)
    verdict = judge(snapshot(rules=rules))
    assert (verdict.state, verdict.missing) == (State.DEGRADED, ())
    (warning,) = verdict.warnings
    assert warning.kind is WarningKind.DUPLICATES
    assert warning.what == "6 rules are there more than once"
    assert warning.advice


def test_rules_that_have_to_be_there_twice_are_no_duplicates() -> None:
    """netavark before 1.13.1 left the host's address out of a jump, so two ports share its text."""
    two = (
        PortMapping(8080, 80, "tcp", host_ip=ip_address("192.0.2.1")),
        PortMapping(8080, 81, "tcp", host_ip=ip_address("192.0.2.2")),
    )
    setup = replace(SETUP, endpoints=(replace(WEB, port_mappings=two), QUIET, LONE))
    rules = installed(setup)
    dnat = rules.chains["NETAVARK-HOSTPORT-DNAT"]
    texts = tuple(
        text.removeprefix("ip daddr 192.0.2.1 ").removeprefix("ip daddr 192.0.2.2 ")
        for text in dnat.rules
    )
    assert len(texts) == len(set(texts)) + 1
    chains = {**rules.chains, "NETAVARK-HOSTPORT-DNAT": replace(dnat, rules=texts)}
    verdict = judge(snapshot(setup=setup, rules=replace(rules, chains=chains)))
    assert (verdict.missing, verdict.warnings) == ((), ())


def test_a_stopped_containers_rules_are_not_expected() -> None:
    """State left behind by a container that podman says is not running is a warning."""
    stopped = {
        **CONTAINERS,
        LONE.container_id: Container(LONE.container_id, "till", ContainerState.GONE),
    }
    rules = installed(replace(SETUP, endpoints=(WEB, QUIET)))
    verdict = judge(snapshot(containers=stopped, rules=rules))
    assert (verdict.state, verdict.missing) == (State.OK, ())
    (warning,) = verdict.warnings
    assert warning.kind is WarningKind.STALE_STATE
    assert warning.what.startswith("till: not running")
    assert warning.advice.endswith(f"rm /run/netavark/ports/{LONE.network_id}_{LONE.container_id}")
    assert LONE.container_id not in verdict.all_container_ids


def test_a_container_podman_did_not_name_is_expected() -> None:
    """Without podman's word that it stopped, a container with state is running."""
    rules = installed(replace(SETUP, endpoints=(WEB, QUIET)))
    assert any(each.network == "back" for each in lost(containers={}, rules=rules))


BAD = BadFile("/run/x/ports/a_b", "not JSON", network_id=SHUT.id, container_id=LONE.container_id)


def test_a_bad_file_makes_its_container_unknown() -> None:
    """What the bad file stands for is unknown; its rules, there or not, are no loss."""
    setup = replace(SETUP, endpoints=(WEB, QUIET), bad_files=(BAD,))
    for rules in (installed(), installed(setup)):
        verdict = judge(snapshot(setup=setup, rules=rules))
        assert (verdict.state, verdict.missing) == (State.UNKNOWN, ())
        (unknown,) = verdict.unknown
        assert (unknown.part, unknown.what) == (Part.CONTAINER, "/run/x/ports/a_b")
        assert unknown.container_ids == (LONE.container_id,)
        assert verdict.asks_inside


def test_a_bad_file_does_not_hide_the_loss_of_others() -> None:
    """One container's bad file leaves the others watched."""
    setup = replace(SETUP, endpoints=(WEB, QUIET), bad_files=(BAD,))
    rules = with_chain("nv_01234567_10_89_3_0_nm24_dnat", lambda _: ())
    verdict = judge(snapshot(setup=setup, rules=rules))
    assert verdict.state is State.LOST
    assert {each.container for each in verdict.missing} == {"web"}
    assert verdict.unknown


@pytest.mark.parametrize("part", Part)
def test_what_could_not_be_read_is_unknown(part: Part) -> None:
    """A part that could not be read is neither ok nor lost."""
    unknown = (Unknown(part, "it", "it hangs", "wait"),)
    gone: dict[Part, dict[str, Any]] = {
        Part.SETUP: {"setup": None},
        Part.RULES: {"rules": None},
        Part.FIREWALLD: {"firewalld": ABSENT_FIREWALLD},
    }
    verdict = judge(snapshot(unknown=unknown, **gone.get(part, {})))
    assert (verdict.state, verdict.missing, verdict.unknown) == (State.UNKNOWN, (), unknown)


def test_a_loss_is_told_beside_what_is_unknown() -> None:
    """A hung firewalld does not hide missing rules."""
    unknown = (Unknown(Part.FIREWALLD, "firewalld", "it hangs"),)
    verdict = judge(snapshot(unknown=unknown, firewalld=None, rules=Ruleset(present=False)))
    assert verdict.state is State.LOST
    assert verdict.unknown == unknown


def test_a_missing_source_is_named() -> None:
    """A subnet that is no source of firewalld's is missing, with its network and containers."""
    sources = {"10.89.4.0/24": "trusted", "fd10::/64": "trusted", "198.51.100.0/24": "dmz"}
    (missing,) = lost(firewalld=replace(FIREWALLD, sources=sources))
    assert missing == Missing(
        MissingKind.SOURCE,
        "network front: 10.89.3.0/24 is not a source of firewalld's zone trusted",
        "10.89.3.0/24",
        network="front",
        container_ids=(WEB.container_id, QUIET.container_id),
    )


@pytest.mark.parametrize("driver", [FirewallDriver.NFTABLES, FirewallDriver.IPTABLES])
def test_sources_are_expected_of_each_driver_that_adds_them(driver: FirewallDriver) -> None:
    """Both netavark drivers that write rules themselves trust their subnets in firewalld."""
    missing = lost(setup=replace(SETUP, driver=driver), firewalld=Firewalld(running=True))
    sources = [each for each in missing if each.kind is MissingKind.SOURCE]
    assert [each.detail for each in sources] == list(SUBNETS)


def test_the_driver_none_expects_nothing() -> None:
    """With netavark's driver `none` nothing is expected and nothing is ever missing."""
    setup = replace(SETUP, driver=FirewallDriver.NONE)
    rules = Ruleset(present=False)
    verdict = judge(snapshot(setup=setup, rules=rules, firewalld=Firewalld(running=True)))
    assert (verdict.state, verdict.missing) == (State.OK, ())


def test_a_firewalld_that_is_not_running_misses_nothing() -> None:
    """Without firewalld there is no zone to be trusted in."""
    for absent in (ABSENT_FIREWALLD, None, Firewalld(running=False, sources={})):
        assert judge(snapshot(firewalld=absent)).state is State.OK


def test_a_foreign_zone_is_a_warning() -> None:
    """A subnet somebody put in another zone is not taken out of it; it is told."""
    sources = {**FIREWALLD.sources, "10.89.3.0/24": "dmz"}
    verdict = judge(snapshot(firewalld=replace(FIREWALLD, sources=sources)))
    assert (verdict.state, verdict.missing) == (State.DEGRADED, ())
    (warning,) = verdict.warnings
    assert warning.kind is WarningKind.FOREIGN_ZONE
    assert warning.what == "network front: 10.89.3.0/24 is in firewalld's zone dmz, not trusted"
    assert "--change-source=10.89.3.0/24" in warning.advice


def test_a_firewalld_without_its_table_is_a_warning() -> None:
    """firewalld goes on as if nothing had happened when its table was flushed away."""
    verdict = judge(snapshot(firewalld=replace(FIREWALLD, in_kernel=False)))
    assert verdict.state is State.DEGRADED
    assert [each.kind for each in verdict.warnings] == [WarningKind.FIREWALLD_TABLE]


def test_netavarks_own_units_are_a_warning() -> None:
    """Each active unit of netavark's own is named, with how to end it; by itself it is no fault."""
    units = ("netavark-firewalld-reload.service", "netavark-nftables-reload.service")
    verdict = judge(snapshot(neighbours=units))
    assert [each.kind for each in verdict.warnings] == [WarningKind.NEIGHBOUR] * 2
    assert all(unit in each.advice for unit, each in zip(units, verdict.warnings, strict=True))
    assert verdict.state is State.OK


@pytest.mark.parametrize("unit", ["docker.service", "ufw.service", "nftables.service"])
def test_other_firewalls_are_named_with_advice(unit: str) -> None:
    """A firewall that can get in the way is named, with what to do; by itself it is no fault."""
    verdict = judge(snapshot(neighbours=(unit,)))
    (notice,) = verdict.warnings
    assert notice.what.startswith(unit.removesuffix(".service"))
    assert notice.advice
    assert verdict.state is State.OK


def test_dropped_questions_to_the_dns_server_are_told() -> None:
    """An input chain of others that drops is named for networks with DNS, with what lets it in."""
    closed = BaseChain("inet site", "incoming", "input", "drop")
    gateway = ip_address("10.89.3.1")
    served = Served("front", "/run/front", (gateway,), (Entry(WEB.container_id),))
    server = NameServer("/run/pid", running=(7,), served=(served,), port=1053, named=7)
    verdict = judge(snapshot(drops=(closed,), names=server))

    assert verdict.state is State.LOST
    (notice,) = verdict.warnings
    assert notice.kind is WarningKind.SHUT_OUT
    assert notice.what.startswith("network front (podman1): chain inet site incoming drops")
    assert notice.advice.endswith("iifname podman1 udp dport 1053 accept")


def test_panic_mode_blocks() -> None:
    """In panic mode nothing may be repaired, and how it ends is said."""
    verdict = judge(snapshot(firewalld=replace(FIREWALLD, panic=True, reloading=True)))
    (blocked,) = verdict.blocked
    assert blocked.kind is BlockedKind.PANIC
    assert "--panic-off" in blocked.advice
    assert verdict.state is State.DEGRADED


def test_a_reloading_firewalld_blocks() -> None:
    """While firewalld reloads nothing is repaired."""
    verdict = judge(snapshot(firewalld=replace(FIREWALLD, reloading=True)))
    assert [each.kind for each in verdict.blocked] == [BlockedKind.FIREWALLD_RELOADING]


def test_a_pause_blocks() -> None:
    """While paused the reason is kept, and how to resume is said."""
    verdict = judge(snapshot(paused="paused by root", rules=Ruleset(present=False)))
    (blocked,) = verdict.blocked
    assert (blocked.kind, blocked.what) == (BlockedKind.PAUSED, "paused by root")
    assert blocked.advice == "podwatch resume"
    assert verdict.state is State.LOST
    assert judge(snapshot(paused="paused by root")).state is State.DEGRADED


def test_somebody_busy_blocks_and_is_no_fault() -> None:
    """podman at work holds repairs back, but a host where nothing is missing is ok."""
    verdict = judge(snapshot(busy="podman holds its network lock"))
    assert [each.kind for each in verdict.blocked] == [BlockedKind.BUSY]
    assert verdict.state is State.OK


STRICT = replace(FIREWALLD, strict_forward_ports=True)


def test_strict_forward_ports_block_the_reload_only() -> None:
    """Under StrictForwardPorts a reload would take the network away; other means may be used."""
    (blocked,) = judge(snapshot(firewalld=STRICT)).blocked
    assert blocked.kind is BlockedKind.STRICT_FORWARD_PORTS
    assert blocked.only_reload
    assert "StrictForwardPorts=no" in blocked.advice


@pytest.mark.parametrize(
    ("endpoint", "blocks"),
    [
        (WEB, True),
        (QUIET, True),
        (replace(QUIET, dns_port=53), False),
        (replace(QUIET, dns_port=53, port_mappings=()), False),
    ],
)
def test_strict_forward_ports_concern_what_is_forwarded(
    endpoint: Endpoint, *, blocks: bool
) -> None:
    """netavark refuses published ports and a redirected DNS, and nothing else."""
    setup = replace(SETUP, endpoints=(endpoint,))
    verdict = judge(snapshot(setup=setup, rules=installed(setup), firewalld=STRICT))
    assert bool(verdict.blocked) == blocks


@pytest.mark.parametrize(
    ("firewalld", "told"),
    [
        (FIREWALLD, ("", "")),
        (replace(FIREWALLD, panic=True), ("panic", "panic")),
        (replace(FIREWALLD, reloading=True), ("reloading", "reloading")),
        (STRICT, ("StrictForwardPorts", "")),
    ],
)
def test_what_holds_a_renewal_back(firewalld: Firewalld, told: tuple[str, str]) -> None:
    """Panic mode and a reload of firewalld hold everyone back, strict ports who publishes some."""
    setup = snapshot().setup
    assert setup is not None
    publishing = next(each.container_id for each in setup.endpoints if each.port_mappings)

    found = [forbids_renewal(setup, firewalld, each) for each in (publishing, "of another network")]

    assert all(
        bool(want) == bool(why) and want in why for want, why in zip(told, found, strict=True)
    )


def test_rules_that_another_program_has_are_told() -> None:
    """Rules that are all there, but not the iptables' in the path, are no loss: degraded."""
    for traits, sentence in (
        ({ELSEWHERE, LEGACY}, "iptables-legacy's, and iptables is iptables-nft now"),
        ({ELSEWHERE}, "iptables-nft's, and iptables is iptables-legacy now"),
    ):
        rules = replace(installed(), traits=frozenset(traits))
        verdict = judge(snapshot(rules=rules))
        (notice,) = verdict.warnings
        assert (verdict.state, notice.kind) == (State.DEGRADED, WarningKind.OTHER_VARIANT)
        assert sentence in notice.what


def test_whole_is_what_misses_no_rule() -> None:
    """Rules without one of those expected, or without a chain, are not all there."""
    assert is_whole(SETUP, installed())
    assert not is_whole(SETUP, Ruleset(present=False))
    for rule in expected_rules(SETUP, installed()):
        assert rule.kind is RuleKind.HOOK or not is_whole(SETUP, without(rule))
