# SPDX-License-Identifier: Apache-2.0
"""netavark's iptables driver against what a Debian 12 host really had, and what it cannot show."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.iptables import PREFIXES, chain_hash, expected_rules, traits
from podwatch.drivers.iptables_save import (
    BUILT_IN,
    clearing_scripts,
    parse_save,
    restore_scripts,
)
from podwatch.drivers.saved import Repair, SavedRules, covers, repairs
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.errors import RulesUnreadable
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
from podwatch.words.verdict import MissingKind, State

DATA = Path(__file__).parents[2] / "data" / "bookworm-netavark-standard"
KEY = "ab" * 32


def data(name: str) -> str:
    """A file of the recorded host."""
    return (DATA / name).read_text(encoding="utf-8")


SETUP, CONTAINERS = parse_setup(data("networks.json") + data("ps.json") + data("inspect.json"))
LISTINGS = {"ip": data("iptables.save"), "ip6": data("ip6tables.save")}
WHOLE = parse_save(LISTINGS, prefixes=PREFIXES)
RULES = expected_rules(SETUP, WHOLE)


def without(observed: Ruleset, name: str, text: str) -> Ruleset:
    """The ruleset with one rule deleted."""
    chain = observed.chains[name]
    left = tuple(each for each in chain.rules if each != text)
    return replace(observed, chains={**observed.chains, name: Chain(chain.hook, left)})


def setup_of(
    *mappings: PortMapping, isolation: Isolation = Isolation.NEVER, stateful: bool = False
) -> Setup:
    """One container on one dual-stack network."""
    subnets = (ip_network("10.89.3.0/24"), ip_network("fd10:88:a::/64"))
    network = Network(
        "n" * 64, "podman1", subnets, isolation, hash_name="52A648766DA40" if stateful else ""
    )
    addresses = tuple(
        (ip_address(text), subnet)
        for text, subnet in zip(("10.89.3.2", "fd10:88:a::2"), subnets, strict=True)
    )
    endpoint = Endpoint(KEY, network.id, "dual", addresses, mappings)
    return Setup(FirewallDriver.IPTABLES, {network.id: network}, (endpoint,))


def texts(rules: Iterable[Rule], chain: str) -> list[str]:
    """The expected texts of one chain."""
    return [rule.text for rule in rules if rule.chain == chain]


def test_a_real_host_has_exactly_what_is_expected() -> None:
    """On a Debian 12 host with every kind of container, expected equals installed, both ways."""
    installed = {(name, text) for name, chain in WHOLE.chains.items() for text in chain.rules}
    wanted = {
        (rule.chain, next((t for t in rule.texts if (rule.chain, t) in installed), rule.text))
        for rule in RULES
    }
    assert wanted == installed
    assert len(RULES) == len(wanted)
    verdict = judge(Snapshot(SETUP, WHOLE, ABSENT_FIREWALLD, CONTAINERS))
    assert (verdict.state, verdict.warnings) == (State.OK, ())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("podman", "1D8721804F16F"), ("testnet", "C5964C6794A11"), ("dual", "52A648766DA40")],
)
def test_chains_are_named_by_the_network(name: str, wanted: str) -> None:
    """The hash in a chain's name is netavark's own."""
    assert chain_hash(name) == wanted


def test_each_rule_that_is_lost_is_named_and_comes_back() -> None:
    """Whichever rule goes, one thing is missing, and the copy puts the chain back as it was."""
    copy = SavedRules(WHOLE.chains, FirewallDriver.IPTABLES)
    for name, chain in WHOLE.chains.items():
        for text in chain.rules:
            observed = without(WHOLE, name, text)
            verdict = judge(Snapshot(SETUP, observed, ABSENT_FIREWALLD, CONTAINERS))
            assert [each.detail for each in verdict.missing] == [text]
            rules = expected_rules(SETUP, observed)
            assert covers(copy, rules, observed)
            assert [each.name for each in repairs(copy, rules, observed)] == [name]
            assert repairs(copy, rules, observed)[0].chain == chain


def test_all_gone_is_one_loss() -> None:
    """Without a single chain of netavark's, the loss is the whole, not each rule."""
    bare = parse_save({"ip": "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"}, prefixes=PREFIXES)
    verdict = judge(Snapshot(SETUP, bare, ABSENT_FIREWALLD, CONTAINERS))
    assert [each.kind for each in verdict.missing] == [MissingKind.TABLE]
    assert "what netavark put into iptables is gone (79 rules" in verdict.missing[0].what


