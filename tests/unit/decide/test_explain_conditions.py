# SPDX-License-Identifier: Apache-2.0
"""What is told of a way, one condition at a time: whose it is, and what counts for it."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.explain import explain
from podwatch.drivers import firewalld
from podwatch.words.network import (
    Container,
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.way import BaseChain, Hop, Mark, Way, WayKind
from tests.unit.decide.open_host import (
    ENDPOINT,
    HEALTHY,
    KERNEL,
    NET,
    NETWORK,
    SETUP,
    WEB,
    installed,
    ruleset,
)
from tests.unit.decide.test_explain import published, site
from tests.unit.decide.test_firewalld_driver import SETUP as BY_FIREWALLD
from tests.unit.decide.test_firewalld_driver import WHOLE as FIREWALLD
from tests.unit.drivers.installed import chains_of

V4_ONLY = replace(ENDPOINT, addresses=ENDPOINT.addresses[:1])


def seen(setup: Setup, **changes: Ruleset | None) -> Snapshot:
    """A look at a host that has every rule of this setup."""
    rules = changes.get("rules", installed(setup))
    return replace(HEALTHY, setup=setup, rules=rules)


def hops_of(place: str, ways: list[Way], kind: WayKind | None = None) -> list[Hop]:
    """The hops at a place, of the ways of one kind or of all."""
    return [
        hop for way in ways if kind in (None, way.kind) for hop in way.hops if hop.place == place
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "9000-9002/tcp"),
        ((8999, "tcp"), "9000-9002/tcp"),
        ((9000, "tcp"), "9000/tcp"),
        ((9002, "tcp"), "9002/tcp"),
        ((9003, "tcp"), "9000-9002/tcp"),
        ((9001, "udp"), "9000-9002/tcp"),
    ],
)
def test_a_port_that_is_asked_for_stands_for_its_range(
    asked: tuple[int, str] | None, told: str
) -> None:
    """The first and the last of a range are of it; those beside it, and of udp, are not."""
    ways = explain(HEALTHY, KERNEL, asked)
    (way,) = (way for way in ways if way.title.startswith("9") and "10.88" in way.title)

    assert way.title.split()[0] == told
    assert (way.port, way.count) == ((int(told[:4]), "tcp"), 3 if "-" in told else 1)
    (hop,) = (hop for hop in way.hops if hop.place == "port forward")
    last = told[:4] if "-" not in told else "9002"
    assert hop.what.startswith(
        f"forwarded to {way.title.partition('(')[2][:-1]}: tcp dport {last} "
    )


def test_firewalld_forwards_a_range_as_a_whole() -> None:
    """One port of it goes by the rules of the range: from outside, and from the host itself."""
    (endpoint, *_) = BY_FIREWALLD.endpoints
    ports = (PortMapping(9000, 9000, "tcp", 3),)
    setup = replace(BY_FIREWALLD, endpoints=(replace(endpoint, port_mappings=ports),))
    rules = firewalld.expected_rules(setup, firewalld.observed(FIREWALLD))
    snapshot = Snapshot(setup, None, replace(FIREWALLD, policies=chains_of(rules)))

    hops = hops_of("port forward", explain(snapshot, KERNEL, (9001, "tcp")))
    assert [hop.what.partition(": ")[0] for hop in hops] == [
        "forwarded to 10.88.0.2:9001",
        "forwarded to 10.88.0.2:9001 from the host itself",
    ]


def test_whose_ways_these_are() -> None:
    """A container that podman does not list is called by its id, and has all of its ways."""
    ways = explain(replace(HEALTHY, containers={}), KERNEL)

    assert {way.container for way in ways if way.container_id} == {WEB[:12]}
    assert {way.network for way in ways} == {"podman"}
    assert explain(replace(HEALTHY, setup=None), KERNEL) == []


def test_a_container_without_ports_has_ways_out_alone() -> None:
    """Nothing leads into it, and what it sends leaves by each of its addresses."""
    setup = replace(SETUP, endpoints=(replace(ENDPOINT, port_mappings=None),))
    kinds = [way.kind for way in explain(seen(setup), KERNEL)]
    assert kinds == [WayKind.OUT, WayKind.OUT, WayKind.ISOLATION]


def test_a_port_on_an_address_of_the_host_has_ways_of_its_version() -> None:
    """What comes in at an IPv4 address goes on to the container's IPv4 address alone."""
    ways = explain(published(ip_address("192.0.2.1")), KERNEL)
    titles = [way.title for way in ways if way.kind is WayKind.IN]
    assert titles == ["192.0.2.1:7002/tcp → web (10.88.0.2:80)"]


