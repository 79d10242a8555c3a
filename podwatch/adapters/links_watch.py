# SPDX-License-Identifier: Apache-2.0
"""rtnetlink's notifications: hear of every change of the bridges and ports of Podman's networks.

A container's start or stop makes 15 to 20 messages, and a host may have links of many others. So a
change rings only if it is of a link that is followed, and makes it other than it was at the last
look; all others are counted, so that the next look lists the links anew.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from podwatch.adapters.rtnetlink import Notifications
from podwatch.formats.route_events import GROUPS, LinkEvent, parse_events
from podwatch.words.cause import Writer
from podwatch.words.links import Link, Links

_ISOLATED = {True: "isolated on its bridge", False: "isolated no more"}


class LinkChange(StrEnum):
    """What kind of change a link had: it has `GONE`, an address or a route of it was `LOST`, or
    `CAME`, or it is there and `OTHER` than it was.
    """

    GONE = "gone"
    LOST = "lost"
    CAME = "came"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class _Known:
    """A link that is followed, as it was at the last look."""

    name: str
    is_up: bool
    master: int
    isolated: bool
    has_carrier: bool


class LinkWatch:
    """Calls `on_change` with what was changed, who asked for it, and what kind of change it is, of
    links that are followed.

    `identify` tells who has a process' number. `on_overrun` is called when messages were lost,
    `on_route` for an address, a route or a rule for routing that is of no link that is followed.
    """

    def __init__(
        self,
        on_change: Callable[[str, Writer | None, LinkChange], None],
        on_overrun: Callable[[], None],
        on_route: Callable[[], None] = lambda: None,
        identify: Callable[[int], Writer | None] = lambda _: None,
    ) -> None:
        self._on_change = on_change
        self._on_overrun = on_overrun
        self._on_route = on_route
        self._identify = identify
        self._count = 0
        self._known: dict[int, _Known] = {}
        self._wanted: frozenset[str] = frozenset()
        self._awaits = False
        self._told = Notifications(GROUPS, "changes of links", self._heard, self._lost)
        self.attach = self._told.attach
        self.close = self._told.close
        self.describe = self._told.describe

    def changes(self) -> int | None:
        """How many changes there were of any link, by now; None where nobody listens."""
        self._told.drain()
        return self._count if self._told.listens else None

    def follow(self, links: Links, bridges: Collection[str], *, awaits: bool) -> None:
        """Ring for these bridges and their ports from now on, where they are not as in `links`.

        Of a bridge that is not there, that it has come; of addresses and routes that go, and, while
        something is awaited, those that come.
        """
        self._awaits = awaits
        self._known = {
            link.index: _known(link, links)
            for link in links.by_name.values()
            if link.name in bridges or link.master in bridges
        }
        self._wanted = frozenset(bridges - links.by_name.keys())

    def _heard(self, data: memoryview) -> None:
        self._count += 1
        for event in parse_events(data):
            self._take(event)

    def _lost(self) -> None:
        self._count += 1
        self._on_overrun()

    def _is_no_news(self, event: LinkEvent) -> bool:
        return event.is_address and not (event.is_loss or self._awaits)

    def _take(self, event: LinkEvent) -> None:
        known = self._known.get(event.index)
        if event.on_link and (known is None or known.master):
            return  # it matters of a bridge alone
        if event.is_address and known is None:
            self._on_route()
            return
        if known is not None:
            told = "" if self._is_no_news(event) else _changed(known, event)
        elif event.link is not None and event.link.name in self._wanted:
            told = f"{event.link.name} was made"
        else:
            return
        if told:
            asker = self._identify(event.asked_by) if event.asked_by else None
            self._on_change(told, asker, _kind(event))


def _kind(event: LinkEvent) -> LinkChange:
    if event.is_address:
        return LinkChange.LOST if event.is_loss else LinkChange.CAME
    is_there = event.link is not None or event.isolated is not None
    return LinkChange.OTHER if is_there else LinkChange.GONE


def _changed(known: _Known, event: LinkEvent) -> str:
    """What a change makes of a link that is followed; "" where it is as it was."""
    name, link = known.name, event.link
    if event.isolated is not None:
        return f"{name} was {_ISOLATED[event.isolated]}" if event.isolated != known.isolated else ""
    if event.is_address:
        return f"an address or route of {name} was {'deleted' if event.is_loss else 'added'}"
    if link is None:
        return f"{name} was deleted"
    if known.master and known.has_carrier and link.is_up and not link.has_carrier:
        return f"{name} lost its carrier"
    if link.is_up != known.is_up:
        return f"{name} was set {'up' if link.is_up else 'down'}"
    if link.master != known.master:
        return f"{name} was {'put on another bridge' if link.master else 'taken off its bridge'}"
    if link.name != name:
        return f"{name} was renamed to {link.name}"
    return f"{name} was {_ISOLATED[link.isolated]}" if link.isolated != known.isolated else ""


def _known(link: Link, links: Links) -> _Known:
    master = links.by_name.get(link.master)
    index = 0 if master is None else master.index
    return _Known(link.name, link.is_up, index, link.isolated, link.has_carrier)
