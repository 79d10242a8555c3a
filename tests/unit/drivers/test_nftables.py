# SPDX-License-Identifier: Apache-2.0
"""The nftables driver's expected rules, over the differences between netavark 1.10 and 2.1.

The versions of Debian are compared with the real netavark (tests/integration/differential); here
are those of which there is no program to run. Their listings follow src/firewall/nft.rs at their
tags, printed as nft 1.1 prints them.
"""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.nftables import (
    MARKS,
    MARKS_FIRST,
    expected_rules,
    parse_listing,
    subnet_chain,
    traits,
)
from podwatch.words.network import (
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import MissingKind

FOUR, SIX = ip_network("10.89.3.0/24"), ip_network("fd10:88:a::/64")
NETWORK = Network(
    id="ec79dd0cad82083c8ac5",
    bridge="podman1",
    subnets=(FOUR, SIX),
    isolation=Isolation.STRICT,
)
ENDPOINT = Endpoint(
    container_id="2d0d2f1b",
    network_id=NETWORK.id,
    network_name="dual",
    addresses=((ip_address("10.89.3.2"), FOUR), (ip_address("fd10:88:a::2"), SIX)),
    port_mappings=(
        PortMapping(8080, 80, "tcp"),
        PortMapping(5353, 53, "udp", host_ip=ip_address("192.0.2.5")),
        PortMapping(9000, 9100, "tcp", 2, ip_address(0)),
    ),
    dns_port=1053,
    dns_servers=(ip_address("10.89.3.1"), ip_address("fd10:88:a::1")),
)
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))

V1_14 = """
table inet netavark {
	chain INPUT {
		type filter hook input priority filter; policy accept;
		ip saddr 10.89.3.0/24 meta l4proto { tcp, udp } th dport 53 accept
		ip6 saddr fd10:88:a::/64 meta l4proto { tcp, udp } th dport 53 accept
	}

	chain FORWARD {
		type filter hook forward priority filter; policy accept;
		ct state invalid drop
		jump NETAVARK-ISOLATION-1
		ip daddr 10.89.3.0/24 ct state established,related accept
		ip saddr 10.89.3.0/24 accept
		ip6 daddr fd10:88:a::/64 ct state established,related accept
		ip6 saddr fd10:88:a::/64 accept
	}

	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x00002000 == 0x00002000 masquerade
		ip saddr 10.89.3.0/24 jump nv_ec79dd0c_10_89_3_0_nm24
		ip6 saddr fd10:88:a::/64 jump nv_ec79dd0c_fd10-88-a--_nm64
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump NETAVARK-HOSTPORT-DNAT
	}

	chain OUTPUT {
		type nat hook output priority dstnat; policy accept;
		fib daddr type local jump NETAVARK-HOSTPORT-DNAT
	}

	chain NETAVARK-HOSTPORT-DNAT {
		ip6 daddr fd10:88:a::1 meta l4proto { tcp, udp } th dport 53 dnat ip6 to [fd10:88:a::1]:1053
		ip daddr 10.89.3.1 meta l4proto { tcp, udp } th dport 53 dnat ip to 10.89.3.1:1053
		tcp dport 8080 jump nv_ec79dd0c_10_89_3_0_nm24_dnat
		ip daddr 192.0.2.5 udp dport 5353 jump nv_ec79dd0c_10_89_3_0_nm24_dnat
		tcp dport 9000-9001 jump nv_ec79dd0c_10_89_3_0_nm24_dnat
		tcp dport 8080 jump nv_ec79dd0c_fd10-88-a--_nm64_dnat
	}

	chain NETAVARK-HOSTPORT-SETMARK {
		meta mark set meta mark | 0x00002000
	}

	chain NETAVARK-ISOLATION-1 {
		iifname "podman1" oifname != "podman1" jump NETAVARK-ISOLATION-3
	}

	chain NETAVARK-ISOLATION-2 {
		oifname "podman1" drop
	}

	chain NETAVARK-ISOLATION-3 {
		jump NETAVARK-ISOLATION-2
	}

	chain nv_ec79dd0c_10_89_3_0_nm24 {
		ip daddr 10.89.3.0/24 accept
		ip daddr != 224.0.0.0/4 masquerade
	}

	chain nv_ec79dd0c_fd10-88-a--_nm64 {
		ip6 daddr fd10:88:a::/64 accept
		ip6 daddr != ::/8 masquerade
	}

	chain nv_ec79dd0c_10_89_3_0_nm24_dnat {
		ip saddr 10.89.3.0/24 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
		ip saddr 127.0.0.1 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
		tcp dport 8080 dnat ip to 10.89.3.2:80
		ip saddr 10.89.3.0/24 ip daddr 192.0.2.5 udp dport 5353 jump NETAVARK-HOSTPORT-SETMARK
		ip saddr 127.0.0.1 ip daddr 192.0.2.5 udp dport 5353 jump NETAVARK-HOSTPORT-SETMARK
		ip daddr 192.0.2.5 udp dport 5353 dnat ip to 10.89.3.2:53
		ip saddr 10.89.3.0/24 tcp dport 9000-9001 jump NETAVARK-HOSTPORT-SETMARK
		ip saddr 127.0.0.1 tcp dport 9000-9001 jump NETAVARK-HOSTPORT-SETMARK
		tcp dport 9000 dnat ip to 10.89.3.2:9100
		tcp dport 9001 dnat ip to 10.89.3.2:9101
	}

	chain nv_ec79dd0c_fd10-88-a--_nm64_dnat {
		ip6 saddr fd10:88:a::/64 tcp dport 8080 jump NETAVARK-HOSTPORT-SETMARK
		tcp dport 8080 dnat ip6 to [fd10:88:a::2]:80
	}
}
"""

