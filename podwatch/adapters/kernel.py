# SPDX-License-Identifier: Apache-2.0
"""The host's network as /proc and /sys show it: forwarding, links, routes, listening sockets.

For `podwatch explain`, which runs as root outside of the daemon's sandbox; a container's own
network is seen through its process. What cannot be read is left out.
"""

import os
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from podwatch.adapters.files import read_proc
from podwatch.drivers.sysctls import FORWARDING
from podwatch.formats.proc_net import advertised, default_gateways, default_routes, parse_listening
from podwatch.words.text import clean
from podwatch.words.way import Inside, Kernel, Link

MAX_BYTES = 4 * 1024 * 1024
_ROUTES = {4: "/proc/net/route", 6: "/proc/net/ipv6_route"}
_IFF_UP = 1  # linux/if.h


def read_kernel(
    pids: Mapping[str, int], bound: Mapping[tuple[int, str], str] = MappingProxyType({})
) -> Kernel:
    """The host's network; `pids` maps running containers' ids to a process of each.

    `bound` are the inodes of sockets that are bound and do not listen, by port and protocol.
    """
    links, names = _links()
    return Kernel(
        forwarding={
            version: text.strip() != "0"
            for version, path in FORWARDING.items()
            if (text := _text(f"/proc/sys/{path}"))
        },
        links=links,
        routed={
            version: link
            for version, path in _ROUTES.items()
            if (link := next(default_routes(_text(path), version), ""))
        },
        held=_held(bound),
        bound=frozenset(bound),
        inside={
            key: Inside(frozenset(_listening(f"/proc/{pid}/net")), _peers(pid, names))
            for key, pid in pids.items()
            if pid > 0 and Path(f"/proc/{pid}/net/tcp").exists()
        },
    )


def default_link() -> str:
    """The interface of the default route, IPv4's first; "" where there is none."""
    found = (next(default_routes(_text(path), version), "") for version, path in _ROUTES.items())
    return next(filter(None, found), "")


def default_links() -> tuple[str, ...]:
    """The interfaces of all default routes of IPv4."""
    return tuple(dict.fromkeys(default_routes(_text(_ROUTES[4]), 4)))


def gateways() -> dict[str, IPv4Address]:
    """The gateway of the default route of each interface that has one, for IPv4."""
    return dict(default_gateways(_text(_ROUTES[4])))


def deaf_to_routers() -> tuple[str, ...]:
    """Interfaces with routes that a router advertised, and that take no more such as they forward.

    accept_ra is 1, "unless forwarding" (Linux Documentation/networking/ip-sysctl.rst).
    """
    base = "/proc/sys/net/ipv6/conf"
    return tuple(
        name
        for name in sorted(advertised(_text(_ROUTES[6])))
        if _text(f"{base}/{name}/accept_ra").strip() == "1"
        and _text(f"{base}/{name}/forwarding").strip() != "0"
    )


def has_default_v6() -> bool:
    """Whether there is a default route for IPv6."""
    return any(default_routes(_text(_ROUTES[6]), 6))


def has_master(name: str) -> bool:
    """Whether a link is part of another one: of a bridge, a bond or a VRF."""
    return os.path.islink(f"/sys/class/net/{name}/master")


def bridged() -> frozenset[int]:
    """The IP versions of which a bridge hands packets to iptables' and nftables' chains."""
    names = {4: "iptables", 6: "ip6tables"}
    base = "/proc/sys/net/bridge/bridge-nf-call-"
    return frozenset(
        version for version, name in names.items() if _text(base + name).strip() == "1"
    )


def _links() -> tuple[dict[str, Link], dict[int, str]]:
    links: dict[str, Link] = {}
    names: dict[int, str] = {}
    for name in _listdir("/sys/class/net"):
        base = f"/sys/class/net/{name}"
        try:
            is_up = bool(int(_text(f"{base}/flags"), 16) & _IFF_UP)
            names[int(_text(f"{base}/ifindex"))] = name
        except ValueError:
            continue  # it went away between the two calls
        try:
            master = os.path.basename(os.readlink(f"{base}/master"))
        except OSError:
            master = ""
        links[name] = Link(name, is_up, master)
    return links, names


def _peers(pid: int, names: Mapping[int, str]) -> tuple[str, ...]:
    """The host's ends of a container's links: its /sys shows its own network namespace."""
    base = f"/proc/{pid}/root/sys/class/net"
    found = []
    for name in _listdir(base):
        try:
            index = int(_text(f"{base}/{name}/iflink"))
        except ValueError:
            continue
        if name != "lo" and index in names:
            found.append(names[index])
    return tuple(sorted(found))


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
