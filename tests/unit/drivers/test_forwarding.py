# SPDX-License-Identifier: Apache-2.0
"""Chains of others that drop forwarded packets: whom they shut out, and what lets them through."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from podwatch.drivers.forwarding import drops, is_of_others, reached, remedy, shut_out
from podwatch.drivers.iptables_save import forward_chains
from podwatch.words.network import Endpoint, FirewallDriver, Network, PortMapping, Setup
from podwatch.words.way import BaseChain

SUBNETS = (ip_network("10.88.0.0/16"), ip_network("fd10::/64"))
NETWORK = Network("n" * 64, "podman0", SUBNETS)
PORT = PortMapping(8080, 80, "tcp")
HOSTS = Path(__file__).parents[2] / "data"


def setup(driver: FirewallDriver = FirewallDriver.NFTABLES, *ports: PortMapping) -> Setup:
    """A container on one network, with these ports published."""
    addresses = ((ip_address("10.88.0.2"), SUBNETS[0]),)
    endpoint = Endpoint("c" * 64, NETWORK.id, "podman", addresses, port_mappings=ports or None)
    return Setup(driver, {NETWORK.id: NETWORK}, (endpoint,))


def chain(
    *rules: str, policy: str = "drop", table: str = "inet site", around: tuple[str, ...] = ()
) -> BaseChain:
    """A chain of forwarded packets, with these rules and those of chains it jumps to."""
    return BaseChain(table, "passing", "forward", policy, rules, (*rules, *around))


@pytest.mark.parametrize(
    "closed",
    [
        chain(),
        chain("counter jump ufw-user-forward"),
        *(
            chain("ct state established accept", last, policy="accept")
            for last in (
                "drop",
                "counter reject",
                'log prefix "no: " drop',
                'counter xt target "REJECT"',
                "-j REJECT --reject-with icmp-port-unreachable",
                '-m comment --comment "the rest" -j DROP',
            )
        ),
    ],
)
def test_what_drops_the_rest(closed: BaseChain) -> None:
    """A policy that drops, or a last rule that drops everything, shuts out what nobody accepts."""
    assert drops(closed)
    assert [each[1:] for each in shut_out(setup(), [closed])] == [("podman", NETWORK)]


@pytest.mark.parametrize(
    "open_chain",
    [
        chain(policy="accept"),
        chain('iifname "eth0" drop', policy="accept"),
        chain("ip6 hoplimit 1 drop", policy="accept"),
        chain("counter accept"),
        chain("ct state established,new accept", "drop"),
        chain("-m state --state NEW,ESTABLISHED -j ACCEPT"),
    ],
)
def test_what_does_not_drop_the_rest(open_chain: BaseChain) -> None:
    """A rule that drops some packets, or a chain that accepts all new ones, shuts nobody out."""
    assert not drops(open_chain)


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.88.0.0/16 counter accept",
        'ip daddr 10.0.0.0/8 accept comment "ours"',
        'iifname "eth0" oifname "podman0" counter accept',
        'oifname "podman*" accept',
        'oifname { "lo", "podman0" } goto containers',
        'oifname vmap { "podman0" : jump containers, "eth0" : drop }',
        "ip daddr @containers accept",
        "ct status dnat accept",
        "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        "-o podman+ -j ACCEPT",
        "-d 10.88.0.0/16 -j theirs",
        "-m set --match-set containers dst -j ACCEPT",
    ],
)
def test_who_is_accepted_is_not_shut_out(rule: str) -> None:
    """Whatever may let the network through counts, in the chain or behind a jump."""
    assert list(shut_out(setup(), [chain(rule)])) == []
    assert list(shut_out(setup(), [chain("jump more", around=(rule,))])) == []


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.88.0.0/24 accept",
        'oifname "podman0" ct state established,related accept',
        'oifname "podman0" drop',
        'oifname "podman1" accept',
        "-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-d 10.88.0.0/16 -j DROP",
        "jump ufw-user-forward",
    ],
)
def test_who_is_not_named_or_only_answered_is_shut_out(rule: str) -> None:
    """A part of the network, answers alone, another bridge: none lets new connections in."""
    assert list(shut_out(setup(), [chain(rule)])) != []


def test_each_family_is_judged_by_its_own_table() -> None:
    """ip6tables' chain shuts out networks with an IPv6 subnet only."""
    only_v4 = Network(NETWORK.id, "podman0", SUBNETS[:1])
    one = Setup(FirewallDriver.NFTABLES, {NETWORK.id: only_v4}, setup().endpoints)
    assert list(shut_out(one, [chain(table="ip6 filter")])) == []
    assert list(shut_out(one, [chain(table="ip filter")])) != []
    assert list(shut_out(setup(), [chain(table="ip6 filter")])) != []