Changes = tuple[tuple[str, str], ...]

UDP_ONLY: Changes = (("meta l4proto { tcp, udp } th dport 53", "udp dport 53"),)
NO_HOST_IN_JUMP: Changes = (
    ("ip daddr 192.0.2.5 udp dport 5353 jump nv_", "udp dport 5353 jump nv_"),
)
RIGHT_MULTICAST: Changes = (("!= ::/8 ", "!= ff00::/8 "),)
CONNECTION_MARK: Changes = (
    ("dnat ip to 10.89.3.2", "ct mark set meta mark | 0x00001000 dnat ip to 10.89.3.2"),
    ("dnat ip6 to [fd10:88:a::2]", "ct mark set meta mark | 0x00001000 dnat ip6 to [fd10:88:a::2]"),
    (
        "ct state invalid drop\n",
        "ct state invalid drop\n\t\tct mark & 0x00001000 == 0x00001000 accept\n",
    ),
)
VERSIONS: dict[str, Changes] = {
    "1.10 to 1.12.1": UDP_ONLY + NO_HOST_IN_JUMP,
    "1.12.2 to 1.13.0": NO_HOST_IN_JUMP,
    "1.13.1 to 1.17": (),
    "2.0": RIGHT_MULTICAST,
    "2.1": RIGHT_MULTICAST + CONNECTION_MARK,
}


def listing(changes: Changes) -> str:
    """The listing of 1.14 with the texts another version has in their place."""
    text = V1_14
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def unmatched(setup: Setup, observed: Ruleset) -> tuple[list[Rule], list[tuple[str, str]]]:
    """Expected rules that are not observed, and observed rules nobody expects."""
    rules = expected_rules(setup, observed)
    known: set[tuple[str, str]] = set()
    missing = []
    for rule in rules:
        chain = observed.chains.get(rule.chain)
        there = () if chain is None else chain.rules
        if rule.kind is RuleKind.HOOK:
            there = () if chain is None else (chain.hook,)
        found = [text for text in rule.texts if text in there]
        known.update((rule.chain, text) for text in found)
        if not found:
            missing.append(rule)
    extra = [
        (name, text)
        for name, chain in observed.chains.items()
        for text in chain.rules
        if (name, text) not in known
    ]
    return missing, extra


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rules_of_every_version_are_expected(version: str) -> None:
    """What each version of netavark installs is what is expected of it: nothing less or more."""
    observed = parse_listing(listing(VERSIONS[version]))
    assert unmatched(SETUP, observed) == ([], [])
    assert lost(observed) == []


ACCEPT = "ct mark & 0x1000 == 0x1000 accept"
NEWEST = listing(VERSIONS["2.1"])
UPDATED = NEWEST.replace("\t\tct mark & 0x00001000 == 0x00001000 accept\n", "").replace(
    "\t\tip6 saddr fd10:88:a::/64 accept\n",
    "\t\tip6 saddr fd10:88:a::/64 accept\n\t\tct mark & 0x00001000 == 0x00001000 accept\n",
)
"""What 2.1 makes of a table of 2.0 at the first container it starts (nft.rs, setup_network)."""


def lost(observed: Ruleset) -> list[tuple[str, str]]:
    """What the judge misses in the table."""
    verdict = judge(Snapshot(SETUP, observed, ABSENT_FIREWALLD))
    return [(each.kind, each.detail) for each in verdict.missing]


