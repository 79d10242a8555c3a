# SPDX-License-Identifier: Apache-2.0
"""The saved copy, put back by the real nft: every damage is whole again after one transaction."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.nft_script import repair_script
from podwatch.drivers.nftables import FAMILY, TABLE, expected_rules, traits
from podwatch.drivers.saved import SavedRules, covers, repairs
from podwatch.words.network import Setup
from podwatch.words.rules import RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State, Verdict
from tests.integration.differential.configurations import BUSY_HOST
from tests.integration.differential.stage import Stage
from tests.integration.differential.test_mutations import (
    as_netavark_2_1,
    assert_names,
    handles_of,
    rule_of,
)

pytestmark = pytest.mark.integration

ON = f"{FAMILY} {TABLE}"
_HANDLE = re.compile(r" # handle \d+")
DAMAGES = {
    "the ruleset flushed": "flush ruleset",
    "the table deleted": f"delete table {ON}",
    "the table flushed": f"flush table {ON}",
    "FORWARD flushed": f"flush chain {ON} FORWARD",
    "POSTROUTING deleted": f"flush chain {ON} POSTROUTING\ndelete chain {ON} POSTROUTING",
    "PREROUTING not hooked in": (
        f"flush chain {ON} PREROUTING\ndelete chain {ON} PREROUTING\nadd chain {ON} PREROUTING\n"
        f"add rule {ON} PREROUTING fib daddr type local jump NETAVARK-HOSTPORT-DNAT"
    ),
    "the jumps to ports flushed": f"flush chain {ON} NETAVARK-HOSTPORT-DNAT",
    "isolation out of order": (
        f"flush chain {ON} NETAVARK-ISOLATION-3\n"
        f"add rule {ON} NETAVARK-ISOLATION-3 jump NETAVARK-ISOLATION-2\n"
        f'add rule {ON} NETAVARK-ISOLATION-3 oifname "br-open" drop'
    ),
}


@dataclass(frozen=True)
class Copied:
    """A whole stage, and the copy that was taken of its rules."""

    stage: Stage
    setup: Setup
    copy: SavedRules

    def judge(self, observed: Ruleset | None = None) -> Verdict:
        """The verdict on the table as it is now, or as given."""
        now = self.stage.observed() if observed is None else observed
        return judge(Snapshot(self.setup, now, ABSENT_FIREWALLD))

    def put_back(self, seen: frozenset[str] = frozenset()) -> None:
        """What podwatch does: one transaction made of the copy and of what is there.

        `seen` are the traits it remembers.
        """
        self.repair(replace(self.stage.observed(), traits=seen))

    def repair(self, observed: Ruleset) -> None:
        """Put back what is missing in a table that was read already."""
        todo = repairs(self.copy, expected_rules(self.setup, observed), observed)
        self.stage.nft("-f", "-", text=repair_script(todo, observed))


@pytest.fixture
def copied(busy_stage: Stage) -> Iterator[Copied]:
    """A copy of what netavark installed; it is installed again after the test."""
    setup, observed, listing = (
        busy_stage.expected_setup(),
        busy_stage.observed(),
        busy_stage.listing(),
    )
    whole = Copied(busy_stage, setup, SavedRules(observed.chains))
    assert whole.judge().state is State.OK
    yield whole
    busy_stage.replace_table(listing)


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_put_right_in_one_transaction(copied: Copied, damage: str) -> None:
    """After the damage the copy covers what is missing, and put back nothing is missing."""
    before = in_use(copied.stage.observed())
    copied.stage.nft("-f", "-", text=DAMAGES[damage])
    assert copied.judge().state is State.LOST
    observed = copied.stage.observed()
    assert covers(copied.copy, expected_rules(copied.setup, observed), observed)
    copied.put_back()
    verdict = copied.judge()
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())
    assert in_use(copied.stage.observed()) == before


def in_use(observed: Ruleset) -> dict[str, tuple[str, list[str]]]:
    """The chains with rules: an empty one that nothing jumps to need not come back.

    In any order: whether that is right the judge has said.
    """
    return {
        name: (chain.hook, sorted(chain.rules))
        for name, chain in observed.chains.items()
        if chain.rules
    }


def test_a_copy_covers_each_lost_rule(copied: Copied) -> None:
    """Whatever single chain is flushed, the copy is known to bring its rules back, and does."""
    for name, chain in copied.stage.observed().chains.items():
        if not chain.rules:
            continue
        copied.stage.nft("flush", "chain", FAMILY, TABLE, name)
        observed = copied.stage.observed()
        assert covers(copied.copy, expected_rules(copied.setup, observed), observed)
        copied.put_back()
        assert copied.judge().state is State.OK


def test_each_rule_is_missed_and_comes_back_in_its_place(copied: Copied) -> None:
    """Whatever single rule is deleted, it alone is named, and put back the table is as it was."""
    rules = expected_rules(copied.setup, copied.stage.observed())
    numbered = copied.stage.numbered_listing()
    whole, there = _HANDLE.sub("", numbered), handles_of(numbered)
    assert len(there) > 100
    named = set()
    for chain, text, _ in there:
        # Each repair gives what it puts back a new handle.
        found = (h for c, t, h in handles_of(numbered) if (c, t) == (chain, text))
        copied.stage.nft("delete", "rule", FAMILY, TABLE, chain, "handle", next(found))
        observed = copied.stage.observed()
        verdict = copied.judge(observed)
        assert len(verdict.missing) == 1, (chain, text, verdict.missing)
        rule = rule_of(verdict.missing[0], rules)
        assert (rule.chain, verdict.state) == (chain, State.LOST)
        assert_names(verdict.missing[0], rule)
        named.add((rule.chain, rule.text))
        copied.repair(observed)
        numbered = copied.stage.numbered_listing()
        assert _HANDLE.sub("", numbered) == whole, (chain, text)
    assert named == {(r.chain, r.text) for r in rules if r.kind is not RuleKind.HOOK}


def test_a_whole_table_is_left_as_it_is(copied: Copied) -> None:
    """With nothing missing the copy brings nothing, and changes nothing."""
    observed = copied.stage.observed()
    rules = expected_rules(copied.setup, observed)
    assert not covers(copied.copy, rules, observed)
    assert repairs(copied.copy, rules, observed) == []


@pytest.mark.parametrize("copy", ["with a copy", "without a copy"])
def test_duplicates_are_taken_away(copied: Copied, copy: str) -> None:
    """Rules that netavark's own reload added again are there once afterwards, copy or none."""
    if copy == "without a copy":
        copied = replace(copied, copy=SavedRules({}))
    before = copied.stage.observed().chains
    script = [
        f"add rule {ON} {name} {text}"
        for name, chain in before.items()
        if name.endswith("_dnat") or name == "NETAVARK-HOSTPORT-DNAT"
        for text in chain.rules
    ]
    copied.stage.nft("-f", "-", text="\n".join(script))
    assert copied.judge().has_duplicates
    copied.put_back()
    assert copied.judge().state is State.OK
    assert copied.stage.observed().chains == before


