# SPDX-License-Identifier: Apache-2.0
"""When firewalld's permanent configuration is read, and what of it is news."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon.permanent import EVERY_S
from podwatch.words.errors import BusUnavailable
from podwatch.words.snapshot import Firewalld
from tests.unit.daemon.permanent_world import APP, FIRST, NOBODY, RUNS, World, run

READ = [f"read {FIRST}"]


def test_it_is_read_once_for_the_same(tmp_path: Path) -> None:
    """Again where firewalld told of a change, its file is another, or it was long ago."""

    async def body() -> None:
        assert await world.look() == READ
        assert await world.look() == []
        world.firewalld.changes += 1
        assert await world.look() == READ
        world.firewalld.conf += 1
        assert await world.look() == READ
        assert await world.look(NOBODY) == ["read"]
        world.now += EVERY_S
        assert await world.look(NOBODY) == ["read"]
        assert await world.look(NOBODY) == []

    world = World(tmp_path / "kept.json")
    run(body())


def test_news_is_what_is_told(tmp_path: Path) -> None:
    """A source that is permanent now is news; one of somebody else's network is none."""

    async def body() -> None:
        await world.look()
        assert world.heard == 1
        assert world.permanent.known() is not None
        world.firewalld.sources["192.0.2.0/24"] = "trusted"
        world.firewalld.changes += 1
        await world.look()
        assert world.heard == 1
        world.firewalld.sources[FIRST] = "trusted"
        world.firewalld.changes += 1
        world.permanent.look_again()
        await world.settle()
        assert world.heard == 2

    world = World(tmp_path / "kept.json")
    run(body())


@pytest.mark.parametrize(
    ("firewalld", "how"),
    [
        (None, {}),
        (Firewalld(running=False), {}),
        (Firewalld(running=True, reloading=True), {}),
        (Firewalld(running=True, panic=True), {}),
        (RUNS, {"busy": "podman is changing a network"}),
        (RUNS, {"setup": None}),
    ],
    ids=["unknown", "stopped", "reloading", "panic", "busy", "no state"],
)
def test_nobody_is_asked_in_between(
    tmp_path: Path, firewalld: Firewalld | None, how: dict[str, Any]
) -> None:
    """Where firewalld is away or at it, or it is not known who runs; later it is asked."""

    async def body() -> None:
        assert await world.look(firewalld=firewalld, **how) == []
        world.permanent.look_again()
        await world.settle()
        assert world.firewalld.asked == []
        assert await world.look() != []

    world = World(tmp_path / "kept.json", keeps=True)
    run(body())


def test_nobody_is_asked_where_nobody_wants_to_know(tmp_path: Path) -> None:
    """Without the note, and with nothing to keep; known is nothing then."""

    async def body() -> None:
        assert await world.look() == []
        world.permanent.tells = True
        assert await world.look() == READ
        world.permanent.tells = False
        assert world.permanent.known() is None

    world = World(tmp_path / "kept.json", tells=False)
    run(body())


def test_a_firewalld_that_does_not_answer_is_not_known(tmp_path: Path) -> None:
    """What was known of it is so no more; the next look asks again."""

    async def body() -> None:
        await world.look()
        world.firewalld.fails = BusUnavailable("no answer after 2 s")
        world.firewalld.changes += 1
        await world.look()
        assert (world.permanent.known(), world.heard) == (None, 2)
        world.firewalld.fails = None
        assert await world.look() == READ
        assert world.permanent.known() is not None

    world = World(tmp_path / "kept.json")
    run(body())


def test_a_command_reads_it_at_once(tmp_path: Path) -> None:
    """Whatever the note's setting; nothing is known where firewalld does not answer."""

    async def body() -> None:
        await world.permanent.read(APP)
        assert world.permanent.known() is not None
        world.firewalld.fails = BusUnavailable("no such name")
        await world.permanent.read(None)
        assert world.permanent.known() is None
        world.permanent.close()

    world = World(tmp_path / "kept.json", tells=False)
    run(body())


def test_a_close_ends_the_question(tmp_path: Path) -> None:
    """Nobody waits for what is under way, and nothing else is begun meanwhile."""

    async def body() -> None:
        assert await world.look() == READ
        world.firewalld.changes += 1
        world.permanent.look_again()
        world.permanent.look_again()
        world.permanent.close()
        with pytest.raises(asyncio.CancelledError):
            await world.settle()
        assert world.firewalld.asked == READ

    world = World(tmp_path / "kept.json")
    run(body())