def test_the_mark_rule_is_expected_of_2_1_only() -> None:
    """FORWARD's accept rule for marked connections is missed where dnat rules set the mark."""
    lacking = NEWEST.replace("\t\tct mark & 0x00001000 == 0x00001000 accept\n", "")
    (rule,), extra = unmatched(SETUP, parse_listing(lacking))
    assert (rule.chain, rule.text, extra) == ("FORWARD", ACCEPT, [])
    old = expected_rules(SETUP, parse_listing(V1_14))
    assert ACCEPT not in {rule.text for rule in old}


def test_the_mark_rule_is_expected_without_a_published_port() -> None:
    """The rule that was seen in FORWARD is missed when it is gone, though no rule sets the mark."""
    quiet = replace(SETUP, endpoints=(replace(ENDPOINT, port_mappings=None),))
    whole = parse_listing(NEWEST.replace("ct mark set meta mark | 0x00001000 ", ""))
    forward = whole.chains["FORWARD"]
    left = tuple(text for text in forward.rules if text != ACCEPT)
    chains = {**whole.chains, "FORWARD": Chain(forward.hook, left)}
    lacking = replace(whole, chains=chains, traits=traits(whole))
    assert [rule.text for rule in unmatched(quiet, lacking)[0]] == [ACCEPT]


def test_what_was_installed_is_told_by_what_was_seen() -> None:
    """Of a table that is gone, the traits it had say what netavark had put there."""
    seen = traits(parse_listing(NEWEST))
    gone = Ruleset(present=False, traits=seen)
    assert expected_rules(SETUP, gone) == expected_rules(SETUP, parse_listing(NEWEST))
    assert seen == {MARKS, MARKS_FIRST}
    assert traits(parse_listing(listing(VERSIONS["2.0"]))) == frozenset()


def test_what_an_update_to_2_1_leaves_is_no_loss() -> None:
    """The rule stands behind the isolation where netavark put it, and is missed when it goes."""
    updated = parse_listing(UPDATED)
    assert traits(updated) == {MARKS}
    assert unmatched(SETUP, updated) == ([], [])
    assert lost(updated) == []
    lacking = parse_listing(UPDATED.replace("\t\tct mark & 0x00001000 == 0x00001000 accept\n", ""))
    assert lost(lacking) == [(MissingKind.RULE, ACCEPT)]


def test_what_stood_before_the_isolation_has_to_stay_there() -> None:
    """Where 2.1 made the table itself, the rule behind the isolation is out of order."""
    assert lost(parse_listing(NEWEST)) == []
    moved = replace(parse_listing(UPDATED), traits=traits(parse_listing(NEWEST)))
    assert lost(moved) == [(MissingKind.ORDER, ACCEPT)]


OUTBOUND = replace(NETWORK, outbound=(ip_address("192.0.2.9"), ip_address("2001:db8::9")))


def test_an_outbound_address_replaces_the_masquerade() -> None:
    """netavark 2.0 writes snat to the outbound address of each family, and no masquerade."""
    text = listing(
        (
            ("ip daddr != 224.0.0.0/4 masquerade", "ip daddr != 224.0.0.0/4 snat ip to 192.0.2.9"),
            ("ip6 daddr != ::/8 masquerade", "ip6 daddr != ff00::/8 snat ip6 to 2001:db8::9"),
        )
    )
    setup = replace(SETUP, networks={NETWORK.id: OUTBOUND})
    assert unmatched(setup, parse_listing(text)) == ([], [])
    missing, _ = unmatched(setup, parse_listing(V1_14))
    assert [rule.kind for rule in missing] == [RuleKind.MASQUERADE] * 2


def test_an_outbound_address_of_one_family_leaves_the_other() -> None:
    """An IPv4 outbound address does not change how IPv6 is masqueraded."""
    network = replace(NETWORK, outbound=(ip_address("192.0.2.9"),))
    setup = replace(SETUP, networks={NETWORK.id: network})
    rules = expected_rules(setup, Ruleset(present=False))
    texts = [rule.text for rule in rules if rule.kind is RuleKind.MASQUERADE]
    assert texts == [
        "ip daddr != 224.0.0.0/4 snat ip to 192.0.2.9",
        "ip6 daddr != ff00::/8 masquerade",
    ]


