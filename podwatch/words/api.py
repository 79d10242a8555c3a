# SPDX-License-Identifier: Apache-2.0
"""The API that podwatch offers to programs and people of the host: its one description.

What the bus is told (introspection), how a call is checked, and the manual page org.podwatch1(5)
are all made from the tables here. What a method does is `podwatch.daemon.api`'s; how it is served
on D-Bus, `podwatch.adapters.bus_service`'s. A type is written as D-Bus writes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podwatch.words.errors import PodwatchError

NAME = "org.podwatch1"
PATH = "/org/podwatch1"
INTERFACE = "org.podwatch1.Manager"

FOREVER = 2**64 - 1
"""`PausedUntil` of a pause that lasts until somebody ends it."""


MAX_WAYS = 300
"""So many ways fit into one answer: to make a message of them takes 20 ms."""

INCIDENT: Mapping[str, str] = {
    "id": "t",
    "began": "d",
    "ended": "d",
    "what": "s",
    "cause": "s",
    "unit": "s",
    "user": "s",
    "how": "as",
    "outcome": "s",
    "took_ms": "t",
    "containers": "u",
    "line": "s",
}
"""What is told of an incident, each by its type."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One value that a method takes or gives, or that a signal carries."""

    name: str
    signature: str
    about: str


@dataclass(frozen=True, slots=True)
class Action:
    """What polkit is asked about: `description` and `message` are its two texts."""

    name: str
    description: str
    message: str


@dataclass(frozen=True, slots=True)
class Method:
    """A method; `action` is what polkit is asked about the caller, None where anybody may."""

    name: str
    about: str
    takes: tuple[Argument, ...] = ()
    gives: tuple[Argument, ...] = ()
    action: Action | None = None

    @property
    def in_signature(self) -> str:
        """The types of what it takes."""
        return "".join(each.signature for each in self.takes)

    @property
    def out_signature(self) -> str:
        """The types of what it gives."""
        return "".join(each.signature for each in self.gives)


