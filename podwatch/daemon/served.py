# SPDX-License-Identifier: Apache-2.0
"""The API as a watcher: podwatch goes on without it, and looks whether it answers.

A service that owns its name and answers nobody would look like one that is well. So it is asked now
and then by way of the bus; one that does not answer is connected anew. Whatever becomes of it, the
daemon goes on: it is there to repair, with or without a bus.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from podwatch.words.errors import PodwatchError

EVERY = 3
"""At every so many heartbeats it is asked whether it answers."""


class Serving(Protocol):
    """What serves the API."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Serve, on this loop."""

    def close(self) -> None:
        """Serve no more."""

    def describe(self) -> str:
        """How it is, in words."""

    async def is_answering(self) -> bool:
        """Ask it by way of the bus; where no answer comes it is connected anew."""


class Served:
    """Keeps the API served. `complain` takes what is wrong with it; `close_with` ends with it."""

    def __init__(
        self,
        serving: Serving,
        close_with: Callable[[], None],
        complain: Callable[[PodwatchError], None],
    ) -> None:
        self._serving = serving
        self._close_with = close_with
        self._complain = complain
        self._ended: asyncio.Future[None] | None = None
        self._asking: asyncio.Task[bool] | None = None
        self._beats = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to serve, on this loop; what ends it does not end podwatch."""
        self._ended = self._serving.attach(loop)

    def close(self) -> None:
        """Serve no more."""
        if self._asking is not None:
            self._asking.cancel()
        self._ended = None
        self._serving.close()
        self._close_with()

    def describe(self) -> str:
        """How it is, in words; the first is "serving" where it is well."""
        return self._serving.describe()

    def tend(self) -> None:
        """A heartbeat: see whether it still answers, and have it served again if it has ended.

        To be called on the loop that it serves on; nothing is waited for.
        """
        if self._ended is None:
            return
        loop = asyncio.get_running_loop()
        if self._ended.done():
            self._say(f"the API ended, and is served again: {_why(self._ended)}")
            self._serving.close()
            self._ended = self._serving.attach(loop)
            return
        self._beats += 1
        if self._asking is None and self._beats % EVERY == 0:
            self._asking = loop.create_task(self._serving.is_answering())
            self._asking.add_done_callback(self._answered)

    def _answered(self, asked: "asyncio.Task[bool]") -> None:
        self._asking = None
        if asked.cancelled():
            return
        if asked.exception() is not None:
            self._say(f"the API could not be asked whether it answers: {asked.exception()!r}")
        elif not asked.result():
            self._say("the API did not answer podwatch itself, and is connected anew")

    def _say(self, what: str) -> None:
        self._complain(PodwatchError(what, hint="busctl status org.podwatch1"))


def _why(ended: "asyncio.Future[None]") -> str:
    if ended.cancelled():
        return "cancelled"
    return repr(ended.exception() or "nothing is wrong")