def test_another_network_may_have_the_version_that_one_lacks() -> None:
    """A mapping is of the container: any of its networks that has such an address serves it."""
    (port,) = (published(ip_address("2001:db8::1")).setup or SETUP).endpoints[0].port_mappings or ()
    lonely = replace(V4_ONLY, port_mappings=(port,))
    other = Network("d" * 64, "podman1", (ip_network("fd11::/64"),))
    address = (ip_address("fd11::2"), other.subnets[0])
    second = Endpoint(WEB, other.id, "second", (address,), (port,))
    setup = replace(SETUP, networks={NET: NETWORK, other.id: other}, endpoints=(lonely, second))

    ways = explain(seen(setup), KERNEL)
    assert [way.title for way in ways if way.kind is WayKind.IN] == [
        "[2001:db8::1]:7002/tcp → web ([fd11::2]:80)"
    ]


@pytest.mark.parametrize("by_file", [False, True])
def test_an_internal_network_has_one_way_out_that_is_none(*, by_file: bool) -> None:
    """Whether the container's state or the network's file says so."""
    setup = replace(SETUP, networks={NET: replace(NETWORK, internal=by_file)})
    setup = replace(setup, endpoints=(replace(ENDPOINT, internal=not by_file, port_mappings=()),))
    (way,) = (way for way in explain(seen(setup), KERNEL) if way.kind is WayKind.OUT)

    what = "podman is internal: no way out"
    assert (way.title, way.hops) == ("web out by podman", (Hop("network", what, Mark.CLOSED),))


MEMBER = Container("c" * 64, "till", pod="shop")
STRANGER = Container("d" * 64, "alone")
OTHER_INFRA = Container("e" * 64, "5678-infra", pod="shop", is_infra=True)


@pytest.mark.parametrize(
    ("known", "members"),
    [
        (Container(WEB, "1234-infra", pod="shop", is_infra=True), {MEMBER.id: "till"}),
        (Container(WEB, "web", pod="shop"), {}),
        (Container(WEB, "1234-infra", is_infra=True), {}),
        (Container(WEB, "web"), {}),
    ],
    ids=["infra", "a member", "infra of no pod", "of no pod"],
)
def test_who_else_goes_a_way(known: Container, members: dict[str, str]) -> None:
    """The other containers of its pod, where it is the one that has the network."""
    listed = {each.id: each for each in (known, MEMBER, STRANGER, OTHER_INFRA)}
    ways = explain(replace(HEALTHY, containers=listed), KERNEL)
    assert {tuple(way.members.items()) for way in ways if way.container_id} == {
        tuple(members.items())
    }


@pytest.mark.parametrize(
    ("isolation", "told"),
    [
        (Isolation.NORMAL, "podman is isolated: "),
        (Isolation.STRICT, "podman is strictly isolated: "),
        (Isolation.NEVER, "podman is open to other networks of its kind: "),
    ],
)
def test_how_a_network_is_isolated(isolation: Isolation, told: str) -> None:
    """Each kind has a word, and of a network without a file nothing is known."""
    setup = replace(SETUP, networks={NET: replace(NETWORK, isolation=isolation)})
    (hop,) = hops_of("isolation", explain(seen(setup), KERNEL))
    assert hop.what.startswith(told)
    without = replace(setup, networks={})
    assert hops_of("isolation", explain(seen(without), KERNEL)) == []


@pytest.mark.parametrize(("rules", "how"), [(None, "nft list ruleset"), (ruleset(), "")])
def test_rules_that_could_not_be_read(rules: Ruleset | None, how: str) -> None:
    """They are neither there nor missing: how to read them is said, on each way that needs them."""
    ways = explain(replace(HEALTHY, rules=rules), KERNEL)

    for place, count in (("port forward", 4), ("forward", 6), ("masquerade", 2)):
        hops = hops_of(place, ways)
        assert [hop.advice for hop in hops] == [how] * count
        assert {hop.mark for hop in hops} == {Mark.UNKNOWN if how else Mark.OPEN}


