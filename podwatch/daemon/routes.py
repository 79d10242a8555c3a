# SPDX-License-Identifier: Apache-2.0
"""Which way the kernel sends what is for containers, and what they send.

Where nobody else has rules for routing or routes within a network, one container of it stands for
all; where others have, each is asked for, as a rule may be for one alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address

from podwatch.adapters import kernel, links
from podwatch.daemon.installed import Installed
from podwatch.drivers import forwarding
from podwatch.words.links import Routed
from podwatch.words.network import Address, FirewallDriver, Network, Setup

MAX_NETWORKS = 100
MAX_ASKED = 256
"""So many containers of a network are asked for, where one does not stand for all."""

_FAR = IPv6Address("2000::")
"""Asked for instead of a gateway whose address is good on its link alone: the first address of
global unicast (RFC 4291, 2.4), to which no host is nearer than its default route."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The addresses of one IP version on a network, those with ports, and whom they are to reach.

    `uplinks` has an address to reach by each; `server` is that by which aardvark-dns answers.
    """

    network: Network
    addresses: list[Address]
    public: list[Address]
    uplinks: Mapping[str, Address]
    server: Address | None = None

    def routes(self, first: int, *, has_rules: bool) -> Iterator[Routed]:
        """The ways that are asked for, those to the `first` containers."""
        key = self.network.id
        yield from (Routed(key, address, "") for address in self.addresses[:first])
        for uplink in self.uplinks:
            for address in self.addresses[:MAX_ASKED] if has_rules else self.public[:1]:
                yield Routed(key, address, "", is_answer=True, uplink=uplink)
        if has_rules and self.server is not None:
            for address in self.addresses[:MAX_ASKED]:
                yield Routed(key, address, "", source=self.server)

    def question(self, route: Routed) -> tuple[Address, Address | None, str]:
        """How the kernel is asked for one of them."""
        if route.is_answer:
            return self.uplinks[route.uplink], route.address, self.network.bridge
        return route.address, route.source, ""


_Asked = tuple[_Group, Routed]


def routed(setup: Setup, installed: Installed) -> Iterator[Routed]:
    """Which way packets to a container of each network go, and the answers of one with ports.

    Where that one goes astray, and where others have rules or routes that may be for one container
    alone, to each. Where others have rules, what each sends, too, and what aardvark-dns answers it.
    """
    subnets = [one for network in setup.networks.values() for one in network.subnets]
    fours = [subnet for subnet in subnets if isinstance(subnet, IPv4Network)]
    has_rules = links.has_rules()
    first = MAX_ASKED if has_rules or kernel.has_routes_within(fours) else 1
    groups = list(_groups(setup, installed, has_rules=has_rules))
    asked = [
        (group, route) for group in groups for route in group.routes(first, has_rules=has_rules)
    ]
    nowhere: list[_Asked] = []
    for group, route in _answered(asked):
        if route.is_answer:
            if not route.link:
                nowhere.append((group, route))
            elif route.address in group.public:
                yield route
            continue
        yield route
        is_first = route.source is None and route.address == group.addresses[0]
        if is_first and route.link != group.network.bridge:
            others = group.addresses[first:MAX_ASKED]
            more = [(group, replace(route, address=other)) for other in others]
            yield from (other for _, other in _answered(more))
    if nowhere:
        yield from _theirs_alone(nowhere)


def _groups(setup: Setup, installed: Installed, *, has_rules: bool) -> Iterator[_Group]:
    gateways: dict[int, Mapping[str, Address]] = {4: kernel.gateways(), 6: {}}
    if has_rules:
        sixes = kernel.gateways_v6().items()
        gateways[6] = {link: _FAR if found.is_link_local else found for link, found in sixes}
    for network_id, network in list(setup.networks.items())[:MAX_NETWORKS]:
        if kernel.has_master(network.bridge):
            continue  # a VRF, which has tables of its own
        mine = [endpoint for endpoint in setup.endpoints if endpoint.network_id == network_id]
        if network.internal or any(endpoint.internal for endpoint in mine):
            continue  # with CNI such a bridge has no address, and the host no route to it
        names = {endpoint.network_name for endpoint in mine}
        servers = _servers(setup, installed, names) if has_rules else []
        for version in (4, 6):
            on = [
                (address, endpoint)
                for endpoint in mine
                for address, _ in endpoint.addresses
                if address.version == version
            ]
            public = [address for address, endpoint in on if forwarding.publishes(endpoint)]
            server = next((one for one in servers if one.version == version), None)
            if on:
                addresses = [address for address, _ in on]
                yield _Group(network, addresses, public, gateways[version], server)


def _servers(setup: Setup, installed: Installed, names: Iterable[str]) -> list[Address]:
    """The addresses by which aardvark-dns answers on these networks; CNI has none."""
    if setup.driver is FirewallDriver.CNI:
        return []
    files = installed.networks.read_files()
    found = [files[name] for name in names if name in files]
    return [gateway.ip for file in found if file.asks_names for gateway in file.gateways]


def _theirs_alone(nowhere: list[_Asked]) -> Iterator[Routed]:
    """Of answers that go nowhere those that do so again, though the host itself has a way.

    What a bridge's own setting does not forward goes nowhere, too: that is told by itself.
    """
    there = {group.uplinks[route.uplink]: "" for group, route in nowhere}
    own = zip(there, links.ways((to, None, "") for to in there), strict=True)
    reached = {to for to, link in own if link}
    again = [
        (group, route)
        for group, route in nowhere
        if group.uplinks[route.uplink] in reached
        and (route.address.version == 6 or kernel.forwards(group.network.bridge))
    ]
    yield from (route for _, route in _answered(again) if not route.link)


def _answered(asked: list[_Asked]) -> Iterator[_Asked]:
    found = links.ways(group.question(route) for group, route in asked)
    for (group, route), link in zip(asked, found, strict=True):
        if link is not None:
            yield group, replace(route, link=link)
