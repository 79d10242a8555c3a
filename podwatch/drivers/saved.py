# SPDX-License-Identifier: Apache-2.0
"""The saved copy of a driver's rules, and what of it has to be put back.

A copy is taken only of rules that a look found complete. It remembers which of its rules were
expected then, so that what belonged to a container that has gone since is never brought back. Pure:
the text of a copy file in and out, and for a damaged ruleset the chains as they have to be.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podwatch.words.rules import Chain, Rule, Ruleset

VERSION = 1


@dataclass(frozen=True, slots=True)
class SavedRules:
    """Chains as they were when everything expected was there.

    `expected` holds, by chain, the rules that podwatch expected then; the others in `chains` are
    somebody else's.
    """

    chains: Mapping[str, Chain]
    expected: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Repair:
    """One chain that has to be rewritten: as it is, and as it has to be."""

    name: str
    chain: Chain
    exists: bool
    rehook: bool


def save(observed: Ruleset, rules: Iterable[Rule]) -> SavedRules:
    """A copy of `observed`, in which all of `rules` were found."""
    expected: dict[str, set[str]] = {}
    for rule in rules:
        expected.setdefault(rule.chain, set()).update(rule.texts)
    return SavedRules(
        chains=dict(observed.chains),
        expected={name: frozenset(texts) for name, texts in expected.items()},
    )


def covers(saved: SavedRules, rules: Iterable[Rule], observed: Ruleset) -> bool:
    """Whether putting the copy back would bring anything that is missing now."""
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
    return False


def repairs(saved: SavedRules, rules: Iterable[Rule], observed: Ruleset) -> list[Repair]:
    """The chains that differ from what they have to be, each as a whole and in its order.

    A chain keeps what it holds and what is not in the copy (the rules of a container that started
    since, rules of other people) next to the rule it stood behind. From a chain that is gone
    or empty, everything in the copy comes back but the rules of containers that have gone.
    """
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        wanted.setdefault(rule.chain, set()).update(rule.texts)
    nothing: frozenset[str] = frozenset()
    found = []
    for name in dict.fromkeys((*saved.chains, *observed.chains)):
        was, now = saved.chains.get(name), observed.chains.get(name)
        over = saved.expected.get(name, nothing) - wanted.get(name, set())
        chain = _merged(was, now, over, wanted.get(name, set()))
        if now is None or now != chain:
            rehook = now is not None and now.hook != chain.hook
            found.append(Repair(name, chain, exists=now is not None, rehook=rehook))
    return [each for each in found if each.exists or _has_use(each, found, wanted)]


def _has_use(gone: Repair, repairs: Iterable[Repair], wanted: Mapping[str, set[str]]) -> bool:
    """Whether a chain that is gone is needed: it is expected, holds rules, or is jumped to."""
    if gone.name in wanted or gone.chain.rules or gone.chain.hook:
        return True
    jump = f"jump {gone.name}"
    return any(text.endswith(jump) for each in repairs for text in each.chain.rules)


def _merged(was: Chain | None, now: Chain | None, over: frozenset[str], wanted: set[str]) -> Chain:
    here = now.rules if now else ()
    if was is None:
        return Chain(now.hook if now else "", _once(here, wanted))
    there = set(here)
    wiped = not here
    kept = [
        text
        for text in was.rules
        # What refers to a set of somebody else's cannot be put back without that set.
        if text in there or text in wanted or (wiped and text not in over and "@" not in text)
    ]
    kept = list(_once(kept, wanted))
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


def dump(saved: SavedRules, *, driver: str) -> str:
    """The copy as the text of a file."""
    return json.dumps(
        {
            "version": VERSION,
            "driver": driver,
            "chains": {name: [each.hook, *each.rules] for name, each in saved.chains.items()},
            "expected": {name: sorted(texts) for name, texts in saved.expected.items()},
        }
    )


def load(text: str, *, driver: str) -> SavedRules:
    """The copy in the text of a file.

    Raises ValueError for anything but a whole file of this version and driver.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError("it is of another version of podwatch")
    if data.get("driver") != driver:
        raise ValueError(f"it is of the driver {str(data.get('driver'))[:20]!r}, not {driver!r}")
    return SavedRules(
        chains={
            name: Chain(texts[0], tuple(texts[1:])) for name, texts in _lists(data, "chains", 1)
        },
        expected={name: frozenset(texts) for name, texts in _lists(data, "expected", 0)},
    )


def _lists(data: dict[str, object], key: str, least: int) -> list[tuple[str, list[str]]]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"it has no {key}")
    for texts in value.values():
        if (
            not isinstance(texts, list)
            or len(texts) < least
            or not all(isinstance(text, str) for text in texts)
        ):
            raise ValueError(f"its {key} are damaged")
    return list(value.items())
