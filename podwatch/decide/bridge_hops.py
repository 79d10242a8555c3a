# SPDX-License-Identifier: Apache-2.0
"""Hops of the network under the rules: bridge, its address, the route to it, links. Pure.

What is wrong with a bridge or link is worded as a loss of it is (`decide/links.py`, `places.py`);
what somebody gave another name, or has on another link, stops nothing and is a note.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from podwatch.decide.firewalld_hops import RESTORE
from podwatch.decide.links import lacks_link_local, moved_to
from podwatch.decide.places import careful_reload
from podwatch.decide.routes import Astray, from_names, gathered, inward, outward
from podwatch.decide.shut_zones import shut
from podwatch.decide.wiring import wiring
from podwatch.drivers import forwarding
from podwatch.drivers.driver import about
from podwatch.words.links import Links
from podwatch.words.names import Served
from podwatch.words.network import Address, Container, Endpoint, Interface, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.way import Hop, Kernel, Mark, Wire
from podwatch.words.wiring import Bridge, Place, by_hand

_IN, _OUT = "route in", "route out"


class BridgeHops:
    """The hops of the networks that containers of `setup` are on."""

    def __init__(self, snapshot: Snapshot, setup: Setup, kernel: Kernel) -> None:
        self._snapshot = snapshot
        self._setup = setup
        self._kernel = kernel
        wired = wiring(setup, snapshot)
        self.bridges = wired.bridges
        self.shut = shut(setup, snapshot)
        """The networks of which firewalld lets too little in, by name."""
        self.places: dict[str, list[Place]] = {}
        """Who is on each bridge."""
        for place in wired.places:
            self.places.setdefault(place.bridge, []).append(place)
        self._inward = self._astray_of(inward(setup, snapshot))
        self._outward = self._astray_of(outward(setup, snapshot))
        self._from_names = self._astray_of(from_names(setup, snapshot))
        self._told: dict[tuple[str, int], tuple[Hop, ...]] = {}

    def bridge(self, endpoint: Endpoint, address: Address) -> tuple[Hop, ...]:
        """A network's bridge, its addresses of an IP version, and whether the host sends to it."""
        key = (endpoint.network_id, address.version)
        network = self._setup.networks.get(endpoint.network_id)
        bridge = self.bridges.get(network.bridge) if network else None
        if key not in self._told:
            if bridge is None:
                self._told[key] = (Hop("bridge", "nothing says which it is", Mark.UNKNOWN),)
            else:
                self._told[key] = tuple(self.bare(bridge, address.version))
        told = self._told[key]
        return told if bridge is None else (*told, *self._astray(address, told))

    def bare(self, bridge: Bridge, version: int | None) -> Iterator[Hop]:
        """A bridge by itself, with its addresses of an IP version, where one is named."""
        links = self._snapshot.links
        if links is None:
            yield Hop("bridge", "the host's links could not be listed", Mark.UNKNOWN, "ip link")
            return
        name = moved_to(bridge, links) or bridge.name
        link = links.by_name.get(name)
        if link is None:
            yield Hop("bridge", f"{name} does not exist", Mark.BROKEN, RESTORE)
            return
        if not link.is_up:
            yield Hop("bridge", f"{name} is down", Mark.BROKEN, f"ip link set {name} up")
            return
        gateways = [g for g in bridge.gateways if version is not None and g.version == version]
        if name != bridge.name:
            yield Hop("bridge", f"{bridge.name} is called {name} now", Mark.NOTE)
        elif not bridge.unmanaged and gateways:
            yield from self._addresses(bridge, name, gateways, links)
        else:
            yield Hop("bridge", f"{name} is up")

    def _addresses(
        self, bridge: Bridge, name: str, gateways: Sequence[Interface], links: Links
    ) -> Iterator[Hop]:
        """Whether a bridge has its addresses, and a route leads to their subnets.

        One with another length of its prefix will do while all who are on the bridge are in that.
        """
        mine = links.addresses.get(name, ())
        lacking = next((gateway for gateway in gateways if gateway not in mine), None)
        if lacking is not None:
            wrong = next((found for found in mine if found.ip == lacking.ip), None)
            if wrong is None:
                what = f"{name} lacks the address {lacking}"
                yield Hop("bridge", what, Mark.BROKEN, by_hand(name, lacking))
                return
            places = self.places.get(bridge.name, ())
            will_do = all(
                address in wrong.network
                for place in places
                for address in place.addresses
                if address.version == wrong.version
            )
            mark = Mark.NOTE if will_do else Mark.BROKEN
            cure = f"ip addr del {wrong} dev {name}; {by_hand(name, lacking)}"
            yield Hop("bridge", f"{name} has {wrong}, not {lacking}", mark, cure)
            return
        # What is in a VRF has a table of its own.
        is_routed = bool(links.by_name[name].master)
        unrouted = [g.network for g in gateways if not (is_routed or links.routes.get(g.network))]
        if unrouted:
            what = f"no route leads to {unrouted[0]} on {name}"
            yield Hop("bridge", what, Mark.BROKEN, RESTORE)
        elif gateways[0].version == 6 and lacks_link_local(links.by_name[name], bridge, links):
            what = f"{name} has no link-local address, without which IPv6 is not forwarded"
            yield Hop("bridge", what, Mark.BROKEN, RESTORE)
        else:
            yield Hop("bridge", f"{name} is up, with {', '.join(map(str, gateways))}")

    def called(self, network: str) -> Bridge | None:
        """The bridge of a network with this name; None where it is not known."""
        return next((one for one in self.bridges.values() if one.network == network), None)

    def without(self, bridge: Bridge | None, versions: Iterable[int]) -> list[Hop]:
        """What a bridge lacks for these IP versions, each thing once."""
        if bridge is None:
            return []
        told = [hop for version in sorted(versions) for hop in self.bare(bridge, version)]
        return list(dict.fromkeys(hop for hop in told if hop.mark is not Mark.OPEN))

    def link(self, bridge: str, address: Address, known: Container | None) -> Iterator[Hop]:
        """The link of a container on its bridge.

        Of one that podman does not call up it is not known that it has its link yet.
        """
        links, wires = self._snapshot.links, self._kernel.wires
        if links is None or wires is None or known is None or not known.is_up:
            return
        wanted = self.bridges.get(bridge)
        name = (wanted is not None and moved_to(wanted, links)) or bridge
        if name in links.by_name:
            yield _link(wires.get(address, ()), name, address, known)

    def neighbours(self, bridge: Bridge, members: Sequence[tuple[Place, Container]]) -> list[Hop]:
        """Whether containers on a bridge reach each other."""
        found = [hop for hop in self.bare(bridge, None) if hop.mark is not Mark.OPEN]
        of_links = [
            hop
            for place, known in members
            for address in place.addresses[:1]
            for hop in self.link(bridge.name, address, known)
            if hop.mark is not Mark.OPEN
        ]
        if found:
            return found
        return [
            *(of_links or [Hop("bridge", f"{bridge.name} joins their links")]),
            *self._isolated(bridge),
            *self._parted(bridge, members[0][0]),
            *self._rejected(bridge),
        ]

    def _isolated(self, bridge: Bridge) -> Iterator[Hop]:
        links = self._snapshot.links.by_name.values() if self._snapshot.links else ()
        apart = sorted(link.name for link in links if link.isolated and link.master == bridge.name)
        if len(apart) > 1:
            what = f"{few(apart)} are isolated ports: they do not reach each other"
            yield Hop("bridge", what, Mark.BROKEN, f"bridge link set dev {apart[0]} isolated off")

    def _parted(self, bridge: Bridge, place: Place) -> Iterator[Hop]:
        """Chains to which the bridge hands what goes over it, and that drop it."""
        network = next((n for n in self._setup.networks.values() if n.bridge == bridge.name), None)
        own = about(self._setup.driver).tables
        versions = {address.version for address in place.addresses} & self._snapshot.around.bridged
        for chain in self._kernel.others if network is not None else ():
            concerned = any(forwarding.concerns(chain, version) for version in versions)
            if network is None or not concerned or not forwarding.drops(chain):
                continue
            if forwarding.stops(chain, network, own, inward=False):
                what = (
                    f"table {chain.table}, chain {chain.name} drops what it does not know, and "
                    "bridges hand it what containers send each other (bridge-nf-call-iptables)"
                )
                advice = forwarding.remedy(chain, network.bridge, own)
                yield Hop("other firewalls", what, Mark.BROKEN, advice)

    def _rejected(self, bridge: Bridge) -> Iterator[Hop]:
        """firewalld's zone, to which the bridge hands what goes over it."""
        one = self.shut.get(bridge.network)
        if one is not None and one.parts:
            what = f"{one.whose}, which rejects what containers send each other"
            yield Hop("firewalld zone", what, Mark.BROKEN, one.advice)

    def _astray_of(self, found: Iterable[Astray]) -> dict[Address, Astray]:
        """By address; not where a bridge is away, or has another name."""
        there = {} if self._snapshot.links is None else self._snapshot.links.by_name
        return {one.addresses[0]: one for one in found if one.network.bridge in there}

    def _astray(self, address: Address, told: Sequence[Hop]) -> Iterator[Hop]:
        """Where packets to a container, or from it, go instead; not by a bridge that is broken."""
        if one := self._inward.get(address):
            yield _hop(_IN, one)
        elif (one := self._outward.get(address)) and all(
            hop.mark is not Mark.BROKEN for hop in told
        ):
            yield _hop(_OUT, one)

    def asking(
        self, served: Served, among: Mapping[str, str]
    ) -> Iterator[tuple[dict[str, str], tuple[Hop, ...]]]:
        """Those `among` the containers of a network that hear what aardvark-dns answers them.

        Then those that do not, by any IP version that both have, and why.
        """
        versions = {address.version for address in served.addresses}
        lost: dict[str, Astray] = {}
        for endpoint in self._setup.endpoints:
            if endpoint.network_name != served.network or endpoint.container_id not in among:
                continue
            mine = [one for one, _ in endpoint.addresses if one.version in versions]
            found = [one for address in mine if (one := self._unheard(address))]
            if mine and len(found) == len(mine):
                lost[endpoint.container_id] = found[0]
        hearing = {key: name for key, name in among.items() if key not in lost}
        if hearing:
            yield hearing, ()
        for one in gathered(lost.values()):
            theirs = set(one.addresses)
            yield (
                {key: among[key] for key, its in lost.items() if its.addresses[0] in theirs},
                (_hop(_IN, one),),
            )

    def _unheard(self, address: Address) -> Astray | None:
        return self._inward.get(address) or self._from_names.get(address)


