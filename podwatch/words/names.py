# SPDX-License-Identifier: Apache-2.0
"""aardvark-dns, which answers containers that ask for names: its files, its processes, its sockets.

netavark starts it with the first container on a network that has names, tells it of each further
one by SIGHUP, and never looks whether it lives (netavark src/dns/aardvark.rs).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podwatch.words.network import Address, Network

Place = tuple[Address, int]
"""An address of the host's and a port of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One container in the file of a network: what its names stand for."""

    container_id: str
    addresses: tuple[Address, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """A network that aardvark-dns has a file of, by its path: where it listens, whom it knows.

    `damage` says which line of the file aardvark-dns does not understand, "" where it does: for
    such a line it passes over the whole file, and nobody answers on this network.
    """

    network: str
    path: str
    addresses: tuple[Address, ...]
    entries: tuple[Entry, ...] = ()
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Askers:
    """A network, called `name`, whose containers ask aardvark-dns on these addresses."""

    name: str
    network: Network
    servers: tuple[Address, ...]
    port: int


HUNG_S = 15.0
"""aardvark-dns that has left queries unread for so long is hung: it answers one in 0.05 ms."""


@dataclass(frozen=True, slots=True)
class NameServer:
    """aardvark-dns: the process that its pid file names, and those that really are it.

    `named` is 0 where there is no such file, or nothing in it; `name` is the name of the process
    that it names, "" where there is none. `running` are the processes that serve this directory.
    `sockets` has each address and port of the host that is taken for UDP, with the bytes that wait
    to be read there; `port` is the one to answer on, 0 where that is not known. `deaf_s` is for how
    many seconds by now some query has been waiting on its sockets, and none was read; one that has
    read none for `hung_s` hangs.
    """

    pid_file: str
    named: int = 0
    name: str = ""
    running: tuple[int, ...] = ()
    served: tuple[Served, ...] = ()
    sockets: Mapping[Place, int] = field(default_factory=dict)
    port: int = 0
    deaf_s: float = 0.0
    hung_s: float = HUNG_S

    @property
    def hangs(self) -> bool:
        """Whether it runs, and answers nobody."""
        return bool(self.running) and self.deaf_s >= self.hung_s

    @property
    def is_alive(self) -> bool:
        """Whether netavark will find it."""
        return self.named in self.running
