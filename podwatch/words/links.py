# SPDX-License-Identifier: Apache-2.0
"""The host's network interfaces and their addresses, as the kernel lists them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podwatch.words.network import Address, Interface, Network, Subnet


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface of the host.

    `is_up` is what an administrator set; whether it `has_carrier` is another matter: a veth has
    one while both of its ends are up. `master` is
    the name of the bridge (or VRF, or bond) it is a port of. `kind` is the driver's: bridge, veth,
    macvlan; empty for hardware. `netns_id` is the number that the host's namespace has for the one
    in which the other end of a veth is; None where that is the host's own. An `isolated` port of a
    bridge reaches no other such port. Where it `is_running` the kernel has noticed the carrier, and
    has given it the addresses that a link has by itself.
    """

    name: str
    index: int
    is_up: bool = True
    master: str = ""
    kind: str = ""
    netns_id: int | None = None
    mac: str = ""
    has_carrier: bool = True
    isolated: bool = False
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class Inner:
    """One network interface in a container's network namespace, and its addresses but loopback's.

    `peer` is the index of the host's end of a veth; of a macvlan or ipvlan, that of its parent.
    """

    name: str
    index: int
    is_up: bool = True
    kind: str = "veth"
    peer: int = 0
    addresses: tuple[Interface, ...] = ()


Namespaces = Mapping[int, tuple[Inner, ...]]
"""What is in each network namespace behind a veth, by the number the host's has for it. One that
the kernel did not tell of is not among them."""


@dataclass(frozen=True, slots=True)
class Links:
    """The host's network interfaces by name, and the addresses of those that have any.

    `routes` are the subnets that the main routing tables send somewhere, each with the names of
    interfaces, "" for a route by none. `unused` are addresses that a link has and does not take
    packets for, as another host answers for them, or is still asked whether it does.
    """

    by_name: Mapping[str, Link] = field(default_factory=dict)
    addresses: Mapping[str, tuple[Interface, ...]] = field(default_factory=dict)
    routes: Mapping[Subnet, tuple[str, ...]] = field(default_factory=dict)
    unused: frozenset[Address] = frozenset()

    @property
    def own(self) -> set[Address]:
        """All addresses that the host has."""
        return {found.ip for addresses in self.addresses.values() for found in addresses}


@dataclass(frozen=True, slots=True)
class Routed:
    """By which interface the kernel sends packets; `link` is "" where they go nowhere.

    To the `address` of a container, by aardvark-dns where there is a `source`, from which it
    answers; or, where `is_answer`, from the container to a neighbour of the host on the interface
    `uplink`: if that goes nowhere, what the host itself sends there does not.
    """

    network_id: str
    address: Address
    link: str
    is_answer: bool = False
    uplink: str = ""
    source: Address | None = None


NETWORK_MANAGER, NETWORKD = "NetworkManager.service", "systemd-networkd.service"
"""The units of programs that configure a host's links, Podman's among them if they are let."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the host's network is like around Podman's, apart from rules.

    `bridged` are the IP versions of which a bridge hands packets to the chains of iptables and
    nftables; `internal` the networks without a way out whose bridge is there. `deaf` are interfaces
    that once had routes from router advertisements and take no more of them, as they forward;
    `has_default_v6` says whether there is a default route for IPv6. `kept` are (unit,
    bridge): bridges that NetworkManager or systemd-networkd takes for its own to configure.
    """

    routes: tuple[Routed, ...] = ()
    bridged: frozenset[int] = frozenset()
    internal: tuple[Network, ...] = ()
    deaf: tuple[str, ...] = ()
    has_default_v6: bool = True
    kept: tuple[tuple[str, str], ...] = ()