def test_rules_of_others_stay(copied: Copied) -> None:
    """What somebody else added to netavark's chains and table is there after the repair."""
    copied.stage.nft("insert", "rule", FAMILY, TABLE, "FORWARD", "tcp", "dport", "65001", "drop")
    copied.stage.nft("add", "rule", FAMILY, TABLE, "FORWARD", "tcp", "dport", "65002", "accept")
    copied.stage.nft("add", "chain", FAMILY, TABLE, "MINE")
    copied.stage.nft("add", "rule", FAMILY, TABLE, "MINE", "counter")
    lines = copied.stage.nft("-a", "list", "chain", FAMILY, TABLE, "FORWARD")
    found = re.search(r"jump NETAVARK-ISOLATION-1 # handle (\d+)", lines)
    assert found
    copied.stage.nft("delete", "rule", FAMILY, TABLE, "FORWARD", "handle", found[1])
    assert copied.judge().state is State.LOST
    copied.put_back()
    assert copied.judge().state is State.OK
    chains = copied.stage.observed().chains
    assert chains["FORWARD"].rules[0] == "tcp dport 65001 drop"
    assert chains["FORWARD"].rules[-1] == "tcp dport 65002 accept"
    assert len(chains["MINE"].rules) == 1


def test_objects_of_others_do_not_stop_the_repair(copied: Copied) -> None:
    """Rules that name somebody's set or counter stay with it, and go with it."""
    copied.stage.nft(
        "-f",
        "-",
        text=f"add set {ON} mine {{ type ipv4_addr; }}\nadd counter {ON} seen\n"
        f"insert rule {ON} FORWARD ip saddr @mine accept\n"
        f'insert rule {ON} FORWARD tcp dport 65001 counter name "seen" drop\n'
        f"add chain {ON} MINE\nadd rule {ON} MINE ip saddr @mine accept\nadd rule {ON} MINE drop",
    )
    with_theirs = Copied(copied.stage, copied.setup, SavedRules(copied.stage.observed().chains))
    first = copied.stage.observed().chains["FORWARD"].rules
    copied.stage.nft("delete", "chain", FAMILY, TABLE, "PREROUTING")
    with_theirs.put_back()
    assert copied.judge().state is State.OK
    assert copied.stage.observed().chains["FORWARD"].rules == first

    copied.stage.nft("flush", "ruleset")
    with_theirs.put_back()
    assert copied.judge().state is State.OK
    assert "mine" not in copied.stage.listing()
    assert "65001" not in copied.stage.listing()


def test_what_has_gone_since_is_not_brought_back(copied: Copied) -> None:
    """After one container left and one came, the old copy heals what is there now."""
    gone = next(box for box in BUSY_HOST.boxes if box.name == "two")
    copied.stage.netavark("teardown", gone.document(), BUSY_HOST.dns_port)
    try:
        now = Copied(copied.stage, copied.stage.expected_setup(), copied.copy)
        assert now.judge().state is State.OK
        copied.stage.nft("flush", "table", FAMILY, TABLE)
        now.put_back()
        assert now.judge().state is State.OK
        assert "8081" not in copied.stage.listing()
    finally:
        copied.stage.netavark("setup", gone.document(), BUSY_HOST.dns_port)
    copied.put_back()
    assert copied.judge().state is State.OK


@pytest.mark.parametrize(
    "damage", ["flush ruleset", f"flush table {ON}", f"flush chain {ON} FORWARD"]
)
def test_what_netavark_2_1_installed_comes_back_in_its_place(copied: Copied, damage: str) -> None:
    """After a flush the copy brings back its rule for marked connections, though none is left."""
    copied.stage.replace_table(as_netavark_2_1(copied.stage.listing()))
    before = copied.stage.observed()
    newer = replace(copied, copy=SavedRules(before.chains))
    copied.stage.nft("-f", "-", text=damage)
    newer.put_back(traits(before))
    assert newer.judge().state is State.OK
    assert in_use(copied.stage.observed()) == in_use(before)
