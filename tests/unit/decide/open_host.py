# SPDX-License-Identifier: Apache-2.0
"""A host on which every way of its one container is open, and what it looks like without a rule."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface

from podwatch.decide.facts import facts
from podwatch.drivers import nftables
from podwatch.words.links import Inner, Link
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
from podwatch.words.snapshot import Firewalld, Snapshot
from tests.unit.decide.wired import wired
from tests.unit.drivers.installed import chains_of

WEB, NET = "a" * 64, "b" * 64
SUBNET = IPv4Network("10.88.0.0/16")
SUBNET_V6 = IPv6Network("fd10::/64")
NETWORK = Network(NET, "podman0", (SUBNET, SUBNET_V6), Isolation.NORMAL)
ENDPOINT = Endpoint(
    WEB,
    NET,
    "podman",
    ((IPv4Address("10.88.0.2"), SUBNET), (IPv6Address("fd10::2"), SUBNET_V6)),
    (PortMapping(8080, 80, "tcp"), PortMapping(9000, 9000, "tcp", count=3)),
)
SETUP = Setup(FirewallDriver.NFTABLES, {NET: NETWORK}, (ENDPOINT,))
EXPECTED = nftables.expected_rules(SETUP, Ruleset(present=True))


def installed(setup: Setup) -> Ruleset:
    """Every rule that a setup needs."""
    rules = nftables.expected_rules(setup, Ruleset(present=True))
    return Ruleset(present=True, chains=chains_of(rules))


def ruleset(without: RuleKind | None = None, chain: str = "") -> Ruleset:
    """Every expected rule, but those of one kind, or of one chain."""
    chains = {rule.chain: Chain("", ()) for rule in EXPECTED}
    kept = (
        rule
        for rule in EXPECTED
        if rule.kind is RuleKind.HOOK or (rule.kind is not without and rule.chain != chain)
    )
    return Ruleset(present=True, chains=chains | chains_of(kept))


TRUSTED = Firewalld(running=True, sources={str(SUBNET): "trusted", str(SUBNET_V6): "trusted"})
VETH = Link("veth0", 2, master="podman0", netns_id=0)
INNER = Inner(
    "eth0", 2, peer=2, addresses=(ip_interface("10.88.0.2/16"), ip_interface("fd10::2/64"))
)
FORWARDS = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
HEALTHY = wired(
    Snapshot(
        SETUP,
        ruleset(),
        TRUSTED,
        {WEB: Container(WEB, "web")},
        namespaces={0: (INNER,)},
        sysctls=FORWARDS,
        routed={4: "eth0", 6: "eth0"},
    ),
    VETH,
)
LISTENS = frozenset((port, "tcp") for port in (80, 9000, 9001, 9002))
KERNEL = replace(
    facts(HEALTHY),
    held={(8080, "tcp"): "conmon (pid 7)", **{(9000 + n, "tcp"): "" for n in range(3)}},
    listens={WEB: LISTENS},
)
