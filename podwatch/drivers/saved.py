# SPDX-License-Identifier: Apache-2.0
"""The saved copy of a driver's rules, and what of it has to be put back.

A copy holds what a look found, and what an earlier one had found of that which is missing now.
Nothing comes back from it but what is expected now: not the rules of a container that has gone
since, and nothing of other people's, since half of somebody's rules can mean something else than
all of them. What is there stays, in its order. Pure: the text of a copy file in and out, and for a
damaged ruleset the chains as they have to be.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset

VERSION = 2
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class SavedRules:
    """A driver's chains as they were when everything expected was there.

    `sysctls` are the paths of those settings that had netavark's value. `macs` are those of the
    networks' bridges, by name: containers go on asking for the one they know.
    """

    chains: Mapping[str, Chain]
    driver: FirewallDriver = FirewallDriver.NFTABLES
    sysctls: frozenset[str] = frozenset()
    macs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Repair:
    """One chain that has to be put right, as it has to be; a driver writes only the difference.

    `stays` says of each of its rules where it stands now, or None of one that has to be written. A
    rule that stands nowhere in it has to go.
    """

    name: str
    chain: Chain
    exists: bool
    rehook: bool
    stays: tuple[int | None, ...] = ()


_Placed = tuple[str, int | None]
"""A rule, and where it stands now; None of one that has to be written."""


def covers(saved: SavedRules, rules: Iterable[Rule], observed: Ruleset) -> bool:
    """Whether a repair would bring, or put in its place, what is missing now.

    What is in the wrong place needs no copy: where it has to stand is known from the rules.
    """
    return any(
        repair.rehook or not repair.exists or None in repair.stays
        for repair in _repairs(saved, rules, observed, ())
    )


def repairs(
    saved: SavedRules,
    rules: Iterable[Rule],
    observed: Ruleset,
    stale: Collection[tuple[str, str]] = (),
) -> list[Repair]:
    """The chains that differ from what they have to be, each as a whole and in its order.

    `stale` are rules, each behind its chain's name, that have to go.

    A chain keeps all that it holds but for what is there twice or stands in the wrong place. What
    it lost comes back next to the rule that it stood behind in the copy. Chains that hold nothing
    expected are left alone; those that are gone and still jumped to come back empty.
    """
    return list(_repairs(saved, rules, observed, stale))


def _repairs(
    saved: SavedRules,
    rules: Iterable[Rule],
    observed: Ruleset,
    stale: Collection[tuple[str, str]],
) -> Iterator[Repair]:
    wanted: dict[str, list[Rule]] = {}
    for rule in rules:
        wanted.setdefault(rule.chain, []).append(rule)
    jumps: set[str] = set()
    for name in dict.fromkeys(name for name in (*saved.chains, *observed.chains) if name in wanted):
        was, now = saved.chains.get(name), observed.chains.get(name)
        hook = _hook(was, now, wanted[name])
        gone = {text for chain_name, text in stale if chain_name == name}
        placed = _mended(was, now, wanted[name], gone)
        chain = Chain(hook, tuple(text for text, _ in placed))
        if now != chain:
            rehook = now is not None and now.hook != hook
            stays = tuple(None if rehook else at for _, at in placed)
            jumps.update(text.rpartition("jump ")[2] for text in chain.rules)
            yield Repair(name, chain, now is not None, rehook, stays)
    yield from without(observed, [rule for rule in stale if rule[0] not in wanted])
    for name in saved.chains:
        if name in jumps and name not in wanted and name not in observed.chains:
            yield Repair(name, Chain("", ()), exists=False, rehook=False)


def remembered(saved: SavedRules, rules: Iterable[Rule], observed: Ruleset) -> dict[str, Chain]:
    """The chains to keep as the copy of a ruleset that has lost something: what is there, mended.

    So a loss that lasts costs nothing else its copy, and what is lost keeps its own.
    """
    mended = {repair.name: repair.chain for repair in repairs(saved, rules, observed)}
    return {**observed.chains, **mended}


def _hook(was: Chain | None, now: Chain | None, rules: Iterable[Rule]) -> str:
    """How the chain has to be hooked in: as it is, if that is right; else as it was, or should."""
    wanted = [text for rule in rules if rule.kind is RuleKind.HOOK for text in rule.texts]
    if wanted:
        known = [chain.hook for chain in (now, was) if chain is not None and chain.hook in wanted]
        return known[0] if known else wanted[-1]
    known = [chain.hook for chain in (was, now) if chain is not None]
    return known[0]


def without(observed: Ruleset, stale: Iterable[tuple[str, str]]) -> list[Repair]:
    """What to repair so that these rules, each behind its chain's name, go, and all others stay."""
    gone: dict[str, set[str]] = {}
    for name, text in stale:
        gone.setdefault(name, set()).add(text)
    found = []
    for name, texts in gone.items():
        if (chain := observed.chains.get(name)) is not None:
            stays = tuple(at for at, text in enumerate(chain.rules) if text not in texts)
            rest = Chain(chain.hook, tuple(chain.rules[at] for at in stays))
            found.append(Repair(name, rest, exists=True, rehook=False, stays=stays))
    return found


