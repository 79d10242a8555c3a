# SPDX-License-Identifier: Apache-2.0
"""What podwatch has to know of a firewall driver, and the drivers it knows that of.

A driver is a module of this room. Everything else in podwatch speaks of rules and chains and asks
the driver of the host's own setup, so that a loss is judged and restored the same way on each.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from podwatch.drivers import cni, firewalld, iptables, nftables
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.snapshot import Firewalld, Snapshot


class Driver(Protocol):
    """A firewall driver's rules: where they are, and which have to be there.

    `PLACE` is what holds all of them, for a person. `TABLES` are the nftables tables ("inet
    netavark") whose transactions may have changed them, `ZONE` is the firewalld zone of which the
    driver makes its subnets sources.
    `IN_FIREWALLD`: the rules are in firewalld's policies. They are read over D-Bus, there is no
    saved copy of them, and it is firewalld itself that forwards ports.
    `OF_ONE` is a pattern for the names of chains that belong to one network or one container, empty
    where there are none. `PURPOSES` says what a chain that all share is for, by its name.
    """

    @property
    def PLACE(self) -> str: ...

    @property
    def TABLES(self) -> frozenset[str]: ...

    @property
    def ZONE(self) -> str: ...

    @property
    def IN_FIREWALLD(self) -> bool: ...

    @property
    def OF_ONE(self) -> str: ...

    @property
    def PURPOSES(self) -> Mapping[str, str]: ...

    def expected_rules(self, setup: Setup, observed: Ruleset) -> list[Rule]:
        """The rules that have to be there for `setup`.

        `observed` decides only what depends on the version that installed them.
        """


DRIVERS: Mapping[FirewallDriver, Driver] = {
    FirewallDriver.NFTABLES: nftables,
    FirewallDriver.IPTABLES: iptables,
    FirewallDriver.CNI: cni,
    FirewallDriver.FIREWALLD: firewalld,
}

_OF_ONE = re.compile(
    f"(?:.* )?(?:{'|'.join(driver.OF_ONE for driver in DRIVERS.values() if driver.OF_ONE)})"
)


def is_of_one(chain: str) -> bool:
    """Whether a chain, of whichever driver, belongs to one network or one container."""
    return _OF_ONE.fullmatch(chain) is not None


def purpose_of(chain: str) -> str:
    """What a chain of a driver's own is for, by its name without a table; "" where none says."""
    return next((d.PURPOSES[chain] for d in DRIVERS.values() if chain in d.PURPOSES), "")


def is_in_firewalld(driver: FirewallDriver) -> bool:
    """Whether the driver has its rules in firewalld's policies."""
    known = DRIVERS.get(driver)
    return known is not None and known.IN_FIREWALLD


def zone_of(driver: FirewallDriver) -> str:
    """The firewalld zone of which the driver makes its subnets sources."""
    known = DRIVERS.get(driver)
    return known.ZONE if known is not None else firewalld.TRUSTED


def observed_of(setup: Setup, snapshot: Snapshot) -> Ruleset | None:
    """The rules of the setup's driver as they were read, wherever it has them.

    None if they were not, or if podwatch does not know the driver.
    """
    if is_in_firewalld(setup.driver):
        said = snapshot.firewalld
        return firewalld.observed(said) if said is not None and said.running else None
    return snapshot.rules if setup.driver in DRIVERS else None


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


def has_any(setup: Setup, observed: Ruleset) -> bool:
    """Whether any rule is there that is of one of the setup's networks."""
    return any(
        text in observed.chains[rule.chain].rules
        for rule in expected_rules(setup, observed)
        if rule.network_id and rule.chain in observed.chains
        for text in rule.texts
    )


def told_by_firewalld(setup: Setup, said: Firewalld) -> FirewallDriver:
    """Which driver is in use where netavark keeps no state, and has no rule in iptables.

    It made the setup's subnets sources of its zone, unless they were lost since; zone and policies
    are permanent, and may be there from an earlier time: then nothing tells (UNKNOWN).
    """
    subnets = {str(subnet) for network in setup.networks.values() for subnet in network.subnets}
    if any(said.sources.get(subnet) == firewalld.ZONE for subnet in subnets):
        return FirewallDriver.FIREWALLD
    is_left = firewalld.WAY_OUT in said.policies
    return FirewallDriver.UNKNOWN if is_left else FirewallDriver.IPTABLES
