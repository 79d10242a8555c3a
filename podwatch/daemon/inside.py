# SPDX-License-Identifier: Apache-2.0
"""What is in the containers' network namespaces, asked again only where it may differ.

The kernel tells nobody of an address that goes in there, nor of an interface that is set down; of
the latter the host's end of the veth loses its carrier. At 100 containers the question for all
costs as much as the rest of a look. So what was learned is kept for as long as the host's ends of a
namespace's veths are the same: an index is given once.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from podwatch.adapters import links, namespace
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Inner, Links, Namespaces
from podwatch.words.network import Address

KEPT_S = 60.0
"""What was seen so long ago is asked again, though nothing has changed."""

YOUNG_S = 2.0
"""What was seen of a namespace so soon after its veth came is not kept: it is being set up."""

AT_A_BEAT = 10
"""So many namespaces are asked again at each heartbeat, which wakes the process anyway: 2 ms."""

_AGAIN_S = 10.0
"""The same, where it is asked who is in a namespace at all."""

NONE: Mapping[int, object] = {}


class _Seen(NamedTuple):
    """What is in a namespace; its veths' ends on the host, since when those, and when asked."""

    ports: frozenset[object]
    since: float
    at: float
    inside: tuple[Inner, ...]

    @property
    def is_settled(self) -> bool:
        """Whether it was asked late enough after its veth came."""
        return self.since + YOUNG_S <= self.at


class Inside:
    """The kernel's answers, and what was so when it was asked.

    `read` gives the host's links, `ask` what is in the namespaces with these numbers, `numbers` the
    numbers of those with these inodes; all raise LinksUnreadable where the kernel does not tell.
    `clock` counts seconds.
    """

    def __init__(
        self,
        read: Callable[[], Links] = links.read,
        ask: Callable[[Iterable[int]], Mapping[int, tuple[Inner, ...]]] = links.inside,
        clock: Callable[[], float] = time.monotonic,
        *,
        numbers: Callable[[Collection[int]], Mapping[int, int]] = links.numbers,
    ) -> None:
        self._read = read
        self._ask = ask
        self._clock = clock
        self.numbers = numbers
        self._seen: dict[int, _Seen] = {}
        self._counted: tuple[object, float, Mapping[Address, int] | None] = (None, -math.inf, None)

    def namespaces(
        self, links: Links, kept_s: float = KEPT_S, others: Mapping[int, object] = NONE
    ) -> Namespaces:
        """What is in each namespace behind a veth of these links of the host, and in `others`.

        Those are by their numbers, each with what tells it from another with the same number. What
        was seen less than `kept_s` seconds ago is good; where that is for ever, so is what was seen
        while a namespace was being set up. Raises LinksUnreadable.
        """
        now = self._clock()
        ports = {number: frozenset({key}) for number, key in others.items()} | _ports(links)
        seen = {
            number: known
            for number, known in self._seen.items()
            if ports.get(number) == known.ports
            and (known.is_settled or kept_s == math.inf)
            and now < known.at + kept_s
        }
        wanted = sorted(ports.keys() - seen.keys())
        for number, inside in (self._ask(wanted) if wanted else {}).items():
            known = self._seen.get(number)
            same = known is not None and known.ports == ports[number]
            since = known.since if known is not None and same else now
            seen[number] = _Seen(ports[number], since, now, inside)
        self._seen = seen
        return {number: known.inside for number, known in seen.items()}

    def are_others(self) -> bool:
        """Whether some of what was seen is other by now: of those that were asked longest ago."""
        now = self._clock()
        oldest = sorted(self._seen, key=lambda number: self._seen[number].at)[:AT_A_BEAT]
        try:
            found = self._ask(oldest) if oldest else {}
        except LinksUnreadable:
            return False  # the next look says so
        changed = False
        for number in found.keys() & self._seen.keys():
            known = self._seen[number]
            changed = changed or known.inside != found[number]
            self._seen[number] = known._replace(at=now, inside=found[number])
        return changed

    def at(self, key: object) -> Mapping[Address, int] | None:
        """In how many namespaces an address is; None where the kernel does not tell.

        `key` changes whenever a container may have come or gone.
        """
        now, key = self._clock(), (namespace.number(), key)
        known, at, answer = self._counted
        if known != key or answer is None or now > at + _AGAIN_S:
            answer = self._count()
            self._counted = (key, now, answer)
        return answer

    def _count(self) -> Mapping[Address, int] | None:
        try:
            there = self._read()
            found = self.namespaces(there, kept_s=0.0)
            untold = _ports(there).keys() - found.keys()
            # One that is there, and of which the kernel does not tell, could have any address.
            if untold and untold & _ports(self._read()).keys():
                return None
        except LinksUnreadable:
            return None
        return Counter(
            chain.from_iterable(
                {address.ip for inner in some for address in inner.addresses}
                for some in found.values()
            )
        )


def _ports(links: Links) -> dict[int, frozenset[object]]:
    """By a namespace's number: what is another whenever a veth of it is another, or is changed."""
    found: dict[int, frozenset[object]] = {}
    for link in links.by_name.values():
        if link.netns_id is not None and link.netns_id >= 0:
            port = (namespace.number(), link.index, link.is_up, link.has_carrier, link.master)
            found[link.netns_id] = found.get(link.netns_id, frozenset()) | {port}
    return found
