# SPDX-License-Identifier: Apache-2.0
"""What podwatch has to know of a firewall driver, and the drivers it knows that of.

A driver is a module of this room. Everything else in podwatch speaks of rules and chains and asks
the driver of the host's own setup, so that a loss is judged and restored the same way on each.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from podwatch.drivers import cni, firewalld, iptables, nftables
from podwatch.drivers.about import About
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.snapshot import Firewalld, Snapshot


class Driver(Protocol):
    """A firewall driver: what is special about it, and which of its rules have to be there."""

    @property
    def ABOUT(self) -> About: ...

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

_UNKNOWN = About(place="")

_OF_A_HOOK = {
    "FORWARD": "for all networks",
    "POSTROUTING": "masquerade of published ports seen from their own network",
    "PREROUTING": "published ports seen from outside",
    "OUTPUT": "published ports seen from the host itself",
}
"""What the rules in the chains of the hooks are for; all drivers call these by the same names."""

_OF_ONE = re.compile(
    f"(?:.* )?(?:{'|'.join(d.ABOUT.of_one for d in DRIVERS.values() if d.ABOUT.of_one)})"
)


def about(driver: FirewallDriver) -> About:
    """What is special about a driver; nothing about one that podwatch does not know."""
    return DRIVERS[driver].ABOUT if driver in DRIVERS else _UNKNOWN


def is_of_one(chain: str) -> bool:
    """Whether a chain, of whichever driver, belongs to one network or one container."""
    return _OF_ONE.fullmatch(chain) is not None


def marks(chain: str) -> bool:
    """Whether it is the chain, of whichever driver, that marks what is to be masqueraded."""
    name = chain.rpartition(" ")[2]
    return bool(name) and any(name == driver.ABOUT.mark_chain for driver in DRIVERS.values())


def purpose_of(chain: str) -> str:
    """What a driver's rules in a chain that all share are for; "" where none says."""
    name = chain.rpartition(" ")[2]
    purposes = (driver.ABOUT.purposes.get(name, "") for driver in DRIVERS.values())
    return next(filter(None, purposes), _OF_A_HOOK.get(name, ""))


def leading(rules: Iterable[Rule], hook: str, chains: Collection[str]) -> list[Rule]:
    """The rules in the chain of a hook ("forward") that lead to one of these chains, and the hook.

    Every driver calls that chain by the hook's name in capitals.
    """
    base = hook.upper()
    return [
        rule
        for rule in rules
        if rule.chain.rpartition(" ")[2] == base
        and (
            rule.kind is RuleKind.HOOK
            or rule.chain.removesuffix(base) + rule.text.split()[-1] in chains
        )
    ]


def observed_of(setup: Setup, snapshot: Snapshot) -> Ruleset | None:
    """The rules of the setup's driver as they were read, wherever it has them.

    None if they were not, or if podwatch does not know the driver.
    """
    if about(setup.driver).in_firewalld:
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