def test_versions_show_in_the_rules() -> None:
    """What came with 1.7, 1.8 and 1.12.2 is expected where it is seen, and from 1.9 on always."""
    old = expected_rules(setup_of(), Ruleset(present=True))
    assert texts(old, "ip filter NETAVARK_ISOLATION_3") == []
    assert texts(old, "ip filter INPUT") == []

    stateful = expected_rules(setup_of(stateful=True), Ruleset(present=True))
    assert texts(stateful, "ip filter NETAVARK_ISOLATION_3") == [
        "-o podman1 -j DROP",
        "-j NETAVARK_ISOLATION_2",
    ]
    assert texts(stateful, "ip6 filter NETAVARK_INPUT") == [
        "-s fd10:88:a::/64 -p udp -m udp --dport 53 -j ACCEPT"
    ]
    tcp = "-s 10.89.3.0/24 -p tcp -m tcp --dport 53 -j ACCEPT"
    new = Ruleset(present=True, chains={"ip filter NETAVARK_INPUT": Chain("", (tcp,))})
    assert tcp in texts(expected_rules(setup_of(), new), "ip filter NETAVARK_INPUT")
    remembered = Ruleset(present=False, traits=traits(new))
    assert expected_rules(setup_of(), remembered) == expected_rules(setup_of(), new)


def test_a_network_from_before_an_update_stays_as_it_is() -> None:
    """netavark 1.12.2 lets DNS over tcp in from networks it sets up, and from no other one."""
    tcp = "-s {} -p tcp -m tcp --dport 53 -j ACCEPT"
    seen = Ruleset(
        present=True,
        chains={"ip filter NETAVARK_INPUT": Chain("", (tcp.format("10.89.4.0/24"),))},
    )
    found = texts(expected_rules(setup_of(stateful=True), seen), "ip filter NETAVARK_INPUT")
    assert found == ["-s 10.89.3.0/24 -p udp -m udp --dport 53 -j ACCEPT"]


def test_two_subnets_of_a_family_have_no_order_in_their_chain() -> None:
    """The second one's accept stands behind the first one's masquerade; with one, it is before."""
    subnets = (ip_network("10.89.3.0/24"), ip_network("10.89.4.0/24"), ip_network("fd10:88::/64"))
    setup = setup_of()
    (network,) = setup.networks.values()
    addresses = tuple((subnet[2], subnet) for subnet in subnets)
    setup = replace(
        setup,
        networks={network.id: replace(network, subnets=subnets)},
        endpoints=(replace(setup.endpoints[0], addresses=addresses),),
    )
    rules = expected_rules(setup, Ruleset(present=True, chains={}))
    chain = "nat NETAVARK-52A648766DA40"

    assert {rule.order for rule in rules if rule.chain == f"ip {chain}"} == {None}
    assert [rule.order for rule in rules if rule.chain == f"ip6 {chain}"] == [
        (f"ip6 {chain}", 0),
        (f"ip6 {chain}", 1),
    ]


def test_what_is_invalid_is_dropped_before_anything_is_accepted() -> None:
    """In netavark's chain the drop has its place before the accepts of all subnets."""
    seen = Ruleset(present=True, chains={"ip filter NETAVARK_INPUT": Chain("", ())})
    ranks = {
        rule.text.rpartition(" ")[2]: rule.order[1]
        for rule in expected_rules(setup_of(), seen)
        if rule.chain == "ip filter NETAVARK_FORWARD" and rule.order
    }

    assert ranks == {"DROP": 0, "ACCEPT": 1}


