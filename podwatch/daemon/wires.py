# SPDX-License-Identifier: Apache-2.0
"""The host's links and addresses as a look finds them, read again where the kernel told of changes.

To list them takes 3 ms at 100 containers, so that is not done for nothing.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from podwatch.adapters import links, namespace
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Link, Links
from podwatch.words.network import Setup
from podwatch.words.snapshot import Part, Unknown


class Watch(Protocol):
    """Who listens to changes of links."""

    def changes(self) -> int | None:
        """How many there were by now; None where nobody listens."""

    def follow(self, links: Links, bridges: Collection[str], *, awaits: bool) -> None:
        """Ring for these bridges and their ports where they are not as in `links` any more.

        For what comes to them, too, where something is awaited.
        """


class Wires:
    """The host's links; `watch` is None where nobody listens to their changes."""

    def __init__(self, watch: Watch | None = None, read: Callable[[], Links] = links.read) -> None:
        self._watch = watch
        self.macs: dict[str, str] = {}
        """The MACs of bridges, as they were when they were last there."""
        self.indexes: dict[str, int] = {}
        """The index of each link but containers', when it was last seen under its name."""
        self._read = read
        self._known: tuple[int, Links] | None = None
        self._of = namespace.number()

    def changes(self) -> int | None:
        """How many changes of links there were by now; None where nobody listens."""
        return None if self._watch is None else self._watch.changes()

    def follow(self, bridges: Collection[str], *, awaits: bool) -> None:
        """Have changes of these bridges heard, and of their ports, as they were read last.

        `awaits`: something is missing of them, and may come back by others' doing.
        """
        if self._watch is not None and self._known is not None:
            self._watch.follow(self._known[1], bridges, awaits=awaits)

    def read(self, unknown: list[Unknown]) -> Links | None:
        """All links; None, and why in `unknown`, where the kernel does not tell."""
        if self._of != namespace.number():
            self._of, self._known, self.indexes = namespace.number(), None, {}
        changes = self.changes()
        if self._known is not None and changes is not None and self._known[0] == changes:
            return self._known[1]
        try:
            found = self._read()
        except LinksUnreadable as exc:
            self._known = None
            unknown.append(Unknown(Part.LINKS, "the host's links", str(exc), exc.hint))
            return None
        self.macs |= {link.name: link.mac for link in found.by_name.values() if _is_bridge(link)}
        others = (link for link in found.by_name.values() if link.netns_id is None)
        self.indexes |= {link.name: link.index for link in others}
        self._known = None if changes is None else (changes, found)
        return found

    def are_others(self, setup: Setup | None) -> bool:
        """Whether other addresses of containers are the host's, too, than when links were read.

        They are read again only where something of them was changed.
        """
        before = self._known
        found = None if setup is None or before is None else self.read([])
        if setup is None or before is None or found is None or found is before[1]:
            return False
        theirs = {address for endpoint in setup.endpoints for address, _ in endpoint.addresses}
        was, now = (theirs & (seen.own - seen.unused) for seen in (before[1], found))
        return was != now


def _is_bridge(link: Link) -> bool:
    return link.kind == "bridge" and bool(link.mac)
