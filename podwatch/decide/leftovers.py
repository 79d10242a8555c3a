# SPDX-License-Identifier: Apache-2.0
"""What is left over: rules of netavark's or CNI's that no running container needs.

A container that died without teardown leaves its rules behind, and so does a change of Podman's
network backend or firewall driver. The first match wins: a port that is still forwarded to an
address nobody has hides the container that publishes it now (netavark#1473, podman#5097). Such
rules are told with what they are, and taken away only when somebody asks for it.

Nobody is dead because no list has him: a rule that somebody may need of whom podwatch knows no more
than that he has an address in a network namespace is none. Pure.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from podwatch.drivers.driver import about, is_of_one, marks
from podwatch.words.network import Address, Container, FirewallDriver, Setup, Subnet, title_of
from podwatch.words.rules import Rule, Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import counted
from podwatch.words.verdict import Missing, Notice, WarningKind

_MAX_REPORTED = 20
_ADVICE = "podwatch restore --stale takes it away; with --dry-run it only names all of them"

_JUMP = re.compile(r"(?:^| )(?:jump|goto|-j|-g) (\S+)")
_DNAT = re.compile(r"(?:dnat ip6? to|-j DNAT --to-destination) (?:\[([0-9a-f:]+)\]|([0-9.]+))")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One rule that no running container needs; `to` is where it forwards, if it does."""

    driver: FirewallDriver
    chain: str
    text: str
    to: str = ""


def leftovers(
    snapshot: Snapshot, rules: Sequence[Rule], missing: Collection[Missing] = ()
) -> list[Leftover]:
    """Rules in netavark's and CNI's chains that nobody needs, where `rules` are what is expected.

    None while somebody changes a network, or the kernel has not told who is in a namespace. What
    forwards to an address that nobody has is told whatever else is `missing` or unknown; what
    could be a rule that is missing, in words podwatch does not know, is not.
    """
    setup, inside = snapshot.setup, snapshot.inside
    if setup is None or inside is None:
        return []
    at_large = strangers(setup, inside)
    is_whole = not missing and not setup.bad_files and not _nameless(setup)
    lost = {key for loss in missing if loss.container for key in loss.container_ids}
    owners = _owners(setup)
    observed = dict(_observed(setup, snapshot))
    return [
        rule
        for rule in candidates(snapshot, rules)
        if not may_be_needed(rule, observed[rule.driver], at_large)
        and (is_whole or (rule.to and owners.get(ip_address(rule.to), "") not in lost))
    ]


def candidates(snapshot: Snapshot, rules: Sequence[Rule]) -> list[Leftover]:
    """Rules that none of the containers of the setup needs; others may."""
    setup = snapshot.setup
    if setup is None or not setup.endpoints or snapshot.busy:
        return []
    found: list[Leftover] = []
    if snapshot.rules is not None and rules:
        found += _own(setup.driver, rules, snapshot.rules)
    for driver, observed in snapshot.others.items():
        found += _others(setup, driver, observed)
    return found


def strangers(setup: Setup, inside: Mapping[Address, int]) -> frozenset[Address]:
    """Addresses in more network namespaces than there are containers of which all is known."""
    nameless = _nameless(setup)
    known = Counter(
        address
        for endpoint in setup.endpoints
        if endpoint.network_id not in nameless
        for address, _ in endpoint.addresses
    )
    # Where the network is not known, its rules are not: whatever they may be is kept.
    kept = {
        a
        for endpoint in setup.endpoints
        if endpoint.network_id in nameless
        for a, _ in endpoint.addresses
    }
    found = {a for a, count in inside.items() if count > known[a] and not a.is_link_local}
    return frozenset(kept | found)


def may_be_needed(rule: Leftover, observed: Ruleset, at_large: Collection[Address]) -> bool:
    """Whether it may be a rule of somebody who has one of the addresses `at_large`.

    Where a rule forwards to tells it; else all that its own chain and the one it leads to name.
    """
    if not at_large:
        return False
    if rule.to:
        return ip_address(rule.to) in at_large
    target = jump_target(rule.chain, rule.text, observed)
    own = (rule.chain,) if is_of_one(rule.chain) else ()
    near = (text for name in (*own, target) if name for text in observed.chains[name].rules)
    places = [ip_network(address) for address in at_large]
    return any(mentions(text, places) for text in (rule.text, *near))


