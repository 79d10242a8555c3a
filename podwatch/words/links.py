# SPDX-License-Identifier: Apache-2.0
"""The host's network interfaces and their addresses, as the kernel lists them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface of the host.

    `is_up` is what an administrator set; whether there is a carrier is another matter. `master` is
    the name of the bridge (or VRF, or bond) it is a port of. `kind` is the driver's: bridge, veth,
    macvlan; empty for hardware. `netns_id` is the number that the host's namespace has for the one
    in which the other end of a veth is; None where that is the host's own.
    """

    name: str
    index: int
    is_up: bool = True
    master: str = ""
    kind: str = ""
    netns_id: int | None = None
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """The host's network interfaces by name, and the addresses of those that have any."""

    by_name: Mapping[str, Link] = field(default_factory=dict)
    addresses: Mapping[str, tuple[Interface, ...]] = field(default_factory=dict)
