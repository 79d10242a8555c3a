# SPDX-License-Identifier: Apache-2.0
"""The thread that a blocking library gets."""

import asyncio
import subprocess
import sys
import threading

import pytest

from podwatch.adapters.worker import Worker


def test_calls_share_one_thread_and_what_was_made_there() -> None:
    """Calls run one after another on one thread, and `make` ran once, on that thread."""
    made: list[int] = []

    def make() -> int:
        made.append(threading.get_ident())
        return 7

    async def body() -> list[tuple[int, int]]:
        worker = Worker("test", make)
        calls = [
            worker.call(lambda context: (context, threading.get_ident()), timeout_s=5)
            for _ in range(20)
        ]
        found = await asyncio.gather(*calls)
        worker.close()
        return found

    found = asyncio.run(body())
    assert set(found) == {(7, made[0])}
    assert len(made) == 1
    assert made[0] != threading.get_ident()


def test_what_is_raised_reaches_the_caller() -> None:
    """An exception of the function is the caller's, and the thread lives on."""

    async def body() -> None:
        worker = Worker("test", lambda: None)
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda _: 1 // 0, timeout_s=5)
        assert await worker.call(lambda _: 3, timeout_s=5) == 3
        worker.close()

    asyncio.run(body())


def test_a_failure_to_make_is_tried_again() -> None:
    """When `make` fails that call fails; the next call tries again."""
    attempts = iter([ValueError("not yet")])

    def make() -> int:
        for error in attempts:
            raise error
        return 1

    async def body() -> None:
        worker = Worker("test", make)
        with pytest.raises(ValueError, match="not yet"):
            await worker.call(lambda context: context, timeout_s=5)
        assert await worker.call(lambda context: context, timeout_s=5) == 1
        worker.close()

    asyncio.run(body())


def test_what_was_made_is_taken_back_once() -> None:
    """`end` gets what `make` made, on its thread, when the thread ends; nothing if nothing was."""
    ended: list[tuple[int, int]] = []
    done = threading.Event()

    def end(context: int) -> None:
        ended.append((context, threading.get_ident()))
        done.set()

    async def body() -> int:
        worker = Worker("test", lambda: 7, end)
        worker.close()
        thread = await worker.call(lambda _: threading.get_ident(), timeout_s=5)
        worker.close()
        worker.close()
        return thread

    thread = asyncio.run(body())
    assert done.wait(5)
    assert ended == [(7, thread)]


@pytest.mark.parametrize("cancel", [False, True])
def test_a_call_that_hangs_leaves_its_thread_behind(cancel: bool) -> None:  # noqa: FBT001
    """After a timeout, or a cancelled call, the next call is answered on a new thread."""
    release = threading.Event()

    async def body() -> None:
        worker = Worker("test", threading.get_ident)
        first = await worker.call(lambda context: context, timeout_s=5)
        hanging = asyncio.ensure_future(
            worker.call(lambda _: release.wait(30), timeout_s=60 if cancel else 0.05)
        )
        await asyncio.sleep(0)
        if cancel:
            hanging.cancel()
        with pytest.raises((TimeoutError, asyncio.CancelledError)):
            await hanging
        assert await worker.call(lambda context: context, timeout_s=5) != first
        worker.close()

    asyncio.run(body())
    release.set()


def test_a_thread_that_hangs_does_not_keep_the_program() -> None:
    """The interpreter ends although a library call never returns."""
    code = """
import asyncio, time
from podwatch.adapters.worker import Worker

async def body():
    try:
        await Worker("test", lambda: None).call(lambda _: time.sleep(60), timeout_s=0.1)
    except TimeoutError:
        print("gave up")

asyncio.run(body())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10)

    assert (done.stdout, done.returncode) == ("gave up\n", 0)
