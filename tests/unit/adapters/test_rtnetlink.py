# SPDX-License-Identifier: Apache-2.0
"""A socket of notifications that hears no more."""

import asyncio
import os

import pytest

from podwatch.adapters.rtnetlink import Notifications
from podwatch.words.errors import Unreadable


def nothing(_data: memoryview) -> None:
    """Nothing is expected to be told."""


def test_one_that_cannot_be_read_any_more_ends_with_the_reason() -> None:
    """It neither spins nor stays silent: whoever waits for its end is told."""

    async def body() -> None:
        told = Notifications(1, "changes of links", nothing, lambda: None)
        assert (told.listens, told.describe()) == (False, "not listening")
        ended = told.attach(asyncio.get_running_loop())
        assert (told.listens, told.describe()) == (True, "listening")
        with open(os.devnull, "rb") as other:
            os.dup2(other.fileno(), told.fileno())
        told.drain()
        with pytest.raises(Unreadable, match="cannot hear changes of links: Socket operation on"):
            await ended
        assert not told.listens
        told.drain()
        told.close()

    asyncio.run(body())


def test_it_is_closed_once_for_all() -> None:
    """What ends it does not wait for ever: nobody is told of a close."""

    async def body() -> None:
        told = Notifications(1, "changes of links", nothing, lambda: None)
        ended = told.attach(asyncio.get_running_loop())
        told.close()
        told.close()
        assert not ended.done()
        ended.cancel()

    asyncio.run(body())
