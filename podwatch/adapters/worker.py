# SPDX-License-Identifier: Apache-2.0
"""A thread of its own for a library that blocks.

A library that hangs must not hang the loop, nor the end of the program: the thread is a daemon,
and a call that takes too long is given up together with its thread and what the library kept
there. The next call gets a new one. Calls are made one after another.
"""

import asyncio
import functools
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")


class Worker(Generic[C]):
    """Runs functions on one thread.

    `make` makes, on that thread and at its first call, what each function is handed; `end` takes
    it back there when the thread ends.
    """

    def __init__(
        self, name: str, make: Callable[[], C], end: Callable[[C], object] | None = None
    ) -> None:
        self._name = name
        self._make = make
        self._end = end
        self._jobs: queue.SimpleQueue[Callable[[Callable[[], C]], None] | None] | None = None
        self._turn = asyncio.Lock()

    async def call(self, function: Callable[[C], T], *, timeout_s: float) -> T:
        """Run `function` on the thread and return what it returns, or raise what it raises.

        Raises TimeoutError after `timeout_s` seconds on the thread; waiting for one's turn does
        not count.
        """
        async with self._turn:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()

            def job(context: Callable[[], C]) -> None:
                try:
                    result = function(context())
                except BaseException as exc:  # the caller's to judge, whatever it is
                    _deliver(loop, answer, exc)
                else:
                    _deliver(loop, answer, None, result)

            if self._jobs is None:
                self._jobs = self._start()
            self._jobs.put(job)
            try:
                return await asyncio.wait_for(answer, timeout_s)
            finally:
                if answer.cancelled():  # it may still be at it: nobody waits for that any more
                    self.close()

    def close(self) -> None:
        """Let the thread end after what it is at. A later call starts another."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None

    def _start(self) -> "queue.SimpleQueue[Callable[[Callable[[], C]], None] | None]":
        jobs: queue.SimpleQueue[Callable[[Callable[[], C]], None] | None] = queue.SimpleQueue()
        context = functools.cache(self._make)

        def work() -> None:
            while (job := jobs.get()) is not None:
                job(context)
            if self._end is not None and context.cache_info().currsize:
                self._end(context())

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return jobs


def _deliver(
    loop: asyncio.AbstractEventLoop,
    answer: "asyncio.Future[T]",
    error: BaseException | None,
    *result: T,
) -> None:
    def deliver() -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result[0])

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        # The loop is closed: the program is ending.
        pass
