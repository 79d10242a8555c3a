# SPDX-License-Identifier: Apache-2.0
"""Damage done to what the real netavark installed: the judge names exactly what is gone.

Every change is made in the kernel by the suite's own nft and read back from it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.nftables import FAMILY, TABLE, canonical, expected_rules
from podwatch.words.network import Setup
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import Missing, MissingKind, State, Verdict, WarningKind
from tests.integration.differential.configurations import BUSY_HOST
from tests.integration.differential.stage import Stage

pytestmark = pytest.mark.integration

_HANDLE = re.compile(r"^\t\t(.*) # handle (\d+)$")
NAMES = {box.container_id: box.name for box in BUSY_HOST.boxes}


@dataclass(frozen=True)
class Whole:
    """The stage with everything in place, and what is expected there."""

    stage: Stage
    listing: str
    setup: Setup
    rules: tuple[Rule, ...]

    def judge(self, observed: Ruleset | None = None) -> Verdict:
        """The verdict on the table as it is now, or as given."""
        now = self.stage.observed() if observed is None else observed
        return judge(Snapshot(self.setup, now, ABSENT_FIREWALLD))

    def in_chain(self, chain: str, *, with_hook: bool = False) -> list[Rule]:
        """The rules expected in a chain."""
        return [
            rule
            for rule in self.rules
            if rule.chain == chain and (with_hook or rule.kind is not RuleKind.HOOK)
        ]


@pytest.fixture(scope="module")
def _built(busy_stage: Stage) -> Whole:
    setup, observed = busy_stage.expected_setup(), busy_stage.observed()
    rules = tuple(expected_rules(setup, observed))
    return Whole(busy_stage, busy_stage.listing(), setup, rules)


@pytest.fixture
def whole(_built: Whole) -> Iterator[Whole]:
    """Everything in place, before the test and again after it."""
    assert _built.judge().state is State.OK
    yield _built
    _built.stage.replace_table(_built.listing)


def handles(stage: Stage) -> list[tuple[str, str, str]]:
    """(chain, text, handle) of every rule, as nft prints them."""
    return handles_of(stage.numbered_listing())


def handles_of(numbered: str) -> list[tuple[str, str, str]]:
    """(chain, text, handle) of every rule of a listing that has handles."""
    found, chain = [], ""
    for line in numbered.splitlines():
        if line.startswith("\tchain "):
            chain = line.split()[1]
        elif (match := _HANDLE.match(line)) and not match[1].startswith("type "):
            found.append((chain, match[1], match[2]))
    return found


def assert_names(missing: Missing, rule: Rule) -> None:
    """One entry of a verdict says of `rule` what a person and the policy need to know."""
    assert (missing.kind, missing.chain) == (MissingKind.RULE, rule.chain)
    assert missing.detail in rule.texts
    assert missing.network == rule.network_name
    assert missing.container == rule.container_id[:12]
    if rule.container_id:
        assert missing.container_ids == (rule.container_id,)
    elif rule.network_name:
        members = [
            box.container_id
            for box in BUSY_HOST.boxes
            if rule.network_name in {net.name for net in box.networks}
        ]
        assert sorted(missing.container_ids) == sorted(members)
    else:
        assert missing.container_ids
    assert any(told in missing.what for told in (rule.subject or rule.text, *rule.texts))


def rule_of(missing: Missing, rules: Iterable[Rule]) -> Rule:
    """The one rule of these that an entry of a verdict is about."""
    (found,) = (
        rule
        for rule in rules
        if rule.kind is not RuleKind.HOOK
        and rule.chain == missing.chain
        and missing.detail in rule.texts
    )
    return found


def put_back(stage: Stage, rules: list[tuple[str, str, str]], number: int) -> None:
    """Add one of `rules` again where it was, before the one that stood behind it."""
    chain, text, _ = rules[number]
    if number + 1 < len(rules) and rules[number + 1][0] == chain:
        place = ["insert", "rule", FAMILY, TABLE, chain, "position", rules[number + 1][2]]
    else:
        place = ["add", "rule", FAMILY, TABLE, chain]
    stage.nft(*place, text)


def test_every_flushed_chain_is_missed(whole: Whole) -> None:
    """A flushed chain is reported as exactly the rules that were expected in it."""
    for chain in whole.stage.observed().chains:
        whole.stage.replace_table(whole.listing)
        whole.stage.nft("flush", "chain", FAMILY, TABLE, chain)
        expected = whole.in_chain(chain)
        missing = whole.judge().missing
        for entry, rule in zip(missing, expected, strict=True):
            assert entry.detail in rule.texts
            assert_names(entry, rule)


def test_every_deleted_hook_chain_is_missed(whole: Whole) -> None:
    """A base chain that is gone is reported as itself and the rules that were in it."""
    hooks = [rule.chain for rule in whole.rules if rule.kind is RuleKind.HOOK]
    assert len(hooks) == 5
    for chain in hooks:
        whole.stage.replace_table(whole.listing)
        whole.stage.nft("flush", "chain", FAMILY, TABLE, chain)
        whole.stage.nft("delete", "chain", FAMILY, TABLE, chain)
        verdict = whole.judge()
        assert len(verdict.missing) == len(whole.in_chain(chain, with_hook=True))
        assert f"chain {chain} is gone" in [entry.what for entry in verdict.missing]


def test_an_unhooked_chain_is_missed(whole: Whole) -> None:
    """A base chain that came back without its hook is missed, though its rules are all there."""
    hook = "type nat hook prerouting priority dstnat; policy accept;"
    assert whole.listing.count(hook) == 1
    whole.stage.replace_table(whole.listing.replace(hook, ""))
    (missing,) = whole.judge().missing
    assert missing.chain == "PREROUTING"
    assert "not hooked in" in missing.what


def test_a_flushed_table_is_missed(whole: Whole) -> None:
    """`nft flush table` takes every rule and leaves the chains; all rules are named."""
    whole.stage.nft("flush", "table", FAMILY, TABLE)
    missing = whole.judge().missing
    expected = [rule.text for rule in whole.rules if rule.kind is not RuleKind.HOOK]
    assert sorted(entry.detail for entry in missing) == sorted(expected)


@pytest.mark.parametrize("damage", ["delete table inet netavark", "flush ruleset"])
def test_a_table_that_is_gone_is_missed(whole: Whole, damage: str) -> None:
    """Without its table there is one thing missing, the table, and every container is concerned."""
    whole.stage.nft(*damage.split())
    verdict = whole.judge()
    (missing,) = verdict.missing
    assert missing.kind is MissingKind.TABLE
    assert sorted(missing.container_ids) == sorted(NAMES)
    assert sorted(verdict.all_container_ids) == sorted(NAMES)


def test_what_deletion_leaves_is_put_back_whole(whole: Whole) -> None:
    """The saved listing, put back after the loss of everything, is all that was expected."""
    whole.stage.nft("flush", "ruleset")
    assert whole.judge().state is State.LOST
    whole.stage.replace_table(whole.listing)
    assert whole.judge().state is State.OK


def ordered_pairs(rules: tuple[Rule, ...]) -> list[tuple[Rule, Rule]]:
    """For each group of ordered rules, one rule and one that has to stand behind it."""
    groups: dict[tuple[str, str], dict[int, Rule]] = {}
    for rule in rules:
        if rule.order is not None:
            groups.setdefault((rule.chain, rule.order[0]), {}).setdefault(rule.order[1], rule)
    pairs: list[tuple[Rule, Rule]] = []
    for ranks in groups.values():
        ordered = [ranks[rank] for rank in sorted(ranks)]
        pairs.extend(pairwise(ordered))
    return pairs


def test_swapped_rules_are_out_of_order(whole: Whole) -> None:
    """Two rules that changed places are no loss of either, and are named as out of order."""
    observed = whole.stage.observed()
    pairs = ordered_pairs(whole.rules)
    assert {first.chain.split("_")[0] for first, _ in pairs} >= {
        "FORWARD",
        "POSTROUTING",
        "NETAVARK-ISOLATION-3",
        "nv",
    }
    for first, second in pairs:
        whole.stage.replace_table(whole.listing)
        chain = observed.chains[first.chain].rules
        texts = [text for _, text, _ in sorted(handles_in(whole.stage, first.chain))]
        front = next(at for at, text in enumerate(chain) if text in first.texts)
        behind = next(at for at, text in enumerate(chain) if text in second.texts)
        assert front < behind, "the real netavark keeps the order"
        texts[front], texts[behind] = texts[behind], texts[front]
        script = [f"flush chain {FAMILY} {TABLE} {first.chain}"]
        script += [f"add rule {FAMILY} {TABLE} {first.chain} {text}" for text in texts]
        whole.stage.nft("-f", "-", text="\n".join(script))
        verdict = whole.judge()
        assert verdict.state is State.LOST, (first.text, second.text)
        assert {entry.kind for entry in verdict.missing} == {MissingKind.ORDER}
        assert {entry.chain for entry in verdict.missing} == {first.chain}
        assert any(first.text in entry.what for entry in verdict.missing)
        assert not any(entry.reloadable for entry in verdict.missing)


def handles_in(stage: Stage, chain: str) -> list[tuple[int, str, str]]:
    """(position, text, handle) of the rules of one chain."""
    mine = [(text, handle) for name, text, handle in handles(stage) if name == chain]
    return [(at, text, handle) for at, (text, handle) in enumerate(mine)]


def test_rules_of_others_are_no_loss(whole: Whole) -> None:
    """Foreign rules before and behind netavark's, foreign chains and tables change no verdict."""
    for chain in ("INPUT", "FORWARD", "POSTROUTING", "NETAVARK-HOSTPORT-DNAT"):
        for verb in ("insert", "add"):
            whole.stage.nft(verb, "rule", FAMILY, TABLE, chain, "tcp", "dport", "65000", "accept")
    whole.stage.nft(
        "-f",
        "-",
        text='add chain inet netavark MINE\nadd rule inet netavark MINE counter comment "x }"\n'
        "add table ip other\nadd chain ip other FORWARD\nadd rule ip other FORWARD drop\n",
    )
    verdict = whole.judge()
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())


