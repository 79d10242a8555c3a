# SPDX-License-Identifier: Apache-2.0
"""The host around a user's network namespace, as far as the user's network goes by it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podwatch.words.network import Address


@dataclass(frozen=True, slots=True)
class Outside:
    """`routed` has the interface of a default route of the host for each IP version with one;
    `addresses` are those of that interface, which pasta took over when it started. `ends_for` is
    the user's name where everything of theirs ends with their last session, "" where it does not.
    Users listen from `first_port` on. `has_firewalld`: it runs on the host.
    """

    routed: Mapping[int, str] = field(default_factory=dict)
    addresses: frozenset[Address] = frozenset()
    ends_for: str = ""
    first_port: int = 0
    has_firewalld: bool = False
