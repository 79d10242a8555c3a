# SPDX-License-Identifier: Apache-2.0
"""The kinds of things that can be lost: one row for each.

A row says what a kind is called, how its losses are found, which means put them back, what forbids
that, and how they are counted. The judge, the policy, the incidents, the history and the metrics
go by the rows; none of them names a kind. To add one is to write its row, and its means.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podwatch.decide.links import missing_links
from podwatch.decide.names import lost_names
from podwatch.decide.netns import lost_netns
from podwatch.decide.places import missing_places
from podwatch.decide.rules import lost_rules
from podwatch.decide.settings import missing_sysctls
from podwatch.decide.sources import missing_sources
from podwatch.decide.uplink import lost_relays, with_old_address
from podwatch.words.means import Method
from podwatch.words.network import Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Part, Snapshot
from podwatch.words.verdict import OF_RULES, BlockedKind, Missing, MissingKind

ALWAYS = frozenset({BlockedKind.PAUSED, BlockedKind.PANIC, BlockedKind.FIREWALLD_RELOADING})
"""What forbids a repair of every kind so far; a reload of firewalld does so for a time."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that can be lost.

    `name` is its word in history, status and metrics; `word` and `plural` are for people.
    `words` are those of its losses (Missing.kind). Where it can be lost as a whole, `whole` is the
    word for that, and `in_whole` are the losses that such a one stands for.
    `judge` finds what is missing, given the setup of those that run and the rules that have to be
    there. While `part` of a look is unknown, so is the kind; `parts` has the losses of another
    part. `switch` is the setting that allows the repair ("section.key"): on or off, or a list of
    means.
    """

    name: str
    word: str
    plural: str
    words: tuple[str, ...]
    judge: Callable[[Setup, Snapshot, Sequence[Rule]], Iterable[Missing]]
    means: tuple[str, ...]  # the least disruptive first
    switch: str
    why: str  # what is reported while the first means is tried
    part: Part | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    whole: str = ""
    in_whole: tuple[str, ...] = ()
    forbidden_by: frozenset[BlockedKind] = ALWAYS  # by BUSY: for a moment, until podman is done
    first_pause_s: float = 0.1  # after the first try; it doubles with each one that follows
    needs_calm: bool = False  # its tries are forgotten once it was whole for Limits.calm
    after_hint_s: float = float("inf")  # the next try comes so soon after a change by others
    waits: bool = False  # its means waits for another program: what waits for none comes before
    is_quick: bool = True  # the first means takes less time than it takes to report the loss
    is_of_containers: bool = False  # a loss is of certain containers, and they are counted
    is_by_writers: bool = True  # who commits nftables transactions may have caused a loss
    yields: bool = False  # what is lost again soon after its repair is somebody's will
    tells_the_rest: bool = False  # what is not reloadable is told, and its means not tried
    in_rounds: tuple[str, ...] = ()  # but for these, where it is the same deed (policy.ROUNDS_S)

    def of(self, missing: Iterable[Missing]) -> tuple[Missing, ...]:
        """What is of this kind among what is missing."""
        return tuple(loss for loss in missing if loss.kind in self.words)

    def part_of(self, word: str) -> Part | None:
        """The part of a look that tells of such a loss."""
        return self.parts.get(word, self.part)

    def counted(self, number: int) -> str:
        """So many of it, for a person: "1 rule", "2 rules"."""
        return f"{number} {self.word if number == 1 else self.plural}"


LINKS = Kind(
    "links",
    "link or address",
    "links and addresses",
    words=(
        MissingKind.BRIDGE,
        MissingKind.LINK,
        MissingKind.ADDRESS,
        MissingKind.ROUTE,
        MissingKind.MASTER,
        MissingKind.ISOLATED,
    ),
    judge=missing_links,
    means=(Method.LINKS,),
    switch="restore.links",
    why="bridges and links were changed",
    part=Part.LINKS,
    # netavark makes bridges and links one after the other.
    forbidden_by=frozenset({BlockedKind.PAUSED, BlockedKind.PANIC, BlockedKind.BUSY}),
    yields=True,
    in_rounds=(MissingKind.ADDRESS, MissingKind.ROUTE),
    is_by_writers=False,
)
NETNS = Kind(
    "netns",
    "network namespace",
    "network namespaces",
    words=(MissingKind.NETNS,),
    judge=lost_netns,
    means=(Method.NETNS,),
    switch="restore.links",
    why="podman would not find the user's network namespace",
    tells_the_rest=True,
    # podman mounts it, and unmounts it behind the last container, under its lock.
    forbidden_by=frozenset({BlockedKind.PAUSED, BlockedKind.BUSY}),
    first_pause_s=1.0,
    is_by_writers=False,
)
SYSCTLS = Kind(
    "sysctls",
    "sysctl",
    "sysctls",
    words=(MissingKind.SYSCTL,),
    judge=missing_sysctls,
    means=(Method.SYSCTLS,),
    switch="restore.sysctls",
    why="sysctls were set back",
    needs_calm=True,
    is_by_writers=False,
)
NAMES = Kind(
    "names",
    "name server",
    "name servers",
    words=(MissingKind.NAMES, MissingKind.PID_FILE, MissingKind.LISTENER),
    judge=lost_names,
    means=(Method.NAMES,),
    switch="restore.names",
    why="names do not resolve",
    part=Part.NAMES,
    # netavark writes its entries before it starts aardvark-dns: while it works that is no loss.
    forbidden_by=frozenset({BlockedKind.PAUSED, BlockedKind.PANIC, BlockedKind.BUSY}),
    # One that ends again and again is started once a second, and no oftener.
    first_pause_s=1.0,
    after_hint_s=1.0,
    waits=True,
    is_by_writers=False,
)
RELAYS = Kind(
    "relays",
    "relay",
    "relays",
    words=(MissingKind.UPLINK, MissingKind.RELAY, MissingKind.PORT_RELAY),
    judge=lost_relays,
    means=(Method.RELAYS,),
    switch="restore.relays",
    why="a process that carries packets has ended",
    part=Part.RELAYS,
    # podman ends the relays of a container that it stops, and starts those of the next one.
    forbidden_by=frozenset({BlockedKind.PAUSED, BlockedKind.PANIC, BlockedKind.BUSY}),
    # As with the name server; one that cannot be started holds up no other for longer.
    first_pause_s=1.0,
    after_hint_s=1.0,
    waits=True,
    is_of_containers=True,
    is_by_writers=False,
    tells_the_rest=True,
)
HOST_ADDRESS = Kind(
    "host_address",
    "address of the host",
    "addresses of the host",
    words=(MissingKind.HOST_ADDRESS,),
    judge=with_old_address,
    means=(Method.UPLINK,),
    switch="restore.host_address",
    why="the host has another address",
    part=Part.RELAYS,
    forbidden_by=frozenset({BlockedKind.PAUSED, BlockedKind.PANIC, BlockedKind.BUSY}),
    first_pause_s=30.0,
    waits=True,
    is_quick=False,
    is_by_writers=False,
)
SOURCES = Kind(
    "sources",
    "trusted source",
    "trusted sources",
    words=(MissingKind.SOURCE,),
    judge=missing_sources,
    means=(Method.SOURCES,),
    switch="firewalld.sources",
    why="trusted sources are missing",
    part=Part.FIREWALLD,
    # netavark adds its sources after it has written its state: while it works they are not lost.
    forbidden_by=ALWAYS | {BlockedKind.BUSY},
    first_pause_s=0.4,
    after_hint_s=1.0,
    waits=True,
)
PLACES = Kind(
    "places",
    "container link",
    "container links",
    words=(MissingKind.VETH, MissingKind.INNER_LINK, MissingKind.INNER_ADDRESS),
    judge=missing_places,
    means=(Method.REWIRE,),
    switch="restore.links",
    why="only podman can put a container's link right",
    part=Part.LINKS,
    forbidden_by=ALWAYS | {BlockedKind.BUSY},
    first_pause_s=1.0,
    waits=True,
    is_quick=False,
    yields=True,
    is_of_containers=True,
    is_by_writers=False,
)
RULES = Kind(
    "rules",
    "rule",
    "rules",
    words=OF_RULES,
    judge=lost_rules,
    means=(Method.REPLAY, Method.RELOAD, Method.ESCALATE),
    switch="restore.methods",
    why="",  # each rung of the ladder has its own
    part=Part.RULES,
    parts={MissingKind.FORWARD: Part.FIREWALLD},
    whole=MissingKind.TABLE,
    in_whole=(MissingKind.RULE, MissingKind.ORDER),
    waits=True,
    is_of_containers=True,
)

KINDS: tuple[Kind, ...] = (
    NETNS,
    LINKS,
    SYSCTLS,
    NAMES,
    HOST_ADDRESS,
    RELAYS,
    SOURCES,
    PLACES,
    RULES,
)
"""In the order of repair; what matters most is last, and reported first."""


def reported(kinds: Sequence[Kind] = KINDS) -> Sequence[Kind]:
    """The kinds in the order in which they are reported."""
    return tuple(reversed(kinds))


def kind_of(word: str, kinds: Iterable[Kind] = KINDS) -> Kind:
    """The kind of a loss, by its word (Missing.kind). Raises KeyError for one without a row."""
    for kind in kinds:
        if word in kind.words:
            return kind
    raise KeyError(word)


def is_quick(means: str, kinds: Iterable[Kind] = KINDS) -> bool:
    """Whether a means takes less time than it takes to report what it is for."""
    return any(kind.is_quick and means == kind.means[0] for kind in kinds)
