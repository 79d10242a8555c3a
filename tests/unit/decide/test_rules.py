# SPDX-License-Identifier: Apache-2.0
"""Which rules are missing, out of their order, or there twice: one rule at a time."""

from dataclasses import replace

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.rules import duplicates, missing_rules
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import MissingKind
from tests.unit.decide.test_judge import SETUP, WEB, installed, snapshot

HERE = Snapshot(SETUP, None, ABSENT_FIREWALLD)


def observed(*rules: str) -> Ruleset:
    """A ruleset of one chain that the rules are in, and one of somebody else's."""
    return Ruleset(
        present=True, chains={"FORWARD": Chain("", rules), "MINE": Chain("", ("x", "x"))}
    )


def rule(text: str, rank: int | None = None, group: str = "first") -> Rule:
    """A rule of the host's, with its place in a group."""
    order = None if rank is None else (group, rank)
    return Rule("FORWARD", ("older " + text, text), RuleKind.HOST, order=order)


def out_of_order(rules: list[Rule], *there: str) -> list[tuple[str, str]]:
    """(rule, rule that it stands behind) of those that are not in their order."""
    found = missing_rules(rules, observed(*there), HERE, SETUP)
    assert {loss.kind for loss in found} <= {MissingKind.ORDER}
    parts = [loss.what.split("“")[1:] for loss in found]
    return [(one.partition("”")[0], other.partition("”")[0]) for one, other in parts]


def test_only_a_lower_rank_has_to_come_first() -> None:
    """Rules of one rank, of no rank, or of different groups may stand in any order."""
    assert out_of_order([rule("a", 1), rule("b", 2)], "a", "b") == []
    assert out_of_order([rule("a", 1), rule("b", 2)], "b", "a") == [("a", "b")]
    assert out_of_order([rule("a", 1), rule("b", 1)], "b", "a") == []
    assert out_of_order([rule("a"), rule("b", 2)], "b", "a") == []
    assert out_of_order([rule("a", 1, "other"), rule("b", 2)], "b", "a") == []
    assert out_of_order([rule("a", 1), rule("b", 2)], "older b", "older a") == [
        ("older a", "older b")
    ]


def test_the_first_rule_of_those_that_stand_before_is_named() -> None:
    """However the rules are listed, and of whichever rank it is."""
    rules = [rule("d", 3), rule("b", 2), rule("c", 2), rule("a", 1)]

    assert out_of_order(rules, "c", "d", "b", "a") == [("b", "d"), ("a", "c")]
    assert out_of_order(rules, "a", "b", "c", "d") == []
    assert out_of_order(rules, "b", "a", "c", "d") == [("a", "b")]


def test_a_rule_that_is_there_twice_stands_where_it_stands_first() -> None:
    """A copy behind is no matter."""
    assert out_of_order([rule("a", 1), rule("b", 2)], "a", "b", "a") == []
    assert out_of_order([rule("a", 1), rule("b", 2)], "b", "a", "b") == [("a", "b")]


@pytest.mark.parametrize(
    ("there", "what"),
    [
        (("a", "b"), []),
        (("a", "b", "b"), ["1 rule is there more than once"]),
        (("a", "a", "a", "b", "b"), ["3 rules are there more than once"]),
        (("older b", "b", "a"), []),
        (("a", "mine", "mine"), []),
        (("a",), []),
    ],
)
def test_how_many_rules_are_there_twice(there: tuple[str, ...], what: list[str]) -> None:
    """Each copy counts once, and only of what is expected."""
    found = duplicates([rule("a"), rule("b")], observed(*there))
    assert [notice.what for notice in found] == what


def test_what_two_rules_share_may_be_there_twice() -> None:
    """One text that stands for two ports is there as often as they are."""
    assert duplicates([rule("a"), rule("a")], observed("a", "a")) == []
    (notice,) = duplicates([rule("a"), rule("a")], observed("a", "a", "a"))
    assert notice.what.startswith("1 rule is")


def test_a_rule_of_the_host_is_no_only_containers() -> None:
    """One container's reload does not bring back what a reload never does, if it is alone too."""
    alone = replace(SETUP, endpoints=(WEB,))
    rules = installed(alone)
    forward = rules.chains["FORWARD"]
    chains = {**rules.chains, "FORWARD": replace(forward, rules=forward.rules[1:])}
    (missing,) = judge(snapshot(setup=alone, rules=replace(rules, chains=chains))).missing

    assert missing.detail == "ct state invalid drop"
    assert missing.container_ids == (WEB.container_id,)
    assert not missing.reloadable


def test_where_nothing_is_expected_nothing_is_missing() -> None:
    """Whether there is a table or not."""
    none = Setup(FirewallDriver.NFTABLES)
    for there in (Ruleset(present=False), observed("a")):
        assert missing_rules([], there, HERE, none) == []
