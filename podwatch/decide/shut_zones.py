# SPDX-License-Identifier: Apache-2.0
"""Networks from which firewalld lets nothing in that their containers need. Pure.

netavark makes the subnets of its networks sources of a zone that accepts all, but not those of
internal and unmanaged ones, for which it sets up nothing (netavark src/network/bridge.rs, 1.9 to
2.1). What comes from there is in the zone of the bridge, mostly the default one. That one rejects
questions for names, unless it has the service dns. Where bridges hand packets to the firewall
(bridge-nf-call-iptables=1, as Docker and Kubernetes have it), it also rejects what containers send
each other: a zone forwards between the interfaces and the sources that it has by name (firewalld
1.0), and the bridge is none. A network whose own source is lost, or in another zone, fares alike.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from podwatch.decide.firewalld_hops import back_in
from podwatch.decide.names import asked, on_networks
from podwatch.decide.sources import trusted_sources
from podwatch.decide.wiring import wiring
from podwatch.drivers.about import TRUSTED
from podwatch.drivers.driver import DRIVERS, about
from podwatch.words.network import Address, Setup, Subnet
from podwatch.words.snapshot import Firewalld, Snapshot
from podwatch.words.verdict import Notice, WarningKind
from podwatch.words.way import Policy
from podwatch.words.wiring import Bridge

_TO_HOST = "HOST"
_SOURCE = re.compile(r'\bsource address="([^"]*)"')
_ITS_OWN = "allow-host-ipv6"
"""A policy to the host that firewalld brings: it lets ICMPv6 in, and nothing else."""


@dataclass(frozen=True, slots=True)
class Shut:
    """A network whose `subnets` are in a `zone` that rejects questions for names, and more.

    `parts`: what its containers send each other, too. `back` brings back the source that netavark
    made: its loss is told by itself.
    """

    network: str
    zone: str
    subnets: tuple[Subnet, ...]
    hears_names: bool
    parts: bool
    back: str = ""

    @property
    def advice(self) -> str:
        """What lets in what its containers need, and no more where that is enough."""
        if self.back:
            return self.back
        if self.parts:
            orders = [f"--zone={TRUSTED} --add-source={subnet}" for subnet in self.subnets]
        else:
            orders = [
                f"--zone={self.zone} --add-rich-rule='rule family=ipv{subnet.version} "
                f"source address={subnet} service name=dns accept'"
                for subnet in self.subnets
            ]
        added = "; ".join(f"firewall-cmd --permanent {order}" for order in orders)
        return f"{added}; firewall-cmd --reload"

    @property
    def whose(self) -> str:
        """Its subnets, and their zone, in words."""
        are = "is" if len(self.subnets) == 1 else "are"
        return f"{', '.join(map(str, self.subnets))} {are} in firewalld's zone {self.zone}"


def shut(setup: Setup, snapshot: Snapshot) -> dict[str, Shut]:
    """The networks, by name, from which firewalld lets too little in: of those that run.

    Only where all of it is known: none where an ipset, a rich rule or a policy may accept it.
    """
    firewalld = snapshot.firewalld
    if firewalld is None or not firewalld.running or not firewalld.in_kernel or firewalld.panic:
        return {}
    if about(setup.driver).trusts_addresses or any(_is_ipset(name) for name in firewalld.sources):
        return {}
    wanted = about(setup.driver).zone
    back = {
        network: back_in(wanted, subnet, firewalld.sources.get(subnet))
        for _, network, subnet in trusted_sources(setup)
        if firewalld.sources.get(subnet) != wanted
    }
    # Of a driver that is not known, or none, nobody knows what it would have had trusted.
    left_out = () if setup.driver in DRIVERS else back
    own = set() if snapshot.links is None else snapshot.links.own
    found = (
        _of(one, firewalld, snapshot.around.bridged, back.get(one.network, ""))
        for one in wiring(setup, snapshot).bridges.values()
        if one.network not in left_out and (not one.unmanaged or _is_hosts(one, own))
    )
    return {one.network: one for one in found if one is not None}


def shut_notices(setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """What is rejected, each network with its cure; not where a lost source tells of it."""
    server = snapshot.names
    named = set() if server is None else {one.network for one in asked(server, setup, snapshot)}
    running = Counter(network for network, _ in on_networks(setup, snapshot))
    for one in shut(setup, snapshot).values():
        what = []
        if one.network in named and not one.hears_names:
            what.append("ask aardvark-dns")
        if one.parts and running[one.network] > 1:
            what.append("send each other")
        if what and not one.back:
            yield Notice(
                WarningKind.SHUT_OUT,
                f"network {one.network}: {one.whose}, which rejects what its containers "
                f"{' and '.join(what)}",
                one.advice,
            )


def _is_hosts(bridge: Bridge, own: Collection[Address]) -> bool:
    """Whether the host is the gateway: else the subnet is a router's, and not to be trusted."""
    return any(gateway.ip in own for gateway in bridge.gateways)


def _of(bridge: Bridge, firewalld: Firewalld, bridged: Collection[int], back: str) -> Shut | None:
    subnets = tuple(dict.fromkeys(gateway.network for gateway in bridge.gateways))
    sources = {zone for subnet in subnets for zone in _zones_of(subnet, firewalld)}
    if len(sources) != 1:
        return None
    (by_source,) = sources
    by_name = by_source or firewalld.interfaces.get(bridge.name, "")
    name = by_name or firewalld.default_zone
    zone = firewalld.zones.get(name)
    if zone is None or zone.accepts or any(_may_let_in(rule, subnets) for rule in zone.rules):
        return None
    policies = firewalld.between
    hears_names = zone.hears_names or any(map(_lets_in, policies))
    parts = not by_name and any(subnet.version in bridged for subnet in subnets)
    parts = parts and not any(policy.target == "ACCEPT" for policy in policies)
    if hears_names and not parts:
        return None
    return Shut(bridge.network, name, subnets, hears_names, parts, back)


def _zones_of(subnet: Subnet, firewalld: Firewalld) -> set[str]:
    """The zones that have some of it as a source, which come before the bridge's.

    With "" where none has all of it.
    """
    found, is_whole = set(), False
    for source, zone in firewalld.sources.items():
        try:
            known = ip_network(source, strict=False)
        except ValueError:  # a MAC
            continue
        if known.version == subnet.version and known.overlaps(subnet):
            found.add(zone)
            is_whole = is_whole or known.prefixlen <= subnet.prefixlen
    return found if is_whole else {"", *found}


def _may_let_in(rule: str, subnets: Collection[Subnet]) -> bool:
    """Whether a rich rule may accept what comes from there: not one that is for other sources.

    To what it is does not matter (firewalld.richlanguage(5)).
    """
    source = _SOURCE.search(rule)
    try:
        known = ip_network(source[1], strict=False) if source else None
    except ValueError:
        known = None
    is_of_others = known is not None and not any(
        known.version == subnet.version and known.overlaps(subnet) for subnet in subnets
    )
    return "accept" in rule and not is_of_others


def _is_ipset(source: str) -> bool:
    return source.startswith("ipset:")


def _lets_in(policy: Policy) -> bool:
    """Whether a policy may let questions in: what its rules are is not looked into."""
    return _TO_HOST in policy.egress and policy.name != _ITS_OWN
