# SPDX-License-Identifier: Apache-2.0
"""What a reload of a container's network stands on: name server, bridges' addresses, parents.

`podman network reload` takes a container off all its networks before it puts it back. Where one of
these is not there it cannot put it back, and the container is left with loopback alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podwatch.words.links import Links
from podwatch.words.names import NameServer
from podwatch.words.network import Address, ContainerClass, Interface, Subnet

ON_A_PARENT = (ContainerClass.MACVLAN, ContainerClass.IPVLAN)
"""Networks that are made on top of a link of the host, their parent."""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """One of Podman's networks as it was configured.

    `interface` is the bridge, or the parent of a macvlan or ipvlan, "" for that of the default
    route. One that `wants_dhcp` has a name that podman takes: it becomes a part of a unit's name.
    `gateways` are the addresses of its bridge. `special`: its bridge is in a VRF or has a VLAN.
    `mtu` is 0 where none was asked for.
    """

    name: str
    kind: ContainerClass
    interface: str = ""
    subnets: tuple[Subnet, ...] = ()
    asks_names: bool = False
    wants_dhcp: bool = False
    gateways: tuple[Interface, ...] = ()
    special: bool = False
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Gates:
    """What has to be there for a reload, read at one moment.

    `no_lease` are networks on which nobody would get a lease. `bound` are the (address, port) of
    the host on which something listens, wildcards as such; `default_link` is the interface of the
    default route, "" where there is none.
    """

    links: Links = field(default_factory=Links)
    networks: Mapping[str, NetworkFile] = field(default_factory=dict)
    server: NameServer | None = None
    dns_ports: frozenset[int] = frozenset({53})
    bound: frozenset[tuple[Address, int]] = frozenset()
    default_link: str = ""
    no_lease: tuple[str, ...] = ()
