# SPDX-License-Identifier: Apache-2.0
"""A user's host on which every way is open: two containers on a bridge, one each with a relay.

web and db are on network app, alone has pasta and old slirp4netns.
"""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

from podwatch.daemon.user_network import without_netns
from podwatch.decide.explain import explain
from podwatch.words.links import Links
from podwatch.words.netns import Netns
from podwatch.words.network import Container, ContainerClass, PortMapping
from podwatch.words.outside import Outside
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Relays, Role
from podwatch.words.snapshot import ABSENT_FIREWALLD, Part, Snapshot
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.decide.whole_host import DB, LINKS, WEB, WHOLE, Fault, unknown

NETNS = "/run/user/1000/containers/networks/rootless-netns/rootless-netns"
ALONE, OLD = "d" * 64, "e" * 64
ADDRESS, PREFIX = ip_address("192.0.2.7"), ip_interface("192.0.2.7/24")

CONTAINERS = {
    WEB: Container(
        WEB,
        "web",
        kind=ContainerClass.BRIDGE,
        networks=("app",),
        netns="4026532101",
        mode="bridge",
        sandbox="/run/user/1000/netns/netns-1",
        conmon=11,
        ports=(PortMapping(8080, 80, "tcp"),),
    ),
    DB: Container(
        DB,
        "db",
        kind=ContainerClass.BRIDGE,
        networks=("app",),
        netns="4026532102",
        mode="bridge",
        sandbox="/run/user/1000/netns/netns-2",
        conmon=12,
    ),
    ALONE: Container(
        ALONE,
        "alone",
        kind=ContainerClass.PASTA,
        netns="4026532103",
        mode="pasta",
        sandbox="/run/user/1000/netns/netns-3",
        conmon=13,
        ports=(PortMapping(8081, 80, "tcp"),),
    ),
    OLD: Container(
        OLD,
        "old",
        kind=ContainerClass.SLIRP4NETNS,
        netns="4026532104",
        mode="slirp4netns",
        sandbox="/run/user/1000/netns/netns-4",
        conmon=14,
        ports=(PortMapping(8082, 80, "tcp"),),
    ),
}


def _ports(pid: int, netns: int) -> Relay:
    return Relay(RelayKind.PORTS, pid, 1, "/rootlessport", netns=netns, child=pid + 1, end_pipe=pid)


UP = Relay(RelayKind.PASTA, 21, 1, "/usr/bin/pasta", ("pasta", NETNS), NETNS)
OF_ALONE = replace(UP, pid=22, file=CONTAINERS[ALONE].sandbox)
OF_OLD = Relay(
    RelayKind.SLIRP, 23, 1, "/usr/bin/slirp4netns", (), CONTAINERS[OLD].sandbox, end_pipe=9
)
PORTS_OF_WEB, PORTS_OF_OLD = _ports(31, 4026532101), _ports(33, 4026532104)
HEALTHY = {
    UPLINK: UP,
    Duty(Role.WAY, ALONE): OF_ALONE,
    Duty(Role.WAY, OLD): OF_OLD,
    Duty(Role.PORTS, WEB): PORTS_OF_WEB,
    Duty(Role.PORTS, OLD): PORTS_OF_OLD,
}
RUNNING = (UP, OF_ALONE, OF_OLD, PORTS_OF_WEB, PORTS_OF_OLD)
USER = replace(
    WHOLE,
    firewalld=ABSENT_FIREWALLD,
    containers=CONTAINERS,
    links=Links(LINKS.by_name, {**LINKS.addresses, "eth0": (PREFIX,)}, LINKS.routes),
    relays=Relays(RUNNING, HEALTHY, NETNS),
    netns=Netns(NETNS, 7, 7, has_file=True),
    outside=Outside({4: "wlan0", 6: "wlan0"}, frozenset({ADDRESS}), first_port=1024),
)


def without(*gone: Relay, healthy: bool = True) -> Snapshot:
    """These relays do not run; `healthy`: what podwatch saw of them is known."""
    running = tuple(relay for relay in RUNNING if relay not in gone)
    return replace(USER, relays=Relays(running, HEALTHY if healthy else {}, NETNS))


def ways(snapshot: Snapshot, kind: WayKind, container: str = "") -> list[Way]:
    """The ways of a kind, of one container where it is named."""
    found = [way for way in explain(snapshot) if way.kind is kind]
    return [way for way in found if not container or way.container == container]


def broken(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """By the title of each broken way: what is broken first, and what to do about it."""
    found = {way.title: way.first_broken for way in explain(snapshot)}
    return {title: (hop.what, hop.advice) for title, hop in found.items() if hop}


def hops(snapshot: Snapshot, place: str, kind: WayKind, container: str = "") -> set[Hop]:
    """The hops at one place of such ways."""
    found = ways(snapshot, kind, container)
    return {hop for way in found for hop in way.hops if hop.place == place}


def marks(snapshot: Snapshot) -> set[Mark]:
    """What all ways are."""
    return {way.mark for way in explain(snapshot)}


def _relays(**changes: Any) -> Fault:
    """The relays are otherwise, where they are known."""

    def strike(snapshot: Snapshot) -> Snapshot:
        known = snapshot.relays
        return snapshot if known is None else replace(snapshot, relays=replace(known, **changes))

    return strike


def _killed(relay: Relay) -> Fault:
    """One relay has ended."""

    def strike(snapshot: Snapshot) -> Snapshot:
        known = snapshot.relays or Relays()
        left = tuple(each for each in known.running if each is not relay)
        return _relays(running=left)(snapshot)

    return strike


def _netns(**changes: Any) -> Fault:
    """The namespace is otherwise; where it was not entered, what is in it is not known."""

    def strike(snapshot: Snapshot) -> Snapshot:
        netns = replace(snapshot.netns or Netns(), **changes)
        seen = replace(snapshot, netns=netns)
        if netns.inode:
            return seen
        return without_netns(_relays(netns_file="")(seen))

    return strike


def _outside(**changes: Any) -> Fault:
    """The host around is otherwise."""
    return lambda snapshot: replace(
        snapshot, outside=replace(snapshot.outside or Outside(), **changes)
    )


FAULTS: Mapping[str, Fault] = {
    "uplink ended": _killed(UP),
    "rootlessport ended": _killed(PORTS_OF_WEB),
    "pasta ended": _killed(OF_ALONE),
    "slirp4netns ended": _killed(OF_OLD),
    "nothing ever seen": _relays(healthy={}),
    "no route taken over": _relays(routeless=frozenset({ALONE})),
    "relays unknown": unknown(Part.RELAYS, relays=None),
    "other address": _outside(addresses=frozenset({ip_address("192.0.2.8")})),
    "offline": _outside(routed={}),
    "mount lost": _netns(mounted=0),
    "removed": _netns(mounted=0, has_file=False),
    "split": _netns(mounted=9),
    "not entered": _netns(inode=0),
    "gone": _netns(inode=0, mounted=0),
}
"""What may be wrong with a user's network alone."""
