# SPDX-License-Identifier: Apache-2.0
"""The heartbeat: it stops with any watcher, and a watcher that ends is an error."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from podwatch.daemon.heartbeat import beat, first_error, lasting
from podwatch.words.errors import PodwatchError, RulesUnreadable

EVERY_S = 0.001


async def _listens() -> None:
    await asyncio.Event().wait()


async def _ends() -> None:
    await asyncio.sleep(0)


async def _fails() -> None:
    raise RulesUnreadable("the kernel went away")


async def beats(*watchers: Awaitable[None], is_alive: Callable[[], bool] = lambda: True) -> int:
    """How often a heart with these watchers beats while a healthy one beats three times."""
    tasks = [asyncio.ensure_future(each) for each in watchers]
    await asyncio.sleep(0.01)  # for what ends to end
    shown, enough = [], asyncio.Event()
    hearts = [asyncio.ensure_future(beat(tasks, is_alive, lambda: shown.append(1), EVERY_S))]
    healthy: list[int] = []

    def show() -> None:
        healthy.append(1)
        if len(healthy) == 3:
            enough.set()

    hearts.append(asyncio.ensure_future(beat((), lambda: True, show, EVERY_S)))
    await enough.wait()
    for each in (*hearts, *tasks):
        each.cancel()
    await asyncio.gather(*hearts, *tasks, return_exceptions=True)
    return len(shown)


def test_it_beats_while_all_watch() -> None:
    """With every watcher at work the heartbeat is shown."""
    assert asyncio.run(beats(_listens(), _listens())) >= 2


@pytest.mark.parametrize("dead", [_ends, _fails])
def test_a_dead_watcher_stops_it(dead: Callable[[], Awaitable[None]]) -> None:
    """One watcher of two has ended, or failed: no heartbeat is shown."""
    assert asyncio.run(beats(_listens(), dead())) == 0


def test_a_hanging_loop_stops_it() -> None:
    """A main loop whose look is overdue shows no heartbeat, though every task is there."""
    assert asyncio.run(beats(_listens(), is_alive=lambda: False)) == 0


@pytest.mark.parametrize(
    ("dead", "told"), [(_ends, "nobody listens"), (_fails, "the kernel went away")]
)
def test_a_dead_watcher_ends_the_service(dead: Callable[[], Awaitable[None]], told: str) -> None:
    """A watcher that ends or fails ends those beside it, however deep, with its own error."""

    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(lasting("units", dead()))
            await _listens()

    async def service() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(lasting("loop", _listens()))
            group.create_task(lasting("dhcp", inner()))
            await _listens()

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(asyncio.wait_for(service(), 10))
    error = first_error(caught.value)
    assert isinstance(error, PodwatchError)
    assert told in str(error)