def test_a_published_port_53_is_not_taken_for_dns() -> None:
    """A container that publishes port 53 does not make netavark look newer than it is."""
    owner = f'-m comment --comment "dnat name: a id: {KEY}"'
    jump = f"-p tcp -m tcp --dport 53 {owner} -j NETAVARK-DN-X"
    seen = Ruleset(present=True, chains={"ip nat NETAVARK-HOSTPORT-DNAT": Chain("", (jump,))})
    assert traits(seen) == frozenset()


def test_a_wildcard_address_has_two_spellings() -> None:
    """netavark before 1.6 writes 0.0.0.0 into the rules, later ones leave it out."""
    mapping = PortMapping(8080, 80, "tcp", host_ip=ip_address("0.0.0.0"))  # noqa: S104
    rules = expected_rules(setup_of(mapping), Ruleset(present=True))
    found = [rule.texts for rule in rules if rule.kind is RuleKind.PORT_DNAT]
    port = "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.89.3.2:80"
    assert found == [(f"-d 0.0.0.0/32 {port}", port)]
    one = expected_rules(setup_of(replace(mapping, host_ip=ip_address("192.0.2.1"))), WHOLE)
    found = [rule.texts for rule in one if rule.kind is RuleKind.PORT_DNAT]
    assert found == [(f"-d 192.0.2.1/32 {port}",)]


def put_back(was: Ruleset, now: Ruleset, rules: list[Rule]) -> list[str]:
    """The lines of the script that repairs what is there now, with a copy of what was."""
    todo = repairs(SavedRules(was.chains, FirewallDriver.IPTABLES), rules, now)
    return restore_scripts(todo, now, prefixes=PREFIXES)["ip"].splitlines()


def jumps(*targets: str) -> list[Rule]:
    """What is expected in FORWARD: jumps to these chains of netavark's, in this order."""
    return [
        Rule("ip filter FORWARD", (f"-j {each}",), RuleKind.HOST, order=("FORWARD", rank))
        for rank, each in enumerate(targets)
    ]


def test_a_repair_touches_nothing_of_others() -> None:
    """In a built-in chain what is missing is inserted in its place, and nothing else is touched."""
    wanted = jumps("NETAVARK_ISOLATION_1", "NETAVARK_FORWARD")
    theirs = ("-i eth0 -j theirs", "-i eth1 -j theirs")
    forward = f"-j NETAVARK_ISOLATION_1|{theirs[0]}|-j NETAVARK_FORWARD|{theirs[1]}".split("|")
    own = dict.fromkeys(
        ("ip filter NETAVARK_FORWARD", "ip filter NETAVARK_ISOLATION_1"), Chain("", ())
    )
    was = Ruleset(
        present=True, chains={"ip filter FORWARD": Chain(BUILT_IN, tuple(forward)), **own}
    )
    now = without(was, "ip filter FORWARD", "-j NETAVARK_FORWARD")
    assert put_back(was, now, wanted) == [
        "*filter",
        "-I FORWARD 3 -j NETAVARK_FORWARD",
        "COMMIT",
    ]
    swapped = {**was.chains, "ip filter FORWARD": Chain(BUILT_IN, tuple(forward[::-1]))}
    assert put_back(was, Ruleset(present=True, chains=swapped), wanted) == [
        "*filter",
        "-D FORWARD -j NETAVARK_FORWARD",
        "-A FORWARD -j NETAVARK_FORWARD",
        "COMMIT",
    ]


