# SPDX-License-Identifier: Apache-2.0
"""A question that may take its time, and what was answered last.

Anybody can keep the bus busy for seconds: dbus-daemon takes two to check a body of 31 MB. What can
be put right without an answer does not wait for it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

RECENT_S = 60.0
"""An answer that is no older is as good as another, where nothing was told since."""

T = TypeVar("T")


class Asking(Generic[T]):
    """Asks one thing at a time, for as long as it takes.

    `heard_late` is called for an answer that nobody waited for, if it is another than the last.
    """

    def __init__(self, heard_late: Callable[[], None] = lambda: None) -> None:
        self._heard_late = heard_late
        self._task: asyncio.Task[T] | None = None
        self._said: list[T] = []
        self._said_at = 0.0
        self._is_late = False  # until somebody no longer waits

    def begin(
        self, ask: Callable[[], Coroutine[Any, Any, T]], *, anew: bool = False
    ) -> asyncio.Task[T]:
        """Ask, unless that is still going on; `anew` where an answer to that would be too old."""
        if self._task is not None and anew:
            self._task.cancel()
        elif self._task is not None and not self._task.done():
            return self._task
        self._is_late = False
        self._task = asyncio.create_task(self._once(ask))
        return self._task

    async def hear(self, asked: asyncio.Task[T], limit_s: float | None) -> T:
        """The answer; after `limit_s` seconds the one before it, if there is one.

        Raises what asking raises.
        """
        if self._said:
            done, _ = await asyncio.wait([asked], timeout=limit_s)
            if not done:
                self._is_late = True
                return self._said[0]
        return await asked

    def recent(self) -> T | None:
        """The last answer; None where it is old."""
        is_recent = self._said and time.monotonic() < self._said_at + RECENT_S
        return self._said[0] if is_recent else None

    async def _once(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        answer = await ask()
        is_news = self._is_late and self._said != [answer]
        self._said, self._said_at = [answer], time.monotonic()
        if is_news:
            self._heard_late()
        return answer
