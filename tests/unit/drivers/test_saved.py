# SPDX-License-Identifier: Apache-2.0
"""The saved copy of the rules: what it brings back, what it leaves alone, and its file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.drivers.nft_script import repair_script
from podwatch.drivers.saved import Repair, SavedRules, covers, dump, load, repairs, without
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset

HOOK = "type filter hook forward priority 0; policy accept;"
WHOLE = {
    "FORWARD": Chain(HOOK, ("a", "jump X", "foreign", "b", "c")),
    "X": Chain("", ("x", "y")),
    "EMPTY": Chain("", ()),
}
EXPECTED = {"FORWARD": ("a", "jump X", "b", "c"), "X": ("x", "y")}


def rules(expected: Mapping[str, tuple[str, ...]] = EXPECTED) -> list[Rule]:
    """Rules with these texts, each with an older spelling that is not in use, and the hook."""
    hook = Rule("FORWARD", (HOOK,), RuleKind.HOOK)
    return [hook] + [
        Rule(chain, (f"old {text}", text), RuleKind.HOST, order=(chain, rank))
        for chain, texts in expected.items()
        for rank, text in enumerate(texts)
    ]


def ruleset(**changes: tuple[str, ...] | None) -> Ruleset:
    """The whole ruleset with some chains holding other rules, or gone."""
    chains = dict(WHOLE)
    for name, texts in changes.items():
        if texts is None:
            del chains[name]
        else:
            chains[name] = Chain(WHOLE[name].hook if name in WHOLE else "", texts)
    return numbered(chains)


def numbered(chains: Mapping[str, Chain]) -> Ruleset:
    """These chains with a handle for each rule: 100, 101, … in the first, 200, … in the next."""
    handles = {
        name: tuple(100 * (at + 1) + number for number in range(len(chain.rules)))
        for at, (name, chain) in enumerate(chains.items())
    }
    return Ruleset(present=True, chains=chains, handles=handles)


COPY = SavedRules(WHOLE)


def put_back(observed: Ruleset, wanted: list[Rule] | None = None) -> dict[str, Chain]:
    """The chains after the repair."""
    chains = dict(observed.chains)
    for each in repairs(COPY, rules() if wanted is None else wanted, observed):
        assert each.exists == (each.name in chains)
        chains[each.name] = each.chain
    return chains


def test_what_is_whole_is_not_touched() -> None:
    """With everything in place there is nothing to repair and nothing the copy would bring."""
    assert repairs(COPY, rules(), ruleset()) == []
    assert not covers(COPY, rules(), ruleset())


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ((), ("a", "jump X", "b", "c")),
        (("a", "jump X", "foreign", "c"), ("a", "jump X", "foreign", "b", "c")),
        (("c", "b", "foreign", "jump X", "a"), ("foreign", "a", "jump X", "b", "c")),
        (("a", "a", "jump X", "b", "b", "c"), ("a", "jump X", "b", "c")),
        (("b", "a", "foreign", "jump X", "c"), ("a", "foreign", "jump X", "b", "c")),
        (("new", "a", "b", "c"), ("new", "a", "jump X", "b", "c")),
        (("a", "jump X", "b", "new", "c"), ("a", "jump X", "b", "new", "c")),
        (("a", "jump X", "b", "c", "new", "new"), ("a", "jump X", "b", "c", "new", "new")),
    ],
)
def test_a_chain_is_put_right(now: tuple[str, ...], then: tuple[str, ...]) -> None:
    """Lost rules come back at their place, in order and once; what others added stays."""
    assert put_back(ruleset(FORWARD=now))["FORWARD"].rules == then


def test_a_chain_that_is_gone_comes_back_with_its_hook() -> None:
    """A base chain is made again with its hook, and a chain that is jumped to before its jump."""
    after = put_back(ruleset(FORWARD=None, X=None))
    assert after["FORWARD"] == Chain(HOOK, EXPECTED["FORWARD"])
    assert after["X"] == WHOLE["X"]


def test_a_wrong_hook_is_put_right() -> None:
    """A chain that is hooked in elsewhere has to be made again."""
    chains = {**WHOLE, "FORWARD": Chain("", WHOLE["FORWARD"].rules)}
    observed = Ruleset(present=True, chains=chains)
    (repair,) = repairs(COPY, rules(), observed)
    assert (repair.name, repair.chain, repair.rehook) == ("FORWARD", WHOLE["FORWARD"], True)
    assert covers(COPY, rules(), observed)


OTHER = "type filter hook forward priority -5; policy accept;"
OLD_HOOK = "type filter hook forward priority filter; policy accept;"


@pytest.mark.parametrize(
    ("was", "now", "then"),
    [
        (HOOK, OLD_HOOK, OLD_HOOK),
        (OLD_HOOK, HOOK, HOOK),
        (OLD_HOOK, OTHER, OLD_HOOK),
        (OTHER, OTHER, HOOK),
        (OTHER, None, HOOK),
        (OLD_HOOK, None, OLD_HOOK),
    ],
    ids=["right", "right in another spelling", "wrong", "never right", "gone", "gone, known"],
)
def test_how_a_base_chain_is_hooked_in(was: str, now: str | None, then: str) -> None:
    """A right hook stays; a wrong one becomes what it was, or, if that was wrong, the newest."""
    wanted = [Rule("FORWARD", (OLD_HOOK, HOOK), RuleKind.HOOK)]
    copy = SavedRules({"FORWARD": Chain(was, ())})
    there = {} if now is None else {"FORWARD": Chain(now, ())}
    observed = Ruleset(present=True, chains=there)
    exists, rehook = now is not None, now not in (None, then)

    assert covers(copy, wanted, observed) is (now != then)
    assert repairs(copy, wanted, observed) == [
        Repair("FORWARD", Chain(then, ()), exists=exists, rehook=rehook)
    ] * (now != then)


def test_a_chain_that_is_only_jumped_to_is_not_hooked_in() -> None:
    """Somebody's hook is taken from it as it was in the copy."""
    observed = Ruleset(present=True, chains={**WHOLE, "X": Chain(OTHER, ("x", "y"))})

    assert repairs(COPY, rules(), observed) == [
        Repair("X", WHOLE["X"], exists=True, rehook=True, stays=(None, None))
    ]


