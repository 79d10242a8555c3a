# SPDX-License-Identifier: Apache-2.0
"""Hints: what the watchers said, gathered until the loop takes it.

A watcher rings at any moment, also in the middle of a look. It changes nothing that the loop goes
by: the loop waits here, and takes what was gathered at moments of its own. The one thing that a
look asks for while it looks is the number of transactions, which says whether its rules are of one
moment.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from podwatch.adapters.links_watch import LinkChange
from podwatch.adapters.netlink import Change
from podwatch.drivers.driver import DRIVERS
from podwatch.words.cause import (
    NO_CAUSE,
    WHILE_ABSENT,
    Cause,
    CauseKind,
    Writer,
    by_firewalld,
    by_link,
    by_writer,
    other,
    why_looked,
)
from podwatch.words.firewalld_event import FirewalldEvent
from podwatch.words.guard import THREAD, is_guard
from podwatch.words.snapshot import Part

_FIREWALLD_TABLES = frozenset({"inet firewalld", "inet firewalld_policy_drop"})
_ALL_TABLES = frozenset(table for driver in DRIVERS.values() for table in driver.ABOUT.tables)

_RESTARTS = frozenset({FirewalldEvent.RELOADED, FirewalldEvent.STARTED})
"""Events at which netavark's own units start their work."""


_OF_PODMAN = ("podman", "netavark")
"""Who changes links when podwatch has containers reloaded."""


