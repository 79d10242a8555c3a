# SPDX-License-Identifier: Apache-2.0
"""Waiting for what others do, without a sleep."""

import asyncio
from collections.abc import Callable


async def until(heard: asyncio.Event, is_so: Callable[[], bool], limit_s: float = 10) -> None:
    """Wait until this is so. Whatever can make it so has to set `heard`; raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while not is_so():
            heard.clear()
            await heard.wait()
