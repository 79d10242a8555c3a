# SPDX-License-Identifier: Apache-2.0
"""What podwatch has to know of a firewall driver, and the drivers it knows that of.

A driver is a module of this room. Everything else in podwatch speaks of rules and chains and asks
the driver of the host's own setup, so that a loss is judged and restored the same way on each.
"""

from collections.abc import Mapping
from typing import Protocol

from podwatch.drivers import cni, iptables, nftables
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Rule, RuleKind, Ruleset


class Driver(Protocol):
    """A firewall driver's rules: where they are, and which have to be there.

    `PLACE` is what holds all of them, for a person; `TABLES` are the nftables tables ("inet
    netavark") whose transactions may have changed them.
    """

    @property
    def PLACE(self) -> str: ...

    @property
    def TABLES(self) -> frozenset[str]: ...

    def expected_rules(self, setup: Setup, observed: Ruleset) -> list[Rule]:
        """The rules that have to be there for `setup`.

        `observed` decides only what depends on the version that installed them.
        """


DRIVERS: Mapping[FirewallDriver, Driver] = {
    FirewallDriver.NFTABLES: nftables,
    FirewallDriver.IPTABLES: iptables,
    FirewallDriver.CNI: cni,
}


def expected_rules(setup: Setup, observed: Ruleset) -> list[Rule]:
    """The rules of the setup's own driver; none for a driver that podwatch does not know."""
    driver = DRIVERS.get(setup.driver)
    return driver.expected_rules(setup, observed) if driver is not None else []


def is_whole(setup: Setup, observed: Ruleset) -> bool:
    """Whether every rule of the setup is there, wherever it stands."""
    for rule in expected_rules(setup, observed):
        chain = observed.chains.get(rule.chain)
        if chain is None:
            return False
        if rule.kind is not RuleKind.HOOK and not any(text in chain.rules for text in rule.texts):
            return False
    return True