@dataclass(frozen=True, slots=True)
class Property:
    """Something small that everybody may read, and whose changes are told."""

    name: str
    signature: str
    about: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that is told to everybody when it happens."""

    name: str
    about: str
    carries: tuple[Argument, ...]

    @property
    def signature(self) -> str:
        """The types of what it carries."""
        return "".join(each.signature for each in self.carries)


PAUSE = Action(
    "org.podwatch1.pause",
    "Pause or resume the repair of container networks",
    "Authentication is required to pause or resume the repair of container networks.",
)
RESTORE = Action(
    "org.podwatch1.restore",
    "Restore container networks now",
    "Authentication is required to restore container networks now.",
)
REMOVE_LEFTOVERS = Action(
    "org.podwatch1.remove-leftovers",
    "Take away firewall rules of containers that have gone",
    "Authentication is required to take away firewall rules of containers that have gone.",
)
ACTIONS = (PAUSE, RESTORE, REMOVE_LEFTOVERS)

PROPERTIES = (
    Property("Version", "s", "The version of podwatch."),
    Property("State", "s", "ok, degraded, lost or unknown, as podwatch status says it."),
    Property("Summary", "s", "The state in one sentence."),
    Property("Since", "t", "When the state became this, in seconds since the epoch."),
    Property(
        "PausedUntil",
        "t",
        "When the pause that is going on ends, in seconds since the epoch; 0 where there is none, "
        "and the greatest number where it lasts until somebody ends it.",
    ),
    Property("IncidentCount", "t", "How many incidents there were since podwatch started."),
)

METHODS = (
    Method(
        "Look",
        "Look at the host now, and wait for what comes of it. All callers together are given one "
        "look a second: who comes sooner is answered by the same one.",
        gives=(Argument("state", "s", "The state that the look found."),),
    ),
    Method(
        "Status",
        "The status document, as in status.json: JSON in one string.",
        gives=(Argument("document", "s", "What podwatch status --json prints."),),
    ),
    Method(
        "Explain",
        "The ways of packets, hop by hop, as the last look found them; one that is older than a "
        "second is made anew first, as by Look.",
        takes=(
            Argument(
                "target",
                "s",
                "A container's name or id, a network, or a port as 8080 or 53/udp; empty for all.",
            ),
        ),
        gives=(
            Argument(
                "ways",
                "a(sssa(ssss))",
                "Of each way its kind, its title, the container whose it is, and its hops: place, "
                "what was found there, mark (open, broken, note, unknown or closed), advice. "
                "Where there are more than 300, ask for less.",
            ),
        ),
    ),
    Method(
        "Incidents",
        "The newest incidents, the newest first. Command lines are in the history that root reads.",
        takes=(Argument("count", "u", "How many at most; 200 are the most in any case."),),
        gives=(
            Argument(
                "incidents",
                "aa{sv}",
                "Of each: id (t), began and ended (d, seconds since the epoch, 0 while it goes "
                "on), what (s), cause (s), unit and user (s, whose doing it was as far as it is "
                "known), how (as), outcome (s: restored, told or open), took_ms (t), "
                "containers (u), line (s).",
            ),
        ),
    ),
    Method(
        "Restore",
        "Put back now what is missing, without waiting for a back-off to end.",
        takes=(Argument("dry_run", "b", "Only say what would be done."),),
        gives=(Argument("told", "s", "What was done, or would be: a line for each step."),),
        action=RESTORE,
    ),
    Method(
        "Pause",
        "Put nothing back for a while.",
        takes=(
            Argument("seconds", "t", "For how long; a week at most."),
            Argument("reason", "s", "Why, for whoever reads the status; may be empty."),
        ),
        action=PAUSE,
    ),
    Method(
        "Resume",
        "End the pause.",
        gives=(Argument("was_paused", "b", "Whether there was one."),),
        action=PAUSE,
    ),
    Method(
        "RemoveLeftovers",
        "Take away rules of containers that have gone, and copies of the guard that are nobody's. "
        "To only say which those are is asked of polkit, too: podman is started for it.",
        takes=(Argument("dry_run", "b", "Only say what would be taken away."),),
        gives=(
            Argument(
                "told",
                "s",
                "What was taken away, or would be: a line for each rule, and for each that is "
                "kept as somebody may need it.",
            ),
        ),
        action=REMOVE_LEFTOVERS,
    ),
)

SIGNALS = (
    Signal(
        "IncidentBegan",
        "Something is lost.",
        (
            Argument("id", "t", "Which incident."),
            Argument("what", "s", "What is missing."),
            Argument("by", "s", "Who did it; empty where that is not known."),
        ),
    ),
    Signal(
        "IncidentEnded",
        "An incident is over.",
        (
            Argument("id", "t", "Which incident."),
            Argument("outcome", "s", "How everything came back."),
            Argument("took_ms", "t", "How long it lasted, in milliseconds."),
        ),
    ),
)

ERRORS: Mapping[str, str] = {
    "NoSuchContainer": "No way is that of the container, network or port that was asked for.",
    "Busy": "Too much is asked at once, or a repair is under way: try again.",
    "Unknown": "The host could not be looked at, or podman does not answer; the message says why.",
    "NotAllowed": "polkit does not permit it, or does not answer; the message says what is needed.",
    "InvalidArgument": "A value is not allowed; the message says which are.",
}
"""The errors of the API by the last part of their names: org.podwatch1.Error.NAME."""

ASK = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
"""The name of the error where polkit would ask for a password, and the call did not allow that."""


def method(name: str) -> Method | None:
    """The method of this name; None where there is none."""
    return next((each for each in METHODS if each.name == name), None)


class Refused(PodwatchError):
    """A call that is answered by an error; `name` is a key of ERRORS, or a D-Bus error's name."""

    def __init__(self, name: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name if "." in name else f"{NAME}.Error.{name}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came in, checked: its method, values of the right types, and who makes it.

    `sender` is the caller's unique name on the bus, `uid` whose process that is.
    `may_ask`: polkit may ask the person for a password, which takes as long as they take.
    """

    method: Method
    values: tuple[Any, ...]
    sender: str
    uid: int
    may_ask: bool = False
