# SPDX-License-Identifier: Apache-2.0
"""Which driver made the rules, on the recorded host whose netavark 1.4 keeps no state to say so."""

from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.drivers.driver import expected_rules, has_any, told_by_firewalld
from podwatch.drivers.firewalld import POLICIES
from podwatch.drivers.iptables import PREFIXES
from podwatch.drivers.iptables_save import parse_save
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld

DATA = Path(__file__).parents[2] / "data" / "bookworm-netavark-standard"
NAMES = ("networks.json", "ps.json", "inspect.json", "iptables.save", "ip6tables.save")
TEXTS = {name: (DATA / name).read_text(encoding="utf-8") for name in NAMES}
SETUP, _ = parse_setup("".join(TEXTS[name] for name in NAMES[:3]))
WHOLE = parse_save(
    {"ip": TEXTS["iptables.save"], "ip6": TEXTS["ip6tables.save"]}, prefixes=PREFIXES
)


def test_any_rule_of_a_network_tells_of_iptables() -> None:
    """One that is left of a network's is enough; those for all networks may be left over."""
    assert has_any(SETUP, WHOLE)
    assert not has_any(SETUP, Ruleset(present=False))
    assert not has_any(replace(SETUP, endpoints=()), WHOLE)
    for rule in expected_rules(SETUP, WHOLE):
        alone = Ruleset(present=True, chains={rule.chain: Chain("", rule.texts)})
        assert has_any(SETUP, alone) == bool(rule.network_id)


@pytest.mark.parametrize(
    ("said", "driver"),
    [
        (ABSENT_FIREWALLD, FirewallDriver.IPTABLES),
        (Firewalld(running=True), FirewallDriver.IPTABLES),
        (
            Firewalld(running=True, sources={"10.88.0.0/16": "netavark_zone"}),
            FirewallDriver.FIREWALLD,
        ),
        (Firewalld(running=True, sources={"10.88.0.0/16": "trusted"}), FirewallDriver.IPTABLES),
        (
            Firewalld(running=True, sources={"192.0.2.0/24": "netavark_zone"}),
            FirewallDriver.IPTABLES,
        ),
        (
            Firewalld(running=True, policies={name: Chain(name, ()) for name in POLICIES[:2]}),
            FirewallDriver.UNKNOWN,
        ),
        (
            Firewalld(
                running=True,
                sources={"fd10:89:10::/64": "netavark_zone"},
                policies={name: Chain(name, ()) for name in POLICIES[:2]},
            ),
            FirewallDriver.FIREWALLD,
        ),
    ],
)
def test_what_firewalld_tells(said: Firewalld, driver: FirewallDriver) -> None:
    """Its subnets in netavark's zone tell of its driver; policies alone may be of another time."""
    assert told_by_firewalld(SETUP, said) is driver
