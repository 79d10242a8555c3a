# SPDX-License-Identifier: Apache-2.0
"""The API as a watcher: whatever becomes of it, podwatch goes on, and serves it again."""

import asyncio
from collections.abc import Callable

from podwatch.daemon.served import EVERY, Served
from podwatch.words.errors import PodwatchError


class FakeServing:
    """Serves, and answers as it is told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.ends: list[asyncio.Future[None]] = []
        self.answers: Callable[[], bool] = lambda: True
        self.answers_at_once = True

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Serve."""
        self.done.append("attach")
        self.ends.append(loop.create_future())
        return self.ends[-1]

    def close(self) -> None:
        """Serve no more."""
        self.done.append("close")

    def describe(self) -> str:
        """How it is."""
        return "serving well"

    async def is_answering(self) -> bool:
        """It is asked."""
        self.done.append("asked")
        if not self.answers_at_once:
            await asyncio.Event().wait()
        return self.answers()


class Stage:
    """The watcher, what it serves with, and what was complained of."""

    def __init__(self) -> None:
        self.serving = FakeServing()
        self.said: list[str] = []
        self.served = Served(
            self.serving, lambda: self.serving.done.append("polkit closed"), self._complain
        )

    def _complain(self, error: PodwatchError) -> None:
        self.said.append(str(error))

    async def beats(self, count: int) -> None:
        """So many heartbeats."""
        for _ in range(count):
            self.served.tend()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def test_it_is_asked_now_and_then_whether_it_answers() -> None:
    """By the heartbeat, which waits for nothing; never twice at once."""
    stage = Stage()

    async def body() -> None:
        await stage.beats(EVERY)
        assert stage.serving.done == [], "before it serves there is nothing to ask"
        stage.served.attach(asyncio.get_running_loop())
        await stage.beats(2 * EVERY)
        assert stage.serving.done == ["attach", "asked", "asked"]
        stage.serving.answers_at_once = False
        await stage.beats(9 * EVERY)
        assert stage.serving.done == ["attach", *3 * ["asked"]]
        assert stage.served.describe() == "serving well"
        stage.served.close()
        await stage.beats(EVERY)
        assert stage.serving.done[4:] == ["close", "polkit closed"]

    asyncio.run(body())
    assert stage.said == []


def test_one_that_is_deaf_is_complained_of() -> None:
    """It connects anew by itself; and one that cannot even be asked is no end of podwatch."""
    stage = Stage()

    def fail() -> bool:
        raise OSError("no descriptors")

    async def body() -> None:
        stage.served.attach(asyncio.get_running_loop())
        stage.serving.answers = lambda: False
        await stage.beats(EVERY)
        stage.serving.answers = fail
        await stage.beats(EVERY)

    asyncio.run(body())
    assert stage.said == [
        "the API did not answer podwatch itself, and is connected anew",
        "the API could not be asked whether it answers: OSError('no descriptors')",
    ]


def test_one_that_ends_is_served_again() -> None:
    """With its error in the journal: podwatch is there to repair, with or without a bus."""
    stage = Stage()

    async def body() -> None:
        stage.served.attach(asyncio.get_running_loop())
        stage.serving.ends[0].set_exception(ValueError("odd"))
        await stage.beats(1)
        stage.serving.ends[1].cancel()
        await stage.beats(1)
        assert stage.serving.done == ["attach", *2 * ["close", "attach"]]

    asyncio.run(body())
    assert stage.said == [
        "the API ended, and is served again: ValueError('odd')",
        "the API ended, and is served again: cancelled",
    ]
