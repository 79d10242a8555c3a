# SPDX-License-Identifier: Apache-2.0
"""Rules of others before Podman's, one rule and one chain at a time."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.hidden import hidden, taken_first
from podwatch.decide.indexed import Indexed, sent_on
from podwatch.drivers.driver import expected_rules
from podwatch.drivers.iptables_save import BUILT_IN
from podwatch.words.network import Container, FirewallDriver, PortMapping, Setup
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.way import Hop, Kernel, Mark
from tests.unit.decide.test_hidden import network_of, on_networks
from tests.unit.decide.test_leftovers import installed, seen, setup_of

NFT = FirewallDriver.NFTABLES
DNAT, OF_PORTS = "NETAVARK-HOSTPORT-DNAT", "nv_2f259bab_10_88_0_0_nm16_dnat"
FOREIGN = "tcp dport 8081 dnat ip to 198.51.100.1:80"


def with_rules(observed: Ruleset, chain: str, *texts: str, at: int = 0) -> Ruleset:
    """The ruleset with rules put into a chain."""
    was = observed.chains[chain]
    rules = (*was.rules[:at], *texts, *was.rules[at:])
    return replace(observed, chains={**observed.chains, chain: replace(was, rules=rules)})


@pytest.mark.parametrize(
    ("text", "protocol", "ports"),
    [
        ("tcp dport 8080 dnat ip to 10.88.0.2:80", "tcp", [range(8080, 8081)]),
        ("udp dport 7000-7001 jump nv_x_dnat", "udp", [range(7000, 7002)]),
        ("-p sctp -m sctp --dport 9000:9002 -j NETAVARK-DN-X", "sctp", [range(9000, 9003)]),
        (
            '-p tcp -m comment --comment "a b" -m multiport --dports 80,443 -j CNI-DN-X',
            "tcp",
            [range(80, 81), range(443, 444)],
        ),
        ("ip daddr 192.0.2.1 tcp dport 8080 dnat ip to 10.88.0.2:80", "", []),
        ("ct state invalid drop", "", []),
    ],
)
def test_the_ports_that_a_rule_sends_on(text: str, protocol: str, ports: list[range]) -> None:
    """Each range from its first port to its last; none where it is of one address of the host."""
    assert sent_on(text) == (protocol, tuple(ports))


RANGE = setup_of(NFT, "10.88.0.2")
RANGE = replace(
    RANGE,
    endpoints=(replace(RANGE.endpoints[0], port_mappings=(PortMapping(8080, 80, "tcp", 2),)),),
)
WHOLE = installed(RANGE)
OWN = "tcp dport 8081 ct mark set meta mark | 0x1000 dnat ip to 10.88.0.2:81"


def first(observed: Ruleset, port: int, path: Sequence[Rule] | None = None) -> object:
    """What takes a port of the range first."""
    if path is None:
        kinds = (RuleKind.PORT_JUMP, RuleKind.PORT_DNAT)
        path = [rule for rule in expected_rules(RANGE, WHOLE) if rule.kind in kinds]
    mapping = PortMapping(8080, 80, "tcp", 2).only(port)
    return taken_first(path, Indexed(observed), mapping, ip_address("10.88.0.2"))


def test_what_stands_between_two_ports_of_a_range_takes_the_second() -> None:
    """The rule of the range's first port lets packets to the second one go on."""
    at = WHOLE.chains[OF_PORTS].rules.index(OWN)
    between = with_rules(WHOLE, OF_PORTS, FOREIGN, at=at)

    assert first(between, 8080) is None
    assert first(between, 8081) == (OF_PORTS, FOREIGN)
    assert first(with_rules(WHOLE, OF_PORTS, FOREIGN, at=at + 1), 8081) is None


@pytest.mark.parametrize(
    "text",
    [
        "ip daddr 198.51.100.9 tcp dport 8081 dnat ip to 198.51.100.1:80",
        "tcp dport 8081 dnat ip6 to [fd00::7]:80",
        "udp dport 8081 dnat ip to 198.51.100.1:80",
        "tcp dport 8082 dnat ip to 198.51.100.1:80",
        "tcp dport 8081 jump mine",
    ],
    ids=["one address", "other family", "other protocol", "other port", "jump to nowhere"],
)
def test_what_is_of_other_packets_takes_none(text: str) -> None:
    """A rule for one address of the host, or that sends nothing on, is passed."""
    assert first(with_rules(WHOLE, DNAT, text), 8081) is None


def test_without_a_way_nothing_is_taken() -> None:
    """Where no rule leads to a port, or its first chain is gone, there is none to stand before."""
    foreign = with_rules(WHOLE, DNAT, FOREIGN)
    gone = {name: chain for name, chain in foreign.chains.items() if name != DNAT}

    assert first(foreign, 8081) == (DNAT, FOREIGN)
    assert first(foreign, 8081, []) is None
    assert first(replace(foreign, chains=gone), 8081) is None