def _observed(setup: Setup, snapshot: Snapshot) -> Iterator[tuple[FirewallDriver, Ruleset]]:
    if snapshot.rules is not None:
        yield setup.driver, snapshot.rules
    yield from snapshot.others.items()


def _owners(setup: Setup) -> dict[Address, str]:
    return {
        address: endpoint.container_id
        for endpoint in setup.endpoints
        for address, _ in endpoint.addresses
    }


def _nameless(setup: Setup) -> frozenset[str]:
    """The networks in use of which netavark's state tells nothing."""
    return frozenset(
        endpoint.network_id
        for endpoint in setup.endpoints
        if endpoint.network_id not in setup.networks
    )


def _own(driver: FirewallDriver, rules: Sequence[Rule], observed: Ruleset) -> Iterator[Leftover]:
    """In the chains of the driver in use: what is not expected, and is of its making."""
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        wanted.setdefault(rule.chain, set()).update(rule.texts)
    nothing: set[str] = set()
    for name, chain in observed.chains.items():
        here = wanted.get(name, nothing)
        if here.issuperset(chain.rules):
            continue
        of_one = is_of_one(name)
        for text in chain.rules:
            if text in here:
                continue
            target = jump_target(name, text, observed)
            made = name not in wanted or _DNAT.search(text) or marks(target)
            if (of_one and made) or is_of_one(target):
                yield Leftover(driver, name, text, target_of(text))


def _others(setup: Setup, driver: FirewallDriver, observed: Ruleset) -> Iterator[Leftover]:
    """In the chains of a driver not in use: what concerns addresses that Podman's networks have.

    CNI serves others than Podman: what is theirs is on subnets of their own.
    """
    subnets = [subnet for network in setup.networks.values() for subnet in network.subnets]
    claimed: set[str] = set()
    for name, chain in observed.chains.items():
        for text in chain.rules:
            if mentions(text, subnets):
                claimed |= {name, jump_target(name, text, observed)}
    claimed = {name for name in claimed if is_of_one(name)}
    for name, chain in observed.chains.items():
        for text in chain.rules:
            if name in claimed or jump_target(name, text, observed) in claimed:
                yield Leftover(driver, name, text, target_of(text))


def notices(
    found: Sequence[Leftover], setup: Setup, containers: Mapping[str, Container]
) -> Iterator[Notice]:
    """What to tell: each rule that forwards, word for word, and how many more there are.

    Those that forward nothing can keep no port closed: alone they are no matter.
    """
    forwards = [rule for rule in found if rule.to]
    for rule in forwards[:_MAX_REPORTED]:
        whose = target_now(rule, setup, containers)
        what = f"left over in chain {rule.chain}: “{rule.text}”: {whose}"
        yield Notice(WarningKind.LEFTOVER, what, _ADVICE)
    more = len(found) - len(forwards[:_MAX_REPORTED])
    if more:
        places = dict.fromkeys(about(rule.driver).place for rule in found)
        what = (
            f"left over in {', '.join(places)}: {counted(more, 'rule')} "
            "that no running container needs"
        )
        kind = WarningKind.LEFTOVER if forwards else WarningKind.REMAINS
        yield Notice(kind, what, _ADVICE)


def target_now(rule: Leftover, setup: Setup, containers: Mapping[str, Container]) -> str:
    """Whose the address is that a rule left over forwards to."""
    owner = _owners(setup).get(ip_address(rule.to))
    if owner is None:
        return f"no running container has {rule.to}"
    return f"{rule.to} is {title_of(containers, owner)}'s now, which does not need it"


def mentions(text: str, places: Iterable[Subnet]) -> bool:
    """Whether a rule names an address or a subnet that lies in one of `places`, or holds one."""
    for word in (target_of(text), *text.split()):
        try:
            named = ip_network(word, strict=False)
        except ValueError:
            continue
        if any(named.overlaps(place) for place in places if place.version == named.version):
            return True
    return False


def jump_target(name: str, text: str, observed: Ruleset) -> str:
    """The chain of this driver that a rule in chain `name` jumps to; "" for none."""
    found = _JUMP.search(text)
    place = name.rpartition(" ")[0]
    target = f"{place} {found[1]}".strip() if found else ""
    return target if target in observed.chains else ""


def target_of(text: str) -> str:
    """The address a rule forwards to; "" for none."""
    found = _DNAT.search(text)
    return (found[1] or found[2]) if found else ""
