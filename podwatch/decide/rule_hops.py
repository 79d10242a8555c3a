# SPDX-License-Identifier: Apache-2.0
"""Hops that are rules: Podman's own, whether they are there, and what stands before them. Pure.

Each method tells one place a packet passes, whichever driver has the rules.
"""

from collections.abc import Iterator, Sequence

from podwatch.decide import hidden
from podwatch.decide.firewalld_hops import RESTORE, names_of
from podwatch.decide.indexed import Indexed
from podwatch.decide.spelling import Spelling
from podwatch.drivers import firewalld as policies
from podwatch.drivers import forwarding, nftables
from podwatch.drivers.driver import DRIVERS, about, leading, observed_of
from podwatch.words.network import Address, Endpoint, FirewallDriver, PortMapping, Setup
from podwatch.words.rules import Rule, RuleKind
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import BaseChain, Hop, Mark

_OURS = (*nftables.ABOUT.tables, "inet firewalld")


class RuleHops:
    """The hops of a setup's ways; `expected` are the rules that it needs.

    `others` are chains of others that packets pass when they are forwarded. `before` is what was
    found out of the rules of an earlier look.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        setup: Setup,
        expected: Sequence[Rule],
        others: Sequence[BaseChain],
        before: Indexed | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._setup = setup
        self._expected = expected
        self._drops = [chain for chain in others if forwarding.drops(chain)]
        observed = observed_of(setup, snapshot)
        self.indexed = None if observed is None else Indexed(observed, before)
        self._by_firewalld = about(setup.driver).in_firewalld
        self._spelling = Spelling(expected, observed, snapshot.copied)
        self._told: dict[str, tuple[object, frozenset[str]]] = {}
        self._rules: dict[tuple[str, str], list[Rule]] = {}  # by network and container
        for rule in expected:
            self._rules.setdefault((rule.network_id, rule.container_id), []).append(rule)
        self._hooked = {rule.chain for rule in self._rules.get(("", ""), ())}

    def isolation(self, network_id: str, name: str) -> Hop | None:
        """What keeps other networks out of one; None where nothing is meant to."""
        rules = self._rules.get((network_id, ""), ())
        mine = [rule for rule in rules if rule.kind is RuleKind.ISOLATION]
        if not mine:
            return None
        network = self._setup.networks[network_id]
        word = {"never": "open to other networks of its kind", "normal": "isolated"}
        what = f"{name} is {word.get(network.isolation, 'strictly isolated')}"
        return self._present("isolation", self._path("forward", mine), what, Mark.BROKEN)

    def port_forward(
        self, endpoint: Endpoint, address: Address, whole: PortMapping, mapping: PortMapping
    ) -> Iterator[Hop]:
        """What takes a port on to its container; `mapping` is `whole`, or one port of it."""
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
        if self._by_firewalld and self.indexed is not None:
            yield from self._firewalld_forwards(path, what)
            return
        taken = self.indexed and hidden.taken(
            self._snapshot,
            self._setup,
            self.indexed,
            self._expected,
            path,
            endpoint.container_id,
            mapping,
            address,
        )
        yield taken or self._present("port forward", path, what, Mark.BROKEN)

    def forward(
        self, endpoint: Endpoint, address: Address, *, inward: bool = False
    ) -> Iterator[Hop]:
        """The network's own rules for what is forwarded, in or out."""
        rules = self._about(endpoint, address, RuleKind.FORWARD_REPLIES, RuleKind.FORWARD_OUT)
        path = self._path("forward", rules)
        # Where their chain accepts what no rule of it drops, these rules alone stop nothing.
        tables = {rule.chain.rpartition(" ")[0] for rule in path}
        drops = any(chain.table in tables for chain in self._drops)
        hop = self._present(
            "forward", path, "accepted by its own rules", Mark.BROKEN if drops else Mark.NOTE
        )
        if self.indexed is not None:
            if not path:
                return  # with firewalld CNI has none, nor has firewalld's driver
            # What comes from outside no rule of netavark's accepts: it passes at the chain's end.
            chain = path[-1].chain
            if inward and hop.mark is Mark.OPEN and (drop := self.indexed.drop_of(chain)):
                hop = _closed("forward", chain, drop)
        yield hop

    def masquerade(self, endpoint: Endpoint, address: Address) -> Hop:
        """What gives packets that leave the host its address."""
        what = "leaves under the host's address"
        if not self._by_firewalld:
            rules = self._about(endpoint, address, RuleKind.SUBNET_JUMP, RuleKind.MASQUERADE)
            path = self._path("postrouting", rules)
            return self._present("masquerade", path, what, Mark.BROKEN)
        # netavark has firewalld hide no IPv6 address: one that is routed to the host does without,
        # and a private one never had a way out.
        rule = policies.masquerade(policies.WAY_OUT, address.version)
        does_without = address.version == 6 and address.is_global
        if_missing = {4: Mark.BROKEN, 6: Mark.NOTE if does_without else Mark.CLOSED}
        return self._present(
            "masquerade", [rule], what, if_missing[address.version], policies.adding(rule)
        )

    def other_firewalls(
        self, endpoint: Endpoint, address: Address, *, inward: bool = False
    ) -> Iterator[Hop]:
        """Chains of others that drop what is forwarded, and let nothing of this network pass."""
        network = self._setup.networks.get(endpoint.network_id)
        own = about(self._setup.driver).tables
        # With firewalld CNI has no rule that accepts what containers send.
        accepts = self._about(endpoint, address, RuleKind.FORWARD_REPLIES, RuleKind.FORWARD_OUT)
        for chain in self._drops if network is not None else ():
            if network is None or chain.table in _OURS:
                continue
            if chain.hook != "forward" or not forwarding.concerns(chain, address.version):
                continue
            if not forwarding.stops(chain, network, own if accepts else (), inward=inward):
                continue
            what = f"table {chain.table}, chain {chain.name} drops what it does not know"
            advice = forwarding.remedy(chain, network.bridge, own)
            yield Hop("other firewalls", what, Mark.BROKEN, advice)

    # What all of that is told from.

    def evidence(self, endpoint: Endpoint) -> object:
        """What is the same for as long as these hops of an endpoint are.

        Where a rule of somebody else's names one of its ports, that is never the same.
        """
        if self.indexed is None:
            return None
        own = self._rules.get((endpoint.network_id, endpoint.container_id), ())
        shared, texts = self._shared(endpoint.network_id)
        texts = texts.union(text for rule in own for text in rule.texts)
        chains = {*self._hooked, *(rule.chain for rule in own)}
        for mapping in endpoint.port_mappings or ():
            for port in range(mapping.host_port, mapping.host_port + mapping.count):
                for chain in filter(None, map(self.indexed.chain, chains)):
                    if not texts.issuperset(chain.naming((mapping.protocol, port))):
                        return object()
        return shared, tuple(map(self._seen, own))

    def _shared(self, network_id: str) -> tuple[object, frozenset[str]]:
        """What is so of the rules of a network and of all networks, and their texts."""
        if network_id not in self._told:
            rules = [rule for key in ("", network_id) for rule in self._rules.get((key, ""), ())]
            drops = {
                rule.chain: self.indexed and self.indexed.drop_of(rule.chain) for rule in rules
            }
            texts = frozenset(text for rule in rules for text in rule.texts)
            self._told[network_id] = (tuple(map(self._seen, rules)), drops), texts
        return self._told[network_id]

    def _seen(self, rule: Rule) -> tuple[str, str]:
        """How a rule is there, or would be spelled, and what keeps packets from it."""
        chain = self.indexed and self.indexed.chain(rule.chain)
        there = chain.found(rule) if chain else None
        if self.indexed is None or there is None:
            return f"missing: {self._spelling.of(rule)}", ""
        return there, self.indexed.first_end(rule)

    # The rules.

    def _of(self, endpoint: Endpoint, *kinds: RuleKind) -> list[Rule]:
        """The rules of these kinds, in their order, of an endpoint's network and its own."""
        owners = ("", endpoint.container_id)
        rules = [r for key in owners for r in self._rules.get((endpoint.network_id, key), ())]
        return [rule for kind in kinds for rule in rules if rule.kind is kind]

    def _about(self, endpoint: Endpoint, address: Address, *kinds: RuleKind) -> list[Rule]:
        names = names_of(endpoint, address)
        return [rule for rule in self._of(endpoint, *kinds) if rule.subject in names]

    def _path(self, hook: str, rules: list[Rule]) -> list[Rule]:
        """Some rules, and before them those of the hook's chain that lead to their chains."""
        chains = {rule.chain for rule in rules}
        return leading(self._rules.get(("", ""), ()), hook, chains) + rules if rules else []

    def _firewalld_forwards(self, rules: list[Rule], what: str) -> Iterator[Hop]:
        """What takes a port on; what the host itself sends to it goes by a policy of its own."""
        if not rules:
            what = "netavark's firewalld driver has no rule for this address of the host"
            yield Hop("port forward", what, Mark.CLOSED, "publish the port on another address")
        for number, rule in enumerate(rules):
            told = f"{what} from the host itself" if number else what
            if_missing = Mark.NOTE if number else Mark.BROKEN
            yield self._present("port forward", [rule], told, if_missing)

    def _present(
        self, place: str, rules: list[Rule], what: str, if_missing: Mark, advice: str = RESTORE
    ) -> Hop:
        if self._setup.driver is FirewallDriver.NONE:
            told = "netavark is told to set up no rules (firewall_driver is none)"
            return Hop(place, told, Mark.NOTE)
        if self._setup.driver not in DRIVERS:
            told = f"rules of the driver {self._setup.driver} are not explained"
            return Hop(place, told, Mark.UNKNOWN)
        indexed = self.indexed
        if indexed is None:
            how = "firewall-cmd --state" if self._by_firewalld else "nft list ruleset"
            return Hop(place, "the rules could not be read", Mark.UNKNOWN, how)
        if not rules:
            return Hop(place, "no rule is meant to be there", Mark.NOTE)
        if not indexed.observed.present:
            gone = f"{about(self._setup.driver).place} is gone"
            return Hop(place, gone, if_missing, advice)
        found = ""
        for rule in rules:
            chain = indexed.chain(rule.chain)
            there = None if chain is None else chain.found(rule)
            if there is None:
                told = f"missing in {rule.chain}: {self._spelling.of(rule)}"
                return Hop(place, told, if_missing, advice)
            if before := indexed.first_end(rule):
                return _closed(place, rule.chain, before)
            found = there
        return Hop(place, f"{what}: {found}")


def _closed(place: str, chain: str, text: str) -> Hop:
    what = f"chain {chain}: “{text}”, which is not Podman's, keeps packets from its rules"
    return Hop(place, what, Mark.BROKEN, "delete it, unless it is meant so")
