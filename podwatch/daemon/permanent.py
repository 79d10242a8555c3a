# SPDX-License-Identifier: Apache-2.0
"""firewalld's permanent configuration: read beside the looks, and its sources kept if that is set.

No look waits for it: what a reload would cost is no loss. It is read after a look, where firewalld
has told of a change since, or what it is about is another; and once in a while, with a slow look.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from podwatch.daemon.kept_sources import KeptSources, Permanents
from podwatch.decide.kept_sources import Plan
from podwatch.decide.reload_costs import reload_notes, trusted_subnets
from podwatch.report import logging
from podwatch.report.events import Event
from podwatch.words.errors import PodwatchError, Unreadable
from podwatch.words.network import Setup
from podwatch.words.snapshot import Permanent, Snapshot

EVERY_S = 280.0
"""It is read again after so long: with a slow look, which is every 300 s by default."""

_MAX_ROUNDS = 3


@dataclass(frozen=True)
class _Look:
    """The setup of the containers that run, at the last look; whether podwatch may act on it."""

    setup: Setup
    acts: bool


class PermanentLook:
    """What is known of the permanent configuration; `kept` is what podwatch added to it.

    `firewalld` is None where nobody is to ask, and `changes` counts what it told of its permanent
    configuration. `heard` is called where there is something else to tell now. `tells`: looks are
    to know of it. `keeps`: the networks' subnets are to be permanent sources.
    """

    def __init__(
        self,
        firewalld: Permanents,
        changes: Callable[[], int],
        kept: KeptSources,
        heard: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tells = False
        self.keeps = False
        self.kept = kept
        self._firewalld = firewalld
        self._changes = changes
        self._heard = heard
        self._clock = clock
        self._known: Permanent | None = None
        self._last: _Look | None = None
        self._read_for: object = None
        self._read_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._complained = ""

    def known(self) -> Permanent | None:
        """The permanent configuration, for a look; None where nobody is to be told."""
        return self._known if self.tells else None

    def remember(self) -> None:
        """Take up what an earlier podwatch added."""
        try:
            self.kept.remember()
        except PodwatchError as exc:
            self.complain(exc)

    def complain(self, error: PodwatchError) -> None:
        """Say what is wrong, once."""
        if str(error) != self._complained:
            self._complained = str(error)
            logging.log(Event.COMPLAINT, str(error))

    def is_outdated(self) -> bool:
        """Whether a network was made or removed, which nothing tells of, and that counts."""
        if self._last is None or not self.kept.own:
            return False
        return self._about(self._last) != self._read_for

    def close(self) -> None:
        """Begin nothing more."""
        if self._task is not None:
            self._task.cancel()

    def look_soon(self, snapshot: Snapshot, setup: Setup | None, *, acts: bool) -> None:
        """After a look: read it where that is due, and put right what is kept if podwatch `acts`.

        `setup` is that of the containers that run.
        """
        is_known = setup is not None and _is_calm(snapshot)
        self._last = _Look(setup, acts and not snapshot.paused) if setup and is_known else None
        self.look_again()

    def look_again(self) -> None:
        """The same after firewalld told of a change, of what was seen last."""
        is_busy = self._task is not None and not self._task.done()
        if self._last is None or is_busy or not (self.tells or self.keeps or self.kept.own):
            return
        if self._is_due(self._last):
            self._task = asyncio.create_task(self._once(self._last), name="permanent")

    async def read(self, setup: Setup | None) -> None:
        """Read it now, for a command; what cannot be read is not known."""
        self.tells = True
        try:
            self._known = await self._firewalld.read(trusted_subnets(setup))
        except Unreadable:
            self._known = None

    async def release(self) -> tuple[str, ...]:
        """Take all away that podwatch added; which that was. Raises PodwatchError."""
        found = await self._firewalld.read(self.kept.own)
        todo = self.kept.release(found.sources)
        await self.kept.do(todo)
        return todo.remove

    async def _once(self, look: _Look) -> None:
        before = self._told(look)
        try:
            for _ in range(_MAX_ROUNDS):
                if await self._read(look) == Plan() and self._about(look) == self._read_for:
                    break
        except Unreadable:
            self._known = None  # firewalld has gone, or hangs: what it tells next makes a look
        except PodwatchError as exc:
            self.complain(exc)
        if self._told(look) != before:
            self._heard()

    async def _read(self, look: _Look) -> Plan:
        """Read it, and do what is to be done; what that was."""
        wanted, about = trusted_subnets(look.setup), self._about(look)
        found = await self._firewalld.read({**wanted, **self.kept.own})
        self._known, self._read_for, self._read_at = found, about, self._clock()
        if not look.acts:
            return Plan()
        if self.keeps:
            todo = self.kept.plan(wanted, found.sources)
        else:
            todo = self.kept.release(found.sources)
        await self.kept.do(todo)
        return todo

    def _is_due(self, look: _Look) -> bool:
        return self._about(look) != self._read_for or self._clock() >= self._read_at + EVERY_S

    def _about(self, look: _Look) -> object:
        """What it is read for: it need not be read again for the same."""
        asked = trusted_subnets(look.setup), look.acts, self.tells, self.keeps
        return asked, self._changes(), self._firewalld.stamp(), self.kept.files()

    def _told(self, look: _Look) -> list[str]:
        return [notice.what for notice in reload_notes(look.setup, self.known())]


def _is_calm(snapshot: Snapshot) -> bool:
    """Whether firewalld runs and says what it has, and nobody is changing networks."""
    firewalld = snapshot.firewalld
    if firewalld is None or not firewalld.running or snapshot.busy:
        return False
    return not (firewalld.reloading or firewalld.panic)