def test_rules_that_firewalld_does_not_tell() -> None:
    """With netavark's firewalld driver it is firewalld that has to be asked."""
    ways = explain(Snapshot(BY_FIREWALLD, None, None), KERNEL)
    for place in ("port forward", "masquerade"):
        hops = hops_of(place, ways)
        assert {(hop.mark, hop.advice) for hop in hops} == {(Mark.UNKNOWN, "firewall-cmd --state")}


@pytest.mark.parametrize(
    ("address", "mark"),
    [("fd10:89:10::2", Mark.CLOSED), ("2600::2", Mark.NOTE), ("8.8.8.2", Mark.BROKEN)],
)
def test_an_address_that_is_routed_does_without_a_masquerade(address: str, mark: Mark) -> None:
    """A global IPv6 address may be known outside; a private one, and IPv4's, is not."""
    own = ip_address(address)
    subnet = ip_network(f"{address[:-1]}0/{64 if own.version == 6 else 24}")
    network = Network("2" * 64, "podman1", (subnet,))
    endpoint = Endpoint(WEB, network.id, "site", ((own, subnet),))
    setup = Setup(FirewallDriver.FIREWALLD, {network.id: network}, (endpoint,))
    bare = replace(FIREWALLD, policies={**FIREWALLD.policies, "netavark_policy": Chain("", ())})

    (hop,) = hops_of("masquerade", explain(Snapshot(setup, None, bare), KERNEL))
    assert hop.mark is mark


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"PREROUTING": None}, "missing in PREROUTING: type nat hook prerouting"),
        ({"PREROUTING": Chain("", ())}, "missing in PREROUTING: type nat hook prerouting"),
        ({"NETAVARK-HOSTPORT-DNAT": None}, "missing in NETAVARK-HOSTPORT-DNAT: tcp dport 8080 "),
    ],
    ids=["no chain", "not hooked in", "no chain of a rule"],
)
def test_what_a_port_needs_first(changed: dict[str, Chain | None], what: str) -> None:
    """The hook, the jump and the rule itself: the first that is missing is named."""
    rules = ruleset()
    chains = {**rules.chains, **changed}
    left = {name: chain for name, chain in chains.items() if chain is not None}
    ways = explain(replace(HEALTHY, rules=replace(rules, chains=left)), KERNEL, (8080, "tcp"))

    hops = [hop for way in ways if "8080" in way.title for hop in way.hops]
    told = [hop for hop in hops if hop.place == "port forward"]
    assert told[0].what.startswith(what)
    assert {hop.mark for hop in told} == {Mark.BROKEN}


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ("ip daddr 10.88.0.0/16 accept", True),
        ("ip daddr 10.88.0.2 accept", True),
        ("ip daddr 10.88.0.0/16 ct state established,new accept", True),
        ("ip daddr 10.88.0.0/16 ct state established accept", False),
        ("ip daddr 10.88.0.0/16 drop", False),
        ("ip saddr 10.88.0.0/16 accept", False),
        ('oifname "podman0" accept', True),
        ('iifname "eth1" accept', False),
    ],
)
def test_what_a_chain_of_others_lets_in(rule: str, passes: bool) -> None:  # noqa: FBT001
    """A rule that accepts new connections to the network, its address or its bridge."""
    setup = replace(SETUP, endpoints=(V4_ONLY,))
    ways = explain(seen(setup), site(around=(rule,)))

    marks = {hop.mark for hop in hops_of("other firewalls", ways, WayKind.IN)}
    assert marks == (set() if passes else {Mark.BROKEN})