class Watcher(Protocol):
    """Who listens to one thing of the host, and rings when something has happened there."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None] | None":
        """Begin to listen, on this loop. Raises PodwatchError where that cannot be.

        What is returned ends, with its error, when nothing is heard any more; None where that
        cannot happen.
        """

    def close(self) -> None:
        """Stop listening, if it ever began."""

    def describe(self) -> str:
        """How it is, in words; the first is "listening" or "connected" where it is well."""


@dataclass
class Heard:
    """What was said since the loop took it last; moments of the clock, None where nothing was.

    `changed_at`: somebody else changed something that a repair depends on. `rules_at`: it was the
    networks' rules. `restarted_at`: firewalld was loaded anew. `others_at`: rules of others were
    changed, of the tables `deleted` some were deleted. `runtime`: a container started or ended.
    `routes`: packets may go another way. `permanent`: firewalld's permanent configuration is
    another.
    """

    changed_at: float | None = None
    rules_at: float | None = None
    restarted_at: float | None = None
    others_at: float | None = None
    deleted: frozenset[str] = frozenset()
    runtime: bool = False
    routes: bool = False
    permanent: bool = False


@dataclass
class _Said:
    """What was said since the last look began, for the next one.

    `look`: one is wanted. `urgent`: at once. `firewalld`: it has to hear firewalld. `glance`: which
    of links and the name server are others. `census`: podman's containers were listed. `others`:
    something else was said. `hurries`: not all of it may be podman's own doing.
    """

    look: bool = False
    urgent: bool = False
    firewalld: bool = False
    glance: set[Part] = field(default_factory=set)
    census: bool = False
    others: bool = False
    hurries: bool = False


class Hints:
    """Rung by every watcher, waited for by the loop.

    `own_name` is the name under which the kernel knows this process as a writer of rules; `clock`
    counts seconds and never goes back. `cause` is to blame for the next loss that is found,
    `transactions` counts those on the networks' tables.
    """

    def __init__(self, own_name: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.cause = WHILE_ABSENT
        self.transactions = 0
        self.meanwhile = NO_CAUSE
        """Who else changed the networks' rules during the last repair."""
        self._tables = _ALL_TABLES
        self._own_name = own_name
        self._repairs_as: frozenset[str] | None = None
        self._clock = clock
        self._rung = asyncio.Event()
        self._said = _Said()
        self._heard = Heard()
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()

    # What the watchers call.

    def on_change(self, change: Change) -> None:
        """Somebody committed an nftables transaction."""
        is_own = change.writer.name in (self._own_name, THREAD)
        if is_own and all(map(is_guard, change.tables)):
            return
        if not change.tables <= _FIREWALLD_TABLES | self._tables:
            self._others_changed(change.deleted)
        if not change.tables & (_FIREWALLD_TABLES | self._tables):
            return
        ours = not change.tables.isdisjoint(self._tables)
        self.transactions += ours
        if self._repairs_as is not None:
            if ours and change.writer.name not in self._repairs_as:
                self.meanwhile = by_writer(change.writer)
            return
        if ours:
            self._heard.changed_at = self._heard.rules_at = self._clock()
        deleted = not change.deleted.isdisjoint(self._tables)
        self._wake(
            by_writer(change.writer),
            urgent=deleted or not ours,
            names_cause=deleted,
            can_wait=ours and not deleted,
        )

    def on_overrun(self) -> None:
        """The kernel had more to tell than we could read: anything may have changed."""
        self.transactions += 1
        self._others_changed()
        self._wake(other("more changes than could be followed"), urgent=True)

    def on_firewalld(self, event: FirewalldEvent) -> None:
        """firewalld said something."""
        if event is FirewalldEvent.PERMANENT:  # nothing is lost by that: it is read, not looked at
            self._heard.permanent = True
            self._rung.set()
            return
        restarts = event in _RESTARTS
        if restarts:
            self._heard.changed_at = self._heard.restarted_at = self._clock()
        self._said.firewalld = True
        self._wake(by_firewalld(str(event)), urgent=True, names_cause=restarts)

    def on_runtime(self) -> None:
        """A container started or ended, on whatever network."""
        self._heard.runtime = True
        self._rung.set()

    def on_sysctl(self) -> None:
        """Somebody set a sysctl."""
        self._wake(other("a sysctl was set"), urgent=True)

    def on_link(
        self, told: str, asker: Writer | None, change: LinkChange = LinkChange.OTHER
    ) -> None:
        """A bridge of Podman's, a port or an address of one was changed.

        While podwatch repairs it is news only if somebody else asked for it. Of podman's own doing
        may be whatever nobody else is named for.
        """
        is_others = asker is not None and asker.name not in (self._own_name, *_OF_PODMAN)
        if self._repairs_as is None or is_others:
            self._heard.changed_at = self._clock()
            self._said.glance.add(Part.LINKS)
            self._wake(
                self._why(told, asker, change),
                urgent=True,
                names_cause=self._is_to_blame(asker, change),
                can_wait=not is_others,
            )

    def _why(self, told: str, asker: Writer | None, change: LinkChange) -> Cause:
        """What a change of a link is for the look that follows; by what comes nothing is lost."""
        if change is LinkChange.CAME:
            return why_looked(told)
        return by_link(told, asker, yields=change is LinkChange.LOST)

    def _is_to_blame(self, asker: Writer | None, change: LinkChange) -> bool:
        """Whether a change of a link is the cause of what is lost next, whatever was before it.

        Of several the first is. But what goes with a link that is deleted is told before it: it is
        set down, its ports go. And of an address without a name the one that is named says more.
        """
        if change is LinkChange.CAME:
            return False
        is_first = self.cause.kind is not CauseKind.LINK
        says_more = change is LinkChange.LOST and asker is not None and self.cause.yields
        return is_first or change is LinkChange.GONE or says_more

    def on_route(self) -> None:
        """An address, a route or a rule of others was changed: packets may go another way."""
        self._heard.routes = True
        self._rung.set()

    def on_links_overrun(self) -> None:
        """The kernel had more to tell of links than could be read."""
        self._wake(other("more changes of links than could be followed"), urgent=True)

    def on_surroundings(self) -> None:
        """A setting or a route was changed: what a reload had to wait for may be there now."""
        self._heard.changed_at = self._clock()
        self.look_now("a setting or a route was changed")

    def on_names(self, why: str) -> None:
        """The name server has ended, or is another one."""
        self._heard.changed_at = self._clock()
        self._said.glance.add(Part.NAMES)
        if self._repairs_as is not None:  # podwatch's own doing is nobody's fault
            self.look_now(why)
            return
        # A link takes the name server with it; who commits rules has nothing to do with it.
        is_first = self.cause.kind is not CauseKind.LINK
        self._wake(other(why), urgent=True, names_cause=is_first)

    def on_netns(self, why: str) -> None:
        """The namespace of a user's bridges came or went, or lost its file."""
        self._heard.changed_at = self._clock()
        self._wake(other(why), urgent=True)

    def on_relay(self, why: str) -> None:
        """What carries the packets of a user's container has ended, and the container has not."""
        self._heard.changed_at = self._clock()
        is_first = self.cause.kind is not CauseKind.LINK
        self._wake(other(why), urgent=True, names_cause=is_first)

    def on_census(self) -> None:
        """podman's containers were listed: those that do not run miss nothing."""
        others = self._said.others
        self._wake(why_looked("podman's containers were listed"), urgent=False, can_wait=True)
        self._said.census, self._said.others = True, others

    def on_late_answer(self) -> None:
        """firewalld or systemd answered a question for which no look waited any more."""
        self.look_now("an answer came late")

    def look_now(self, why: str) -> None:
        """Look although nothing is known to have changed on the host."""
        self._wake(why_looked(why), urgent=True)

    def ask(self, job: Callable[[], Awaitable[None]]) -> None:
        """Have the loop do this between two looks, when nobody else looks or repairs.

        It must not raise. What it commits is no news; a look follows.
        """
        self._jobs.append(job)
        self.look_now("asked for")

    def _others_changed(self, deleted: frozenset[str] = frozenset()) -> None:
        """Somebody else's rules may shut the networks out."""
        self._heard.others_at = self._clock()
        self._heard.deleted |= deleted
        self._rung.set()

    def _wake(
        self, cause: Cause, *, urgent: bool, names_cause: bool = False, can_wait: bool = False
    ) -> None:
        weak = self.cause.kind in (CauseKind.OTHER, CauseKind.UNKNOWN)
        if names_cause or not self.cause or (weak and cause):
            self.cause = cause
        self._said.urgent = self._said.urgent or urgent
        self.want_look(can_wait=can_wait)

    # What the loop calls.

    @property
    def wants_look(self) -> bool:
        """Whether something was said since `begin_look` for which a look is due."""
        return self._said.look

    @property
    def urgent(self) -> bool:
        """Whether that look is due at once."""
        return self._said.urgent

    @property
    def has_census(self) -> bool:
        """Whether podman has listed its containers since `begin_look`."""
        return self._said.census

    @property
    def of_census_alone(self) -> bool:
        """Whether a look is wanted for that alone."""
        return self._said.census and not self._said.others

    @property
    def can_wait(self) -> bool:
        """Whether a look is wanted, and all that was said for it may be podman's own doing.

        While podman is at work nothing is done about it.
        """
        return self._said.look and not self._said.hurries

    def want_look(self, *, can_wait: bool = False) -> None:
        """Have the loop look, for the cause that is known; see `can_wait`."""
        self._said.look = self._said.others = True
        self._said.hurries = self._said.hurries or not can_wait
        self._rung.set()

    def take_glance(self) -> Collection[Part]:
        """Which of links and the name server are others since this was asked last, or since the
        last look began.
        """
        glance, self._said.glance = self._said.glance, set()
        return glance

    def begin_look(self) -> bool:
        """The look that begins now sees what was said so far; what is said from now on is for the
        next one.

        Whether it has to hear firewalld for that.
        """
        said, self._said = self._said, _Said()
        return said.firewalld

    def take_job(self) -> Callable[[], Awaitable[None]] | None:
        """What the loop was asked to do first, once; None where there is nothing."""
        return self._jobs.popleft() if self._jobs else None

    def take(self) -> Heard:
        """What the loop has to take over, once."""
        heard, self._heard = self._heard, Heard()
        self._rung.clear()
        return heard

    def follow(self, tables: frozenset[str]) -> None:
        """The networks' rules are in these tables, each "family name"."""
        self._tables = tables

    async def rung(self, limit_s: float) -> None:
        """Wait until a watcher rings, `limit_s` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._rung.wait()

    @contextmanager
    def repairing(self, writers: Collection[str]) -> Iterator[None]:
        """What is committed meanwhile is no news; `writers` are the names of who repairs.

        Whoever else changes the rules is in `meanwhile` afterwards.
        """
        self.meanwhile, self._repairs_as = NO_CAUSE, frozenset({self._own_name, *writers})
        try:
            yield
        finally:
            self._repairs_as = None
