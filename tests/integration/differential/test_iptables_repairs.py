# SPDX-License-Identifier: Apache-2.0
"""Rules of netavark's iptables driver that are lost: each is missed, and the copy puts it back."""

import pytest

from podwatch.drivers.iptables import PREFIXES, expected_rules
from podwatch.drivers.iptables_save import clearing_scripts, restore_scripts
from podwatch.drivers.saved import SavedRules, covers, repairs
from podwatch.words.network import FirewallDriver
from podwatch.words.verdict import State
from tests.integration.differential.iptables_stage import COMMANDS, Played

pytestmark = pytest.mark.integration


def test_each_rule_is_missed_and_put_back(busy: Played) -> None:
    """Whichever rule is deleted, it alone is missing, and the copy makes all as it was."""
    before = busy.observed()
    copy = SavedRules(before.chains, FirewallDriver.IPTABLES)
    for name, chain in before.chains.items():
        family, table, short = name.split(" ")
        for number, text in enumerate(chain.rules, 1):
            command = COMMANDS[family]
            busy.stage.run(command, "-t", table, "-D", short, str(number))
            observed, setup = busy.observed(), busy.setup()
            (missing,) = busy.judge(observed).missing
            rules = expected_rules(setup, observed)
            spellings = {spelling: rule.texts for rule in rules for spelling in rule.texts}
            assert missing.chain == name
            assert text in spellings[missing.detail]
            assert covers(copy, rules, observed)
            todo = repairs(copy, rules, observed)
            busy.commit(restore_scripts(todo, observed, prefixes=PREFIXES))
            assert busy.observed() == before


@pytest.mark.parametrize("damage", ["-F", "-F; $I -X", "-t nat -F", "-t nat -F; $I -t nat -X"])
@pytest.mark.parametrize("command", COMMANDS.values())
def test_a_flush_is_put_back(busy: Played, command: str, damage: str) -> None:
    """After a flush the copy makes all as it was, and leaves the rules of others alone."""
    before = busy.observed()
    busy.stage.run("sh", "-ec", f"I={command}; $I {damage}")
    busy.stage.run(command, "-A", "FORWARD", "-i", "eth9", "-j", "DROP")
    lost = busy.judge()
    assert lost.state is State.LOST
    observed = busy.observed()
    rules = expected_rules(busy.setup(), observed)
    todo = repairs(SavedRules(before.chains, FirewallDriver.IPTABLES), rules, observed)
    busy.commit(restore_scripts(todo, observed, prefixes=PREFIXES))
    busy.stage.run(command, "-D", "FORWARD", "-i", "eth9", "-j", "DROP")
    assert busy.observed().chains == before.chains


def test_all_is_taken_away_and_put_back(busy: Played) -> None:
    """Clearing leaves not one chain of netavark's, and what it took can be put back whole."""
    before = busy.observed()
    busy.commit(clearing_scripts(before, prefixes=PREFIXES))
    bare = busy.observed()
    assert not bare.present
    assert not any(chain.rules for chain in bare.chains.values())
    rules = expected_rules(busy.setup(), before)
    todo = repairs(SavedRules(before.chains, FirewallDriver.IPTABLES), rules, bare)
    busy.commit(restore_scripts(todo, bare, prefixes=PREFIXES))
    assert busy.observed() == before
