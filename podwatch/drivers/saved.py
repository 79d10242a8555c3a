# SPDX-License-Identifier: Apache-2.0
"""The saved copy of a driver's rules, and what of it has to be put back.

A copy is taken only of rules that a look found complete. Nothing comes back from it but what is
expected now: not the rules of a container that has gone since, and nothing of other people's, since
half of somebody's rules can mean something else than all of them. What is there stays. Pure: the
text of a copy file in and out, and for a damaged ruleset the chains as they have to be.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Chain, Rule, Ruleset

VERSION = 2


@dataclass(frozen=True, slots=True)
class SavedRules:
    """A driver's chains as they were when everything expected was there.

    `sysctls` are the paths of those settings that had netavark's value.
    """

    chains: Mapping[str, Chain]
    driver: FirewallDriver = FirewallDriver.NFTABLES
    sysctls: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Repair:
    """One chain that has to be rewritten: as it is, and as it has to be."""

    name: str
    chain: Chain
    exists: bool
    rehook: bool


def covers(saved: SavedRules, rules: Iterable[Rule], observed: Ruleset) -> bool:
    """Whether putting the copy back would bring, or put in its place, what is missing now."""
    for rule in rules:
        was, now = saved.chains.get(rule.chain), observed.chains.get(rule.chain)
        if was is None:
            continue
        if now is None or was.hook != now.hook:
            return True
        if any(text in was.rules for text in rule.texts) and not any(
            text in now.rules for text in rule.texts
        ):
            return True
    return any(
        _in_another_order(saved.chains[name], observed.chains[name], wanted)
        for name, wanted in _wanted(rules).items()
        if name in saved.chains and name in observed.chains
    )


def _in_another_order(was: Chain, now: Chain, wanted: set[str]) -> bool:
    both = wanted.intersection(was.rules, now.rules)
    before = dict.fromkeys(text for text in was.rules if text in both)
    return list(before) != list(dict.fromkeys(text for text in now.rules if text in both))


def repairs(saved: SavedRules, rules: Iterable[Rule], observed: Ruleset) -> list[Repair]:
    """The chains that differ from what they have to be, each as a whole and in its order.

    A chain keeps what it holds and what is not in the copy (the rules of a container that started
    since, rules of other people) next to the rule it stood behind. Chains that hold nothing
    expected are left alone; those that are gone and still jumped to come back empty.
    """
    wanted = _wanted(rules)
    found = []
    for name in dict.fromkeys(name for name in (*saved.chains, *observed.chains) if name in wanted):
        was, now = saved.chains.get(name), observed.chains.get(name)
        chain = _merged(was, now, wanted[name])
        if now is None or now != chain:
            rehook = now is not None and now.hook != chain.hook
            found.append(Repair(name, chain, exists=now is not None, rehook=rehook))
    jumps = {text.rpartition("jump ")[2] for each in found for text in each.chain.rules}
    found.extend(
        Repair(name, Chain("", ()), exists=False, rehook=False)
        for name in saved.chains
        if name in jumps and name not in wanted and name not in observed.chains
    )
    return found


def _wanted(rules: Iterable[Rule]) -> dict[str, set[str]]:
    """Every spelling of what is expected, by chain."""
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        wanted.setdefault(rule.chain, set()).update(rule.texts)
    return wanted


def _merged(was: Chain | None, now: Chain | None, wanted: set[str]) -> Chain:
    here = now.rules if now else ()
    if was is None:
        return Chain(now.hook if now else "", _once(here, wanted))
    there = set(here)
    kept = _once((text for text in was.rules if text in there or text in wanted), wanted)
    place = {text: at for at, text in enumerate(kept)}
    behind: dict[int, list[str]] = {}
    last = -1
    for text in _once(here, wanted):
        if text in place:
            last = place[text]
        else:
            behind.setdefault(last, []).append(text)
    result = list(behind.get(-1, ()))
    for at, text in enumerate(kept):
        result.append(text)
        result.extend(behind.get(at, ()))
    return Chain(was.hook, tuple(result))


def _once(texts: Iterable[str], wanted: set[str]) -> tuple[str, ...]:
    """Each expected rule once, at its first place; what is not podwatch's stays as it is."""
    seen: set[str] = set()
    result = []
    for text in texts:
        if text in wanted:
            if text in seen:
                continue
            seen.add(text)
        result.append(text)
    return tuple(result)


def dump(saved: SavedRules) -> str:
    """The copy as the text of a file."""
    return json.dumps(
        {
            "version": VERSION,
            "driver": saved.driver,
            "chains": {name: [each.hook, *each.rules] for name, each in saved.chains.items()},
            "sysctls": sorted(saved.sysctls),
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
        if not whole:
            raise ValueError("its chains are damaged")
    paths = data.get("sysctls", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError("its sysctls are damaged")
    return SavedRules(
        {name: Chain(texts[0], tuple(texts[1:])) for name, texts in chains.items()},
        FirewallDriver(data["driver"]),
        frozenset(paths),
    )
