# SPDX-License-Identifier: Apache-2.0
"""Which packets routes, rules for routing or addresses of others take away from containers. Pure.

What containers send and that leaves by another link, as a VPN's, may be meant so: it is not here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from podwatch.words.links import Links, Routed
from podwatch.words.network import Address, Interface, Network, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few


@dataclass(frozen=True, slots=True)
class Astray:
    """What goes astray of the packets for some containers of a network, or from them.

    It is said as `begins`, the addresses, `ends`; `why` follows where a person has to be told what
    comes of it. `advice` is what ends it.
    """

    network: Network
    addresses: tuple[Address, ...]
    begins: str
    ends: str
    why: str
    advice: str

    @property
    def what(self) -> str:
        """What goes where, in words."""
        return f"{self.begins} {few(self.addresses)} {self.ends}"


def gathered(found: Iterable[Astray]) -> Iterator[Astray]:
    """Each of a network that go the same way together, with the advice of the first."""
    alike: dict[tuple[Network, str, str], Astray] = {}
    for one in found:
        key = one.network, one.begins, one.ends
        before = alike.get(key)
        addresses = () if before is None else before.addresses
        alike[key] = replace(before or one, addresses=(*addresses, *one.addresses))
    yield from alike.values()


def inward(setup: Setup, snapshot: Snapshot) -> Iterator[Astray]:
    """What is sent to containers, and not to their bridge: each address once."""
    taken = dict(_taken(setup, snapshot.links))
    yield from taken.values()
    for route, network in _routes(setup, snapshot):
        is_astray = not route.is_answer and route.source is None and route.link != network.bridge
        if is_astray and route.address not in taken:
            yield Astray(
                network,
                (route.address,),
                "what is sent to",
                f"{goes(route)}, and not to {network.bridge}",
                "a route or rule of somebody else's comes first",
                way_back(route.address, network, snapshot.links),
            )


def outward(setup: Setup, snapshot: Snapshot) -> Iterator[Astray]:
    """What containers send and answer, and that goes nowhere: each address once.

    Nothing is said of those to which nothing gets: it may be for the same reason.
    """
    routes = _routes(setup, snapshot)
    nowhere = [one for one in routes if one[0].is_answer and not one[0].link]
    if not nowhere:
        return
    told = {address for one in inward(setup, snapshot) for address in one.addresses}
    for route, network in nowhere:
        if route.address not in told:
            told.add(route.address)
            yield Astray(
                network,
                (route.address,),
                "what is sent by",
                "goes nowhere, though the host has a way",
                "a rule of somebody else's comes first: its ways out are closed, and its ports "
                "do not answer",
                _looked_up(route.address, network, "from"),
            )


def from_names(setup: Setup, snapshot: Snapshot) -> Iterator[Astray]:
    """What aardvark-dns answers containers, and that does not get to their bridge.

    Only by an address that the host has: from any other nothing can be sent.
    """
    here = set() if snapshot.links is None else snapshot.links.own
    for route, network in _routes(setup, snapshot):
        if route.source in here and route.link != network.bridge:
            yield Astray(
                network,
                (route.address,),
                "what aardvark-dns answers",
                f"{goes(route)}, and not to {network.bridge}",
                "a rule of somebody else's comes first",
                _looked_up(route.address, network, "from"),
            )


def goes(route: Routed) -> str:
    """Where packets go, in words."""
    return f"goes to {route.link}" if route.link else "goes nowhere"


def way_back(address: Address, network: Network, links: Links | None) -> str:
    """What has packets to a container go to its bridge again, for a person to decide on.

    A route of the main table that is for less than the subnet is named. Where there is none, a rule
    for routing comes first: one before it has that table looked up.
    """
    subnet = next((one for one in network.subnets if address in one), None)
    routes = {} if links is None else links.routes
    for to in routes:
        if subnet is not None and address in to and to.prefixlen > subnet.prefixlen:
            return f"find out whose route it is; if nobody needs it: ip route del {to}"
    return _looked_up(address, network, "to")


def _looked_up(address: Address, network: Network, way: str) -> str:
    """How the main table is looked up for what goes `to` a network, or comes `from` it."""
    subnet = next((one for one in network.subnets if address in one), None)
    if subnet is None:
        return f"ip route get {address}; ip rule"
    family = "ip -6" if address.version == 6 else "ip"
    return f"{family} rule add {way} {subnet} lookup main priority 1"


def _routes(setup: Setup, snapshot: Snapshot) -> Iterator[tuple[Routed, Network]]:
    for route in snapshot.around.routes:
        network = setup.networks.get(route.network_id)
        if network is not None:
            yield route, network


def _taken(setup: Setup, links: Links | None) -> Iterator[tuple[Address, Astray]]:
    """Containers whose address is the host's own, too: the host takes what is sent to them."""
    if links is None:
        return
    here: dict[tuple[str, Address], tuple[Interface, str]] = {}
    for link, addresses in links.addresses.items():
        vrf = _vrf(link, links)
        for found in addresses:
            if found.ip not in links.unused:
                here.setdefault((vrf, found.ip), (found, link))
    for endpoint in setup.endpoints:
        network = setup.networks.get(endpoint.network_id)
        vrf = "" if network is None else _vrf(network.bridge, links)
        for address, _ in endpoint.addresses:
            own = here.get((vrf, address))
            if network is None or own is None:
                continue
            found, link = own
            ends = f"goes to the host itself, as {link} has {found}, and not to {network.bridge}"
            why = "an address of a container must not be the host's as well"
            cure = f"ip addr del {found} dev {link}"
            yield address, Astray(network, (address,), "what is sent to", ends, why, cure)


def _vrf(name: str, links: Links) -> str:
    """The VRF that a link is in, which has local addresses of its own; "" for none."""
    link = links.by_name.get(name)
    master = None if link is None else links.by_name.get(link.master)
    return master.name if master is not None and master.kind == "vrf" else ""