def test_whose_chain_it_is() -> None:
    """Chains of the driver's tables, of firewalld, of bridges and of other hooks do not count."""
    assert is_of_others(chain(), {"inet netavark"})
    for table in ("inet netavark", "inet firewalld", "ip firewalld", "bridge filter"):
        assert not is_of_others(chain(table=table), {"inet netavark"})
    assert not is_of_others(BaseChain("inet site", "in", "input", "drop"), ())


@pytest.mark.parametrize("name", ["bookworm-netavark-standard", "bookworm-cni-standard"])
def test_the_chain_that_the_rules_of_podman_are_in(name: str) -> None:
    """Where iptables' FORWARD drops, published ports do not answer: Podman accepts no new one.

    The driver's own rules there do not count, what containers send is accepted by them, and a port
    of the loopback address passes elsewhere.
    """
    driver = FirewallDriver.CNI if "cni" in name else FirewallDriver.IPTABLES
    saved = (HOSTS / name / "iptables.save").read_text()
    prefixes = ("NETAVARK", "CNI-")
    (healthy,) = forward_chains({"ip": saved}, own=lambda each: each.startswith(prefixes))
    assert not drops(healthy)
    closed = saved.replace(":FORWARD ACCEPT", ":FORWARD DROP")
    (dropping,) = forward_chains({"ip": closed}, own=lambda each: each.startswith(prefixes))
    assert drops(dropping)
    assert list(shut_out(setup(driver, PORT), [dropping])) != []
    assert list(shut_out(setup(driver), [dropping])) == []
    local = PortMapping(8080, 80, "tcp", host_ip=ip_address("127.0.0.1"))
    assert list(shut_out(setup(driver, local), [dropping])) == []
    accepted = closed.replace("-A FORWARD", "-A FORWARD -o podman0 -j ACCEPT\n-A FORWARD", 1)
    (passing,) = forward_chains({"ip": accepted}, own=lambda each: each.startswith(prefixes))
    assert list(shut_out(setup(driver, PORT), [passing])) == []


@pytest.mark.parametrize(
    ("table", "rule", "wanted"),
    [
        ("ip filter", "counter jump ufw-before-forward", "ufw route allow in on podman0; ufw"),
        ("ip filter", "jump DOCKER-USER", "iptables -I DOCKER-USER -i podman0 -j ACCEPT; "),
        ("ip6 filter", "jump theirs", "ip6tables -I passing -i podman0 -j ACCEPT; ip6tables"),
        ("inet site", "jump theirs", "nft insert rule inet site passing iifname podman0 accept; "),
    ],
)
def test_the_remedy_is_in_the_words_of_who_drops(table: str, rule: str, wanted: str) -> None:
    """ufw, Docker, iptables and nftables each have their own way to let a network through."""
    found = remedy(chain(rule, table=table), "podman0", FirewallDriver.NFTABLES)
    assert found.startswith(wanted)


def test_the_remedy_leaves_isolation_in_place() -> None:
    """Where Podman's own chains are behind the remedy, it lets nothing past but forwarded ports."""
    for driver in (FirewallDriver.IPTABLES, FirewallDriver.CNI):
        found = remedy(chain("jump theirs", table="ip filter"), "podman0", driver)
        assert found == "iptables -I passing -m conntrack --ctstate DNAT -j ACCEPT"


def test_a_drop_before_the_end_is_one() -> None:
    """A rule that drops everything drops, wherever it stands; what is behind it is not reached."""
    early = ("-j REJECT --reject-with icmp-port-unreachable", "-i podman0 -j ACCEPT")
    found = chain(*early, table="ip filter", policy="accept")

    assert drops(found)
    assert reached({"FORWARD": early}, "FORWARD") == early[:1]
    assert "delete “-j REJECT" in remedy(found, "podman0", FirewallDriver.IPTABLES)
    assert not drops(chain("-j ACCEPT", *early, table="ip filter", policy="accept"))
