# SPDX-License-Identifier: Apache-2.0
"""Where a packet goes, and where it does not: each container's ways, hop by hop.

A pure function of one Snapshot: what the daemon's verdict is made of, and `podwatch explain` draws.
A hop is only called broken if packets stop there; a rule that is missing where others let the
packet pass is a note, and so is what is the container's own matter or the host's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain

from podwatch.decide import hops
from podwatch.decide.bridge_hops import BridgeHops
from podwatch.decide.census import living
from podwatch.decide.facts import facts
from podwatch.decide.firewalld_hops import FirewalldHops
from podwatch.decide.indexed import Indexed
from podwatch.decide.name_hops import NameHops
from podwatch.decide.relay_hops import RelayHops
from podwatch.decide.rule_hops import RuleHops
from podwatch.decide.rules import rules_of
from podwatch.decide.surroundings import unheard_of
from podwatch.decide.user_advice import way_for_user
from podwatch.drivers.driver import DRIVERS, about
from podwatch.words.network import Address, Container, Endpoint, PortMapping, Setup, title_of
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.way import Hop, Kernel, Mark, Way, WayKind

_MAX_NAMED = 3
"""So many containers are named in the title of a network's way."""


def explain(
    snapshot: Snapshot,
    kernel: Kernel | None = None,
    port: tuple[int, str] | None = None,
    *,
    rules: Sequence[Rule] | None = None,
    told: "Told | None" = None,
) -> list[Way]:
    """Every way of every container: to its ports, out of it, and the isolation of its networks.

    `kernel` is what the snapshot shows beside rules, or more than that; `rules` are those that have
    to be there, where they are known already. `port` is the number and protocol that was asked for.
    A range of ports that includes it has one way, that of this port. What was `told` before is told
    again of the containers of which nothing has changed.
    """
    if snapshot.setup is None:
        return []
    told = told or Told()
    teller = _Teller(snapshot, snapshot.setup, kernel or facts(snapshot), port, rules, told)
    endpoints = sorted(snapshot.setup.endpoints, key=teller.name)
    found = list(chain.from_iterable([told.ways(endpoint, teller) for endpoint in endpoints]))
    told.keep(endpoints)
    rest = (teller.alone(), teller.isolation(), teller.neighbours(), teller.names())
    return [way_for_user(way, snapshot) for way in (*found, *chain.from_iterable(rest))]


class Told:
    """The ways of each container's places, and what they were told from: good for the next look."""

    def __init__(self) -> None:
        self.indexed: Indexed | None = None
        self._around: object = None
        self._known: dict[_Key, tuple[object, tuple[Way, ...]]] = {}

    def ways(self, endpoint: Endpoint, teller: "_Teller") -> tuple[Way, ...]:
        """The ways of a place, as they were told or anew."""
        around, evidence = teller.around, teller.evidence(endpoint)
        if around != self._around:
            self._around, self._known = around, {}
        known = self._known.get(_key(endpoint))
        if known is None or known[0] != evidence:
            members = teller.members(endpoint.container_id)
            ways = teller.ways(endpoint)
            known = evidence, tuple(replace(way, members=members) for way in ways)
            self._known[_key(endpoint)] = known
        return known[1]

    def keep(self, endpoints: Iterable[Endpoint]) -> None:
        """Forget all other places."""
        keys = set(map(_key, endpoints))
        if len(keys) != len(self._known):
            self._known = {key: known for key, known in self._known.items() if key in keys}


def _key(endpoint: Endpoint) -> "_Key":
    return endpoint.container_id, endpoint.network_id


_Key = tuple[str, str]


