# SPDX-License-Identifier: Apache-2.0
"""Rules of somebody else that stand before Podman's and take the packets away from them. Pure.

Every rule is there, and no packet reaches it: a `return` on top of netavark's chain of ports, or
another program's DNAT of a published port. Such a rule may be meant so: it is told word for word
and left alone.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from podwatch.decide.census import living
from podwatch.decide.indexed import Indexed, drops_all, ends_all, may_end
from podwatch.decide.leftovers import (
    Leftover,
    jump_target,
    leftovers,
    may_be_needed,
    strangers,
    target_of,
)
from podwatch.drivers.driver import expected_rules
from podwatch.drivers.iptables_save import BUILT_IN
from podwatch.words.network import Address, PortMapping, Setup, title_of
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import counted
from podwatch.words.verdict import Notice, WarningKind
from podwatch.words.way import Hop, Mark

# As nft prints rules, and as iptables-save does.
_TAKES_PORT = re.compile(
    r"(tcp|udp|sctp) dport (\d+) (?:dnat|redirect)\b.*"
    r"|-p (tcp|udp|sctp)(?: -m \3)? --dport (\d+) -j (?:DNAT|REDIRECT)\b.*"
)
_TAKES = re.compile(r"\w (?:dnat|redirect)\b|-j (?:DNAT|REDIRECT)\b")
_NOT_PODMANS = "delete it, unless it is meant so"


_GRAVEST = (Mark.BROKEN, Mark.UNKNOWN, Mark.NOTE)
"""Of a range the gravest port is told of: a note hides nothing broken, and nothing unknown."""


def taken(
    snapshot: Snapshot,
    setup: Setup,
    observed: Indexed,
    expected: Sequence[Rule],
    path: Sequence[Rule],
    container_id: str,
    mapping: PortMapping,
    address: Address,
) -> Hop | None:
    """The hop at which another rule takes a port's packets before those of its own way do.

    None where none does. `expected` are all rules that are, `path` those of the way of `mapping` to
    `address` of the container, from the hook's chain on. What a running container needs is never
    advised to be deleted: the first of several networks of one container serves it.
    """
    hops = []
    for number in range(mapping.count):
        one = mapping.only(mapping.host_port + number)
        found = taken_first(path, observed, one, address)
        if found is not None:
            hops.append(
                _taken(snapshot, setup, observed.observed, expected, container_id, one, *found)
            )
    return min(hops, key=lambda hop: _GRAVEST.index(hop.mark), default=None)


def _taken(
    snapshot: Snapshot,
    setup: Setup,
    observed: Ruleset,
    expected: Sequence[Rule],
    container_id: str,
    mapping: PortMapping,
    chain: str,
    text: str,
) -> Hop:
    """What to tell of a rule that takes packets first, by whose it is."""
    alive = living(setup, snapshot.containers)
    running = {endpoint.container_id for endpoint in alive.endpoints}
    owners = [
        rule
        for rule in expected
        if rule.chain == chain and text in rule.texts and rule.container_id in running
    ]
    for owner in owners:
        if owner.container_id == container_id:
            what = f"{mapping} goes by {owner.network_name or 'another network'}: {text}"
            return Hop("port forward", what, Mark.NOTE)
    what = f"chain {chain}: “{text}” takes {mapping} first"
    if owners:
        name = title_of(snapshot.containers, owners[0].container_id)
        what += f": {name} publishes it, too"
        return Hop("port forward", what, Mark.BROKEN, "publish one of the two on another port")
    seen = replace(snapshot, setup=alive)
    if _may_be_needed(seen, alive, observed, chain, text):
        what += ": whose it is cannot be told now"
        return Hop("port forward", what, Mark.UNKNOWN, "podwatch status")
    left = leftovers(seen, expected_rules(alive, observed))
    is_stale = (chain, text) in {(rule.chain, rule.text) for rule in left}
    advice = "podwatch restore --stale" if is_stale else _NOT_PODMANS
    return Hop("port forward", what, Mark.BROKEN, advice)


def _may_be_needed(
    snapshot: Snapshot, setup: Setup, observed: Ruleset, chain: str, text: str
) -> bool:
    """Whether a rule may be a container's of which podwatch does not know all."""
    if snapshot.inside is None or snapshot.busy:
        return True
    rule = Leftover(setup.driver, chain, text, target_of(text))
    return may_be_needed(rule, observed, strangers(setup, snapshot.inside))


def taken_first(
    path: Sequence[Rule], observed: Indexed, mapping: PortMapping, address: Address
) -> tuple[str, str] | None:
    """(chain, rule) of what takes a port's packets before the rules of its own way do."""
    own = {text for rule in path for text in rule.texts}
    other = f"dnat {'ip6' if address.version == 4 else 'ip'} "
    port = (mapping.protocol, mapping.host_port)

    def first(name: str) -> tuple[str, str] | None:
        chain = observed.chain(name)
        for text in () if chain is None else chain.about(port, own):
            if found := first(jump_target(name, text, observed.observed)):
                return found
            if _TAKES.search(text) and other not in text:
                return name, text
        return None

    found = first(path[0].chain) if path else None
    return None if found is None or found[1] in own else found


def hidden(
    setup: Setup,
    rules: Sequence[Rule],
    observed: Ruleset,
    told: Collection[tuple[str, str]] = (),
    lost: Collection[str] = (),
) -> Iterator[Notice]:
    """What to tell of rules that hide those of `rules`.

    `told` are rules, each with its chain, that are told of already; in the chains `lost` something
    is missing, and what is there instead may be another spelling of it.
    """
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        if rule.kind is not RuleKind.HOOK and rule.chain not in lost:
            wanted.setdefault(rule.chain, set()).update(rule.texts)
    ports = frozenset(_published(setup))
    for name, texts in wanted.items():
        chain = observed.chains.get(name)
        if chain is None or texts.issuperset(chain.rules):
            continue
        end = max((at + 1 for at, text in enumerate(chain.rules) if text in texts), default=0)
        ends = may_end(name, chain.hook)
        for at, text in enumerate(chain.rules):
            if text in texts or (name, text) in told:
                continue
            if at >= end:
                # What comes from outside no rule of netavark's accepts: it passes at the end.
                if chain.hook != BUILT_IN and drops_all(text):
                    yield _notice(name, text, "all that no rule before it accepts")
                    break
                continue
            if ends and ends_all(text):
                behind = sum(text in texts for text in chain.rules[at:])
                yield _notice(name, text, f"{counted(behind, 'rule')} of Podman's behind it")
                break
            found = _TAKES_PORT.fullmatch(text)
            if found and (int(found[2] or found[4]), found[1] or found[3]) in ports:
                way = f"{found[2] or found[4]}/{found[1] or found[3]}"
                yield _notice(name, text, f"Podman's forward of {way}")


def _notice(chain: str, text: str, what: str) -> Notice:
    return Notice(
        WarningKind.HIDDEN,
        f"chain {chain}: “{text}”, which is not Podman's, keeps packets from {what}",
        _NOT_PODMANS,
    )


def _published(setup: Setup) -> Iterable[tuple[int, str]]:
    for endpoint in setup.endpoints:
        for mapping in endpoint.port_mappings or ():
            for offset in range(mapping.count):
                yield mapping.host_port + offset, mapping.protocol
