# SPDX-License-Identifier: Apache-2.0
"""The loop, on a fake of what it drives."""

import asyncio
import time

import pytest

from podwatch.daemon.loop import _telling


@pytest.mark.parametrize(("after_s", "before"), [(0.0, True), (3600.0, False)])
def test_a_loss_is_told_once_and_before_its_repair(after_s: float, before: bool) -> None:  # noqa: FBT001
    """Whatever the repair takes: at once, when it is over, or where it fails."""

    async def body() -> None:
        told: list[float] = []
        with _telling(lambda: told.append(time.monotonic()), after_s=after_s):
            for _ in range(10):
                await asyncio.sleep(0)
            assert bool(told) is before
        with pytest.raises(KeyError), _telling(lambda: told.append(0.0), after_s=after_s):
            raise KeyError
        await asyncio.sleep(0)
        assert len(told) == 2

    asyncio.run(body())