def test_a_rule_that_is_there_twice_is_written_once() -> None:
    """Both are deleted by their text and one is written: a number may be another rule's by then."""
    twice = Chain(BUILT_IN, ("-j NETAVARK_FORWARD", "-j theirs", "-j NETAVARK_FORWARD"))
    now = Ruleset(
        present=True,
        chains={"ip filter FORWARD": twice, "ip filter NETAVARK_FORWARD": Chain("", ())},
    )
    assert put_back(now, now, jumps("NETAVARK_FORWARD")) == [
        "*filter",
        "-D FORWARD -j NETAVARK_FORWARD",
        "-D FORWARD -j NETAVARK_FORWARD",
        "-I FORWARD 1 -j NETAVARK_FORWARD",
        "COMMIT",
    ]


def test_no_chain_is_ever_emptied() -> None:
    """A chain that is not there is made by -N: that fails where somebody has made it meanwhile."""
    chain = Chain("", ("-o podman1 -j DROP",))
    now = Ruleset(present=True, chains={"ip filter NETAVARK_ISOLATION_2": chain})
    todo = [
        Repair(
            "ip filter NETAVARK_ISOLATION_3",
            Chain("", ("-j NETAVARK_ISOLATION_2",)),
            exists=False,
            rehook=False,
            stays=(None,),
        )
    ]
    script = restore_scripts(todo, now, prefixes=PREFIXES)["ip"]
    assert script.splitlines() == [
        "*filter",
        "-N NETAVARK_ISOLATION_3",
        "-A NETAVARK_ISOLATION_3 -j NETAVARK_ISOLATION_2",
        "COMMIT",
    ]


def test_clearing_takes_only_what_is_netavarks() -> None:
    """To clear is to delete netavark's chains and the jumps to them, nothing else."""
    listing = (
        "*filter\n:FORWARD DROP [0:0]\n:NETAVARK_FORWARD - [0:0]\n:theirs - [0:0]\n"
        "-A FORWARD -j theirs\n-A FORWARD -j NETAVARK_FORWARD\n-A theirs -j DROP\nCOMMIT\n"
    )
    observed = parse_save({"ip": listing}, prefixes=PREFIXES)
    assert clearing_scripts(observed, prefixes=PREFIXES) == {
        "ip": "*filter\n-D FORWARD -j NETAVARK_FORWARD\n-F NETAVARK_FORWARD\n"
        "-X NETAVARK_FORWARD\nCOMMIT\n"
    }


def test_what_iptables_cannot_print_is_unknown() -> None:
    """A table with rules of nft's own is not taken for an empty one."""
    listing = "# Table `nat' is incompatible, use 'nft' tool.\n"
    with pytest.raises(RulesUnreadable, match="incompatible"):
        parse_save({"ip": listing}, prefixes=PREFIXES)


def test_rules_of_iptables_legacy_are_known_as_such() -> None:
    """iptables-legacy's rules come without events: a loss is no different, but it is said."""
    legacy = {family: text.replace(" (nf_tables)", "") for family, text in LISTINGS.items()}
    observed = parse_save(legacy, prefixes=PREFIXES)
    assert observed.chains == WHOLE.chains
    verdict = judge(Snapshot(SETUP, observed, ABSENT_FIREWALLD, CONTAINERS))
    assert verdict.state is State.OK
    assert "iptables-legacy" in verdict.warnings[0].what


@pytest.mark.parametrize(("port", "redirected"), [(53, False), (54, True), (1053, True)])
def test_dns_is_redirected_from_another_port_than_53_alone(port: int, *, redirected: bool) -> None:
    """Where aardvark-dns listens on port 53 itself, netavark redirects nothing to it."""
    setup = setup_of(PortMapping(8080, 80, "tcp"))
    (endpoint,) = setup.endpoints
    server = ip_address("10.89.3.1")
    asking = replace(setup, endpoints=(replace(endpoint, dns_port=port, dns_servers=(server,)),))

    rules = expected_rules(asking, Ruleset(present=True))
    found = [rule.text for rule in rules if rule.kind is RuleKind.DNS_REDIRECT]
    wanted = f"-d 10.89.3.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.89.3.1:{port}"
    assert found == [wanted] * redirected