def _hop(place: str, one: Astray) -> Hop:
    return Hop(place, one.what, Mark.BROKEN, one.advice)


def _link(wires: Sequence[Wire], bridge: str, address: Address, known: Container) -> Hop:
    """How an address is joined to its bridge. Who else has the same address does no harm."""
    name, reload = known.title, f"podman network reload {known.name}"
    joined = next((wire.end for wire in wires if wire.end and wire.joins(bridge)), None)
    if joined is not None:
        return Hop("link", f"{joined.name} joins {name} to {bridge}")
    if not wires:
        what = f"{name} has lost {address}, or its link to {bridge}: no namespace has the address"
        advice = careful_reload(known.name) if address.version == 6 else reload
        return Hop("link", what, Mark.BROKEN, advice)
    wire = wires[0]
    if wire.end is None:
        return Hop("link", f"{name}'s link does not lead to {bridge}", Mark.BROKEN, reload)
    if not wire.end.is_up:
        what = f"{wire.end.name}, {name}'s link to {bridge}, is down"
        return Hop("link", what, Mark.BROKEN, f"ip link set {wire.end.name} up")
    if wire.end.master != bridge:
        where = f"is on {wire.end.master}, and not on" if wire.end.master else "is not on"
        what = f"{wire.end.name}, {name}'s link, {where} {bridge}"
        advice = f"ip link set {wire.end.name} master {bridge}"
        return Hop("link", what, Mark.BROKEN, advice)
    return Hop("link", f"{name}'s link is down inside of it", Mark.BROKEN, reload)
