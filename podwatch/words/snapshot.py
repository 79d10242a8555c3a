# SPDX-License-Identifier: Apache-2.0
"""One look at the host: what is expected and what is observed, read at one moment.

Everything the judge and the policy decide is decided from a Snapshot, never from the event that
caused the look. A part that could not be read is None, with the reason in `unknown`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from podwatch.words.gates import NetworkFile
from podwatch.words.links import Around, Links, Namespaces
from podwatch.words.names import NameServer
from podwatch.words.netns import Netns
from podwatch.words.network import Address, Container, FirewallDriver, Held, Setup
from podwatch.words.outside import Outside
from podwatch.words.relays import Relays
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.text import clean_fields
from podwatch.words.way import BaseChain, Policy


@dataclass(frozen=True, slots=True)
class Zone:
    """What a zone of firewalld does with what comes from it: it `accepts` all, or `hears_names`.

    That is, it lets in what asks the host for names. `rules` are its rich rules, which decide, too,
    as firewalld prints them.
    """

    accepts: bool = False
    hears_names: bool = False
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permanent:
    """firewalld's permanent configuration, as far as a reload goes by it.

    `sources` are those of zone trusted, and those that were asked for, each with its zone. `policy`
    says what a reload does with what comes in, is forwarded and goes out ("FORWARD": "DROP"); empty
    where this `version` has no such setting, and drops it all.
    """

    version: str
    by_nftables: bool
    sources: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Firewalld:
    """firewalld as D-Bus and the kernel show it.

    `sources` maps a source (a subnet, as text) to its runtime zone, `interfaces` an interface; what
    is in neither is in the `default_zone`. `in_kernel` says whether its
    table is loaded; `reloading`, whether the table that drops new connections during a reload is.
    `zones` are the active ones and the default one, by name. `policies` are those of netavark's
    firewalld driver, where that is in use; `policies_before` are the names of those that were there
    at an earlier look. `between` are everybody's, as they stand between zones. `permanent` is None
    where it is not known, or nobody wants to know.
    """

    running: bool
    sources: Mapping[str, str] = field(default_factory=dict)
    interfaces: Mapping[str, str] = field(default_factory=dict)
    default_zone: str = ""
    zones: Mapping[str, Zone] = field(default_factory=dict)
    in_kernel: bool = True
    panic: bool = False
    strict_forward_ports: bool = False
    reloading: bool = False
    policies: Mapping[str, Chain] = field(default_factory=dict)
    policies_before: frozenset[str] = frozenset()
    between: tuple[Policy, ...] = ()
    permanent: Permanent | None = None


ABSENT_FIREWALLD = Firewalld(running=False, in_kernel=False)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """podman's network lock while a program has it; `for_s` seconds by now, as far as was seen.

    `shared` is for reading: whoever may read the file can have that, and podman never takes it
    (containers/storage pkg/lockfile, libnetwork/netavark: always Lock). podman changes nothing
    then, but waits for the lock itself. `pid` is 0, `holder` empty where the kernel does not say.
    """

    path: str
    shared: bool
    pid: int = 0
    holder: str = ""
    for_s: float = 0.0


class Part(StrEnum):
    """The parts of a snapshot that can be unknown each by itself."""

    SETUP = "setup"  # netavark's state directory as a whole
    CONTAINER = "container"  # one state file
    RULES = "rules"
    FIREWALLD = "firewalld"
    LINKS = "links"
    NAMES = "names"  # aardvark-dns
    RELAYS = "relays"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be read, and why.

    `container_ids` and `network_id` say whose rules are concerned, where that is known: what is
    known of all others is as good as without it.
    """

    part: Part
    what: str
    why: str
    hint: str = ""
    container_ids: tuple[str, ...] = ()
    network_id: str = ""

    def __post_init__(self) -> None:
        clean_fields(self, "what", "why", "hint")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look found. `busy` names who is in the middle of a change, if anybody is; `lock` is
    podman's network lock while it is held.

    `stamp` is that of what was set up, and `changes` the number of transactions on the rules, when
    they were read: a repair is built on both.

    `listed` are the ids of containers that podman listed while netavark's state was the same, and
    whose process is there.
    `inside` says in how many network namespaces behind the host's veths an address is, None where
    the kernel did not tell or was not asked.
    `copied` are the chains of the saved copy, for the spelling of what is missing.
    `others` are rules in the kernel of drivers that are not in use.
    `sysctls` are the values of the kernel's settings by path, `sysctls_seen` those paths that have
    netavark's value, had it at an earlier look, or are said to by netavark; `uplinks` are the
    interfaces of the IPv4 default route, `beside` those of its other routes, `routed` has
    one for each IP version that has such a route, `around` is what else the host's network is like.
    `indexes` are those of the host's interfaces when each was last seen under its name.
    `links` are the host's interfaces and addresses, `files` Podman's networks as configured.
    `namespaces` has what is in the containers' network namespaces; None where it is not known.
    `names` is aardvark-dns; None where netavark has no files of names. `relays` carry the packets
    of a user's containers; None where nobody looks for any.
    `numbers` are those of the namespaces of containers on top of a parent, by their ids.
    `held` are the addresses that podman gave to those whose process lives, by a network's name and
    the container's id.
    `netns` is the namespace of a user's bridges, `outside` the host around it; None on root's host.
    `drops` are the chains of others that drop what is forwarded, or sent to the host, and not named
    in them.
    """

    setup: Setup | None
    rules: Ruleset | None
    firewalld: Firewalld | None
    containers: Mapping[str, Container] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    inside: Mapping[Address, int] | None = None
    generation: int = 0
    stamp: object = None
    changes: int = 0
    busy: str = ""
    lock: HeldLock | None = None
    paused: str = ""
    neighbours: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    sysctls_seen: frozenset[str] = frozenset()
    uplinks: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    routed: Mapping[int, str] = field(default_factory=dict)
    around: Around = field(default_factory=Around)
    links: Links | None = None
    indexes: Mapping[str, int] = field(default_factory=dict)
    namespaces: Namespaces | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    held: Held = field(default_factory=dict)
    files: Mapping[str, NetworkFile] = field(default_factory=dict)
    names: NameServer | None = None
    relays: Relays | None = None
    netns: Netns | None = None
    outside: Outside | None = None
    drops: tuple[BaseChain, ...] = ()
    copied: Mapping[str, Chain] = field(default_factory=dict)
    others: Mapping[FirewallDriver, Ruleset] = field(default_factory=dict)
    unknown: tuple[Unknown, ...] = ()