def test_an_internal_network_has_dns_and_isolation_only() -> None:
    """Later netavark writes state for internal networks with DNS: no way out, no ports."""
    network = replace(NETWORK, internal=True)
    endpoint = replace(ENDPOINT, internal=True)
    setup = Setup(FirewallDriver.NFTABLES, {network.id: network}, (endpoint,))
    rules = expected_rules(setup, Ruleset(present=False))
    kinds = {rule.kind for rule in rules if rule.network_id}
    assert kinds == {RuleKind.DNS_ACCEPT, RuleKind.ISOLATION, RuleKind.DNS_REDIRECT}


@pytest.mark.parametrize(
    ("isolation", "texts"),
    [
        (Isolation.NEVER, [("3", 'oifname "podman1" drop')]),
        (
            Isolation.NORMAL,
            [
                ("1", 'iifname "podman1" oifname != "podman1" jump NETAVARK-ISOLATION-2'),
                ("2", 'oifname "podman1" drop'),
            ],
        ),
        (
            Isolation.STRICT,
            [
                ("1", 'iifname "podman1" oifname != "podman1" jump NETAVARK-ISOLATION-3'),
                ("2", 'oifname "podman1" drop'),
            ],
        ),
    ],
)
def test_isolation(isolation: Isolation, texts: list[tuple[str, str]]) -> None:
    """Each kind of isolation has its own rules in netavark's three isolation chains."""
    setup = replace(SETUP, networks={NETWORK.id: replace(NETWORK, isolation=isolation)})
    rules = expected_rules(setup, Ruleset(present=False))
    found = [(r.chain[-1], r.text) for r in rules if r.kind is RuleKind.ISOLATION]
    assert found == texts


def test_nothing_is_expected_without_a_container() -> None:
    """Networks alone, as a teardown leaves them for a moment, make no rule expected."""
    for setup in (
        Setup(FirewallDriver.NFTABLES),
        Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}),
    ):
        assert expected_rules(setup, parse_listing(V1_14)) == []


def test_a_network_without_its_file_has_its_ports_only() -> None:
    """With a network's file unreadable, its containers' port rules are expected all the same."""
    rules = expected_rules(replace(SETUP, networks={}), Ruleset(present=False))
    owned = {rule.kind for rule in rules if rule.network_id}
    assert owned == {
        RuleKind.PORT_JUMP,
        RuleKind.PORT_MARK,
        RuleKind.PORT_DNAT,
        RuleKind.DNS_REDIRECT,
    }


def test_dns_is_redirected_once_for_each_server() -> None:
    """Two containers on a network share its redirects; a v4 container asks for no v6 one."""
    four_only = replace(ENDPOINT, addresses=ENDPOINT.addresses[:1], container_id="aa")
    setup = replace(SETUP, endpoints=(four_only, replace(four_only, container_id="bb")))
    rules = expected_rules(setup, Ruleset(present=False))
    assert [r.subject for r in rules if r.kind is RuleKind.DNS_REDIRECT] == ["10.89.3.1"]
    setup = replace(SETUP, endpoints=(four_only, ENDPOINT))
    rules = expected_rules(setup, Ruleset(present=False))
    assert [r.subject for r in rules if r.kind is RuleKind.DNS_REDIRECT] == [
        "10.89.3.1",
        "fd10:88:a::1",
    ]


@pytest.mark.parametrize(("port", "count"), [(53, 0), (54, 2), (1053, 2)])
def test_dns_is_redirected_from_another_port_than_53_alone(port: int, count: int) -> None:
    """Where aardvark-dns listens on port 53 itself, netavark redirects nothing to it."""
    setup = replace(SETUP, endpoints=(replace(ENDPOINT, dns_port=port),))
    rules = expected_rules(setup, Ruleset(present=False))
    assert sum(rule.kind is RuleKind.DNS_REDIRECT for rule in rules) == count


def test_a_network_without_a_name_is_called_as_its_bridge() -> None:
    """Whose name is not known is told by the bridge, in each rule of the network's own."""
    for name in ("dual", ""):
        setup = replace(SETUP, endpoints=(replace(ENDPOINT, network_name=name),))
        rules = expected_rules(setup, Ruleset(present=False))
        names = {rule.network_name for rule in rules if rule.kind is RuleKind.FORWARD_OUT}
        assert names == {name or "podman1"}


def test_a_reload_brings_back_what_no_subnet_has_skipped() -> None:
    """Of a network's rules a reload adds those of isolation and ports, none of subnets."""
    rules = expected_rules(SETUP, Ruleset(present=False))
    of_network = [rule for rule in rules if rule.network_id and not rule.container_id]
    assert {rule.kind for rule in of_network if rule.reloadable} == {
        RuleKind.ISOLATION,
        RuleKind.DNS_REDIRECT,
    }
    never = replace(SETUP, networks={NETWORK.id: replace(NETWORK, isolation=Isolation.NEVER)})
    for setup in (SETUP, never):
        rules = expected_rules(setup, Ruleset(present=False))
        assert all(rule.reloadable for rule in rules if rule.kind is RuleKind.ISOLATION)