def test_of_two_spellings_one_comes_back() -> None:
    """Where the copy holds a rule twice, in two spellings or in one, it is written once."""
    both = ("old a", "a", "b", "b")
    copy = SavedRules({"FORWARD": Chain(HOOK, both)})
    wanted = rules({"FORWARD": ("a", "b")})

    (repair,) = repairs(copy, wanted, Ruleset(present=False))
    assert repair.chain.rules == ("old a", "b")


def test_what_is_not_expected_any_more_stays_gone() -> None:
    """The rules of a container that has gone since are not brought back by an old copy."""
    wanted = rules({"FORWARD": ("a", "jump X", "c"), "X": ("x", "y")})
    after = put_back(ruleset(FORWARD=()), wanted)
    assert after["FORWARD"].rules == ("a", "jump X", "c")


def test_what_the_copy_does_not_know_it_does_not_cover() -> None:
    """A rule that was not there when the copy was taken cannot be brought by it."""
    wanted = rules({"FORWARD": ("a", "jump X", "b", "c", "later"), "X": ("x", "y")})
    assert not covers(COPY, wanted, ruleset())
    assert covers(COPY, wanted, ruleset(X=("y",)))


def test_an_empty_chain_nobody_needs_stays_gone() -> None:
    """A chain without rules that nothing jumps to is not made again."""
    assert repairs(COPY, rules(), ruleset(EMPTY=None)) == []


def test_a_chain_that_is_jumped_to_comes_back_empty() -> None:
    """A chain without rules of its own has to exist while an expected rule jumps to it."""
    copy = SavedRules({"FORWARD": Chain(HOOK, ("jump EMPTY",)), "EMPTY": Chain("", ("theirs",))})
    wanted = rules({"FORWARD": ("jump EMPTY",)})
    found = repairs(copy, wanted, Ruleset(present=False))
    assert found == [
        Repair("FORWARD", Chain(HOOK, ("jump EMPTY",)), exists=False, rehook=False, stays=(None,)),
        Repair("EMPTY", Chain("", ()), exists=False, rehook=False),
    ]