@pytest.mark.parametrize(
    ("host_ips", "families"),
    [
        ([], set()),
        ([None], set()),
        (["192.0.2.1"], {"ip6"}),
        (["2001:db8::1"], {"ip"}),
        (["192.0.2.1", "2001:db8::1"], set()),
    ],
)
def test_a_chain_without_rules_is_there_for_ports_of_the_other_ip_version(
    host_ips: list[str | None], families: set[str]
) -> None:
    """netavark's teardown stumbles over a container's chain that is not there."""
    mappings = [
        PortMapping(8080, 80, "tcp", host_ip=ip_address(each) if each else None)
        for each in host_ips
    ]
    hooks = [
        rule
        for rule in expected_rules(setup_of(*mappings), Ruleset(present=True))
        if rule.kind is RuleKind.HOOK
    ]
    assert {rule.chain for rule in hooks} == {
        f"{family} nat NETAVARK-DN-52A648766DA40" for family in families
    }
    assert {rule.container_id for rule in hooks} <= {KEY}


def test_an_internal_network_has_no_rules() -> None:
    """netavark's iptables driver makes none for it, nor for a container that is on it alone."""
    setup = setup_of(PortMapping(8080, 80, "tcp"), stateful=True)
    inner = {key: replace(network, internal=True) for key, network in setup.networks.items()}
    endpoints = tuple(replace(endpoint, internal=True) for endpoint in setup.endpoints)

    assert expected_rules(replace(setup, networks=inner, endpoints=endpoints), WHOLE) == []
    unread = expected_rules(replace(setup, networks={}), WHOLE)
    assert {rule.kind for rule in unread if rule.network_id} == {
        RuleKind.PORT_JUMP,
        RuleKind.PORT_MARK,
        RuleKind.PORT_DNAT,
    }


@pytest.mark.parametrize(
    ("chain", "rule", "told"),
    [
        ("NETAVARK_INPUT", "-s 10.89.3.0/24 -p tcp -m tcp --dport 53 -j ACCEPT", "10.89.3.0/24"),
        ("NETAVARK_INPUT", "-s 10.89.3.0/24 -p udp -m udp --dport 53 -j ACCEPT", ""),
        ("NETAVARK_INPUT", "-i eth0 -p tcp -m tcp --dport 53 -j ACCEPT", ""),
        ("NETAVARK_FORWARD", "-s 10.89.3.0/24 -p tcp -m tcp --dport 53 -j ACCEPT", ""),
        (
            "NETAVARK-HOSTPORT-DNAT",
            "-d 10.89.3.1/32 -p tcp -j DNAT --to-destination x",
            "10.89.3.1/32",
        ),
    ],
)
def test_dns_over_tcp_shows_in_two_chains(chain: str, rule: str, told: str) -> None:
    """It is let in from a subnet, and redirected to a server: each for its own network alone."""
    found = traits(Ruleset(present=True, chains={f"ip filter {chain}": Chain("", (rule,))}))
    assert {each for each in found if each != "input"} == (
        {f"dns over tcp: {told}"} if told else set()
    )


def test_what_each_version_lets_in() -> None:
    """DNS over tcp counts for the subnet and the server that had it, whichever the IP version."""
    setup = setup_of()
    servers = (ip_address("10.89.3.1"), ip_address("fd10:88:a::1"))
    (endpoint,) = setup.endpoints
    asking = replace(setup, endpoints=(replace(endpoint, dns_port=1053, dns_servers=servers),))
    six = frozenset(("input", "dns over tcp: fd10:88:a::1/128", "dns over tcp: fd10:88:a::/64"))
    rules = expected_rules(asking, Ruleset(present=False, traits=six))

    def protocols(kind: RuleKind) -> list[tuple[str, str]]:
        return [
            (rule.chain.split()[0], rule.text.partition("-p ")[2][:3])
            for rule in rules
            if rule.kind is kind
        ]

    wanted = [("ip", "udp"), ("ip6", "udp"), ("ip6", "tcp")]
    assert protocols(RuleKind.DNS_ACCEPT) == wanted
    assert protocols(RuleKind.DNS_REDIRECT) == wanted


