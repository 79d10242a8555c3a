# SPDX-License-Identifier: Apache-2.0
"""The kernel's settings as a look finds them, and which of them ever were as they have to be.

A setting that never was is nobody's loss: the host may be meant to be so. Once it was seen, or
netavark says that it set it, it counts.
"""

from collections.abc import Iterable, Mapping

from podwatch.adapters import sysctl
from podwatch.adapters.kernel import default_link_of, default_links
from podwatch.drivers import sysctls
from podwatch.words.network import Setup


class KernelSettings:
    """Values by path below /proc/sys, as they were read last."""

    def __init__(self) -> None:
        self.values: Mapping[str, str] = {}
        self.seen: frozenset[str] = frozenset()
        """Those that were as they have to be, or are said to be by netavark."""
        self.uplinks: tuple[str, ...] = ()
        """The interfaces of IPv4's default routes."""
        self.routed: Mapping[int, str] = {}
        """The interface of one default route for each IP version of the networks that has one."""

    def remember(self, seen: Iterable[str]) -> None:
        """Take up what an earlier podwatch has seen."""
        self.seen |= frozenset(seen)

    def read(self, setup: Setup | None) -> None:
        """Read those that the networks of `setup` need; none where that is not known."""
        if setup is None:
            self.values = {}
            return
        self.uplinks = default_links()
        versions = {subnet.version for net in setup.networks.values() for subnet in net.subnets}
        links = {version: default_link_of(version) for version in versions}
        self.routed = {version: link for version, link in links.items() if link}
        wanted = {sysctl.path: sysctl.value for sysctl in sysctls.wanted(setup, self.uplinks)}
        self.values = sysctl.read(wanted)
        said = {
            path
            for network in setup.networks.values()
            for path, value in sysctl.read_configured(network.bridge).items()
            if wanted.get(path) == value
        }
        are = {path for path, value in self.values.items() if value == wanted[path]}
        self.seen = (self.seen & wanted.keys()) | said | are

    def are_others(self) -> bool:
        """Whether they are not what they were when they were read."""
        return sysctl.read(self.values) != self.values
