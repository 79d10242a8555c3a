# SPDX-License-Identifier: Apache-2.0
"""Relays: the processes that carry the packets of a user's containers.

A user's network namespaces have no way out of their own. pasta or slirp4netns connects one to the
host, rootlessport listens on the host for what a container publishes. podman starts each with its
container, or with the first one on a bridge, and nobody looks after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RelayKind(StrEnum):
    """Which program a relay is."""

    PASTA = "pasta"
    SLIRP = "slirp4netns"
    PORTS = "rootlessport"


class Role(StrEnum):
    """What a relay is for."""

    UPLINK = "uplink"  # the way out of the namespace in which all of a user's bridges are
    WAY = "way"  # the only way in and out of one container without a bridge
    PORTS = "ports"  # what one container publishes


@dataclass(frozen=True, slots=True)
class Duty:
    """One relay that has to run: what for, and for which container; the uplink is for all."""

    role: Role
    container_id: str = ""

    def __str__(self) -> str:
        return f"{self.role}:{self.container_id}"


UPLINK = Duty(Role.UPLINK)


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay that runs, or ran. `pid` and `started` together name it: a number is used again.

    `exe` is the file it was started from, "" where that is not the host's own program of this
    name: what such a process was started with is never used. `file` is the network namespace that
    it was given by a path, `netns` the inode of the one it is in. `child` is rootlessport's second
    half, 0 where there is none. `end_pipe` is the inode of the pipe by which it hears that its
    container has ended, 0 for none.
    """

    kind: RelayKind
    pid: int
    started: int
    exe: str = ""
    argv: tuple[str, ...] = ()
    file: str = ""
    netns: int = 0
    child: int = 0
    end_pipe: int = 0

    @property
    def named(self) -> str:
        """Its program and number, for a person."""
        return f"{self.kind} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Relays:
    """What a look found of them.

    `running` are those that run. `healthy` has each as it was while it did its work: it can be
    started again from that alone. `netns_file` is the file of the namespace of a user's bridges, ""
    where there is none. `taken` are the ports of the host, by protocol, that anybody listens on;
    None where that was not asked, as nothing depends on it. `routeless` are the ids of containers
    with pasta of their own that have no default route for IPv4.
    """

    running: tuple[Relay, ...] = ()
    healthy: Mapping[Duty, Relay] = field(default_factory=dict)
    netns_file: str = ""
    taken: frozenset[tuple[str, int]] | None = None
    routeless: frozenset[str] = frozenset()
