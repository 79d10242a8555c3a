# SPDX-License-Identifier: Apache-2.0
"""The kernel's settings that packets to and from containers depend on, as netavark sets them. Pure.

netavark sets them when it makes a network's bridge, and nobody ever again: a `sysctl --system`, as
packages of systemd run it, can take them back while every rule stays (podman#27334, #27695).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from podwatch.drivers.driver import DRIVERS, about
from podwatch.words.network import Setup

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}

_OF_BRIDGES = ("forwarding", "1"), ("route_localnet", "1"), ("rp_filter", "2")


@dataclass(frozen=True, slots=True)
class Sysctl:
    """One setting, by its path below /proc/sys, and the value it has to have.

    `network` is the network's name, "" where all need it. One that is not `always` set depends on
    netavark's version, or on whoever set up the host, and counts once it was seen to be set.
    """

    path: str
    value: str
    network: str = ""
    always: bool = True

    @property
    def name(self) -> str:
        """As sysctl(8) takes it: a dot in a bridge's name is a slash there (sysctl.d(5))."""
        return self.path.translate(str.maketrans("./", "/."))

    @property
    def forwards(self) -> bool:
        """Whether packets are forwarded by it."""
        return self.path in FORWARDING.values() or self.path.endswith("/forwarding")

    def __str__(self) -> str:
        return f"network {self.network}: {self.name}" if self.network else self.name


def wanted(setup: Setup, uplinks: Iterable[str] = ()) -> Iterator[Sysctl]:
    """What netavark or CNI set for the networks that have containers; nothing for an internal one.

    netavark src/network/bridge.rs: route_localnet in all versions (1.4 sets it with the first
    published port), rp_filter since 1.11. Of CNI's, forwarding alone. netavark writes ip_forward
    each time that it sets up a container, but since 1.16 only when it makes the bridge: with a
    bridge of the administrator's the host may be meant to forward nothing.

    An IPv4 packet is forwarded if the interface forwards by which it comes in: a bridge, or one of
    the `uplinks`, the interfaces of the default route. To write ip_forward is to write them all.
    For IPv6 `all` alone decides (Linux net/ipv6/ip6_output.c, ip6_forward).
    """
    if setup.driver not in DRIVERS:
        return
    families = {
        subnet.version
        for endpoint in setup.endpoints
        if not endpoint.internal
        for _, subnet in endpoint.addresses
    }
    only_forwards = about(setup.driver).only_forwards
    for version, path in FORWARDING.items():
        if version in families:
            yield Sysctl(path, "1", always=only_forwards)
    if 4 in families:
        for link in uplinks:
            yield Sysctl(of_link(link), "1", always=False)
    names = {
        endpoint.network_id: endpoint.network_name
        for endpoint in setup.endpoints
        if not endpoint.internal
    }
    for network_id, name in names.items():
        network = setup.networks.get(network_id)
        if network is None or network.internal:
            continue
        for key, value in _OF_BRIDGES[:1] if only_forwards else _OF_BRIDGES:
            path = f"net/ipv4/conf/{network.bridge}/{key}"
            yield Sysctl(path, value, name or network.bridge, always=False)


def of_link(link: str) -> str:
    """The path of the setting that says whether IPv4 is forwarded that comes in by a link."""
    return f"net/ipv4/conf/{link}/forwarding"


def of_new_bridge(name: str, *, internal: bool, seen: Collection[str]) -> dict[str, str]:
    """What a bridge that is made anew gets before it is up, by path.

    netavark src/network/bridge.rs: it takes no router's word from a container (CVE-2020-13401), and
    that of an internal network forwards nothing. The rest depends on netavark's version: it is what
    was `seen`.
    """
    base = {version: f"net/ipv{version}/conf/{name}" for version in (4, 6)}
    settings = {f"{base[6]}/{key}": "0" for key in ("accept_ra", "accept_dad")}
    if internal:
        settings |= {f"{path}/forwarding": "0" for path in base.values()}
    else:
        of_others = ((f"{base[4]}/{key}", value) for key, value in _OF_BRIDGES)
        settings |= {path: value for path, value in of_others if path in seen}
    return settings


def lost(
    sysctls: Iterable[Sysctl], values: Mapping[str, str], seen: Collection[str]
) -> Iterator[Sysctl]:
    """Those that have another value than they had to have, or once had.

    Where nothing is forwarded, that the single interfaces do not forward is no news.
    """
    found = [sysctl for sysctl in _others(sysctls, values) if sysctl.always or sysctl.path in seen]
    for sysctl in found:
        if not (_is_of_a_link(sysctl) and any(one.path == FORWARDING[4] for one in found)):
            yield sysctl


def closed(
    sysctls: Iterable[Sysctl], values: Mapping[str, str], seen: Collection[str]
) -> Iterator[Sysctl]:
    """Those that forward nothing, and never were seen to: whether they are meant to, nobody says.

    One that forwards nothing as a whole closes no way while each interface forwards.
    """
    sysctls = list(sysctls)
    found = [sysctl for sysctl in _others(sysctls, values) if sysctl.forwards]
    stopped = [sysctl for sysctl in found if _is_of_a_link(sysctl)]
    for sysctl in found:
        if sysctl.always or sysctl.path in seen:
            continue
        if sysctl.path == FORWARDING[4]:
            if stopped:
                yield sysctl
        elif not _is_of_a_link(sysctl) or all(one.path != FORWARDING[4] for one in found):
            yield sysctl


def _others(sysctls: Iterable[Sysctl], values: Mapping[str, str]) -> Iterator[Sysctl]:
    return (sysctl for sysctl in sysctls if values.get(sysctl.path, sysctl.value) != sysctl.value)


def _is_of_a_link(sysctl: Sysctl) -> bool:
    return sysctl.forwards and sysctl.path not in FORWARDING.values()


def parse_configured(text: str) -> dict[str, str]:
    """Values by path out of a file of sysctl.d(5), as netavark writes them: `path = value`.

    A line that cannot be shown is passed over: no path holds such a thing.
    """
    lines = (line for line in text.split("\n") if line.replace("\t", "").isprintable())
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {path.strip(): value.strip() for path, is_set, value in pairs if is_set}
