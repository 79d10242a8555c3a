# SPDX-License-Identifier: Apache-2.0
"""The guard among the hops: what it does where a rule of netavark's is missing. Pure.

The way stays broken, for its rules are lost and have to come back; but packets pass.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from podwatch.words.guard import FAMILY
from podwatch.words.network import Setup
from podwatch.words.way import Hop, Mark, Way, WayKind

PLACE = "guard"

_DOES = {
    (WayKind.IN, "port forward"): "carries new connections meanwhile",
    (WayKind.OUT, "masquerade"): "masquerades new connections meanwhile",
    (WayKind.ISOLATION, "isolation"): "keeps it apart meanwhile",
}


def with_guard(ways: Iterable[Way], setup: Setup, table: str, listing: str) -> Iterator[Way]:
    """The ways, with a hop behind each that is broken where the guard does what is missing.

    `table` is its name, and `listing` what nft lists of it.
    """
    texts = " ".join(listing.split())
    for way in ways:
        hop = way.first_broken
        does = _DOES.get((way.kind, hop.place)) if hop else None
        if hop is None or does is None or not _is_done(way, setup, texts):
            yield way
            continue
        at = way.hops.index(hop) + 1
        guard = Hop(PLACE, f"{does} (table {FAMILY} {table})", Mark.NOTE)
        yield replace(way, hops=(*way.hops[:at], guard, *way.hops[at:]))


def _is_done(way: Way, setup: Setup, texts: str) -> bool:
    """Whether the guard does what is missing of a way."""
    if way.port is not None:
        first, last = way.ports
        return all(f"{way.port[1]} . {port} : " in texts for port in range(first, last + 1))
    networks = {end.network_id for end in setup.endpoints if end.network_name == way.network}
    mine = [setup.networks[key] for key in networks if key in setup.networks]
    if way.kind is WayKind.ISOLATION:
        return any(f'iifname "{network.bridge}" oifname' in texts for network in mine)
    return any(f"saddr {subnet} " in texts for network in mine for subnet in network.subnets)
