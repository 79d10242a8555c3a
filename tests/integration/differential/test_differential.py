# SPDX-License-Identifier: Apache-2.0
"""What podwatch expects equals what the real netavark installs, over every kind of configuration.

Equality both ways: a rule that podwatch does not know would never be watched, and one that
netavark does not install would be restored for ever.
"""

from collections import Counter
from pathlib import Path

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.nftables import expected_rules, parse_listing
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State
from tests.integration.differential.configurations import CONFIGURATIONS, Configuration
from tests.integration.differential.stage import Stage

pytestmark = pytest.mark.integration

Rules = Counter[tuple[str, str]]


def expected_and_observed(setup: Setup, observed: Ruleset) -> tuple[Rules, Rules]:
    """All rules as (chain, text), hooks among them, each in the spelling that was observed."""
    wanted: Rules = Counter()
    for rule in expected_rules(setup, observed):
        chain = observed.chains.get(rule.chain)
        there = () if chain is None else chain.rules
        if rule.kind is RuleKind.HOOK:
            there = () if chain is None else (chain.hook,)
        wanted[rule.chain, next((text for text in rule.texts if text in there), rule.text)] += 1
    found: Rules = Counter()
    for name, chain in observed.chains.items():
        found.update((name, text) for text in chain.rules)
        if chain.hook:
            found[name, chain.hook] += 1
    return wanted, found


def assert_all_is_well(stage: Stage) -> int:
    """Expected equals observed, whichever nft lists it, and the judge is content."""
    setup = stage.expected_setup()
    observed = stage.observed()
    wanted, found = expected_and_observed(setup, observed)
    assert wanted - found == Counter(), "expected, but netavark did not install it"
    assert found - wanted == Counter(), "netavark installed it, but podwatch does not expect it"
    verdict = judge(Snapshot(setup, observed, ABSENT_FIREWALLD))
    assert verdict.state is State.OK, verdict
    assert verdict.expected_rules == wanted.total()
    other = parse_listing(stage.listing_of_this_machine())
    assert other.chains == observed.chains
    return verdict.expected_rules


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_expected_equals_installed(netavark_root: Path, configuration: Configuration) -> None:
    """After each container that joins and each that leaves, expected and installed are equal."""
    with Stage(netavark_root) as stage:
        for box in configuration.boxes:
            stage.netavark("setup", box.document(), configuration.dns_port)
            published = not all(net.internal for net in box.networks)
            assert stage.expected_setup().endpoints or not published, "netavark wrote no state"
            if stage.expected_setup().endpoints:
                assert stage.expected_setup().driver is FirewallDriver.NFTABLES
                assert assert_all_is_well(stage) > 0
        while_running = stage.observed()
        for number, box in enumerate(configuration.boxes):
            stage.netavark("teardown", box.document(), configuration.dns_port)
            if stage.expected_setup().endpoints:
                assert number + 1 < len(configuration.boxes), "state is left of what was torn down"
                assert_all_is_well(stage)
        setup, observed = stage.expected_setup(), stage.observed()
        assert expected_rules(setup, observed) == []
        assert expected_rules(setup, while_running) == []
        verdict = judge(Snapshot(setup, observed, ABSENT_FIREWALLD))
        assert verdict.state is State.OK
        assert verdict.expected_rules == 0