def _mended(
    was: Chain | None, now: Chain | None, rules: Sequence[Rule], gone: Collection[str]
) -> list[_Placed]:
    """One chain's rules as they have to be, where it `was` so in the copy and is so `now`."""
    rules = [rule for rule in rules if rule.kind is not RuleKind.HOOK]
    here = _once(now.rules if now else (), {text for rule in rules for text in rule.texts})
    here = [rule for rule in here if rule[0] not in gone]
    there = {text for text, _ in here}
    copied = dict.fromkeys(was.rules if was else ())
    lost: set[str] = set()
    for rule in rules:
        if there.isdisjoint(rule.texts):
            lost.update([text for text in rule.texts if text in copied][:1])
    here = _placed(copied, here, lost)
    return _ranked(here, {text: rule.order for rule in rules if rule.order for text in rule.texts})


def _placed(was: Iterable[str], here: Sequence[_Placed], lost: set[str]) -> list[_Placed]:
    """What is here, and what is lost behind the rule that it stood behind."""
    there = {text for text, _ in here}
    behind: dict[str, list[_Placed]] = {}
    first: list[_Placed] = []
    last = before = ""
    for text in was:
        if text in there:
            last, before = text, before or text
        elif text in lost:
            (behind.setdefault(last, []) if last else first).append((text, None))
    found: list[_Placed] = []
    for text, at in here:
        if text == before:
            found += first
            first = []
        found.append((text, at))
        found += behind.pop(text, ())
    return found + first


def _ranked(placed: list[_Placed], orders: Mapping[str, tuple[str, int]]) -> list[_Placed]:
    """The rules with as few of them moved as possible, so that each group stands by rank."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for text, _ in placed:
        if text in orders:
            group, rank = orders[text]
            groups.setdefault(group, []).append((rank, text))
    kept = {group: _rising([rank for rank, _ in members]) for group, members in groups.items()}
    moved = {
        text
        for group, stays in kept.items()
        for at, (_, text) in enumerate(groups[group])
        if at not in stays
    }
    result = [rule for rule in placed if rule[0] not in moved]
    for group, stays in kept.items():
        standing = [ranked for at, ranked in enumerate(groups[group]) if at in stays]
        for rank, text in (ranked for at, ranked in enumerate(groups[group]) if at not in stays):
            at_of = {known: at for at, (known, _) in enumerate(result)}
            above = [at_of[other] for higher, other in standing if higher > rank]
            ends = max(at_of[other] for _, other in standing) + 1
            result.insert(min(above, default=ends), (text, None))
            standing.append((rank, text))
    return result


def _rising(ranks: Sequence[int]) -> set[int]:
    """The places of a longest run of ranks that never fall; there is at least one."""
    ends: list[int] = []  # of the best run of each length: its last rank
    places: list[int] = []
    before: list[int | None] = []
    for place, rank in enumerate(ranks):
        length = bisect_right(ends, rank)
        before.append(places[length - 1] if length else None)
        ends[length : length + 1] = [rank]
        places[length : length + 1] = [place]
    found = set()
    at: int | None = places[-1]
    while at is not None:
        found.add(at)
        at = before[at]
    return found


def _once(texts: Iterable[str], wanted: Collection[str]) -> list[_Placed]:
    """Each expected rule once, at its first place; what is not podwatch's stays as it is."""
    seen: set[str] = set()
    found: list[_Placed] = []
    for at, text in enumerate(texts):
        if text not in seen:
            found.append((text, at))
        if text in wanted:
            seen.add(text)
    return found


def dump(saved: SavedRules) -> str:
    """The copy as the text of a file."""
    return json.dumps(
        {
            "version": VERSION,
            "driver": saved.driver,
            "chains": {name: [chain.hook, *chain.rules] for name, chain in saved.chains.items()},
            "sysctls": sorted(saved.sysctls),
            "macs": dict(saved.macs),
        }
    )


def load(text: str) -> SavedRules:
    """The copy in the text of a file.

    Raises ValueError for anything but a whole file of this version.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError("it is of another version of podwatch")
    if data.get("driver") not in list(FirewallDriver):
        raise ValueError(f"it is of an unknown driver, {str(data.get('driver'))[:20]!r}")
    chains = data.get("chains")
    if not isinstance(chains, dict):
        raise ValueError("it has no chains")
    for texts in chains.values():
        whole = isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)
        # Each is one line of a script.
        if not whole or any("\n" in text for text in texts):
            raise ValueError("its chains are damaged")
    paths = data.get("sysctls", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError("its sysctls are damaged")
    macs = data.get("macs", {})
    if not isinstance(macs, dict) or not all(map(_MAC.fullmatch, map(str, macs.values()))):
        raise ValueError("its MACs are damaged")
    return SavedRules(
        {name: Chain(texts[0], tuple(texts[1:])) for name, texts in chains.items()},
        FirewallDriver(data["driver"]),
        frozenset(paths),
        macs,
    )