class _Teller:
    def __init__(
        self,
        snapshot: Snapshot,
        setup: Setup,
        kernel: Kernel,
        port: tuple[int, str] | None,
        rules: Sequence[Rule] | None,
        told: "Told",
    ) -> None:
        self.port = port
        self.snapshot = snapshot
        self.kernel = kernel
        self.setup = living(setup, snapshot.containers)
        expected = rules_of(self.setup, snapshot) if rules is None else rules
        self._firewalld = FirewalldHops(snapshot.firewalld, self.setup, kernel)
        self._rules = RuleHops(snapshot, self.setup, expected, kernel.others, told.indexed)
        told.indexed = self._rules.indexed
        self._bridges = BridgeHops(snapshot, self.setup, kernel)
        relays = snapshot.relays
        self._relays = None if relays is None else RelayHops(snapshot, relays, kernel)
        self._versions: dict[str, set[int]] = {}  # of IP addresses, by container
        for endpoint in setup.endpoints:
            mine = self._versions.setdefault(endpoint.container_id, set())
            mine.update(address.version for address, _ in endpoint.addresses)

    @cached_property
    def around(self) -> object:
        """All that the ways of every place are told from."""
        kernel, around = self.kernel, self.snapshot.around
        return (
            (self.port, self.setup.driver, self.snapshot.firewalld, self.snapshot.uplinks),
            (self.snapshot.relays, self.snapshot.outside),
            tuple(unheard_of(self.snapshot)),
            (around.deaf, around.has_default_v6, self._rules.indexed is None),
            self._rules.indexed is not None and self._rules.indexed.observed.present,
            replace(kernel, wires=None),
        )

    def evidence(self, endpoint: Endpoint) -> object:
        """What the ways of a place are told from beside that."""
        addresses = [address for address, _ in endpoint.addresses]
        wires = self.kernel.wires
        return (
            endpoint,
            self.setup.networks.get(endpoint.network_id),
            self.snapshot.containers.get(endpoint.container_id),
            self._versions[endpoint.container_id],
            self.members(endpoint.container_id),
            [self._bridges.bridge(endpoint, address) for address in addresses],
            wires and [wires.get(address) for address in addresses],
            wires is None,
            self._rules.evidence(endpoint),
        )

    def name(self, endpoint: Endpoint) -> str:
        """What its container is called."""
        return title_of(self.snapshot.containers, endpoint.container_id)

    def ways(self, endpoint: Endpoint) -> Iterator[Way]:
        known, name = self.snapshot.containers.get(endpoint.container_id), self.name(endpoint)
        for address, _ in endpoint.addresses:
            for mapping in endpoint.port_mappings or ():
                if mapping.host_ip is None or mapping.host_ip.version == address.version:
                    one = self._asked(mapping)
                    passed = tuple(self._in(endpoint, known, address, mapping))
                    title = f"{one} → {name} ({one.target(address)})"
                    yield self._way_in(title, name, endpoint, one, passed)
        versions = self._versions[endpoint.container_id]
        for one in map(self._asked, endpoint.port_mappings or ()):
            if one.host_ip is not None and one.host_ip.version not in versions:
                hop = hops.no_address(one.host_ip, name)
                yield self._way_in(f"{one} → {name}", name, endpoint, one, (hop,))
        if self._is_internal(endpoint):
            hop = Hop("network", f"{endpoint.network_name} is internal: no way out", Mark.CLOSED)
            title = f"{name} out by {endpoint.network_name}"
            yield self._way(WayKind.OUT, title, name, endpoint, (hop,))
            return
        for address, _ in endpoint.addresses:
            title = f"{name} ({address}) out by {endpoint.network_name}"
            passed = tuple(self._out(endpoint, known, address))
            yield self._way(WayKind.OUT, title, name, endpoint, passed)

    def alone(self) -> Iterator[Way]:
        """Of a user's containers without a bridge, and from those with one to the host."""
        if self._relays is not None:
            yield from self._relays.alone()
            yield from self._relays.to_host(self.setup)

    def members(self, key: str) -> dict[str, str]:
        """The containers, name by id, whose pod has this infra container: its network is theirs."""
        infra = self.snapshot.containers.get(key)
        if infra is None or not infra.is_infra or not infra.pod:
            return {}
        everybody = self.snapshot.containers.values()
        return {e.id: e.name for e in everybody if e.pod == infra.pod and not e.is_infra}

    def isolation(self) -> Iterator[Way]:
        for key, name in {e.network_id: e.network_name for e in self.setup.endpoints}.items():
            if hop := self._rules.isolation(key, name):
                yield Way(WayKind.ISOLATION, f"isolation of {name}", "", "", name, (hop,))

    def neighbours(self) -> Iterator[Way]:
        """Between the containers of each network that has several."""
        for name, places in self._bridges.places.items():
            running = {
                place.container_id: (place, known)
                for place in places
                if (known := self.snapshot.containers.get(place.container_id)) and known.is_up
            }
            if len(running) < 2:
                continue
            bridge, members = self._bridges.bridges[name], list(running.values())
            among = {key: known.title for key, (_, known) in running.items()}
            title = f"{_few(among.values())} with each other on {bridge.network}"
            # What stays on a bridge meets no firewall, unless bridges hand it over.
            panic = self._firewalld.panic() if self.snapshot.around.bridged else ()
            passed = (*panic, *self._bridges.neighbours(bridge, members))
            yield Way(WayKind.NEIGHBOURS, title, "", "", bridge.network, passed, among=among)

    def names(self) -> Iterator[Way]:
        """From the names of each network's containers to their addresses."""
        of_names = NameHops(self.snapshot, self.setup, self._bridges)
        for served, among in of_names.served():
            bridge = self._bridges.called(served.network)
            without = self._bridges.without(bridge, {one.version for one in served.addresses})
            for some, astray in self._bridges.asking(served, among):
                title = f"names of {_few(some.values())} on {served.network}"
                panic = self._firewalld.panic()
                passed = (*panic, *without, *astray, *of_names.of(served, some))
                yield Way(WayKind.NAMES, title, "", "", served.network, passed, among=some)

    def _is_internal(self, endpoint: Endpoint) -> bool:
        network = self.setup.networks.get(endpoint.network_id)
        return endpoint.internal or (network is not None and network.internal)

    def _asked(self, mapping: PortMapping) -> PortMapping:
        """The mapping, or the one port of it that was asked for."""
        if self.port is None:
            return mapping
        number, protocol = self.port
        is_one = protocol == mapping.protocol and 0 <= number - mapping.host_port < mapping.count
        return mapping.only(number) if is_one else mapping

    def _way_in(
        self,
        title: str,
        name: str,
        endpoint: Endpoint,
        mapping: PortMapping,
        passed: tuple[Hop, ...],
    ) -> Way:
        way = self._way(WayKind.IN, title, name, endpoint, passed)
        return replace(way, port=(mapping.host_port, mapping.protocol), count=mapping.count)

    @staticmethod
    def _way(
        kind: WayKind,
        title: str,
        name: str,
        endpoint: Endpoint,
        passed: tuple[Hop, ...],
    ) -> Way:
        return Way(kind, title, name, endpoint.container_id, endpoint.network_name, passed)

    # The two directions.

    def _in(
        self, endpoint: Endpoint, known: Container | None, address: Address, whole: PortMapping
    ) -> Iterator[Hop]:
        if known is not None and not known.is_running:
            yield from hops.state(known)
            return
        mapping = self._asked(whole)
        yield from hops.host_port(self.kernel, mapping)
        if self._relays is not None and known is not None:
            yield from self._relays.port(known, mapping, address)
            yield from hops.state(known)
            yield from hops.process(self.kernel, endpoint.container_id, known, mapping)
            return
        if not about(self.setup.driver).in_firewalld:  # which tells so itself, below
            yield from hops.host_address(mapping)
        if self._is_internal(endpoint):
            what = f"{endpoint.network_name} is internal: nothing outside of it gets an answer"
            yield Hop("network", what, Mark.CLOSED, "publish it on a network that is not internal")
        yield from self._host_forwards(endpoint, address)
        yield from self._firewalld.gate(to_a_port=True)
        yield from self._rules.port_forward(endpoint, address, whole, mapping)
        yield from self._rules.forward(endpoint, address, inward=True)
        if mapping.host_ip is None or not mapping.host_ip.is_loopback:
            yield from self._rules.other_firewalls(endpoint, address, inward=True)
        yield from self._bridges.bridge(endpoint, address)
        yield from self._link(endpoint, address, known)
        yield from hops.state(known)
        yield from hops.inside(self.kernel, known, address)
        yield from hops.process(self.kernel, endpoint.container_id, known, mapping)

    def _out(self, endpoint: Endpoint, known: Container | None, address: Address) -> Iterator[Hop]:
        yield from hops.state(known)
        if known is not None and not known.is_running:
            return
        yield from hops.inside(self.kernel, known, address)
        yield from self._link(endpoint, address, known)
        yield from self._bridges.bridge(endpoint, address)
        yield from self._host_forwards(endpoint, address)
        yield from self._firewalld.gate(to_a_port=False)
        yield from self._firewalld.source(endpoint, address)
        yield from self._firewalld.policies(endpoint, address)
        yield from self._rules.forward(endpoint, address)
        yield from self._rules.other_firewalls(endpoint, address)
        masquerade = self._rules.masquerade(endpoint, address)
        if self._relays is not None:
            yield from self._relays.beyond(masquerade, address)
            return
        yield masquerade
        yield hops.route(self.kernel, address, self.snapshot.around)

    def _link(self, endpoint: Endpoint, address: Address, known: Container | None) -> Iterator[Hop]:
        network = self.setup.networks.get(endpoint.network_id)
        if network is not None:
            yield from self._bridges.link(network.bridge, address, known)

    def _host_forwards(self, endpoint: Endpoint, address: Address) -> Iterator[Hop]:
        """Whether the host forwards, in either direction: an answer goes the other way."""
        network = self.setup.networks.get(endpoint.network_id)
        links = (*self.snapshot.uplinks, network.bridge) if network else self.snapshot.uplinks
        if self.setup.driver in DRIVERS or self.kernel.forwarding:
            yield hops.forwarding(self.kernel, address, links)
        for link in unheard_of(self.snapshot) if address.version == 4 else ():
            what = f"what comes in by {link} is not forwarded: its neighbours get no answer"
            yield Hop("forwarding", what, Mark.NOTE)


def _few(names: Iterable[str]) -> str:
    """Some of many names, in one line."""
    return few(sorted(names), _MAX_NAMED)