def test_a_chain_that_is_there_is_not_made_again() -> None:
    """One that is jumped to, and that nobody has lost, is no part of the repair."""
    whole = {"FORWARD": Chain(HOOK, ("jump EMPTY", "b")), "EMPTY": Chain("", ())}
    now = {**whole, "FORWARD": Chain(HOOK, ("jump EMPTY",))}
    wanted = rules({"FORWARD": ("jump EMPTY", "b")})

    (repair,) = repairs(SavedRules(whole), wanted, Ruleset(present=True, chains=now))
    assert (repair.name, repair.chain) == ("FORWARD", whole["FORWARD"])


def test_nothing_of_other_peoples_comes_back() -> None:
    """Somebody's rules and chains stay gone: without their sets half of them would mean more."""
    theirs = {"THEIRS": Chain("type filter hook input priority 5; policy drop;", ("drop",))}
    mixed = {"X": Chain("", ("x", "ip saddr @mine accept", "drop", "y"))}
    copy = SavedRules({**WHOLE, **mixed, **theirs})
    found = {each.name: each.chain for each in repairs(copy, rules(), Ruleset(present=False))}
    assert found == {"FORWARD": Chain(HOOK, EXPECTED["FORWARD"]), "X": Chain("", ("x", "y"))}


def test_other_peoples_chains_are_left_alone() -> None:
    """A chain without anything expected in it keeps its hook and its rules, whatever they were."""
    copy = SavedRules({**WHOLE, "THEIRS": Chain(HOOK, ("one", "two"))})
    now = {**WHOLE, "THEIRS": Chain("type filter hook input priority 5; policy accept;", ("two",))}
    assert repairs(copy, rules(), Ruleset(present=True, chains=now)) == []


def test_a_rule_out_of_its_place_is_covered() -> None:
    """A rule somebody moved is put back in its place from the copy, without any reload."""
    moved = ruleset(FORWARD=("jump X", "foreign", "b", "c", "a"))
    assert covers(COPY, rules(), moved)
    assert put_back(moved)["FORWARD"] == WHOLE["FORWARD"]


damaged = st.fixed_dictionaries(
    {},
    optional={
        name: st.none()
        | st.lists(st.sampled_from([*WHOLE[name].rules, "new", "other"]), max_size=8).map(tuple)
        for name in WHOLE
    },
)


@given(damaged)
def test_any_damage_is_put_right(damage: dict[str, tuple[str, ...] | None]) -> None:
    """After any damage what is expected is there once and in order, and what is others' is kept."""
    observed = ruleset(**damage)
    after = put_back(observed)
    for name, texts in EXPECTED.items():
        assert tuple(text for text in after[name].rules if text in texts) == texts
        assert after[name].hook == WHOLE[name].hook
    for name, chain in observed.chains.items():
        theirs = [text for text in chain.rules if text not in EXPECTED.get(name, ())]
        kept = list(after[name].rules)
        for text in set(theirs):
            assert kept.count(text) >= min(theirs.count(text), 1)
    assert repairs(COPY, rules(), Ruleset(present=True, chains=after)) == []


def commit(script: str, observed: Ruleset) -> dict[str, list[str]]:
    """What nft makes of a script: every line counts, and a handle that is not there is an error."""
    chains = {name: list(chain.rules) for name, chain in observed.chains.items()}
    handles = {name: list(observed.handles[name]) for name in chains}
    for line in script.splitlines():
        verb, what, *rest = line.replace(" inet netavark", "", 1).split(" ")
        if what == "table":
            assert (verb == "create") == (not observed.present)
        elif what == "chain":
            name = rest[0]
            if verb == "create":
                assert name not in chains
                chains[name], handles[name] = [], []
            else:
                assert verb == "delete"
                assert not chains.pop(name)
        else:
            name, at = rest[0], None
            if rest[1:2] == ["handle"]:
                at = handles[name].index(int(rest[2]))
                rest = rest[2:]
            text = " ".join(rest[1:])
            if verb == "delete":
                assert at is not None
                del chains[name][at], handles[name][at]
                continue
            place = len(chains[name]) if at is None else at + (verb == "add")
            chains[name].insert(place, text)
            handles[name].insert(place, 0)
    return chains


@given(damaged)
def test_the_script_makes_of_what_is_there_what_has_to_be(
    damage: dict[str, tuple[str, ...] | None],
) -> None:
    """Every chain is made before a rule may jump to it; then only rules are deleted and added."""
    observed = ruleset(**damage)
    todo = repairs(COPY, rules(), observed)
    script = repair_script(todo, observed)
    after = commit(script, observed)
    for each in todo:
        assert tuple(after[each.name]) == each.chain.rules
    assert "flush" not in script


