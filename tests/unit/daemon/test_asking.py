# SPDX-License-Identifier: Apache-2.0
"""Asking one thing at a time: who waits for which answer, and which is news."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from podwatch.daemon import asking as daemon_asking
from podwatch.daemon.asking import Asking


@dataclass
class FakeOracle:
    """Answers how often it was asked, when it is let; `late` counts what it was told is news."""

    asked: int = 0
    answer: int = 0
    late: int = 0
    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self) -> int:
        """The answer as it is when it is let."""
        self.asked += 1
        await self.let.wait()
        return self.answer

    def hear_late(self) -> None:
        """An answer came that nobody waited for."""
        self.late += 1


def run(body: Callable[[FakeOracle, Asking[int]], Coroutine[Any, Any, None]]) -> None:
    """Run this with an oracle, and somebody who asks it."""

    async def main() -> None:
        oracle = FakeOracle()
        await body(oracle, Asking(oracle.hear_late))

    asyncio.run(main())


def test_one_question_at_a_time() -> None:
    """Who asks meanwhile gets the answer that is on its way, who asks later another one."""

    async def body(oracle: FakeOracle, asking: Asking[int]) -> None:
        first, second = asking.begin(oracle.ask), asking.begin(oracle.ask)
        assert first is second
        oracle.let.set()
        assert await asking.hear(first, None) == 0
        oracle.answer = 1
        assert await asking.hear(asking.begin(oracle.ask), None) == 1
        assert oracle.asked == 2

    run(body)


def test_a_question_that_is_too_old_is_asked_anew() -> None:
    """The one before it is dropped, and its answer is nobody's."""

    async def body(oracle: FakeOracle, asking: Asking[int]) -> None:
        first = asking.begin(oracle.ask, anew=True)
        await asyncio.sleep(0)
        second = asking.begin(oracle.ask, anew=True)
        assert second is not first
        oracle.let.set()
        await asking.hear(second, None)
        assert first.cancelled()
        assert oracle.asked == 2

    run(body)


def test_what_was_said_last_counts_where_nobody_can_wait() -> None:
    """The first answer is waited for; a late one is news where it is another one."""

    async def body(oracle: FakeOracle, asking: Asking[int]) -> None:
        first = asking.begin(oracle.ask)
        asyncio.get_running_loop().call_later(0.01, oracle.let.set)
        assert await asking.hear(first, 0.0) == 0
        for answer, late in ((0, 0), (1, 1), (1, 1)):
            oracle.let.clear()
            oracle.answer = answer
            asked = asking.begin(oracle.ask)
            before = await asking.hear(asked, 0.0)
            oracle.let.set()
            assert await asked == answer
            assert oracle.late == late
            assert before in (0, 1)
        assert await asking.hear(asking.begin(oracle.ask), None) == 1
        assert oracle.late == 1, "who waits hears it himself"

    run(body)


def test_an_answer_is_recent_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then whoever would have been content with it asks again."""

    async def body(oracle: FakeOracle, asking: Asking[int]) -> None:
        assert asking.recent() is None
        oracle.let.set()
        oracle.answer = 7
        await asking.hear(asking.begin(oracle.ask), None)
        assert asking.recent() == 7
        monkeypatch.setattr(daemon_asking, "RECENT_S", 0.0)
        assert asking.recent() is None

    run(body)
