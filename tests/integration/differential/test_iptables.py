# SPDX-License-Identifier: Apache-2.0
"""netavark's iptables driver: what podwatch expects equals what the real netavark installs."""

from collections import Counter

import pytest

from podwatch.drivers.iptables import expected_rules
from podwatch.words.rules import RuleKind
from podwatch.words.verdict import State
from tests.integration.differential.configurations import CONFIGURATIONS, Configuration
from tests.integration.differential.iptables_stage import SUITES, Played, fits, on_stage
from tests.lab import rootfs

pytestmark = pytest.mark.integration


def assert_all_is_well(played: Played) -> int:
    """Expected equals observed, in each rule and its number, and the judge is content."""
    setup, observed = played.setup(), played.observed()
    wanted: Counter[tuple[str, str]] = Counter()
    for rule in expected_rules(setup, observed):
        chain = observed.chains.get(rule.chain)
        there = () if chain is None else chain.rules
        if rule.kind is RuleKind.HOOK:
            assert chain is not None, f"chain {rule.chain} is not there"
            continue
        wanted[rule.chain, next((text for text in rule.texts if text in there), rule.text)] += 1
    found = Counter((name, text) for name, chain in observed.chains.items() for text in chain.rules)
    assert wanted - found == Counter(), "expected, but netavark did not install it"
    assert found - wanted == Counter(), "netavark installed it, but podwatch does not expect it"
    verdict = played.judge()
    assert verdict.state is State.OK, verdict
    return verdict.expected_rules


@pytest.mark.parametrize(
    ("suite", "configuration"),
    [
        (suite, configuration)
        for suite in SUITES
        for configuration in CONFIGURATIONS
        if fits(suite, configuration)
    ],
    indirect=["suite"],
    ids=str,
)
def test_expected_equals_installed(suite: str, configuration: Configuration) -> None:
    """After each container that joins, expected and installed are equal; then nothing is."""
    with on_stage(rootfs.build(suite), suite, configuration.dns_port) as played:
        for box in configuration.boxes:
            played.play("setup", box)
            if played.setup().endpoints:
                assert assert_all_is_well(played) > 0
        for box in configuration.boxes:
            played.play("teardown", box)
        assert expected_rules(played.setup(), played.observed()) == []
