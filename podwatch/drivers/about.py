# SPDX-License-Identifier: Apache-2.0
"""What is special about a firewall driver, beside the rules that it installs.

podwatch asks for it wherever it would else have to compare a driver's name. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

TRUSTED = "trusted"
"""The firewalld zone whose sources firewalld lets through as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a driver's rules are in, and what its chains are for.

    `place` is what holds all its rules, for a person. `tables` are the nftables tables ("inet
    netavark") in which they are, and whose transactions may have changed them; there are none where
    firewalld has the rules.
    `zone` is the firewalld zone of which the driver makes its subnets sources. `trusts_addresses`:
    it makes sources of the containers' addresses instead, one by one. `only_forwards`: of the
    kernel's settings it writes forwarding alone, and that for each container.
    `in_firewalld`: the rules are in firewalld's policies. They are read over D-Bus, there is no
    saved copy of them, and it is firewalld itself that forwards ports.
    `of_one` is a pattern for the names of chains that belong to one network or one container, empty
    where there are none. `mark_chain` is the one that marks what is to be masqueraded, empty where
    there is none. `purposes` says what a chain that all share is for, by its name.
    """

    place: str
    tables: frozenset[str] = frozenset()
    zone: str = TRUSTED
    trusts_addresses: bool = False
    only_forwards: bool = False
    in_firewalld: bool = False
    of_one: str = ""
    mark_chain: str = ""
    purposes: Mapping[str, str] = field(default_factory=dict)
