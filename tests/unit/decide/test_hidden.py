# SPDX-License-Identifier: Apache-2.0
"""Rules of others that stand before Podman's: which are told of, and which are no harm."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.drivers.driver import expected_rules
from podwatch.words.network import (
    BadFile,
    Container,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State, WarningKind
from podwatch.words.way import Hop, Kernel, Mark, WayKind
from tests.unit.decide.test_leftovers import DRIVERS, installed, setup_of

NFT, IPTABLES = FirewallDriver.NFTABLES, FirewallDriver.IPTABLES


def with_rule(driver: FirewallDriver, chain: str, text: str, at: int = 0) -> Snapshot:
    """A host in order, with one rule of somebody's put into a chain."""
    setup = setup_of(driver, "10.88.0.2")
    rules: Ruleset = installed(setup)
    was = rules.chains[chain]
    end = len(was.rules) if at < 0 else at
    texts = (*was.rules[:end], text, *was.rules[end:])
    found = replace(rules, chains={**rules.chains, chain: replace(was, rules=texts)})
    assert expected_rules(setup, found)
    return Snapshot(setup, found, ABSENT_FIREWALLD)


def told(driver: FirewallDriver, chain: str, text: str, at: int = 0) -> list[str]:
    """What is told of such a host."""
    verdict = judge(with_rule(driver, chain, text, at))
    assert not verdict.missing
    notices = [each for each in verdict.warnings if each.kind is WarningKind.HIDDEN]
    assert verdict.state is (State.LOST if verdict.warnings else State.OK)
    return [each.what for each in notices]


def closed(driver: FirewallDriver, chain: str, text: str, at: int = 0) -> list[str]:
    """What `explain` calls broken of the rules on such a host."""
    by_rules = ("port forward", "forward", "masquerade")
    snapshot = replace(with_rule(driver, chain, text, at), inside={ip_address("10.88.0.2"): 1})
    return [
        hop.what
        for way in explain(snapshot, Kernel())
        for hop in way.hops
        if hop.place in by_rules and hop.mark is Mark.BROKEN
    ]


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
    ways = closed(driver, chain, text, at)
    assert ways, "explain calls every way open"
    assert all(f"chain {chain}: “{text}”" in each for each in ways)


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
    assert closed(driver, chain, text, at) == []


def forward(setup: Setup, observed: Ruleset, *dead: str, strangers: Sequence[str] = ()) -> Hop:
    """The hop "port forward" of the first way; `dead` are ids of containers that do not run.

    10.88.0.2 is in a network namespace, and so are the `strangers`.
    """
    containers = {each: Container(each, "old", ContainerState.ENDED) for each in dead}
    inside = {ip_address(each): 1 for each in ("10.88.0.2", *strangers)}
    snapshot = Snapshot(setup, observed, ABSENT_FIREWALLD, containers, inside=inside)
    way, *_ = explain(snapshot, Kernel())
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


def forwards(setup: Setup, observed: Ruleset) -> dict[str, Hop]:
    """The hop "port forward" of each way in, by the way's title."""
    return {
        way.title: hop
        for way in explain(Snapshot(setup, observed, ABSENT_FIREWALLD), Kernel())
        if way.kind is WayKind.IN
        for hop in way.hops
        if hop.place == "port forward"
    }


def network_of(number: int, *, dual: bool = False) -> Network:
    """A network of its own subnets."""
    subnets = [ip_network(f"10.89.{number}.0/24")] + [ip_network(f"fd00:{number}::/64")] * dual
    return Network(f"{number:08x}" + "7" * 56, f"podman{number}", tuple(subnets))


def on_networks(
    driver: FirewallDriver, containers: Mapping[int, tuple[list[Network], list[PortMapping]]]
) -> Setup:
    """Containers by number, each on its networks and with its ports."""
    endpoints = [
        Endpoint(
            container_id=f"{number:02x}" * 32,
            network_id=network.id,
            network_name=f"net{network.bridge}",
            addresses=tuple((each[number + 2], each) for each in network.subnets),
            port_mappings=tuple(ports),
        )
        for number, (networks, ports) in containers.items()
        for network in networks
    ]
    found = {each.id: each for networks, _ in containers.values() for each in networks}
    return Setup(driver, found, tuple(endpoints))