def test_duplicates_are_a_warning(whole: Whole) -> None:
    """Rules that are there twice, as netavark's own reload leaves them, are warned about only."""
    twice = [rule for rule in handles(whole.stage) if rule[0].endswith("_dnat")]
    script = [f"add rule {FAMILY} {TABLE} {chain} {text}" for chain, text, _ in twice]
    whole.stage.nft("-f", "-", text="\n".join(script))
    verdict = whole.judge()
    assert verdict.missing == ()
    assert [warning.kind for warning in verdict.warnings] == [WarningKind.DUPLICATES]
    assert f"{len(twice)} rules" in verdict.warnings[0].what
    assert verdict.state is State.DEGRADED


def test_lost_port_rules_name_the_container_whose_reload_heals_them(whole: Whole) -> None:
    """Lost port rules of one container of two are back once that container is set up again."""
    box = next(box for box in BUSY_HOST.boxes if box.name == "two")
    lost = [rule for rule in handles(whole.stage) if "8081" in rule[1]]
    assert lost
    for chain, _, handle in lost:
        whole.stage.nft("delete", "rule", FAMILY, TABLE, chain, "handle", handle)
    verdict = whole.judge()
    assert {entry.container_ids for entry in verdict.missing} == {(box.container_id,)}
    assert len(verdict.missing) == len(lost)
    whole.stage.netavark("teardown", box.document(), BUSY_HOST.dns_port)
    whole.stage.netavark("setup", box.document(), BUSY_HOST.dns_port)
    assert whole.judge().state is State.OK


