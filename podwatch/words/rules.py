# SPDX-License-Identifier: Apache-2.0
"""Rules, expected and observed, in one form that every firewall driver shares.

A rule is the text its own tool prints for it, made canonical (see the drivers), in a named chain.
Comparing texts keeps podwatch honest: what it expects can be read, searched for and typed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RuleKind(StrEnum):
    """What a rule is there for; the judge has a sentence for each."""

    HOOK = "hook"  # a chain itself, with its netfilter hook if it has one
    HOST = "host"  # there once for all networks
    DNS_ACCEPT = "dns_accept"
    FORWARD_REPLIES = "forward_replies"
    FORWARD_OUT = "forward_out"
    SUBNET_JUMP = "subnet_jump"
    SUBNET_LOCAL = "subnet_local"
    MASQUERADE = "masquerade"
    ISOLATION = "isolation"
    DNS_REDIRECT = "dns_redirect"
    PORT_JUMP = "port_jump"
    PORT_MARK = "port_mark"
    PORT_DNAT = "port_dnat"
    FORWARD_PORT = "forward_port"  # of a policy in firewalld


FROM_THEIR_OWN_NETWORK = "masquerade of published ports seen from their own network"
"""What the chains are for that mark such packets, or masquerade them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that has to be there.

    `texts` are its spellings by different versions of netavark and of the firewall tool: any one
    of them will do. `order` is (group, rank): within a chain, in one group, a rule of a lower rank
    must come before those of a higher one. `subject` says whose it is, for a person: of a port, of
    an address, of a subnet. `ways` are those to a container's ports (PortMapping.way_to) that need
    it.
    `reloadable`: False where `podman network reload` is known not to bring it back.
    """

    chain: str
    texts: tuple[str, ...]
    kind: RuleKind
    subject: str = ""
    network_id: str = ""
    network_name: str = ""
    container_id: str = ""
    order: tuple[str, int] | None = None
    reloadable: bool = True
    ways: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The spelling of the newest version, for a person to read."""
        return self.texts[-1]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain as observed: its hook (empty for a chain that is only jumped to) and its rules."""

    hook: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A driver's rules as observed at one generation.

    `present` is False when the driver's table does not exist. `handles` are the kernel's numbers of
    each chain's rules, in their order, where the tool tells them: no other rule ever has the same.
    `traits` is what is known of the version that installed
    them and does not show in what is left of them.
    """

    present: bool
    chains: Mapping[str, Chain] = field(default_factory=dict)
    handles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
