# SPDX-License-Identifier: Apache-2.0
"""Which of netavark's drivers is in use, where it keeps no state to say so (before 1.9).

podman does not tell it either: iptables, or firewalld with NETAVARK_FW in podman's environment.
Its rules do, and what was seen of them once counts while containers run.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from podwatch.drivers.driver import has_any, told_by_firewalld
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Firewalld, Part, Unknown


class InUse:
    """The driver as it was last seen, or known from the saved copy."""

    def __init__(self) -> None:
        self._seen: FirewallDriver | None = None
        self._copied: FirewallDriver | None = None

    def remember(self, driver: FirewallDriver) -> None:
        """Take up whose rules an earlier podwatch saved."""
        self._copied = driver

    async def find(
        self,
        setup: Setup,
        rules: Ruleset | None,
        ask: Callable[[Setup], Awaitable[Firewalld]],
        unknown: list[Unknown],
    ) -> tuple[Setup, Ruleset | None, Firewalld | None]:
        """The setup with its driver, the rules if they are that one's, and firewalld's word.

        `setup` is as if it were iptables'; `ask` is for what firewalld says of one, its policies
        with it, and used only if it matters. One more `unknown` where nothing tells.
        """
        if not setup.endpoints:
            self._seen = None
        if rules is not None and has_any(setup, rules):
            self._seen = FirewallDriver.IPTABLES
        if rules is None or self._seen is FirewallDriver.IPTABLES:
            return setup, rules, None
        other = replace(setup, driver=FirewallDriver.FIREWALLD)
        said = await ask(other)
        driver = self._seen or told_by_firewalld(setup, said)
        if driver is FirewallDriver.UNKNOWN and self._copied is FirewallDriver.IPTABLES:
            driver = self._copied
        if driver is FirewallDriver.IPTABLES:
            return setup, rules, None
        if driver is FirewallDriver.UNKNOWN:
            why = "it has no rule in iptables, and in firewalld nothing but its policies"
            hint = "podman network reload --all"
            unknown.append(Unknown(Part.RULES, "netavark's firewall driver", why, hint))
            return replace(setup, driver=driver), None, said
        self._seen = driver
        return other, None, said
