# SPDX-License-Identifier: Apache-2.0
"""Who calls podwatch on the bus, and whose turn it is: nobody keeps the others from being answered.

A caller is known by the sender that the bus writes into each message, whom nobody can forge, and by
the user that the bus names for it. Of one user few calls are answered at once, and some wait; of
all users together somewhat more. root's calls wait for root's alone, and are counted alone: whoever
looks after the host is not shut out by its users.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from podwatch.words.api import Refused
from podwatch.words.errors import BusUnavailable

AT_ONCE = 16
AT_ONCE_OF_ONE = 4
MOST_OF_ONE = 32
"""Being answered or waiting: more than a page asks for that is open in several tabs."""
MOST = 256
"""The same of everybody, however many they are."""
REMEMBERED = 512
"""Of so many senders the user is known without asking the bus again; one user has 256 at most."""


class Callers:
    """Whose calls are answered; `ask` gives a sender's user, or raises BusUnavailable."""

    def __init__(self, ask: Callable[[str], Awaitable[int]]) -> None:
        self._ask = ask
        self._users: OrderedDict[str, asyncio.Task[int | None]] = OrderedDict()
        self._senders: Counter[str] = Counter()
        self._taken = 0
        self._calls: Counter[int] = Counter()
        self._turns: dict[int, asyncio.Semaphore] = {}
        self._of_all = asyncio.Semaphore(AT_ONCE)

    def has_room(self, sender: str) -> bool:
        """Whether another call of this sender may be taken in.

        Who is not known yet may be root: a few calls are taken in until the bus has said who.
        """
        uid, own = self._known(sender), self._senders[sender]
        if own >= MOST_OF_ONE or (uid is not None and self._calls[uid] >= MOST_OF_ONE):
            return False
        return uid == 0 or self._taken < MOST or (uid is None and own < AT_ONCE_OF_ONE)

    def admit(self, sender: str) -> int | None:
        """Take a call of this sender in; `turn` follows for each, and is given what this returns:
        the user, where it is known already. Raises Refused if there are too many.
        """
        if not self.has_room(sender):
            raise busy()
        self._senders[sender] += 1
        self._taken += 1
        uid = self._known(sender)
        if uid is not None:
            self._calls[uid] += 1
        return uid

    @asynccontextmanager
    async def turn(self, sender: str, known: int | None) -> AsyncIterator[int]:
        """Wait until the turn of a call that was taken in has come, and give its user.

        Raises Refused.
        """
        uid = known
        try:
            if uid is None:
                uid = await self._counted(sender)
            own = self._turns.setdefault(uid, asyncio.Semaphore(AT_ONCE_OF_ONE))
            async with AsyncExitStack() as turns:
                await turns.enter_async_context(own)
                if uid != 0:
                    await turns.enter_async_context(self._of_all)
                yield uid
        finally:
            if uid is not None:
                self._done(uid)
            self._taken -= 1
            self._senders[sender] -= 1
            if not self._senders[sender]:
                del self._senders[sender]

    def forget(self) -> None:
        """The bus is another one, and its senders are others."""
        while self._users:
            self._users.popitem()[1].cancel()

    async def _counted(self, sender: str) -> int:
        """The user of a call, which is counted as theirs from now on. Raises Refused."""
        uid = await asyncio.shield(self._user(sender))
        if uid is None:
            raise Refused("Unknown", "The bus does not say who calls.")
        of_users = self._calls.total() - self._calls[0]
        if self._calls[uid] >= MOST_OF_ONE or (uid != 0 and of_users >= MOST):
            raise busy()
        self._calls[uid] += 1
        return uid

    def _done(self, uid: int) -> None:
        self._calls[uid] -= 1
        if not self._calls[uid]:
            del self._calls[uid]
            self._turns.pop(uid, None)

    def _known(self, sender: str) -> int | None:
        asked = self._users.get(sender)
        return asked.result() if asked and asked.done() and not asked.cancelled() else None

    def _user(self, sender: str) -> "asyncio.Task[int | None]":
        """The one question about this sender, which may have been answered already."""
        asked = self._users.get(sender)
        if asked is None:
            asked = asyncio.get_running_loop().create_task(self._asked(sender))
            self._users[sender] = asked
        self._users.move_to_end(sender)
        while len(self._users) > REMEMBERED:
            self._users.popitem(last=False)
        return asked

    async def _asked(self, sender: str) -> int | None:
        try:
            return await self._ask(sender)
        except BusUnavailable:
            self._users.pop(sender, None)  # the next call asks again
            return None


def busy() -> Refused:
    """What is told to whose call has no room."""
    return Refused("Busy", "Too many calls are being answered: try again.")
