# SPDX-License-Identifier: Apache-2.0
"""What a look amounts to: a state, everything that is missing, and what to tell a person."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from podwatch.words.network import Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Unknown
from podwatch.words.text import clean_fields
from podwatch.words.way import Way


class State(StrEnum):
    """The state of the host's container networking, and of `podwatch status`."""

    OK = "ok"
    DEGRADED = "degraded"
    LOST = "lost"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """What monitors expect: 0 ok, 1 warning, 2 critical, 3 unknown."""
        return ("ok", "degraded", "lost", "unknown").index(self.value)


class ExitCode(IntEnum):
    """Exit codes that are not a state's."""

    USAGE = 64


class MissingKind(StrEnum):
    """The words for what is missing; which kind of thing each is of says `decide/kinds.py`."""

    TABLE = "table"
    RULE = "rule"
    ORDER = "order"
    SOURCE = "source"
    SYSCTL = "sysctl"
    FORWARD = "forward"  # in a policy of firewalld's, of which there is no copy
    NAMES = "names"  # aardvark-dns does not run
    PID_FILE = "pid_file"  # aardvark-dns' does not name it
    LISTENER = "listener"  # aardvark-dns does not listen on an address
    STALE = "stale"  # there is a rule too many: it closes somebody's way
    BRIDGE = "bridge"
    LINK = "link"  # it is there, and down
    ADDRESS = "address"
    ROUTE = "route"
    MASTER = "master"  # a port is not in its bridge
    ISOLATED = "isolated"

    NETNS = "netns"  # podman finds the network namespace of a user's bridges no more

    VETH = "veth"  # a container's link is gone
    INNER_LINK = "inner_link"  # it is down in the container
    INNER_ADDRESS = "inner_address"

    UPLINK = "uplink"  # what connects a user's bridges with the host
    HOST_ADDRESS = "host_address"  # it has one that the host has no more
    RELAY = "relay"  # what connects one container with it
    PORT_RELAY = "port_relay"  # what listens for what one container publishes


OF_RULES: tuple[str, ...] = (
    MissingKind.TABLE,
    MissingKind.RULE,
    MissingKind.ORDER,
    MissingKind.FORWARD,
    MissingKind.STALE,
)
"""What is missing in the firewall driver's rules, in these words."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that is expected and was not observed, or a way that a stale rule closes.

    `kind` is a MissingKind, or the word of another row of `decide/kinds.py`. `what` is a sentence
    for a person; `detail` the exact rule or source. `place` and `value` are for the means that
    restores it: a sysctl's path, and what has to be written there. `container_ids` are those whose
    `podman network reload` would set it up again; `reloadable` is False where it would not, or
    where a relay cannot be started again.
    `follows` is the place of another loss of which this one is a part: as an address of a link that
    is down.
    """

    kind: str
    what: str
    detail: str
    chain: str = ""
    network: str = ""
    container: str = ""
    container_ids: tuple[str, ...] = ()
    reloadable: bool = True
    place: str = ""
    value: str = ""
    follows: str = ""

    def __post_init__(self) -> None:
        clean_fields(self, "what", "detail", "network", "container")

    @property
    def thing(self) -> tuple[str, str, str]:
        """What is lost, in words by which the same thing is known when it is lost again."""
        return self.kind, self.place, self.value


class WarningKind(StrEnum):
    """Kinds of warnings: things that are not loss, and that podwatch does not repair."""

    DUPLICATES = "duplicates"
    FOREIGN_ZONE = "foreign_zone"
    FIREWALLD_TABLE = "firewalld_table"
    FIREWALLD_STOPPED = "firewalld_stopped"
    MASQUERADE = "masquerade"
    STALE_STATE = "stale_state"
    UNLISTED = "unlisted"
    LEFTOVER = "leftover"
    REMAINS = "remains"  # left over, too, but of rules that forward nothing
    HIDDEN = "hidden"
    SHUT_OUT = "shut_out"
    FORWARDING = "forwarding"
    ROUTE = "route"
    DETOUR = "detour"
    NO_NAMES = "no_names"  # and podwatch cannot mend it
    NAME_SERVERS = "name_servers"  # names resolve, and will not for long
    RENAMED = "renamed"
    MOVED = "moved"
    PARENT = "parent"
    NO_EVENTS = "no_events"
    OTHER_VARIANT = "other_variant"
    NEIGHBOUR = "neighbour"
    RELOAD = "reload"  # firewalld's drops what need not be dropped
    NETNS = "netns"  # podman would take it away
    LINGER = "linger"  # containers end with a session
    LOW_PORT = "low_port"  # what is published now will not be after a restart
    HOST_FIREWALL = "host_firewall"  # only root can see what it lets in
    PAUSED = "paused"
    CONFIG = "config"


HARMLESS = frozenset(
    {
        WarningKind.NEIGHBOUR,
        WarningKind.NO_EVENTS,
        WarningKind.RELOAD,
        WarningKind.LINGER,
        WarningKind.HOST_FIREWALL,
        WarningKind.STALE_STATE,  # the rules that are left of it are another warning
        WarningKind.UNLISTED,
        WarningKind.REMAINS,
    }
)
"""Warnings that make no state degraded."""

CLOSING = frozenset(
    {
        WarningKind.FIREWALLD_STOPPED,
        WarningKind.MASQUERADE,
        WarningKind.HIDDEN,
        WarningKind.SHUT_OUT,
        WarningKind.FORWARDING,
        WarningKind.ROUTE,
        WarningKind.NO_NAMES,
        WarningKind.MOVED,
        WarningKind.PARENT,
    }
)
"""Warnings of a way that somebody closed: told, not repaired, and the state is lost."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth telling; `advice` is what to do about it."""

    kind: WarningKind
    what: str
    advice: str = ""

    def __post_init__(self) -> None:
        clean_fields(self, "what", "advice")


class BlockedKind(StrEnum):
    """Why podwatch must not repair now."""

    PANIC = "panic"
    STRICT_FORWARD_PORTS = "strict_forward_ports"
    FIREWALLD_RELOADING = "firewalld_reloading"
    PAUSED = "paused"
    BUSY = "busy"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class Blocked:
    """A reason not to repair; `only_reload` where it forbids no more than the reload command."""

    kind: BlockedKind
    what: str
    advice: str = ""
    only_reload: bool = False

    def __post_init__(self) -> None:
        clean_fields(self, "what", "advice")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of one snapshot, and what that was judged by.

    `setup` is that of the containers that run, None where it is unknown; `rules` are those that
    have to be there for it. `unlisted` are those of `all_container_ids` that podman cannot reload:
    to clear the table would take their rules for good. `asks_inside`: there is something to tell,
    but only once the kernel has said who is in a network namespace. `ways` are those of packets,
    where they were worked out (`decide/ways.py`); the state then counts them.
    """

    state: State
    missing: tuple[Missing, ...] = ()
    warnings: tuple[Notice, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    all_container_ids: tuple[str, ...] = ()
    setup: Setup | None = None
    rules: tuple[Rule, ...] = ()
    unlisted: tuple[str, ...] = ()
    asks_inside: bool = False
    ways: tuple[Way, ...] = ()

    @property
    def expected_rules(self) -> int:
        """How many rules have to be there."""
        return len(self.rules)

    @property
    def missing_rules(self) -> tuple[Missing, ...]:
        """What is missing in the firewall driver's rules."""
        return tuple(loss for loss in self.missing if loss.kind in OF_RULES)

    @property
    def has_duplicates(self) -> bool:
        """Whether rules are there more than once."""
        return any(notice.kind is WarningKind.DUPLICATES for notice in self.warnings)
