# SPDX-License-Identifier: Apache-2.0
"""What holds for every unit test: it leaves no task, no child and no descriptor behind.

The daemon runs for months, so what a test leaves behind is either its own slip or a leak.
"""

import asyncio
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

MAX_ENDING_S = 1.0
"""So long a task may take to end that was told to, or whose other end was closed."""


def descriptors() -> dict[int, str]:
    """The open descriptors of this process, each with what it leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


def children() -> set[str]:
    """The process ids of the children of this process, the dead that nobody has waited for too."""
    found = set[str]()
    for thread in Path("/proc/self/task").iterdir():
        try:
            found.update((thread / "children").read_text().split())
        except FileNotFoundError:
            continue  # a thread that ended meanwhile
    return found


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    """Fail a test that leaves something behind; fixtures of a module may keep what they hold."""
    tasks: list[str] = []
    cancel_all = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]

    def noted(loop: asyncio.AbstractEventLoop) -> None:
        if left := asyncio.all_tasks(loop):
            _, left = loop.run_until_complete(asyncio.wait(left, timeout=MAX_ENDING_S))
        tasks.extend(str(task.get_coro()) for task in left)
        cancel_all(loop)

    open_before, alive_before = descriptors(), children()
    # asyncio.run() ends what its main coroutine left running, and says nothing.
    asyncio.runners._cancel_all_tasks = noted  # type: ignore[attr-defined]
    yield
    asyncio.runners._cancel_all_tasks = cancel_all  # type: ignore[attr-defined]
    if descriptors().items() - open_before.items():
        gc.collect()  # a failed call's traceback is a circle, and holds what it had open
    assert tasks == [], "these tasks were left behind"
    assert children() - alive_before == set(), "these processes were left behind"
    assert descriptors().items() - open_before.items() == set(), "these were left open"