def test_the_third_isolation_chain_counts_once_it_was_seen() -> None:
    """netavark 1.7 and 1.8 keep no state: the chain alone tells of them."""
    for known, chains in ((frozenset[str](), set()), (frozenset({"isolation_3"}), {"ip", "ip6"})):
        rules = expected_rules(setup_of(), Ruleset(present=False, traits=known))
        found = {rule.chain.split()[0] for rule in rules if "ISOLATION_3" in rule.chain}
        assert found == chains


@pytest.mark.parametrize(
    ("isolation", "wanted"),
    [
        (Isolation.NEVER, [("3", "-o podman1 -j DROP")]),
        (
            Isolation.NORMAL,
            [
                ("1", "-i podman1 ! -o podman1 -j NETAVARK_ISOLATION_2"),
                ("2", "-o podman1 -j DROP"),
            ],
        ),
        (
            Isolation.STRICT,
            [
                ("1", "-i podman1 ! -o podman1 -j NETAVARK_ISOLATION_3"),
                ("2", "-o podman1 -j DROP"),
            ],
        ),
    ],
)
def test_isolation(isolation: Isolation, wanted: list[tuple[str, str]]) -> None:
    """Each kind of isolation has its own rules in netavark's three isolation chains."""
    rules = expected_rules(setup_of(isolation=isolation, stateful=True), Ruleset(present=True))
    for family in ("ip", "ip6"):
        mine = [rule for rule in rules if rule.chain.startswith(f"{family} ")]
        found = [(rule.chain[-1], rule.text) for rule in mine if rule.kind is RuleKind.ISOLATION]
        assert found == wanted
        jumps = [rule.text for rule in mine if rule.text.endswith("-j NETAVARK_ISOLATION_1")]
        assert len(jumps) == (isolation is not Isolation.NEVER)


def test_the_comment_of_the_oldest_versions() -> None:
    """netavark before 1.8 has another comment in FORWARD; where its INPUT is seen it is not old."""
    for known, count in ((frozenset[str](), 2), (frozenset({"input"}), 1)):
        rules = expected_rules(setup_of(), Ruleset(present=False, traits=known))
        jumps = [rule.texts for rule in rules if rule.text.endswith("-j NETAVARK_FORWARD")]
        assert [len(texts) for texts in jumps] == [count] * 2


def test_one_port_on_two_addresses_has_one_jump() -> None:
    """Its jump is on both ways; its other rules are one for each."""
    hosts = (ip_address("192.0.2.1"), ip_address("192.0.2.9"))
    mappings = [PortMapping(8080, 80, "tcp", host_ip=host) for host in hosts]
    rules = expected_rules(setup_of(*mappings), Ruleset(present=True))
    ways = tuple(f"{host}:8080/tcp → 10.89.3.2:80" for host in hosts)

    assert [rule.ways for rule in rules if rule.kind is RuleKind.PORT_JUMP] == [ways]
    assert [rule.ways for rule in rules if rule.kind is RuleKind.PORT_DNAT] == [
        (way,) for way in ways
    ]
    keys = [(rule.chain, rule.text) for rule in rules]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("count", "ports", "target"), [(1, "9000", "9100"), (2, "9000:9001", "9100-9101/9000")]
)
def test_a_range_of_ports_is_one_rule(count: int, ports: str, target: str) -> None:
    """Each port goes to the one as far behind the first; the rule says where the range begins."""
    rules = expected_rules(setup_of(PortMapping(9000, 9100, "tcp", count)), Ruleset(present=True))
    match = f"-p tcp -m tcp --dport {ports} -j DNAT --to-destination"
    assert [rule.texts for rule in rules if rule.kind is RuleKind.PORT_DNAT] == [
        (f"{match} 10.89.3.2:{target}",),
        (f"{match} [fd10:88:a::2]:{target}",),
    ]
