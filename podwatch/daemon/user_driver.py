# SPDX-License-Identifier: Apache-2.0
"""Which of netavark's drivers a user's is: it keeps no state that says so, whatever its version.

podman does not tell it either; the rules in the user's namespace do. What was seen once counts, and
the saved copy remembers it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from podwatch.adapters.netlink import chain_exists, table_exists
from podwatch.drivers import iptables, nftables
from podwatch.words.errors import Unreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Firewalld, Part, Unknown


class UserDriver:
    """The driver as it was last seen, or known from the saved copy.

    `has_table` and `has_chain` say whether the kernel has one; they raise Unreadable.
    """

    def __init__(
        self,
        has_table: Callable[[str, str], bool] = table_exists,
        has_chain: Callable[[str, str, str], bool] = chain_exists,
    ) -> None:
        self._has_table = has_table
        self._has_chain = has_chain
        self._seen = FirewallDriver.UNKNOWN

    def remember(self, driver: FirewallDriver) -> None:
        """Take up whose rules an earlier podwatch saved."""
        self._seen = driver

    def name(self, setup: Setup) -> Setup:
        """The setup with its driver, UNKNOWN where nothing tells it."""
        try:
            if self._has_table(nftables.FAMILY, nftables.TABLE):
                self._seen = FirewallDriver.NFTABLES
            elif self._has_chain("ip", "filter", iptables.FORWARD):
                self._seen = FirewallDriver.IPTABLES
        except Unreadable:
            pass  # the look says so, which reads the rules next
        return replace(setup, driver=self._seen)

    async def find(
        self,
        setup: Setup,
        rules: Ruleset | None,
        ask: Callable[[Setup], Awaitable[Firewalld]],
        unknown: list[Unknown],
    ) -> tuple[Setup, Ruleset | None, Firewalld | None]:
        """The same setup: it was named when it was read. One more `unknown` where it has none."""
        if setup.endpoints and setup.driver is FirewallDriver.UNKNOWN:
            why = "there is no rule of netavark's, and none was ever seen"
            what, hint = "netavark's firewall driver", "podman network reload --all"
            unknown.append(Unknown(Part.RULES, what, why, hint))
        return setup, rules, None
