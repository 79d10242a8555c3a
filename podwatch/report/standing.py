# SPDX-License-Identifier: Apache-2.0
"""How each container, each network and each of their ways stands, as the status document has it.

What is not open has the first hop that keeps it so, and what to do. Since when only the Publisher
knows, which has seen the looks before: Since keeps that.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podwatch.words.verdict import State
from podwatch.words.way import Mark, Way

OPEN: Mapping[str, Any] = {"hop": "", "why": "", "advice": "", "since": 0.0}
"""What stands of a way beside its state: nothing, where it is open."""

Key = tuple[str, ...]
"""What is the same at the next look: a container or network, or one of its ways."""


def of_ways(ways: Iterable[Way]) -> list[dict[str, Any]]:
    """An entry for each way."""
    return [
        {
            "kind": way.kind,
            "title": way.title,
            "port": f"{way.port[0]}/{way.port[1]}" if way.port else "",
            "network": way.network,
            "state": way.mark,
            **_first(way),
        }
        for way in ways
    ]


def of_all(ways: Sequence[Way], missing: int = 0) -> dict[str, Any]:
    """How whoever has these ways stands: by the gravest of them; `missing` is how much it lacks."""
    worst = {way.mark: way for way in reversed(ways)}
    if Mark.BROKEN in worst:
        return {"state": State.LOST, **_first(worst[Mark.BROKEN])}
    if missing:
        return {"state": State.LOST, **OPEN}
    if Mark.UNKNOWN in worst:
        return {"state": State.UNKNOWN, **_first(worst[Mark.UNKNOWN])}
    return {"state": State.OK, **OPEN}


def _first(way: Way) -> Mapping[str, Any]:
    """The first hop that makes a way what it is."""
    hop = None if way.mark is Mark.OPEN else way.first(way.mark)
    if hop is None:
        return OPEN
    return {"hop": hop.place, "why": hop.what, "advice": hop.advice, "since": 0.0}


class Since:
    """Since when each container, network and way is in the state that it is in."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[str, float]] = {}

    def stamp(self, document: Mapping[str, Any], now: float) -> None:
        """Fill in every `since` of a status document of `now`, in seconds since the epoch."""
        known: dict[Key, tuple[str, float]] = {}
        for kind in ("networks", "containers"):
            for entry in document[kind]:
                key = (kind, entry["id"])
                self._stamp(entry, key, now, known)
                for way in entry["ways"]:
                    self._stamp(way, (*key, way["kind"], way["title"]), now, known)
        self._known = known

    def _stamp(
        self,
        entry: dict[str, Any],
        key: Key,
        now: float,
        known: dict[Key, tuple[str, float]],
    ) -> None:
        state = entry["state"]
        if state:
            before = self._known.get(key)
            known[key] = before if before is not None and before[0] == state else (state, now)
            entry["since"] = known[key][1]
