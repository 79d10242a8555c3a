# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics: what is counted while podwatch runs, and the text that exporters read.

The text is Prometheus' own exposition format, version 0.0.4, for node_exporter's textfile collector
and for a scrape over HTTP. A library would cost memory, and the text takes some forty lines. Names
follow Prometheus' conventions; no label takes values from containers or files.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from podwatch import __version__
from podwatch.decide.kinds import KINDS, Kind, reported
from podwatch.report.status import ailing, needing_rules
from podwatch.words.guard import GuardMode
from podwatch.words.verdict import BlockedKind, State
from podwatch.words.way import Mark, WayKind

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_STANDINGS = (State.OK, State.LOST, State.UNKNOWN)
_MARKS = (Mark.OPEN, Mark.BROKEN, Mark.UNKNOWN, Mark.CLOSED)

Sample = tuple[str, Mapping[str, str], float]


class Tally:
    """What has happened since podwatch started, by cause and by means."""

    def __init__(self) -> None:
        self.causes: Counter[str] = Counter()
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.durations = [0] * (len(BUCKETS_S) + 1)
        self.duration_sum = 0.0

    def began(self, cause: str) -> None:
        """An incident began, of this cause (Cause.label)."""
        self.causes[cause] += 1

    def tried(self, method: str, *, done: bool) -> None:
        """A means of restoring was tried."""
        self.attempts[method, "done" if done else "failed"] += 1

    def restored(self, seconds: float) -> None:
        """An incident ended, so many seconds after it was found."""
        self.durations[bisect_left(BUCKETS_S, seconds)] += 1
        self.duration_sum += seconds


def exposition(
    document: Mapping[str, Any],
    tally: Tally,
    *,
    now: float,
    overruns: int,
    kinds: Sequence[Kind] = KINDS,
) -> str:
    """The metrics of a status document and a tally, as text.

    `now` is in seconds since the epoch; `overruns` how often the kernel lost notifications.
    """
    missing = Counter(loss["kind"] for loss in document.get("missing", ()))
    blocked = {reason["kind"] for reason in document.get("blocked", ())}
    watchers = document.get("watchers", {})
    dhcp = document.get("dhcp", {})
    guard = document.get("guard", {})
    leases = Counter(holder["known"] for holder in dhcp.get("containers", ()))
    ill = ailing(watchers)
    containers = document.get("containers", ())
    standing = Counter(entry.get("state", "") for entry in containers)
    ways = Counter(
        (way["kind"], way["state"])
        for entry in (*containers, *document.get("networks", ()))
        for way in entry.get("ways", ())
    )
    families: tuple[tuple[str, str, str, Iterable[Sample]], ...] = (
        (
            "podwatch_build_info",
            "gauge",
            "The version of podwatch; always 1.",
            _one(1, version=__version__),
        ),
        (
            "podwatch_start_time_seconds",
            "gauge",
            "When podwatch started, in seconds since the epoch.",
            _one(document.get("started", 0.0)),
        ),
        (
            "podwatch_heartbeat_timestamp_seconds",
            "gauge",
            "When podwatch last showed that it lives, in seconds since the epoch.",
            _one(now),
        ),
        (
            "podwatch_last_look_timestamp_seconds",
            "gauge",
            "When podwatch last looked at the rules, in seconds since the epoch.",
            _one(document.get("last_look", {}).get("at", 0.0)),
        ),
        (
            "podwatch_state",
            "gauge",
            "The state of the host's container networking: 1 for the one it is in.",
            [("", {"state": state}, state == document.get("state")) for state in State],
        ),
        (
            "podwatch_missing",
            "gauge",
            "Things that are expected and missing now.",
            [
                ("", {"kind": word}, missing[word])
                for kind in reported(kinds)
                for word in kind.words
            ],
        ),
        (
            "podwatch_blocked",
            "gauge",
            "Whether something forbids a repair now.",
            [("", {"kind": kind}, kind in blocked) for kind in BlockedKind],
        ),
        (
            "podwatch_containers",
            "gauge",
            "Containers that need rules on this host.",
            _one(needing_rules(document)),
        ),
        (
            "podwatch_containers_by_state",
            "gauge",
            "Containers that need rules on this host, by whether their ways are open.",
            [("", {"state": state}, standing[state]) for state in _STANDINGS],
        ),
        (
            "podwatch_ways",
            "gauge",
            "Ways to, from and between containers, by what they are.",
            [
                ("", {"kind": kind, "state": mark}, ways[kind, mark])
                for kind in WayKind
                for mark in _MARKS
            ],
        ),
        (
            "podwatch_watcher_up",
            "gauge",
            "Whether podwatch hears what this watcher listens to.",
            [("", {"watcher": name}, name not in ill) for name in sorted(watchers)],
        ),
        (
            "podwatch_guard",
            "gauge",
            "How much of a guard there is: 1 for the mode it is in.",
            [("", {"mode": mode}, mode == guard.get("mode")) for mode in GuardMode],
        ),
        (
            "podwatch_guard_ports",
            "gauge",
            "Ports of containers that the guard holds.",
            _one(guard.get("ports", 0)),
        ),
        (
            "podwatch_guard_carried_total",
            "counter",
            "New connections that the guard forwarded while netavark's rules were gone.",
            _one(guard.get("carried", 0)),
        ),
        (
            "podwatch_dhcp_socket_up",
            "gauge",
            "Whether the DHCP proxy can be reached; absent where no network wants DHCP.",
            _one(dhcp["socket"]["listening"]) if dhcp.get("state") else (),
        ),
        (
            "podwatch_dhcp_leases",
            "gauge",
            "Containers with a DHCP lease, by whether the running proxy knows and renews it.",
            [("", {"known": word}, leases[word == "yes"]) for word in ("yes", "no")],
        ),
        (
            "podwatch_netlink_overruns_total",
            "counter",
            "How often the kernel had more to tell than could be read (ENOBUFS).",
            _one(overruns),
        ),
        (
            "podwatch_looks_total",
            "counter",
            "Looks at the rules.",
            _one(document.get("counters", {}).get("looks", 0)),
        ),
        (
            "podwatch_incidents_total",
            "counter",
            "Losses found, by the program that caused them.",
            [("", {"cause": cause}, count) for cause, count in sorted(tally.causes.items())],
        ),
        (
            "podwatch_restores_total",
            "counter",
            "Means of restoring that were tried, by how they ended.",
            [
                ("", {"method": method, "result": result}, tally.attempts[method, result])
                for kind in kinds
                for method in kind.means
                for result in ("done", "failed")
            ],
        ),
        (
            "podwatch_restore_duration_seconds",
            "histogram",
            "Time from the look that found a loss to the one that found everything back.",
            _histogram(tally),
        ),
    )
    return "".join(_family(*family) for family in families)


def _one(value: float, **labels: str) -> Iterable[Sample]:
    return [("", labels, value)]


def _histogram(tally: Tally) -> Iterator[Sample]:
    count = 0
    for limit, number in zip((*map(str, BUCKETS_S), "+Inf"), tally.durations, strict=True):
        count += number
        yield "_bucket", {"le": limit}, count
    yield "_sum", {}, tally.duration_sum
    yield "_count", {}, count


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"]
    for suffix, labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        number = f"{value:.15g}"
        lines.append(
            f"{name}{suffix}{{{inner}}} {number}\n" if inner else f"{name}{suffix} {number}\n"
        )
    return "".join(lines)


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