_HOSTS = [(None,), ("0.0.0.0",), ("127.0.0.1", "192.0.2.1", "192.0.2.9"), ("::", "0.0.0.0")]  # noqa: S104
"""Addresses of the host on which one port can be published, by one container each."""


@st.composite
def healthy(draw: st.DrawFn) -> Setup:
    """Containers on one to three networks, with ports that no two of them have at one address."""
    driver = draw(st.sampled_from(DRIVERS))
    dual = draw(st.booleans())
    networks = [network_of(number, dual=dual) for number in range(1, 4)]
    some = st.lists(st.sampled_from(networks), min_size=1, max_size=3, unique=True)
    containers: dict[int, tuple[list[Network], list[PortMapping]]] = {
        number: (draw(some), []) for number in range(draw(st.integers(1, 4)))
    }
    most = 1 if driver is FirewallDriver.CNI else 3
    for port in range(8000, 8000 + 10 * draw(st.integers(1, 4)), 10):
        for host in draw(st.sampled_from(_HOSTS[: 4 if dual else 3])):
            _, ports = containers[draw(st.integers(0, len(containers) - 1))]
            for protocol in draw(st.sets(st.sampled_from(["tcp", "udp", "sctp"]), min_size=1)):
                address = None if host is None else ip_address(host)
                count = draw(st.integers(1, most))
                ports.append(PortMapping(port, 80, protocol, count, address))
    return on_networks(driver, containers)


@given(healthy())
def test_what_podman_set_up_is_never_advised_against(setup: Setup) -> None:
    """Whatever networks and ports running containers have, none of their rules is in the way."""
    rules = installed(setup)

    for hop in forwards(setup, rules).values():
        assert hop.mark in (Mark.OPEN, Mark.NOTE), hop
        assert not hop.advice
    verdict = judge(Snapshot(setup, rules, ABSENT_FIREWALLD))
    assert (verdict.state, verdict.warnings) == (State.OK, ())


@pytest.mark.parametrize("driver", [NFT, IPTABLES])
def test_a_container_on_two_networks_is_served_by_the_first(driver: FirewallDriver) -> None:
    """The way by its other network is closed by its own rule, which is no harm and no advice."""
    ports = [PortMapping(8080, 80, "tcp", 2)]
    setup = on_networks(driver, {0: ([network_of(1), network_of(2)], ports)})

    first, second = forwards(setup, installed(setup)).values()
    assert first.mark is Mark.OPEN
    assert (second.mark, second.advice) == (Mark.NOTE, "")
    assert second.what.startswith("8080/tcp goes by netpodman1: ")


@pytest.mark.parametrize("driver", [NFT, IPTABLES])
def test_two_containers_with_one_port_are_both_named(driver: FirewallDriver) -> None:
    """Where nobody keeps a port (SCTP), the second to publish it is shut out by a live one."""
    ports = [PortMapping(8080, 80, "sctp")]
    networks = [network_of(1)]
    setup = on_networks(driver, {0: (networks, ports), 1: (networks, ports)})

    first, second = forwards(setup, installed(setup)).values()
    assert first.mark is Mark.OPEN
    assert second.mark is Mark.BROKEN
    assert second.advice == "publish one of the two on another port"
    assert second.what.endswith(
        f" takes 8080/sctp first: {setup.endpoints[0].container_id[:12]} publishes it, too"
    )


def test_whose_a_rule_is_while_not_all_is_known_is_not_told() -> None:
    """A rule to somebody who is there, and of whom podwatch knows no more, is no left-over."""
    both = setup_of(NFT, "10.88.0.9", "10.88.0.2")
    unread = replace(both.endpoints[0], port_mappings=(PortMapping(8081, 80, "tcp"),))
    rules = installed(replace(both, endpoints=(unread, both.endpoints[1])))
    setup = replace(both, endpoints=both.endpoints[1:], bad_files=(BadFile("x", "not JSON"),))

    hop = forward(setup, rules, strangers=["10.88.0.9"])
    assert (hop.mark, hop.advice) == (Mark.UNKNOWN, "podwatch status")
    hop = forward(setup, rules)
    assert (hop.mark, hop.advice) == (Mark.BROKEN, "podwatch restore --stale")
