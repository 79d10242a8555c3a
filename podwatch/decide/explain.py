# SPDX-License-Identifier: Apache-2.0
"""Where a packet goes, and where it does not: each container's ways, hop by hop.

A pure function of one Snapshot and of what the kernel shows beside it. A hop is only called broken
if packets stop there; a rule that is missing where others let the packet pass is a note.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from podwatch.decide import hidden, hops
from podwatch.decide.firewalld_hops import RESTORE, FirewalldHops, names_of
from podwatch.decide.rules import rules_of
from podwatch.decide.spelling import Spelling
from podwatch.drivers import firewalld as policies
from podwatch.drivers import forwarding, nftables
from podwatch.drivers.driver import DRIVERS, about, leading, observed_of
from podwatch.words.network import (
    Address,
    Container,
    Endpoint,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Rule, RuleKind
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import BaseChain, Hop, Kernel, Mark, Way, WayKind

_OURS = (*nftables.ABOUT.tables, "inet firewalld")


def explain(snapshot: Snapshot, kernel: Kernel, port: tuple[int, str] | None = None) -> list[Way]:
    """Every way of every container: to its ports, out of it, and the isolation of its networks.

    `port` is the number and protocol that was asked for. A range of ports that includes it has one
    way, that of this port.
    """
    if snapshot.setup is None:
        return []
    teller = _Teller(snapshot, snapshot.setup, kernel, port)
    found = [
        replace(way, members=teller.members(endpoint.container_id))
        for endpoint in sorted(snapshot.setup.endpoints, key=teller.name)
        for way in teller.ways(endpoint)
    ]
    return found + list(teller.isolation())


class _Teller:
    def __init__(
        self, snapshot: Snapshot, setup: Setup, kernel: Kernel, port: tuple[int, str] | None
    ) -> None:
        self.port = port
        self.snapshot = snapshot
        self.kernel = kernel
        self.setup = setup
        self._by_firewalld = about(setup.driver).in_firewalld
        self._firewalld = FirewalldHops(snapshot.firewalld, setup, kernel)
        self.rules: dict[tuple[str, str], list[Rule]] = {}  # by network and container
        self.observed = observed_of(setup, snapshot)
        self.expected = rules_of(setup, snapshot)
        self.spelling = Spelling(self.expected, self.observed, snapshot.copied)
        for rule in self.expected:
            self.rules.setdefault((rule.network_id, rule.container_id), []).append(rule)

    def name(self, endpoint: Endpoint) -> str:
        """What its container is called."""
        known = self.snapshot.containers.get(endpoint.container_id)
        return known.title if known else endpoint.container_id[:12]

    def ways(self, endpoint: Endpoint) -> Iterator[Way]:
        known, name = self.snapshot.containers.get(endpoint.container_id), self.name(endpoint)
        for address, _ in endpoint.addresses:
            for mapping in endpoint.port_mappings or ():
                if mapping.host_ip is None or mapping.host_ip.version == address.version:
                    one = self._asked(mapping)
                    passed = tuple(self._in(endpoint, known, address, mapping))
                    title = f"{one} → {name} ({one.target(address)})"
                    yield self._way_in(title, name, endpoint, one, passed)
        everywhere = [e for e in self.setup.endpoints if e.container_id == endpoint.container_id]
        versions = {address.version for whole in everywhere for address, _ in whole.addresses}
        for one in map(self._asked, endpoint.port_mappings or ()):
            if one.host_ip is not None and one.host_ip.version not in versions:
                hop = hops.no_address(one.host_ip, name)
                yield self._way_in(f"{one} → {name}", name, endpoint, one, (hop,))
        if self._is_internal(endpoint):
            hop = Hop("network", f"{endpoint.network_name} is internal: no way out", Mark.NOTE)
            title = f"{name} out by {endpoint.network_name}"
            yield self._way(WayKind.OUT, title, name, endpoint, (hop,))
            return
        for address, _ in endpoint.addresses:
            title = f"{name} ({address}) out by {endpoint.network_name}"
            passed = tuple(self._out(endpoint, known, address))
            yield self._way(WayKind.OUT, title, name, endpoint, passed)

    def members(self, key: str) -> dict[str, str]:
        """The containers, name by id, whose pod has this infra container: its network is theirs."""
        infra = self.snapshot.containers.get(key)
        if infra is None or not infra.is_infra or not infra.pod:
            return {}
        everybody = self.snapshot.containers.values()
        return {e.id: e.name for e in everybody if e.pod == infra.pod and not e.is_infra}

    def isolation(self) -> Iterator[Way]:
        for key, name in {e.network_id: e.network_name for e in self.setup.endpoints}.items():
            rules = self.rules.get((key, ""), ())
            mine = [rule for rule in rules if rule.kind is RuleKind.ISOLATION]
            if not mine:
                continue
            network = self.setup.networks[key]
            word = {"never": "open to other networks of its kind", "normal": "isolated"}
            what = f"{name} is {word.get(network.isolation, 'strictly isolated')}"
            hop = self._present("isolation", self._path("forward", mine), what, Mark.BROKEN)
            yield Way(WayKind.ISOLATION, f"isolation of {name}", "", "", name, (hop,))

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
        mapping = self._asked(whole)
        yield hops.host_port(self.kernel, mapping)
        if not self._by_firewalld:  # which tells so itself, below
            yield from hops.host_address(mapping)
        if self._is_internal(endpoint):
            what = f"{endpoint.network_name} is internal: nothing outside of it gets an answer"
            yield Hop("network", what, Mark.BROKEN, "publish it on a network that is not internal")
        yield hops.forwarding(self.kernel, address)
        yield from self._firewalld.gate(to_a_port=True)
        # Of a range netavark's nftables driver has a rule for each port, which names it.
        mine = {whole.way_to(address), mapping.way_to(address)}
        rules = [
            rule
            for rule in self._of(
                endpoint, RuleKind.PORT_JUMP, RuleKind.PORT_DNAT, RuleKind.FORWARD_PORT
            )
            if whole.way_to(address) in rule.ways
            and (rule.kind is not RuleKind.PORT_DNAT or mapping == whole or rule.subject in mine)
        ]
        path = self._path("prerouting", rules)
        what = f"forwarded to {mapping.target(address)}"
        if self._by_firewalld and self.observed is not None:
            yield from self._firewalld_forwards(path, what)
        else:
            taken = hidden.taken(
                self.snapshot,
                self.setup,
                self.expected,
                path,
                endpoint.container_id,
                mapping,
                address,
            )
            yield taken or self._present("port forward", path, what, Mark.BROKEN)
        yield from self._forward_rules(endpoint, address, inward=True)
        yield from self._other_firewalls(endpoint, address, "daddr")
        yield from hops.wire(self.kernel, self.setup, endpoint, known)
        yield hops.process(self.kernel, endpoint, known, mapping)

    def _out(self, endpoint: Endpoint, known: Container | None, address: Address) -> Iterator[Hop]:
        yield from hops.state(known)
        yield from hops.wire(self.kernel, self.setup, endpoint, known)
        yield hops.forwarding(self.kernel, address)
        yield from self._firewalld.gate(to_a_port=False)
        yield from self._firewalld.source(endpoint, address)
        yield from self._firewalld.policies(endpoint, address)
        yield from self._forward_rules(endpoint, address)
        yield from self._other_firewalls(endpoint, address, "saddr")
        yield self._masquerade(endpoint, address)
        yield hops.route(self.kernel, address)

    # The hops.

    def _forward_rules(
        self, endpoint: Endpoint, address: Address, *, inward: bool = False
    ) -> Iterator[Hop]:
        rules = self._about(endpoint, address, RuleKind.FORWARD_REPLIES, RuleKind.FORWARD_OUT)
        path = self._path("forward", rules)
        # Where their chain accepts what no rule of it drops, these rules alone stop nothing.
        tables = {rule.chain.rpartition(" ")[0] for rule in path}
        drops = any(
            chain.table in tables and forwarding.drops(chain) for chain in self.kernel.others or ()
        )
        hop = self._present(
            "forward", path, "accepted by its own rules", Mark.BROKEN if drops else Mark.NOTE
        )
        if self.observed is not None:
            if not path:
                return  # with firewalld CNI has none, nor has firewalld's driver
            # What comes from outside no rule of netavark's accepts: it passes at the chain's end.
            chain = path[-1].chain
            if inward and hop.mark is Mark.OPEN and (drop := hidden.drop_of(self.observed, chain)):
                hop = _closed("forward", chain, drop)
        yield hop

    def _masquerade(self, endpoint: Endpoint, address: Address) -> Hop:
        what = "leaves under the host's address"
        if not self._by_firewalld:
            rules = self._about(endpoint, address, RuleKind.SUBNET_JUMP, RuleKind.MASQUERADE)
            path = self._path("postrouting", rules)
            return self._present("masquerade", path, what, Mark.BROKEN)
        # netavark has firewalld hide no IPv6 address: one that is routed to the host does without.
        rule = policies.masquerade(policies.WAY_OUT, address.version)
        does_without = address.version == 6 and address.is_global
        if_missing = Mark.NOTE if does_without else Mark.BROKEN
        return self._present("masquerade", [rule], what, if_missing, policies.adding(rule))

    def _other_firewalls(
        self, endpoint: Endpoint, address: Address, direction: str
    ) -> Iterator[Hop]:
        if self.kernel.others is None:
            what = "their chains could not be listed"
            yield Hop("other firewalls", what, Mark.UNKNOWN, "nft list chains")
            return
        network = self.setup.networks.get(endpoint.network_id)
        bridge = network.bridge if network else ""
        marks = [f"{direction} {name} " for name in names_of(endpoint, address)]
        marks += [f'"{bridge}"'] if bridge else []
        other_family = {4: "ip6 ", 6: "ip "}[address.version]
        for chain in self.kernel.others:
            if chain.hook != "forward" or chain.table in _OURS or not forwarding.drops(chain):
                continue
            if chain.table.startswith(other_family) or _accepts(chain, marks):
                continue
            what = f"table {chain.table}, chain {chain.name} drops what it does not know"
            advice = forwarding.remedy(chain, bridge, about(self.setup.driver).tables)
            yield Hop("other firewalls", what, Mark.BROKEN, advice)

    # The rules.

    def _of(self, endpoint: Endpoint, *kinds: RuleKind) -> list[Rule]:
        """The rules of these kinds, in their order, of an endpoint's network and its own."""
        owners = ("", endpoint.container_id)
        rules = [r for key in owners for r in self.rules.get((endpoint.network_id, key), ())]
        return [rule for kind in kinds for rule in rules if rule.kind is kind]

    def _about(self, endpoint: Endpoint, address: Address, *kinds: RuleKind) -> list[Rule]:
        names = names_of(endpoint, address)
        return [rule for rule in self._of(endpoint, *kinds) if rule.subject in names]

    def _path(self, hook: str, rules: list[Rule]) -> list[Rule]:
        """Some rules, and before them those of the hook's chain that lead to their chains."""
        chains = {rule.chain for rule in rules}
        return leading(self.rules.get(("", ""), ()), hook, chains) + rules if rules else []

    def _firewalld_forwards(self, rules: list[Rule], what: str) -> Iterator[Hop]:
        """What takes a port on; what the host itself sends to it goes by a policy of its own."""
        if not rules:
            what = "netavark's firewalld driver has no rule for this address of the host"
            yield Hop("port forward", what, Mark.BROKEN, "publish the port on another address")
        for number, rule in enumerate(rules):
            told = f"{what} from the host itself" if number else what
            if_missing = Mark.NOTE if number else Mark.BROKEN
            yield self._present("port forward", [rule], told, if_missing)

    def _present(
        self, place: str, rules: list[Rule], what: str, if_missing: Mark, advice: str = RESTORE
    ) -> Hop:
        if self.setup.driver not in DRIVERS:
            told = f"rules of the driver {self.setup.driver} are not explained"
            return Hop(place, told, Mark.UNKNOWN)
        observed = self.observed
        if observed is None:
            how = "firewall-cmd --state" if self._by_firewalld else "nft list ruleset"
            return Hop(place, "the rules could not be read", Mark.UNKNOWN, how)
        if not rules:
            return Hop(place, "no rule is meant to be there", Mark.NOTE)
        if not observed.present:
            gone = f"{about(self.setup.driver).place} is gone"
            return Hop(place, gone, if_missing, advice)
        for rule in rules:
            chain = observed.chains.get(rule.chain)
            if rule.kind is RuleKind.HOOK:
                is_there = chain is not None and chain.hook in rule.texts
            else:
                is_there = chain is not None and any(text in chain.rules for text in rule.texts)
            if not is_there:
                return Hop(
                    place, f"missing in {rule.chain}: {self.spelling.of(rule)}", if_missing, advice
                )
            if before := hidden.first_end(observed, rule):
                return _closed(place, rule.chain, before)
        return Hop(place, f"{what}: {self.spelling.of(rules[-1])}")


def _closed(place: str, chain: str, text: str) -> Hop:
    what = f"chain {chain}: “{text}”, which is not Podman's, keeps packets from its rules"
    return Hop(place, what, Mark.BROKEN, "delete it, unless it is meant so")


def _accepts(chain: BaseChain, marks: Iterable[str]) -> bool:
    """Whether a rule with one of the marks accepts more than what belongs to a known connection."""
    return any(
        "accept" in rule
        and ("established" not in rule or "new" in rule)
        and any(mark in rule for mark in marks)
        for rule in chain.around
    )
