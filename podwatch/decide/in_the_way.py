# SPDX-License-Identifier: Apache-2.0
"""Rules of containers that have gone which take the packets of one that runs. Pure.

The first match wins: where teardown failed, the next container that publishes the same port is
behind the rule of the one before (containers/podman#23832, netavark#1473). Its way is closed though
all its rules are there: that is a loss, and it is mended by taking the one rule away. Only where it
leads to an address of a network of Podman's that nobody has, or one who does not need it: whatever
else takes a port may be meant so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from podwatch.decide.hidden import taken_first
from podwatch.decide.indexed import Indexed, sent_on
from podwatch.decide.leftovers import Leftover, target_now
from podwatch.words.network import Address, Container, Endpoint, PortMapping, Setup, title_of
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.verdict import Missing, MissingKind

_MAX_STALE = 10
"""Rules before one port's own; more of them are found when these are gone."""


def in_the_way(
    setup: Setup,
    rules: Sequence[Rule],
    observed: Ruleset,
    left: Iterable[Leftover],
    containers: Mapping[str, Container],
) -> list[Missing]:
    """Each rule of `left` that closes a running container's way, where `rules` are expected."""
    subnets = [subnet for network in setup.networks.values() for subnet in network.subnets]
    stale = {
        (rule.chain, rule.text): rule
        for rule in left
        if rule.to and any(ip_address(rule.to) in subnet for subnet in subnets)
    }
    if not stale:
        return []
    sent = [sent_on(text) for _, text in stale]
    taken = {(protocol, port) for protocol, ports in sent for span in ports for port in span}
    ways: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        if rule.kind in (RuleKind.PORT_JUMP, RuleKind.PORT_DNAT):
            for way in rule.ways:
                ways.setdefault((rule.container_id, way), []).append(rule)
    found: dict[tuple[str, str], Missing] = {}
    for endpoint, whole, address in _ways(setup):
        path = ways.get((endpoint.container_id, whole.way_to(address)), [])
        for one in (whole.only(whole.host_port + number) for number in range(whole.count)):
            if (one.protocol, one.host_port) not in taken:
                continue
            for chain, text in _before(path, observed, one, address, stale):
                name = title_of(containers, endpoint.container_id)
                whose = target_now(stale[chain, text], setup, containers)
                what = f"{name}: {one} is taken by a rule left over, “{text}”: {whose}"
                found.setdefault(
                    (chain, text),
                    Missing(
                        MissingKind.STALE,
                        what,
                        text,
                        chain=chain,
                        network=endpoint.network_name,
                        container=name,
                        container_ids=(endpoint.container_id,),
                        reloadable=False,
                    ),
                )
    return list(found.values())


def _ways(setup: Setup) -> Iterator[tuple[Endpoint, PortMapping, Address]]:
    for endpoint in setup.endpoints:
        for mapping in endpoint.port_mappings or ():
            for address, _ in endpoint.addresses:
                yield endpoint, mapping, address


def _before(
    path: Sequence[Rule],
    observed: Ruleset,
    mapping: PortMapping,
    address: Address,
    stale: Mapping[tuple[str, str], Leftover],
) -> Iterator[tuple[str, str]]:
    """The stale rules that take a port first, as far as nobody else's does."""
    for _ in range(_MAX_STALE):
        first = taken_first(path, Indexed(observed), mapping, address)
        if first is None or first not in stale:
            return
        yield first
        name, text = first
        chain = observed.chains[name]
        rest = tuple(other for other in chain.rules if other != text)
        observed = replace(observed, chains={**observed.chains, name: replace(chain, rules=rest)})
