# SPDX-License-Identifier: Apache-2.0
"""The language of iptables-save and iptables-restore, for the drivers that speak it.

A chain is named as nftables would: family, table, name ("ip nat PREROUTING"), since both families
and both tables make up one ruleset. A rule is what iptables-save prints behind `-A CHAIN`. The
driver's own chains, known by how their names begin, are written as a whole; of a built-in chain
nothing is touched but the jumps to them: it is everybody's.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from podwatch.drivers.saved import Repair
from podwatch.words.errors import RulesUnreadable
from podwatch.words.rules import Chain, Ruleset

FAMILIES = ("ip", "ip6")
TABLES = frozenset({"ip filter", "ip nat", "ip6 filter", "ip6 nat"})
BUILT_IN = "built-in"
"""The hook of a chain that is iptables' own. Its policy is the administrator's: nobody's loss."""

_TARGET = re.compile(r"(?:^| )-[jg] (\S+)")


def parse_save(listings: Mapping[str, str], *, prefixes: tuple[str, ...]) -> Ruleset:
    """What iptables-save and ip6tables-save print, by family ("ip", "ip6").

    Kept are the tables filter and nat, in them the built-in chains and those whose name begins
    with one of `prefixes`. Present is the ruleset if there is one of the latter. Raises
    RulesUnreadable where a table holds what iptables cannot print.
    """
    chains: dict[str, Chain] = {}
    rules: dict[str, list[str]] = {}
    present = False
    for family, listing in listings.items():
        place = ""
        for line in listing.splitlines():
            if line.startswith("*"):
                place = f"{family} {line[1:].strip()}"
            elif line.startswith("#") and "incompatible" in line:
                raise RulesUnreadable(
                    f"iptables-save cannot print all of {family}: {line.strip('# ')}",
                    hint="somebody put rules of nft's own into iptables' table: nft list ruleset",
                )
            elif place not in TABLES:
                continue
            elif line.startswith(":"):
                name, _, policy = line[1:].partition(" ")
                own = policy.startswith("-")
                if not own or name.startswith(prefixes):
                    present = present or own
                    rules[f"{place} {name}"] = []
                    chains[f"{place} {name}"] = Chain("" if own else BUILT_IN, ())
            elif line.startswith("-A "):
                name, _, text = line[3:].partition(" ")
                if (found := rules.get(f"{place} {name}")) is not None:
                    found.append(text)
    chains = {name: Chain(chain.hook, tuple(rules[name])) for name, chain in chains.items()}
    return Ruleset(present=present, chains=chains)


def restore_scripts(
    todo: Iterable[Repair], observed: Ruleset, *, prefixes: tuple[str, ...]
) -> dict[str, str]:
    """What `iptables-restore --noflush` has to read, by family, to make the chains what they are.

    One transaction for each table. A chain that is only jumped to is made if it is not there.
    """
    tables: dict[str, list[Repair]] = {}
    for each in todo:
        tables.setdefault(each.name.rpartition(" ")[0], []).append(each)
    scripts: dict[str, str] = {}
    for place, repairs in tables.items():
        family, _, table = place.partition(" ")
        lines = [f"*{table}", *_table(place, repairs, observed, prefixes), "COMMIT"]
        scripts[family] = scripts.get(family, "") + "\n".join(lines) + "\n"
    return scripts


def clearing_scripts(observed: Ruleset, *, prefixes: tuple[str, ...]) -> dict[str, str]:
    """What takes away all of the driver's chains and every jump to them, by family."""
    scripts: dict[str, str] = {}
    for place in sorted({name.rpartition(" ")[0] for name in observed.chains}):
        family, _, table = place.partition(" ")
        own, deletions = [], []
        for name, chain in observed.chains.items():
            if name.rpartition(" ")[0] != place:
                continue
            short = name.rpartition(" ")[2]
            if chain.hook != BUILT_IN:
                own.append(short)
                continue
            deletions += [f"-D {short} {text}" for text in chain.rules if _is_ours(text, prefixes)]
        lines = [f"*{table}", *deletions]
        lines += [f"-F {name}" for name in own] + [f"-X {name}" for name in own]
        if len(lines) > 1:
            scripts[family] = scripts.get(family, "") + "\n".join([*lines, "COMMIT"]) + "\n"
    return scripts


def whole(observed: Ruleset, before: Ruleset) -> list[Repair]:
    """The repairs that make every chain of `observed` what it was `before`."""
    return [
        Repair(name, chain, exists=name in observed.chains, rehook=False)
        for name, chain in before.chains.items()
        if observed.chains.get(name) != chain
    ]


def _table(
    place: str, repairs: Sequence[Repair], observed: Ruleset, prefixes: tuple[str, ...]
) -> Iterable[str]:
    own = [each for each in repairs if each.chain.hook != BUILT_IN]
    built_in = [each for each in repairs if each.chain.hook == BUILT_IN]
    declared = {each.name for each in own}
    wanted = {
        f"{place} {target}"
        for each in repairs
        for text in each.chain.rules
        if (target := _target(text)).startswith(prefixes)
    }
    # Naming a chain makes it, or empties it if it is there.
    for name in sorted(declared | (wanted - observed.chains.keys())):
        yield f":{name.rpartition(' ')[2]} - [0:0]"
    for each in own:
        short = each.name.rpartition(" ")[2]
        yield from (f"-A {short} {text}" for text in each.chain.rules)
    for each in built_in:
        short = each.name.rpartition(" ")[2]
        now = observed.chains.get(each.name, Chain(BUILT_IN, ())).rules
        yield from (f"-D {short} {text}" for text in now if _is_ours(text, prefixes))
        yield from (f"-I {short} {at} {text}" for at, text in _places(each, now, prefixes))


def _places(each: Repair, now: Sequence[str], prefixes: tuple[str, ...]) -> list[tuple[int, str]]:
    """Where the driver's jumps go in a built-in chain, counted from 1, first to last.

    Each goes behind the rule of somebody else it has to stand behind; theirs keep their order.
    """
    theirs = [text for text in now if not _is_ours(text, prefixes)]
    places: list[tuple[int, str]] = []
    passed = 0
    for text in each.chain.rules:
        if _is_ours(text, prefixes):
            places.append((passed + len(places) + 1, text))
        elif text in theirs[passed:]:
            passed = theirs.index(text, passed) + 1
    return places


def _target(text: str) -> str:
    found = _TARGET.search(text)
    return found[1] if found else ""


def _is_ours(text: str, prefixes: tuple[str, ...]) -> bool:
    return _target(text).startswith(prefixes)