@pytest.mark.parametrize(
    ("table", "hook", "policy", "stopped"),
    [
        ("inet site", "forward", "drop", {"10.88.0.2", "fd10::2"}),
        ("ip site", "forward", "drop", {"10.88.0.2"}),
        ("ip6 site", "forward", "drop", {"fd10::2"}),
        ("inet site", "input", "drop", set()),
        ("inet site", "forward", "accept", set()),
        ("inet firewalld", "forward", "drop", set()),
        ("inet netavark", "forward", "drop", set()),
    ],
)
def test_which_chain_of_others_stops_what_is_sent(
    table: str, hook: str, policy: str, stopped: set[str]
) -> None:
    """One at the hook forward that drops, of the address's IP version, and of no driver."""
    chain = BaseChain(table, "passing", hook, policy)
    ways = explain(HEALTHY, replace(KERNEL, others=(chain,)))

    found = {
        way.title.partition("(")[2].partition(")")[0]
        for way in ways
        if way.kind is WayKind.OUT and (hop := way.first_broken) and hop.place == "other firewalls"
    }
    assert found == stopped


def test_of_a_network_without_a_file_nothing_is_told_of_others() -> None:
    """Nobody knows what would let it pass: its ways are unknown as it is."""
    setup = replace(SETUP, networks={}, endpoints=(V4_ONLY,))
    ways = explain(seen(setup), site())
    assert hops_of("other firewalls", ways) == []
    assert {hop.mark for hop in hops_of("bridge", ways)} == {Mark.UNKNOWN}


def test_their_own_rules_count_where_their_own_chain_drops() -> None:
    """A rule that accepts and is missing is a note, unless the chain it was in drops the rest."""
    lacking = replace(HEALTHY, rules=ruleset(RuleKind.FORWARD_OUT))
    for table, policy, mark in (
        ("", "drop", Mark.BROKEN),
        ("", "accept", Mark.NOTE),
        ("inet site", "drop", Mark.NOTE),
    ):
        chain = BaseChain(table, "FORWARD", "forward", policy)
        ways = explain(lacking, replace(KERNEL, others=(chain,)))
        assert {hop.mark for hop in hops_of("forward", ways)} == {mark}


def test_what_drops_at_the_end_of_their_chain_stops_new_connections_in() -> None:
    """netavark accepts what containers send, and answers: what comes from outside falls through."""
    rules = ruleset()
    forward = rules.chains["FORWARD"]
    shut = Chain(forward.hook, (*forward.rules, "drop"))
    ways = explain(
        replace(HEALTHY, rules=replace(rules, chains={**rules.chains, "FORWARD": shut})), KERNEL
    )

    assert {hop.mark for hop in hops_of("forward", ways, WayKind.IN)} == {Mark.BROKEN}
    assert {hop.mark for hop in hops_of("forward", ways, WayKind.OUT)} == {Mark.OPEN}
    bare = replace(HEALTHY, rules=replace(rules, chains={**rules.chains, "FORWARD": Chain("", ())}))
    assert {hop.mark for hop in hops_of("forward", explain(bare, KERNEL))} == {Mark.NOTE}


def test_a_driver_that_is_not_known_is_not_explained() -> None:
    """Whatever is there, what has to be there is not known."""
    setup = replace(SETUP, driver=FirewallDriver.UNKNOWN)
    hops = hops_of("port forward", explain(replace(HEALTHY, setup=setup), KERNEL))
    assert {(hop.what, hop.mark) for hop in hops} == {
        ("rules of the driver unknown are not explained", Mark.UNKNOWN)
    }


def test_a_table_that_is_gone_is_named_as_a_whole() -> None:
    """Each way that needs its rules says so, and how they come back."""
    ways = explain(replace(HEALTHY, rules=Ruleset(present=False)), KERNEL)
    hops = hops_of("port forward", ways) + hops_of("masquerade", ways)
    assert {(hop.what, hop.mark, hop.advice) for hop in hops} == {
        ("table inet netavark is gone", Mark.BROKEN, "podwatch restore")
    }


def test_without_firewalld_the_rest_is_told() -> None:
    """Neither its zones nor its policies are on any way."""
    ways = explain(replace(HEALTHY, firewalld=ABSENT_FIREWALLD))
    assert {hop.place for way in ways for hop in way.hops} == {
        "forwarding",
        "port forward",
        "forward",
        "bridge",
        "link",
        "masquerade",
        "route",
        "isolation",
    }