@given(damaged, st.dictionaries(st.sampled_from(["FORWARD", "X"]), st.sampled_from(["p", "q"])))
def test_what_somebody_adds_meanwhile_stays(
    damage: dict[str, tuple[str, ...] | None], added: dict[str, str]
) -> None:
    """A rule that netavark appends between the look and the commit is there after the repair."""
    observed = ruleset(**damage)
    script = repair_script(repairs(COPY, rules(), observed), observed)
    here = {name: text for name, text in added.items() if name in observed.chains}
    chains, handles = dict(observed.chains), dict(observed.handles)
    for name, text in here.items():
        chains[name] = Chain(chains[name].hook, (*chains[name].rules, text))
        handles[name] = (*handles[name], 99)
    after = commit(script, Ruleset(present=True, chains=chains, handles=handles))
    for name, text in here.items():
        assert text in after[name]


def test_the_script_of_a_repair() -> None:
    """The transaction for a chain that is gone, one that lost rules and one hooked in wrongly."""
    observed = numbered({"OLD": Chain("", ("y", "y", "z")), "FORWARD": Chain("", ("w",))})
    todo = [
        Repair("NEW", Chain("", ("x",)), exists=False, rehook=False, stays=(None,)),
        Repair(
            "OLD",
            Chain("", ("a", "y", "b", "z", "c", "d")),
            exists=True,
            rehook=False,
            stays=(None, 0, None, 2, None, None),
        ),
        Repair("FORWARD", Chain(HOOK, ("w",)), exists=True, rehook=True, stays=(None,)),
    ]
    assert repair_script(todo, observed).splitlines() == [
        "add table inet netavark",
        "create chain inet netavark NEW",
        "delete rule inet netavark FORWARD handle 200",
        "delete chain inet netavark FORWARD",
        f"create chain inet netavark FORWARD {{ {HOOK} }}",
        "add rule inet netavark NEW x",
        "delete rule inet netavark OLD handle 101",
        "insert rule inet netavark OLD handle 100 a",
        "insert rule inet netavark OLD handle 102 b",
        "add rule inet netavark OLD handle 102 d",
        "add rule inet netavark OLD handle 102 c",
        "add rule inet netavark FORWARD w",
    ]
    with pytest.raises(ValueError, match="handles of chain OLD"):
        repair_script(todo, Ruleset(present=True, chains=observed.chains))


def test_a_copy_survives_its_file() -> None:
    """What is written is what is read."""
    sysctls = frozenset({"net/ipv4/conf/podman0/route_localnet"})
    seen = replace(COPY, sysctls=sysctls, macs={"podman0": "02:ea:4c:00:11:22"})
    assert load(dump(seen)) == seen
    bare = {key: GOOD[key] for key in GOOD if key not in ("sysctls", "macs")}
    assert load(json.dumps(bare)) == COPY


def test_the_file_of_a_copy() -> None:
    """A copy that this version of the format wrote is read by every podwatch that knows it."""
    copy = SavedRules({"X": Chain(HOOK, ("x",))}, FirewallDriver.CNI, frozenset(("b", "a")))
    text = (
        f'{{"version": 2, "driver": "cni", "chains": {{"X": ["{HOOK}", "x"]}}, '
        '"sysctls": ["a", "b"], "macs": {}}'
    )
    assert (dump(copy), load(text)) == (text, copy)


GOOD: dict[str, Any] = json.loads(dump(COPY))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        json.dumps({**GOOD, "version": 0}),
        json.dumps({**GOOD, "driver": "ebtables"}),
        json.dumps({key: value for key, value in GOOD.items() if key != "chains"}),
        json.dumps({**GOOD, "chains": ["X"]}),
        json.dumps({**GOOD, "chains": {"X": []}}),
        json.dumps({**GOOD, "chains": {"X": "text"}}),
        json.dumps({**GOOD, "chains": {"X": ["", 7]}}),
        json.dumps({**GOOD, "chains": {"X": ["", "accept\ndrop"]}}),
        json.dumps({**GOOD, "sysctls": "text"}),
        json.dumps({**GOOD, "sysctls": [7]}),
        json.dumps({**GOOD, "macs": ["02:ea:4c:00:11:22"]}),
        json.dumps({**GOOD, "macs": {"podman0": 7}}),
        json.dumps({**GOOD, "macs": {"podman0": "02:ea:4c:00:11:22\n"}}),
    ],
)
def test_a_damaged_file_is_an_error(text: str) -> None:
    """Half a file, or one of another version or of no driver podwatch knows, is refused."""
    with pytest.raises(ValueError, match=r"."):
        load(text)


