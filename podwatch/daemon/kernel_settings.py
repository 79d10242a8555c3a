# SPDX-License-Identifier: Apache-2.0
"""The kernel's settings as a look finds them, and which of them ever were as they have to be.

A setting that never was is nobody's loss: the host may be meant to be so. Once it was seen, or
netavark says that it set it, it counts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from podwatch.adapters import sysctl
from podwatch.adapters.kernel import default_link_of, default_links, route_links
from podwatch.drivers import sysctls
from podwatch.words.network import Setup


class KernelSettings:
    """Values by path below /proc/sys, as they were read last.

    `configured` has what netavark says it set for a bridge, by path.
    `internal` tells the bridges of internal networks, which forward nothing, and are meant to.
    """

    def __init__(
        self,
        internal: Callable[[], Collection[str]] = frozenset,
        configured: Callable[[str], Mapping[str, str]] = sysctl.read_configured,
    ) -> None:
        self._internal = internal
        self._configured = configured
        self.values: Mapping[str, str] = {}
        self.seen: frozenset[str] = frozenset()
        """Those that were as they have to be, or are said to be by netavark."""
        self.uplinks: tuple[str, ...] = ()
        """The interfaces of IPv4's default routes."""
        self.beside: tuple[str, ...] = ()
        """Those of its other routes, but for bridges of Podman's."""
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
        bridges = {network.bridge for network in setup.networks.values()}.union(self._internal())
        others = (link for link in route_links() if sysctls.of_link(link) not in wanted)
        self.beside = tuple(link for link in others if link not in bridges) if wanted else ()
        wanted |= {sysctls.of_link(link): "1" for link in self.beside}
        self.values = sysctl.read(wanted)
        said = {
            path
            for network in setup.networks.values()
            for path, value in self._configured(network.bridge).items()
            if wanted.get(path) == value
        }
        are = {path for path, value in self.values.items() if value == wanted[path]}
        self.seen = (self.seen & wanted.keys()) | said | are

    def are_others(self) -> bool:
        """Whether they are not what they were when they were read."""
        return sysctl.read(self.values) != self.values