@pytest.mark.parametrize(
    ("kind", "name", "rules", "end"),
    [
        (RuleKind.PORT_JUMP, "mine", ("ct state new", "drop", "own"), "drop"),
        (RuleKind.PORT_JUMP, "mine", ("drop", "older own"), "drop"),
        (RuleKind.PORT_JUMP, "mine", ("own", "drop"), ""),
        (RuleKind.PORT_JUMP, "mine", ("older own", "drop"), ""),
        (RuleKind.PORT_JUMP, "mine", ("ip saddr 203.0.113.1 drop",), ""),
        (RuleKind.PORT_JUMP, "mine", ("accept", "own"), "accept"),
        (RuleKind.FORWARD_OUT, "mine", ("accept", "own"), ""),
        (RuleKind.FORWARD_REPLIES, "mine", ("-j ACCEPT", "own"), ""),
        (RuleKind.FORWARD_OUT, "mine", ("counter drop", "own"), "counter drop"),
        (RuleKind.HOOK, "mine", ("drop", "own"), ""),
        (RuleKind.PORT_JUMP, "another", ("drop", "own"), ""),
        (RuleKind.PORT_JUMP, "ip filter FORWARD", ("-j DROP", "own"), ""),
        (RuleKind.PORT_JUMP, "ip nat PREROUTING", ("-j RETURN", "own"), "-j RETURN"),
    ],
)
def test_what_lets_nothing_reach_a_rule(
    kind: RuleKind, name: str, rules: tuple[str, ...], end: str
) -> None:
    """The first rule before it that ends its chain for all packets, where that does any harm."""
    hook = BUILT_IN if " " in name else ""
    rule = Rule(name if name != "another" else "gone", ("older own", "own"), kind)

    assert Indexed(Ruleset(present=True, chains={name: Chain(hook, rules)})).first_end(rule) == end


@pytest.mark.parametrize(
    ("hook", "rules", "drop"),
    [
        ("", ("own", "counter drop"), "counter drop"),
        ("", ("own", "reject with icmpx admin-prohibited"), "reject with icmpx admin-prohibited"),
        ("", ("own", "return"), ""),
        (BUILT_IN, ("own", "-j DROP"), ""),
    ],
)
def test_what_a_chain_drops_at_its_end(hook: str, rules: tuple[str, ...], drop: str) -> None:
    """A drop of everything in a chain that is not everybody's."""
    observed = Ruleset(present=True, chains={"mine": Chain(hook, rules)})

    assert Indexed(observed).drop_of("mine") == drop
    assert Indexed(observed).drop_of("gone") == ""


def found_by(
    chain: Chain,
    *,
    told: Sequence[tuple[str, str]] = (),
    lost: Sequence[str] = (),
    kind: RuleKind = RuleKind.FORWARD_OUT,
) -> list[str]:
    """What is told of a chain in which the rules a and b are expected."""
    rules = [Rule("FORWARD", (text,), kind) for text in ("a", "b")]
    observed = Ruleset(present=True, chains={"FORWARD": chain, "MINE": Chain("", ("drop",))})
    notices = hidden(RANGE, rules, observed, told, lost)
    return [notice.what.partition("keeps packets from ")[2] for notice in notices]


BEHIND = "2 rules of Podman's behind it"
AT_THE_END = "all that no rule before it accepts"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("a", "b"), []),
        (("drop", "a", "b"), [BEHIND]),
        (("return", "drop", "a", "b"), [BEHIND]),
        (("a", "drop", "b"), ["1 rule of Podman's behind it"]),
        (("a", "b", "drop"), [AT_THE_END]),
        (("a", "b", "return", "drop", "drop"), [AT_THE_END]),
        (("drop",), [AT_THE_END]),
        (("a", "b", FOREIGN), []),
        ((FOREIGN, "a", "b"), ["Podman's forward of 8081/tcp"]),
        (("tcp dport 8082 dnat ip to 198.51.100.1:80", "a", "b"), []),
        (("tcp dport 8079 dnat ip to 198.51.100.1:80", "a", "b"), []),
        (("udp dport 8080 dnat ip to 198.51.100.1:80", "a", "b"), []),
        (("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 198.51.100.1", "a", "b"),
         ["Podman's forward of 8080/tcp"]),
    ],
)  # fmt: skip
def test_what_is_told_of_a_chain(rules: tuple[str, ...], said: list[str]) -> None:
    """The first rule that ends it, with how much of Podman's is behind; each that takes a port."""
    assert found_by(Chain("", rules)) == said


def test_a_chain_of_everybodys_may_end() -> None:
    """Accepting does no harm in a filter chain of iptables' own, and what it drops is told else."""
    assert found_by(Chain(BUILT_IN, ("-j ACCEPT", "a", "b"))) == []
    assert found_by(Chain(BUILT_IN, ("a", "b", "-j DROP"))) == []


def test_what_is_told_already_or_may_be_a_spelling_is_not_told() -> None:
    """A rule that is told of as left over; and all in a chain where something is missing."""
    chain = Chain("", ("drop", "a", "b"))

    assert found_by(chain, told=[("MINE", "drop")]) == [BEHIND]
    assert found_by(chain, told=[("FORWARD", "drop")]) == []
    assert found_by(chain, lost=["FORWARD"]) == []
    assert found_by(Chain("", ("drop",)), kind=RuleKind.HOOK) == []