def test_a_base_chain_the_copy_does_not_know_keeps_its_hook() -> None:
    """Somebody's base chain made since the copy was taken is not unhooked, only left alone."""
    chains = {**WHOLE, "THEIRS": Chain("type nat hook input priority 5; policy accept;", ("drop",))}
    assert repairs(COPY, rules(), Ruleset(present=True, chains=chains)) == []


def test_a_wrong_order_needs_no_copy() -> None:
    """What is all there, but in the wrong order, is put in order without a copy of it."""
    empty, moved = SavedRules({}), ruleset(FORWARD=("jump X", "foreign", "b", "c", "a"))
    assert covers(empty, rules(), moved)
    (repair,) = repairs(empty, rules(), moved)
    assert repair.chain.rules == ("a", "jump X", "foreign", "b", "c")
    assert repair.stays == (None, 0, 1, 2, 3)


def test_what_has_to_go_goes_with_what_comes_back() -> None:
    """In one repair a chain gets what it lost, and what stands in the way is taken from it."""
    observed = ruleset(
        FORWARD=("stale", "a", "jump X", "c"), X=("x", "y", "stale"), MINE=("m", "n")
    )
    stale = [("FORWARD", "stale"), ("MINE", "m"), ("GONE", "g")]
    after = {each.name: each.chain.rules for each in repairs(COPY, rules(), observed, stale)}
    assert after == {"FORWARD": ("a", "jump X", "b", "c"), "MINE": ("n",)}


def test_an_empty_copy_brings_nothing() -> None:
    """Without a copy nothing is covered, and only duplicates are put right."""
    empty = SavedRules({})
    assert not covers(empty, rules(), Ruleset(present=False))
    assert repairs(empty, rules(), ruleset()) == []
    doubled = ruleset(X=("x", "y", "x"))
    (repair,) = repairs(empty, rules(), doubled)
    assert repair.chain == Chain("", ("x", "y"))
    assert not covers(empty, rules(), doubled)


def test_what_has_to_go_is_taken_by_itself() -> None:
    """All else of its chain stays where it stands, and a chain that is gone needs no repair."""
    observed = ruleset(MINE=("m", "n", "m"))
    assert without(observed, [("MINE", "m"), ("GONE", "g")]) == [
        Repair("MINE", Chain("", ("n",)), exists=True, rehook=False, stays=(1,))
    ]


def of_ranks(ranks: Iterable[int]) -> list[Rule]:
    """Rules of one group called r0, r1, …, with these ranks."""
    return [
        Rule("X", (f"r{number}",), RuleKind.HOST, order=("X", rank))
        for number, rank in enumerate(ranks)
    ]


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (("r1", "r0", "r2", "r3"), ("r0", "r2", "r1", "r3")),
        (("r1", "r0", "foreign"), ("r0", "r1", "foreign")),
    ],
)
def test_where_a_rule_is_moved(now: tuple[str, ...], then: tuple[str, ...]) -> None:
    """Behind all others of its own rank, and before all that follows them."""
    (repair,) = repairs(COPY, of_ranks([0, 1, 1, 2]), ruleset(X=now))
    assert repair.chain.rules == then


@given(st.lists(st.integers(0, 4), max_size=7))
def test_no_rule_is_moved_without_need(ranks: list[int]) -> None:
    """Those that stay are as many as can stand in order without being moved."""
    rules = of_ranks(ranks)
    now = tuple(rule.text for rule in rules)
    moved = [at for repair in repairs(COPY, rules, ruleset(X=now)) for at in repair.stays].count(
        None
    )

    def is_sorted(chosen: Sequence[int]) -> bool:
        return all(before <= after for before, after in pairwise(chosen))

    stay = max(
        size
        for size in range(len(ranks) + 1)
        if any(is_sorted(chosen) for chosen in combinations(ranks, size))
    )
    assert len(ranks) - moved == stay