def test_port_rules_belong_to_their_container() -> None:
    """A port's rules name container and network, and say which port goes where."""
    rules = expected_rules(SETUP, Ruleset(present=False))
    ports = [rule for rule in rules if rule.container_id]
    assert {rule.kind for rule in ports} == {
        RuleKind.PORT_JUMP,
        RuleKind.PORT_MARK,
        RuleKind.PORT_DNAT,
    }
    assert all(rule.network_name == "dual" and rule.reloadable for rule in ports)
    dnat = [rule.subject for rule in ports if rule.kind is RuleKind.PORT_DNAT]
    assert dnat == [
        "8080/tcp → 10.89.3.2:80",
        "192.0.2.5:5353/udp → 10.89.3.2:53",
        "9000/tcp → 10.89.3.2:9100",
        "9001/tcp → 10.89.3.2:9101",
        "8080/tcp → [fd10:88:a::2]:80",
    ]


@pytest.mark.parametrize(
    ("network_id", "subnet", "chain"),
    [
        ("53ce4390f2ad", "10.88.0.0/16", "nv_53ce4390_10_88_0_0_nm16"),
        ("ec79dd0cad82", "fd10:88:a::/64", "nv_ec79dd0c_fd10-88-a--_nm64"),
        ("abc", "10.0.0.0/8", "nv_abc_10_0_0_0_nm8"),
    ],
)
def test_subnet_chains_are_named_as_netavark_names_them(
    network_id: str, subnet: str, chain: str
) -> None:
    """The first eight characters of the network's id and the subnet without special characters."""
    assert subnet_chain(network_id, ip_network(subnet)) == chain


def test_what_setup_appends_again_is_not_reloadable() -> None:
    """Of what all networks share, a reload brings back no rule that has to stand before others."""
    rules = expected_rules(SETUP, Ruleset(present=True, traits=frozenset({MARKS, MARKS_FIRST})))
    host = {(rule.chain, rule.text): rule for rule in rules if rule.kind is RuleKind.HOST}
    assert {key for key, rule in host.items() if not rule.reloadable} == {
        ("FORWARD", "ct state invalid drop"),
        ("FORWARD", ACCEPT),
        ("FORWARD", "jump NETAVARK-ISOLATION-1"),
        ("POSTROUTING", "meta mark & 0x2000 == 0x2000 masquerade"),
    }
    assert {key: rule.order[1] for key, rule in host.items() if rule.order} == {
        ("FORWARD", "ct state invalid drop"): 0,
        ("FORWARD", ACCEPT): 1,
        ("FORWARD", "jump NETAVARK-ISOLATION-1"): 2,
        ("POSTROUTING", "meta mark & 0x2000 == 0x2000 masquerade"): 0,
        ("NETAVARK-ISOLATION-3", "jump NETAVARK-ISOLATION-2"): 1,
    }


def test_each_port_of_a_range_has_a_rule_of_its_own() -> None:
    """The rule of a range's second port leads to the second port inside, on the range's way."""
    rules = expected_rules(SETUP, Ruleset(present=False))
    (second,) = (rule for rule in rules if rule.subject.startswith("9001/tcp"))
    assert second.texts == (
        "tcp dport 9001 dnat ip to 10.89.3.2:9101",
        "tcp dport 9001 ct mark set meta mark | 0x1000 dnat ip to 10.89.3.2:9101",
    )
    assert second.ways == ("9000-9001/tcp → 10.89.3.2:9100",)


def test_a_jump_is_spelt_in_two_ways_where_it_names_an_address_of_the_host() -> None:
    """netavark before 1.13.1 leaves the address out; where there is none, there is one spelling."""
    rules = expected_rules(SETUP, Ruleset(present=False))
    jumps = [rule.texts for rule in rules if rule.kind is RuleKind.PORT_JUMP]
    chain = "jump nv_ec79dd0c_10_89_3_0_nm24_dnat"
    assert jumps == [
        (f"tcp dport 8080 {chain}",),
        (f"udp dport 5353 {chain}", f"ip daddr 192.0.2.5 udp dport 5353 {chain}"),
        (f"tcp dport 9000-9001 {chain}",),
        ("tcp dport 8080 jump nv_ec79dd0c_fd10-88-a--_nm64_dnat",),
    ]
