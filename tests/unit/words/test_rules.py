# SPDX-License-Identifier: Apache-2.0
"""Rules as every driver notes them."""

from podwatch.words.rules import Rule, RuleKind


def test_a_rule_is_shown_as_the_newest_version_spells_it() -> None:
    """The spellings stand in the order of the versions."""
    assert Rule("chain", ("older", "old", "new"), RuleKind.HOST).text == "new"
