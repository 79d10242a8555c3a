# SPDX-License-Identifier: Apache-2.0
"""Reading what is set up and the rules that are there, both of one moment.

netavark writes its state before its rules. So what is read is only good when nobody was in the
middle of a change: podman's network lock was free, and nobody touched the driver's table meanwhile.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podwatch.adapters.netlink import generation
from podwatch.daemon.containers import Containers
from podwatch.daemon.expected import Expected
from podwatch.daemon.installed import Installed
from podwatch.daemon.rules import Rules
from podwatch.words.errors import Unreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Part, Unknown

MAX_TRIES = 3
WAITED_S = 0.05
"""What was read longer ago than this is read again."""


def is_old(at: float) -> bool:
    """Whether what was read at this moment has to be read again."""
    return time.monotonic() > at + WAITED_S


@dataclass
class Read:
    """What is set up and the rules, of one generation, and who is in the middle of a change."""

    setup: Setup | None = None
    rules: Ruleset | None = None
    generation: int = 0
    busy: str = ""
    at: float = field(default_factory=time.monotonic)

    @property
    def is_old(self) -> bool:
        """Whether others were waited for since."""
        return is_old(self.at)


class Reader:
    """Reads both. `changes` counts the transactions on the driver's table; `changes_read` is their
    number when the rules were read last.
    """

    def __init__(
        self,
        expected: Expected,
        installed: Installed,
        rules: Mapping[FirewallDriver, Rules],
        containers: Containers,
        changes: Callable[[], int],
    ) -> None:
        self.expected = expected
        self.installed = installed
        self.rules = rules
        self.containers = containers
        self.changes = changes
        self.changes_read = 0

    async def read(self, unknown: list[Unknown]) -> Read:
        """Expected and observed of one generation, and who is in the middle of a change."""
        found = Read()
        for _ in range(MAX_TRIES):
            found = Read(busy=self.installed.lock.holder())
            runtime = self.installed.podman.runtime_stamp()
            try:
                found.setup = await self.expected.read()
            except Unreadable as exc:
                unknown.append(Unknown(Part.SETUP, "netavark's state", str(exc), exc.hint))
                return found
            self.containers.take_listed(found.setup, runtime)
            driver = self.rules.get(found.setup.driver)
            if driver is None or not found.setup.endpoints:
                found.busy = found.busy or self.installed.lock.holder()
                return found
            try:
                unchanged = await self._read_rules(driver, found)
            except Unreadable as exc:
                found.rules = None
                unknown.append(Unknown(Part.RULES, found.setup.driver, str(exc), exc.hint))
                return found
            found.busy = found.busy or self.installed.lock.holder()
            if unchanged and self.expected.is_current():
                return found
        found.busy = found.busy or "the rules change faster than they can be read"
        return found

    async def _read_rules(self, driver: Rules, found: Read) -> bool:
        """Read the rules into `found`; whether nobody changed them meanwhile. Raises Unreadable."""
        before = self.changes_read = self.changes()
        rules = await driver.read()
        if not rules.present and found.setup is not None:
            rules = await driver.elsewhere(found.setup) or rules
        found.rules, found.generation, found.at = rules, generation(), time.monotonic()
        return self.changes() == before

    async def read_again(self, before: Read, unknown: list[Unknown]) -> Read:
        """The same once more: what is decided is decided from rules and state of one moment."""
        heard = self.expected.stamp
        read = await self.read(unknown)
        # firewalld has answered while podman was at it, or for what was set up before.
        if before.busy or self.expected.stamp != heard:
            read.busy = read.busy or "podman is changing a network"
        return read
