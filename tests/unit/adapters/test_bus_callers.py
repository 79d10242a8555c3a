# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: nobody keeps the others from being answered, and the bus is asked little."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from podwatch.adapters.bus_callers import (
    AT_ONCE,
    AT_ONCE_OF_ONE,
    MOST,
    MOST_OF_ONE,
    REMEMBERED,
    Callers,
)
from podwatch.words.api import Refused
from podwatch.words.errors import BusUnavailable

BUSY = "org.podwatch1.Error.Busy"


class Crowd:
    """Callers whose user is the number in their name: ":UID.N"."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = False
        self.callers = Callers(self._ask)
        self.at_once: Counter[int] = Counter()
        self.gate = asyncio.Event()
        self.tasks: list[asyncio.Task[int]] = []

    async def _ask(self, sender: str) -> int:
        self.asked.append(sender)
        await asyncio.sleep(0)
        if self.gone:
            raise BusUnavailable("gone")
        return int(sender[1:].partition(".")[0])

    def call(self, sender: str) -> None:
        """A call of this sender comes in, and is answered when the gate is open."""
        known = self.callers.admit(sender)
        self.tasks.append(asyncio.ensure_future(self._respond(sender, known)))

    async def _respond(self, sender: str, known: int | None) -> int:
        async with self.callers.turn(sender, known) as uid:
            self.at_once[uid] += 1
            await self.gate.wait()
            self.at_once[uid] -= 1
            return uid

    async def settle(self) -> None:
        """Let everybody come as far as they can."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self) -> list[int | BaseException]:
        """Open the gate; what became of all calls."""
        self.gate.set()
        return await asyncio.gather(*self.tasks, return_exceptions=True)


def run(body: Callable[[Crowd], Awaitable[None]]) -> None:
    """Run a test's body."""

    async def within() -> None:
        await body(Crowd())

    asyncio.run(asyncio.wait_for(within(), 10))


def names(outcomes: list[int | BaseException]) -> Counter[str]:
    """The names of the errors that calls were answered by."""
    return Counter(each.name for each in outcomes if isinstance(each, Refused))


def test_few_of_one_user_are_answered_at_once() -> None:
    """However many connections it has; the others wait, and all are answered."""

    async def body(crowd: Crowd) -> None:
        for number in range(MOST_OF_ONE):
            crowd.call(f":1000.{number % 5}")
        crowd.call(":1001.1")
        await crowd.settle()
        assert crowd.at_once == {1000: AT_ONCE_OF_ONE, 1001: 1}
        assert Counter(await crowd.end()) == {1000: MOST_OF_ONE, 1001: 1}

    run(body)


def test_few_of_all_are_answered_at_once_and_root_beside_them() -> None:
    """Sixteen, of however many users; root's calls wait for root's alone."""

    async def body(crowd: Crowd) -> None:
        for uid in range(1000, 1010):
            for _ in range(3):
                crowd.call(f":{uid}.1")
        await crowd.settle()
        assert crowd.at_once.total() == AT_ONCE
        for _ in range(6):
            crowd.call(":0.1")
        await crowd.settle()
        assert crowd.at_once[0] == AT_ONCE_OF_ONE
        assert len(await crowd.end()) == 36
        assert names(await crowd.end()) == {}

    run(body)


def test_too_many_of_one_are_busy() -> None:
    """Of a sender at once, of a user as soon as the bus has said who it is."""

    async def body(crowd: Crowd) -> None:
        for _ in range(MOST_OF_ONE):
            crowd.call(":1000.1")
        with pytest.raises(Refused) as caught:
            crowd.call(":1000.1")
        assert caught.value.name == BUSY
        for _ in range(MOST_OF_ONE):
            crowd.call(":1000.2")
        await crowd.settle()
        outcomes = await crowd.end()
        assert names(outcomes) == {BUSY: MOST_OF_ONE}
        crowd.call(":1000.1")  # there is room again
        assert (await crowd.end())[-1] == 1000

    run(body)


def test_too_many_of_all_are_busy_but_not_roots() -> None:
    """Whoever comes with many users and connections shuts root out from none of its connections."""

    async def body(crowd: Crowd) -> None:
        for number in range(MOST):
            crowd.call(f":{1000 + number // 8}.{number}")
        await crowd.settle()
        for number in range(100):
            crowd.call(f":2000.{number}")
        with pytest.raises(Refused) as caught:
            crowd.call(":1000.1")
        assert caught.value.name == BUSY
        for number in range(8):
            crowd.call(f":0.{number}")
        await crowd.settle()
        assert crowd.at_once[0] == AT_ONCE_OF_ONE
        outcomes = await crowd.end()
        assert names(outcomes) == {BUSY: 100}
        assert outcomes[-8:] == [0] * 8

    run(body)


def test_the_bus_is_asked_once_about_a_sender() -> None:
    """As long as a few dozen others have not come since; another bus has other senders."""

    async def body(crowd: Crowd) -> None:
        crowd.gate.set()
        for _ in range(5):
            crowd.call(":1000.1")
        await crowd.end()
        crowd.call(":1000.1")
        await crowd.end()
        assert crowd.asked == [":1000.1"]
        for number in range(REMEMBERED):
            crowd.call(f":1001.{number}")
            await crowd.end()
        crowd.call(":1000.1")
        await crowd.end()
        assert crowd.asked.count(":1000.1") == 2
        assert len(crowd.callers._users) == REMEMBERED
        crowd.callers.forget()
        crowd.call(":1000.1")
        await crowd.end()
        assert crowd.asked.count(":1000.1") == 3

    run(body)


def test_who_cannot_be_named_is_refused() -> None:
    """A sender that has gone, or a bus that has; the next call asks again."""

    async def body(crowd: Crowd) -> None:
        crowd.gone = True
        crowd.call(":1000.1")
        crowd.call(":1000.1")
        assert names(await crowd.end()) == {"org.podwatch1.Error.Unknown": 2}
        crowd.gone = False
        crowd.call(":1000.1")
        assert (await crowd.end())[-1] == 1000
        assert crowd.asked == [":1000.1"] * 2

    run(body)


def test_who_gives_up_leaves_nothing() -> None:
    """Calls that are ended, at whatever point they are, make room for as many."""

    async def body(crowd: Crowd) -> None:
        for after in range(6):
            for _ in range(MOST_OF_ONE):
                crowd.call(":1000.1")
            for _ in range(after + 1):
                await asyncio.sleep(0)
            for each in crowd.tasks:
                each.cancel()
            await asyncio.gather(*crowd.tasks, return_exceptions=True)
            crowd.tasks.clear()
        for _ in range(MOST_OF_ONE):
            crowd.call(":1000.1")
        assert await crowd.end() == [1000] * MOST_OF_ONE
        assert (crowd.callers._turns, crowd.callers._calls) == ({}, Counter())
        assert crowd.callers._senders == Counter()

    run(body)
