# SPDX-License-Identifier: Apache-2.0
"""The guard among the hops: what it does where a rule of netavark's is missing. Pure.

The way stays broken, for its rules are lost and have to come back; but packets pass.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from podwatch.words.guard import FAMILY, Held
from podwatch.words.way import Hop, Mark, Way, WayKind

PLACE = "guard"

_DOES = {
    (WayKind.IN, "port forward"): "carries new connections meanwhile",
    (WayKind.OUT, "masquerade"): "masquerades new connections meanwhile",
    (WayKind.ISOLATION, "isolation"): "keeps them apart meanwhile",
}


def with_guard(ways: Iterable[Way], held: Held, table: str) -> Iterator[Way]:
    """The ways, with a hop behind each that is broken where the guard does what is missing.

    `held` is what a full guard holds, and `table` its name.
    """
    known = {(way.container_id, *key.split(" . ")[-2:]) for (_, key), way in held.forwards.items()}
    for way in ways:
        hop = way.first_broken
        does = _DOES.get((way.kind, hop.place)) if hop else None
        if hop is None or does is None or (way.port and not _holds(way, known)):
            yield way
            continue
        at = way.hops.index(hop) + 1
        guard = Hop(PLACE, f"{does} (table {FAMILY} {table})", Mark.NOTE)
        yield replace(way, hops=(*way.hops[:at], guard, *way.hops[at:]))


def _holds(way: Way, known: Collection[tuple[str, ...]]) -> bool:
    first, last = way.ports
    protocol = way.port[1] if way.port else ""
    return all((way.container_id, protocol, str(p)) in known for p in range(first, last + 1))
