# SPDX-License-Identifier: Apache-2.0
"""The host's network as /proc and /sys show it: routes, settings of bridges, listening sockets.

Whose the sockets are, and who listens in containers, only shows to root outside of the daemon's
sandbox: that is for `podwatch explain`. What cannot be read is left out.
"""

import os
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from types import MappingProxyType

from podwatch.adapters import namespace
from podwatch.adapters.files import read_proc
from podwatch.formats.proc_net import (
    advertised,
    default_gateways,
    default_gateways_v6,
    default_routes,
    parse_listening,
    routes_within,
)
from podwatch.formats.proc_net import route_links as route_links_in
from podwatch.words.text import clean
from podwatch.words.way import Kernel

MAX_BYTES = 4 * 1024 * 1024
_ROUTES = {4: "/proc/net/route", 6: "/proc/net/ipv6_route"}


def read_sockets(
    pids: Mapping[str, int], bound: Mapping[tuple[int, str], str] = MappingProxyType({})
) -> Kernel:
    """Who keeps the host's ports, who listens in containers, and who of them has no way out.

    Nothing else is filled in.

    `pids` maps running containers' ids to a process of each; `bound` are the inodes of sockets that
    are bound and do not listen, by port and protocol.
    """
    return Kernel(
        held=_held(bound),
        bound=frozenset(bound),
        listens={
            key: frozenset(_listening(f"/proc/{pid}/net"))
            for key, pid in pids.items()
            if pid > 0 and Path(f"/proc/{pid}/net/tcp").exists()
        },
        routeless=frozenset(key for key, pid in pids.items() if pid > 0 and lacks_way_out(pid)),
    )


def lacks_way_out(pid: int) -> bool:
    """Whether a process has no default route for IPv4; not where its routes cannot be read."""
    text = _text(f"/proc/{pid}/net/route")
    return bool(text) and not any(default_routes(text, 4))


def default_link_of(version: int) -> str:
    """The interface of the default route of an IP version; "" where there is none."""
    return next(default_routes(_there(_ROUTES[version]), version), "")


def host_routed() -> dict[int, str]:
    """The interface of a default route of this process' namespace, by IP version."""
    found = {
        version: next(default_routes(_text(_ROUTES[version]), version), "") for version in (4, 6)
    }
    return {version: link for version, link in found.items() if link}


def default_link() -> str:
    """The interface of the default route, IPv4's first; "" where there is none."""
    return default_link_of(4) or default_link_of(6)


def default_links() -> tuple[str, ...]:
    """The interfaces of all default routes of IPv4."""
    return tuple(dict.fromkeys(default_routes(_there(_ROUTES[4]), 4)))


def route_links() -> tuple[str, ...]:
    """The interfaces that IPv4's routes lead to, each once."""
    return tuple(dict.fromkeys(route_links_in(_there(_ROUTES[4]))))


def has_routes_within(subnets: Collection[IPv4Network]) -> bool:
    """Whether a route of IPv4 is for a part of one of these subnets alone."""
    return routes_within(_there(_ROUTES[4]), subnets)


def gateways() -> dict[str, IPv4Address]:
    """The gateway of the default route of each interface that has one, for IPv4."""
    return dict(default_gateways(_there(_ROUTES[4])))


def gateways_v6() -> dict[str, IPv6Address]:
    """The gateway of the default route of each interface that has one, for IPv6."""
    return dict(default_gateways_v6(_there(_ROUTES[6])))


def forwards(link: str) -> bool:
    """Whether what comes in by a link is forwarded, for IPv4; where that cannot be read, too."""
    return _there(f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip() != "0"


def deaf_to_routers() -> tuple[str, ...]:
    """Interfaces with routes that a router advertised, and that take no more such as they forward.

    accept_ra is 1, "unless forwarding" (Linux Documentation/networking/ip-sysctl.rst).
    """
    base = "/proc/sys/net/ipv6/conf"
    return tuple(
        name
        for name in sorted(advertised(_there(_ROUTES[6])))
        if _there(f"{base}/{name}/accept_ra").strip() == "1"
        and _there(f"{base}/{name}/forwarding").strip() != "0"
    )


def has_default_v6() -> bool:
    """Whether there is a default route for IPv6."""
    return any(default_routes(_there(_ROUTES[6]), 6))


def is_link(name: str) -> bool:
    """Whether there is a link of this name."""
    try:
        return bool(name) and namespace.index_of(name) > 0
    except OSError:
        return False


def has_master(name: str) -> bool:
    """Whether a link is part of another one: of a bridge, a bond or a VRF."""
    return namespace.networks().has(f"{name}/master")


def bridged() -> frozenset[int]:
    """The IP versions of which a bridge hands packets to iptables' and nftables' chains."""
    names = {4: "iptables", 6: "ip6tables"}
    base = "/proc/sys/net/bridge/bridge-nf-call-"
    return frozenset(
        version for version, name in names.items() if _there(base + name).strip() == "1"
    )


def _listening(directory: str, *, loopback: bool = False) -> dict[tuple[int, str], str]:
    """The inode of a socket that listens, by port and protocol; on loopback too if wanted."""
    return {
        (port, protocol): inode
        for protocol in ("tcp", "udp")
        for version in ("6", "")
        for port, _, inode in parse_listening(
            _text(f"{directory}/{protocol}{version}"), protocol, loopback=loopback
        )
    }


def _held(bound: Mapping[tuple[int, str], str]) -> dict[tuple[int, str], str]:
    """Whose the sockets are that keep the host's ports: a process of each."""
    sockets = {**bound, **_listening("/proc/net", loopback=True)}
    inodes = set(sockets.values())
    owners: dict[str, str] = {}
    for pid in filter(str.isdecimal, _listdir("/proc")):
        for descriptor in _listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue  # it was closed, or the process has ended
            inode = target.removeprefix("socket:[").removesuffix("]")
            if target.startswith("socket:[") and inode in inodes:
                owners[inode] = f"{clean(_text(f'/proc/{pid}/comm').strip())} (pid {pid})"
    return {port: owners.get(inode, "") for port, inode in sockets.items()}


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return read_proc(path, limit_bytes=MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _there(path: str) -> str:
    """The same, of the networks' namespace."""
    try:
        return namespace.networks().read(path, MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
