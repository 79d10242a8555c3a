# SPDX-License-Identifier: Apache-2.0
"""The kernel's settings that packets to and from containers depend on, as netavark sets them. Pure.

netavark sets them when it makes a network's bridge, and nobody ever again: a `sysctl --system`, as
packages of systemd run it, can take them back while every rule stays (podman#27334, #27695).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from podwatch.words.network import FirewallDriver, Setup

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}

_OF_BRIDGES = ("route_localnet", "1"), ("rp_filter", "2")


@dataclass(frozen=True, slots=True)
class Sysctl:
    """One setting, by its path below /proc/sys, and the value it has to have.

    `network` is the network's name, "" where all need it. One that is not `always` set depends on
    netavark's version, and counts once it was seen to be set.
    """

    path: str
    value: str
    network: str = ""
    always: bool = True

    @property
    def name(self) -> str:
        """As sysctl(8) takes it: a dot in a bridge's name is a slash there (sysctl.d(5))."""
        return self.path.translate(str.maketrans("./", "/."))


def wanted(setup: Setup) -> Iterable[Sysctl]:
    """What netavark or CNI set for the networks that have containers; nothing for an internal one.

    netavark src/network/bridge.rs: forwarding and route_localnet in all versions (1.4 sets the
    latter with the first published port), rp_filter since 1.11. Of CNI's, forwarding alone.
    """
    if setup.driver in (FirewallDriver.NONE, FirewallDriver.UNKNOWN):
        return
    families = {
        subnet.version
        for each in setup.endpoints
        if not each.internal
        for _, subnet in each.addresses
    }
    for version, path in FORWARDING.items():
        if version in families:
            yield Sysctl(path, "1")
    names = {each.network_id: each.network_name for each in setup.endpoints if not each.internal}
    for network_id, name in names.items():
        network = setup.networks.get(network_id)
        if network is None or network.internal or setup.driver is FirewallDriver.CNI:
            continue
        for key, value in _OF_BRIDGES:
            path = f"net/ipv4/conf/{network.bridge}/{key}"
            yield Sysctl(path, value, name or network.bridge, always=False)
