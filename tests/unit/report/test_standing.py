# SPDX-License-Identifier: Apache-2.0
"""How containers, networks and their ways stand in the status, and since when."""

from typing import Any

import pytest

from podwatch.report.standing import Since, of_all, of_ways
from podwatch.words.way import Hop, Mark, Way, WayKind

DOWN = Hop("bridge", "podman0 is down", Mark.BROKEN, "ip link set podman0 up")
UNSEEN = Hop("firewalld", "it could not be asked", Mark.UNKNOWN, "firewall-cmd --state")
PAUSED = Hop("container", "web is paused", Mark.CLOSED, "podman unpause web")
OPEN = Hop("forward", "accepted")


def way(*hops: Hop, kind: WayKind = WayKind.IN, title: str = "8080/tcp → web") -> Way:
    """A way of the container web."""
    port = (8080, "tcp") if kind is WayKind.IN else None
    return Way(kind, title, "web", "aa", "podman", hops, port)


@pytest.mark.parametrize(
    ("hops", "state", "told"),
    [
        ((OPEN,), "open", ("", "", "")),
        ((OPEN, DOWN), "broken", ("bridge", "podman0 is down", "ip link set podman0 up")),
        ((UNSEEN, DOWN), "broken", ("bridge", "podman0 is down", "ip link set podman0 up")),
        ((UNSEEN,), "unknown", ("firewalld", "it could not be asked", "firewall-cmd --state")),
        ((PAUSED,), "closed", ("container", "web is paused", "podman unpause web")),
    ],
)
def test_a_way_tells_the_hop_that_keeps_it(
    hops: tuple[Hop, ...], state: str, told: tuple[str, str, str]
) -> None:
    """The first hop of the gravest mark, and what to do about it; of an open one nothing."""
    (entry,) = of_ways([way(*hops)])
    assert (entry["kind"], entry["title"], entry["port"]) == ("in", "8080/tcp → web", "8080/tcp")
    assert (entry["state"], entry["network"]) == (state, "podman")
    assert (entry["hop"], entry["why"], entry["advice"]) == told


@pytest.mark.parametrize(
    ("ways", "missing", "state", "hop"),
    [
        ([way(OPEN), way(PAUSED)], 0, "ok", ""),
        ([way(OPEN), way(UNSEEN), way(DOWN)], 1, "lost", "bridge"),
        ([way(UNSEEN)], 0, "unknown", "firewalld"),
        ([way(UNSEEN)], 1, "lost", ""),
        ([way(OPEN)], 1, "lost", ""),
        ([], 0, "ok", ""),
    ],
)
def test_who_has_ways_stands_as_the_gravest(
    ways: list[Way], missing: int, state: str, hop: str
) -> None:
    """One that is broken is a loss, and so is what is missing; what is closed is none."""
    told = of_all(ways, missing)
    assert (told["state"], told["hop"]) == (state, hop)


def document(state: str, *ways: Way) -> dict[str, Any]:
    """What a look found: one container in this state, with these ways, and no network."""
    container = {"id": "aa", "state": state, "since": 0.0, "ways": of_ways(ways)}
    return {"networks": [], "containers": [container]}


def stamped(since: Since, document: dict[str, Any], now: float) -> list[float]:
    """Since when the container, and each of its ways, is as it is."""
    since.stamp(document, now)
    (container,) = document["containers"]
    return [container["since"], *(way["since"] for way in container["ways"])]


def test_what_stays_broken_keeps_its_moment() -> None:
    """From look to look, each way for itself; what has changed counts anew."""
    since, out = Since(), way(OPEN, kind=WayKind.OUT, title="web out")
    assert stamped(since, document("ok", way(OPEN), out), 10.0) == [10.0] * 3
    assert stamped(since, document("lost", way(DOWN), out), 20.0) == [20.0, 20.0, 10.0]
    assert stamped(since, document("lost", way(DOWN), out), 30.0) == [20.0, 20.0, 10.0]
    assert stamped(since, document("ok", way(OPEN), out), 40.0) == [40.0, 40.0, 10.0]


def test_who_was_away_begins_anew() -> None:
    """What no look shows is forgotten; of what has no state nothing is told."""
    since = Since()
    stamped(since, document("lost", way(DOWN)), 10.0)
    since.stamp({"networks": [], "containers": []}, 20.0)
    assert stamped(since, document("lost", way(DOWN)), 30.0) == [30.0, 30.0]
    assert stamped(since, document("", way(DOWN)), 40.0) == [0.0, 30.0]
