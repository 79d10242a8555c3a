# SPDX-License-Identifier: Apache-2.0
"""In which spelling rules are quoted: as they are in the kernel, so that they can be typed in."""

from dataclasses import replace

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.decide.spelling import Spelling
from podwatch.drivers.driver import expected_rules
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.way import Kernel
from tests.unit.decide.test_leftovers import setup_of
from tests.unit.drivers.installed import chains_of

NOTHING = Ruleset(present=True)
SETUP = setup_of(FirewallDriver.NFTABLES, "10.88.0.2", "10.88.0.3")


def old(setup: Setup) -> Ruleset:
    """All that is expected, in the oldest spelling of each rule."""
    return Ruleset(present=True, chains=chains_of(expected_rules(setup, NOTHING), spelling=0))


def without(rules: Ruleset, *, dnat_to: str) -> Ruleset:
    """The rules without the DNAT to an address."""
    return replace(
        rules,
        chains={
            name: replace(
                each,
                rules=tuple(t for t in each.rules if f"dnat ip to {dnat_to}" not in t),
            )
            for name, each in rules.chains.items()
        },
    )


def quoted(snapshot: Snapshot) -> set[str]:
    """What judge and explain quote of rules that forward a port."""
    texts = {each.detail for each in judge(snapshot).missing}
    for way in explain(snapshot, Kernel()):
        texts |= {h.what.partition(": ")[2] for h in way.hops if h.place == "port forward"}
    return {each for each in texts if " dnat " in each}


OLD = old(SETUP)
LOST = without(OLD, dnat_to="10.88.0.2")


@pytest.mark.parametrize(
    ("observed", "copied"),
    [
        (OLD, {}),
        (LOST, {}),
        (without(LOST, dnat_to="10.88.0.3"), OLD.chains),
    ],
    ids=["what is there", "as its like are", "as the copy has it"],
)
def test_a_rule_is_quoted_as_this_netavark_spells_it(
    observed: Ruleset, copied: dict[str, Chain]
) -> None:
    """No quoted rule is in the spelling of a netavark that is not here: 2.1 marks connections."""
    snapshot = Snapshot(SETUP, observed, ABSENT_FIREWALLD, copied=copied)

    assert quoted(snapshot) == {
        f"tcp dport {8080 + n} dnat ip to 10.88.0.{n + 2}:80" for n in (0, 1)
    }


def test_without_any_trace_the_newest_spelling_is_quoted() -> None:
    """Where nothing tells the version, what the newest netavark would write is told."""
    empty = without(LOST, dnat_to="10.88.0.3")

    assert all("ct mark set" in each for each in quoted(Snapshot(SETUP, empty, ABSENT_FIREWALLD)))


def spelt(chain: str, *texts: str, kind: RuleKind = RuleKind.HOST) -> Rule:
    """A rule that each version of netavark spells in its own way."""
    return Rule(chain, texts, kind)


def test_how_a_chain_is_hooked_in_is_quoted_as_it_is() -> None:
    """The hook of a chain is no rule in it: each is looked for in its own place."""
    hook = spelt("A", "old hook", "new hook", kind=RuleKind.HOOK)
    rule = spelt("A", "old rule", "new rule")
    seen = Ruleset(present=True, chains={"A": Chain("old hook", ("new hook", "old rule"))})
    spelling = Spelling([hook, rule], seen, {})

    assert [spelling.of(one) for one in (hook, rule)] == ["old hook", "old rule"]


def test_the_first_of_its_like_tells_the_version() -> None:
    """A lost rule is quoted as the first of its kind that is there, with as many spellings."""
    rules = [
        spelt("A", "new lost"),
        spelt("A", "old 1", "new 1"),
        spelt("A", "old 2", "new 2"),
        spelt("A", "old lost", "new lost"),
        spelt("A", "older lost", "old lost", "new lost"),
    ]
    seen = Ruleset(present=True, chains={"A": Chain("", ("old 1", "new 2"))})
    copied = {"A": Chain("", ("new 1",)), "B": Chain("", ("old 1",))}

    quotes = [Spelling(rules, seen, copied).of(rule) for rule in rules]
    assert quotes == ["new lost", "old 1", "new 2", "old lost", "new lost"]
    quotes = [Spelling(rules, None, copied).of(rule) for rule in rules]
    assert quotes == ["new lost", "new 1", "new 2", "new lost", "new lost"]
