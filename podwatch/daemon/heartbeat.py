# SPDX-License-Identifier: Apache-2.0
"""The heartbeat: shown while every watcher goes on; one that fails ends the service.

A daemon that is deaf and says that it is well would be worse than none. systemd starts it again,
for its error or for the missing heartbeat (WatchdogSec).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from podwatch.words.errors import PodwatchError


async def lasting(name: str, watcher: Awaitable[None]) -> None:
    """Wait for a watcher that has no end. Raises its error, or PodwatchError when it just ends."""
    await watcher
    raise PodwatchError(f"{name}: nobody listens any more", hint="systemctl restart podwatch")


async def beat(
    watchers: Collection["asyncio.Task[None]"],
    is_alive: Callable[[], bool],
    show: Callable[[], None],
    every_s: float,
) -> None:
    """Call `show` every so many seconds, while all `watchers` go on and `is_alive` says so."""
    while True:
        await asyncio.sleep(every_s)
        if is_alive() and not any(task.done() for task in watchers):
            show()


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a TaskGroup, out of however many groups it is in."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