MARKED = "ct mark & 0x1000 == 0x1000 accept"


def as_netavark_2_1(listing: str) -> str:
    """The same table as netavark 2.1 would have installed it (its src/firewall/nft.rs).

    Its dnat rules mark the connection, FORWARD accepts what is marked before it looks at the
    isolation, and the IPv6 multicast range is the right one.
    """
    marked = re.sub(
        r"(dport \d+) (dnat ip6? to \S+)", r"\1 ct mark set meta mark | 0x1000 \2", listing
    )
    # A redirect of DNS is not marked.
    marked = marked.replace("th dport 53 ct mark set meta mark | 0x1000 ", "th dport 53 ")
    marked = marked.replace("ct state invalid drop\n", f"ct state invalid drop\n\t\t{MARKED}\n")
    return marked.replace("!= ::/8 ", "!= ff00::/8 ")


def test_rules_of_netavark_2_1_are_known(whole: Whole) -> None:
    """The rules of netavark 2.1, in the kernel, are what is expected; each of its own is missed."""
    newer = as_netavark_2_1(whole.listing)
    assert newer.count("ct mark set") > 10
    whole.stage.replace_table(newer)
    verdict = whole.judge()
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())
    assert verdict.expected_rules == len(whole.rules) + 1
    there = handles(whole.stage)
    for number, (chain, text, handle) in enumerate(there):
        if "ct mark" in text:
            whole.stage.nft("delete", "rule", FAMILY, TABLE, chain, "handle", handle)
            (missing,) = whole.judge().missing
            assert (missing.chain, missing.detail) == (chain, canonical(text))
            put_back(whole.stage, there, number)
    assert whole.judge().state is State.OK


def test_what_an_update_to_netavark_2_1_leaves_is_no_loss(whole: Whole) -> None:
    """Its rule for marked connections behind all that 2.0 put into FORWARD is as it has to be."""
    whole.stage.nft("add", "rule", FAMILY, TABLE, "FORWARD", *MARKED.split())
    verdict = whole.judge()
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())
    assert verdict.expected_rules == len(whole.rules) + 1
