# SPDX-License-Identifier: Apache-2.0
"""The network under the rules as Podman made it: bridges, their addresses, who is on them.

netavark makes a bridge when the first container joins its network, and deletes it after the last
one has left; what is on it later nobody looks at again (netavark src/network/bridge.rs).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podwatch.words.network import Address, Interface


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge `name` of a network, as it is while a container is on that network.

    `gateways` are its addresses with the lengths of their prefixes. One that is
    `unmanaged` is the administrator's: Podman only puts containers on it. A `special` one podwatch
    cannot make anew: it is in a VRF or has a VLAN. `mtu` is 0 where the kernel chooses.
    """

    network: str
    name: str
    gateways: tuple[Interface, ...] = ()
    unmanaged: bool = False
    internal: bool = False
    asks_names: bool = False
    special: bool = False
    mtu: int = 0


def by_hand(link: str, address: Interface) -> str:
    """How a person gives a link an address: one of IPv6 can only be given where IPv6 is on."""
    if address.version == 4:
        return f"ip addr add {address} brd + dev {link}"
    on = f"sysctl -w net.ipv6.conf.{link.replace('.', '/')}.disable_ipv6=0"
    return f"{on}; ip addr add {address} nodad dev {link}"


@dataclass(frozen=True, slots=True)
class Place:
    """One container on one bridge, with its addresses there."""

    container_id: str
    network: str
    bridge: str
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Wiring:
    """What has to be there for the containers that run: bridges by their names, and places."""

    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
