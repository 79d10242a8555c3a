# SPDX-License-Identifier: Apache-2.0
"""The loop tells a loss once, before what came of its repair, and not at the repair's cost."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.daemon.config import Config
from podwatch.daemon.hints import Hints
from podwatch.daemon.loop import Loop, _telling
from podwatch.words.means import Method, Outcome
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

LOST = Verdict(State.LOST, missing=(Missing(MissingKind.TABLE, "table inet netavark is gone", ""),))


@pytest.mark.parametrize("done", [True, False])
def test_a_quick_repair_is_made_then_the_loss_told_then_what_came_of_it(*, done: bool) -> None:
    """Also where it fails without waiting for anything, as while another podwatch repairs."""
    happened: list[str] = []

    async def look(**_: Any) -> Snapshot:
        return Snapshot(None, None, None)

    async def restore(method: Method, *_more: Any) -> Outcome:
        for _ in range(10 * done):
            await asyncio.sleep(0)
        happened.append(method)
        return Outcome(method, done=done, detail="another podwatch repairs")

    async def body() -> None:
        looker = SimpleNamespace(
            look=look,
            judged=lambda snapshot: (snapshot, LOST),
            writers=frozenset[str](),
            wants_census=False,
            tables=frozenset[str](),
            changes=lambda: 0,
        )
        host: Any = SimpleNamespace(
            looker=looker,
            restorer=SimpleNamespace(restore=restore),
            copy=SimpleNamespace(covers=lambda *_: True, take=lambda *_, **__: None),
            configure=lambda _: None,
        )
        publisher: Any = SimpleNamespace(
            looked=lambda *_, **__: happened.append("looked"),
            acted=lambda *_, **__: happened.append("acted"),
            progress=happened.append,
        )
        await Loop(host, Hints(), Config(), publisher)._once()

    asyncio.run(body())
    assert happened == [Method.REPLAY, "looked", "acted"]


@pytest.mark.parametrize(("after_s", "before"), [(0.0, True), (3600.0, False)])
def test_a_loss_is_told_once(after_s: float, *, before: bool) -> None:
    """Whatever the repair takes: when its time has come, when it is over, or where it fails."""

    async def body() -> None:
        told: list[int] = []
        with _telling(lambda: told.append(1), after_s=after_s):
            for _ in range(10):
                await asyncio.sleep(0)
            assert bool(told) is before
        with pytest.raises(KeyError), _telling(lambda: told.append(2), after_s=after_s):
            raise KeyError
        await asyncio.sleep(0)
        assert told == [1, 2]

    asyncio.run(body())
