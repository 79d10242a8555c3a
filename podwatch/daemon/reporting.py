# SPDX-License-Identifier: Apache-2.0
"""When a loss is reported: once what is done about it is over, or it takes too long."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reporting(report: Callable[[], None], *, after_s: float) -> Iterator[None]:
    """Call `report` once: when what is done inside is over, or `after_s` seconds from now."""
    todo = [report]

    def report_once() -> None:
        while todo:
            todo.pop()()

    timer = asyncio.get_running_loop().call_later(after_s, report_once)
    try:
        yield
    finally:
        timer.cancel()
        report_once()