def test_podmans_own_forward_hides_nothing() -> None:
    """Whatever somebody has put beside it, and whether others publish anything."""
    own = "tcp dport 8080 dnat ip to 10.88.0.2:80"
    quiet = replace(RANGE.endpoints[0], port_mappings=None)
    setup = replace(RANGE, endpoints=(quiet, *RANGE.endpoints))
    rules = [Rule(OF_PORTS, (text,), RuleKind.PORT_DNAT) for text in (own, "last")]

    def told(*there: str) -> int:
        chains = {OF_PORTS: Chain("", there)}
        return len(list(hidden(setup, rules, Ruleset(present=True, chains=chains))))

    assert told("ct state new", own, "last") == 0
    assert told("ct state new", own.replace("8080", "8081"), own, "last") == 1


def test_a_chain_that_is_gone_hides_nothing() -> None:
    """That it is gone is told elsewhere."""
    rules = [Rule("FORWARD", ("a",), RuleKind.FORWARD_OUT)]
    assert list(hidden(RANGE, rules, Ruleset(present=True))) == []


def forwards(snapshot: Snapshot) -> list[Hop]:
    """The hops "port forward", in the order of the ways."""
    ways = explain(snapshot, Kernel())
    return [hop for way in ways for hop in way.hops if hop.place == "port forward"]


@pytest.mark.parametrize(("port", "other"), [(8080, 8081), (8081, 8080)])
@pytest.mark.parametrize("mark", [Mark.BROKEN, Mark.UNKNOWN])
def test_of_a_range_the_gravest_is_told(port: int, other: int, mark: Mark) -> None:
    """A port that its other network serves is no news beside one that is shut, or may be."""
    ports = [PortMapping(8080, 80, "tcp", 2)]
    setup = on_networks(NFT, {0: ([network_of(1), network_of(2)], ports)})
    foreign = f"tcp dport {port} dnat ip to 198.51.100.1:80"

    snapshot = seen(setup, with_rules(installed(setup), DNAT, foreign))
    inside = snapshot.inside if mark is Mark.BROKEN else None
    _, second = forwards(replace(snapshot, inside=inside))
    assert second.mark is mark
    assert second.what.startswith(f"chain {DNAT}: “{foreign}” takes {port}/tcp first")
    assert f"{other}/tcp" not in second.what


def two() -> tuple[Setup, Ruleset]:
    """A running container, and the rules of one before it that had its port."""
    both = setup_of(NFT, "10.88.0.9", "10.88.0.2")
    ports = (PortMapping(8080, 80, "tcp"),)
    endpoints = tuple(replace(endpoint, port_mappings=ports) for endpoint in both.endpoints)
    observed = installed(replace(both, endpoints=endpoints))
    return replace(both, endpoints=endpoints[1:]), observed


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"inside": {ip_address("10.88.0.2"): 1}}, Mark.BROKEN),
        ({"inside": None}, Mark.UNKNOWN),
        ({"inside": {ip_address("10.88.0.2"): 1}, "busy": "podman is at work"}, Mark.UNKNOWN),
    ],
    ids=["all is known", "the kernel was not asked", "amid a change"],
)
def test_whose_a_rule_is_cannot_always_be_told(changes: dict[str, object], mark: Mark) -> None:
    """Before the kernel has said who is there, or while podman is at work, nothing is advised."""
    setup, observed = two()
    (hop,) = forwards(replace(Snapshot(setup, observed, ABSENT_FIREWALLD), **changes))  # type: ignore[arg-type]

    assert hop.mark is mark


def test_who_else_publishes_a_port_is_named() -> None:
    """By the name that podman knows it by."""
    ports = [PortMapping(8080, 80, "sctp")]
    setup = on_networks(NFT, {0: ([network_of(1)], ports), 1: ([network_of(1)], ports)})
    key = setup.endpoints[0].container_id
    snapshot = Snapshot(setup, installed(setup), ABSENT_FIREWALLD, {key: Container(key, "zoo")})
    hop, _ = forwards(snapshot)

    assert hop.what.endswith(" takes 8080/sctp first: zoo publishes it, too")


def test_a_copy_of_anothers_rule_in_a_wrong_chain_is_not_its_own() -> None:
    """Only in its own chain is it what the other one publishes."""
    ports = [PortMapping(8080, 80, "sctp")]
    setup = on_networks(NFT, {0: ([network_of(1)], ports), 1: ([network_of(1)], ports)})
    observed = installed(setup)
    text = next(
        text
        for name, chain in observed.chains.items()
        for text in chain.rules
        if name.endswith("_dnat") and text.endswith("10.89.1.3:80")
    )
    hop, _ = forwards(seen(setup, with_rules(observed, DNAT, text)))

    assert hop.what.endswith(" takes 8080/sctp first")
    assert hop.advice == "delete it, unless it is meant so"
