# SPDX-License-Identifier: Apache-2.0
"""The way of a packet, hop by hop, and the facts about the kernel that it is told from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from podwatch.words.links import Link
from podwatch.words.network import Address
from podwatch.words.text import clean_fields


class Mark(StrEnum):
    """What a hop does to the packet.

    A note stops nothing that Podman promised, but is worth knowing. What is closed is so on
    purpose, as long as the container does not run, or from the start, as a port that nothing can
    lead to: it is nobody's loss.
    """

    OPEN = "open"
    BROKEN = "broken"
    NOTE = "note"
    UNKNOWN = "unknown"
    CLOSED = "closed"


_GRAVEST = (Mark.BROKEN, Mark.UNKNOWN, Mark.CLOSED)
"""What a hop makes of its way; all other marks let the packet pass."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One place that a packet passes, and what was found there.

    `advice` is the one thing to do about it, empty where the packet passes.
    """

    place: str
    what: str
    mark: Mark = Mark.OPEN
    advice: str = ""

    def __post_init__(self) -> None:
        clean_fields(self, "what", "advice")


class WayKind(StrEnum):
    """Where the packet goes."""

    IN = "in"
    OUT = "out"
    ISOLATION = "isolation"
    NEIGHBOURS = "neighbours"  # between the containers of one network
    NAMES = "names"  # from a name of one of them to its address
    HOST = "host"  # from a user's container to the host, and what it publishes


@dataclass(frozen=True, slots=True)
class Way:
    """A way from the outside to a port, from a container out, or one of a whole network.

    `port` is (first host port, protocol) of a way in, which serves `count` ports. `members` are the
    containers, name by id, that have no network of their own and go this way: the others of a pod.
    `among` are those, name by id, of a way that is a network's.
    """

    kind: WayKind
    title: str
    container: str
    container_id: str
    network: str
    hops: tuple[Hop, ...]
    port: tuple[int, str] | None = None
    count: int = 1
    members: Mapping[str, str] = field(default_factory=dict)
    among: Mapping[str, str] = field(default_factory=dict)

    @property
    def mark(self) -> Mark:
        """Broken if any hop is; else unknown, or closed, if any hop is; else open."""
        marks = {hop.mark for hop in self.hops}
        return next((mark for mark in _GRAVEST if mark in marks), Mark.OPEN)

    @property
    def ports(self) -> tuple[int, int]:
        """The first and the last host port of a way in; (0, -1) of any other."""
        return (0, -1) if self.port is None else (self.port[0], self.port[0] + self.count - 1)

    @property
    def first_broken(self) -> Hop | None:
        """The hop to repair first."""
        return self.first(Mark.BROKEN)

    def first(self, mark: Mark) -> Hop | None:
        """The first hop with this mark."""
        return next((hop for hop in self.hops if hop.mark is mark), None)


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A chain of another program that packets pass on their way through the host.

    `around` are its rules and those of all chains that it may jump to.
    """

    table: str
    name: str
    hook: str
    policy: str
    rules: tuple[str, ...] = ()
    around: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of firewalld's: between which of its zones, and what becomes of what is left.

    "ANY" stands for every zone.
    """

    name: str
    ingress: tuple[str, ...]
    egress: tuple[str, ...]
    target: str

    def closes(self, zone: str, beyond: str) -> bool:
        """Whether packets from the one zone to the other end here."""
        concerned = {zone, "ANY"} & set(self.ingress) and {beyond, "ANY"} & set(self.egress)
        return bool(concerned) and self.target in ("DROP", "REJECT")


@dataclass(frozen=True, slots=True)
class Wire:
    """A veth by which somebody has an address: its end on the host, and whether both ends are up.

    `end` is None where the host has no such link; `is_up_inside` is that of the other end.
    """

    end: Link | None
    is_up_inside: bool = True

    def joins(self, bridge: str) -> bool:
        """Whether packets get from the bridge to the address."""
        end = self.end
        return end is not None and end.is_up and end.master == bridge and self.is_up_inside


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a look shows beside rules and firewalld; a part that is not known is None or not there.

    `forwarding` maps settings that forward packets, by their paths below /proc/sys, to whether they
    do. `wires` are the links that lead to each address. `routed` maps the IP versions that have a
    default route to its interface. `held` maps the ports of the host that a process keeps to its
    name and pid, "" where that could not be seen; of those in `bound` its socket may be bound and
    not listen. `listens` are the (port, protocol) on which a container listens, by its id. Nobody
    looked who keeps or listens where these are None, or not there. `routeless` are the ids of
    containers without a default route for IPv4, where that was looked at.
    """

    forwarding: Mapping[str, bool] = field(default_factory=dict)
    wires: Mapping[Address, tuple[Wire, ...]] | None = None
    routed: Mapping[int, str] = field(default_factory=dict)
    held: Mapping[tuple[int, str], str] | None = None
    bound: frozenset[tuple[int, str]] = frozenset()
    listens: Mapping[str, frozenset[tuple[int, str]]] = field(default_factory=dict)
    routeless: frozenset[str] = frozenset()
    others: tuple[BaseChain, ...] = ()
    policies: tuple[Policy, ...] = ()
