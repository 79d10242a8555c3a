# SPDX-License-Identifier: Apache-2.0
"""The sources podwatch keeps: added, remembered, taken away, and never somebody else's."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from podwatch.daemon.kept_sources import GIVE_WAY_S
from podwatch.formats.kept_sources import Kept, read_kept
from podwatch.words.errors import BusUnavailable, RestoreFailed
from tests.unit.daemon.permanent_world import APP, FIRST, NOBODY, REFUSED, World, run
from tests.unit.decide.one_network import NETWORK, SUBNET

OWN = {FIRST: Kept("podman", configured=True)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A podwatch that keeps the sources of networks, and has added none yet."""
    return World(tmp_path / "state" / "kept.json", keeps=True)


def written(world: World) -> dict[str, Kept]:
    """What its file says."""
    return read_kept(world.path.read_text()) if world.path.exists() else {}


def test_a_source_comes_and_goes_with_its_network(world: World) -> None:
    """It stays while the network is only without containers; the file is private, then gone."""

    async def body() -> None:
        assert f"add {FIRST}" in await world.look()
        assert (world.firewalld.sources, written(world)) == ({FIRST: "trusted"}, OWN)
        assert world.path.stat().st_mode & 0o777 == 0o600
        await world.look(NOBODY)
        assert world.firewalld.sources == {FIRST: "trusted"}
        assert not world.permanent.is_outdated()
        world.networks.files.clear()
        assert world.permanent.is_outdated()
        assert f"remove {FIRST}" in await world.look(NOBODY)
        assert (world.firewalld.sources, world.path.exists()) == ({}, False)
        assert not world.permanent.is_outdated()

    run(body())


def test_what_cannot_be_read_is_not_gone(world: World) -> None:
    """A file of Podman's that is half written takes nobody's source away."""

    async def body() -> None:
        await world.look()
        world.networks.files, world.networks.has_all = {}, False
        await world.look(NOBODY)
        assert world.firewalld.sources == {FIRST: "trusted"}

    run(body())


def test_it_is_remembered(world: World) -> None:
    """The next podwatch takes away what this one added: because the setting is off, or at once."""

    async def body() -> None:
        await world.look()
        world.anew()
        assert world.permanent.kept.own == OWN
        await world.look()
        assert (world.firewalld.sources, written(world)) == ({}, {})
        world.anew(keeps=True)
        await world.look()
        assert await world.anew().release() == (FIRST,)
        assert (world.firewalld.sources, written(world)) == ({}, {})

    run(body())


def test_a_source_of_somebody_elses_stays(world: World) -> None:
    """Nothing is added beside it, and nothing taken away, whatever becomes of the network."""

    async def body() -> None:
        world.firewalld.sources[FIRST] = "trusted"
        await world.look()
        world.networks.files.clear()
        await world.look(NOBODY)
        world.permanent.keeps = False
        await world.look(NOBODY)
        assert await world.permanent.release() == ()
        assert world.firewalld.sources == {FIRST: "trusted"}
        assert not world.path.exists()

    run(body())


def test_what_is_moved_to_another_zone_is_left(world: World) -> None:
    """It is not podwatch's any more."""

    async def body() -> None:
        await world.look()
        world.firewalld.sources[FIRST] = "work"
        world.firewalld.changes += 1
        assert set(await world.look()) == {f"read {FIRST}"}
        assert (world.firewalld.sources, written(world)) == ({FIRST: "work"}, {})

    run(body())


def test_what_is_taken_away_at_once_is_left(world: World) -> None:
    """Whoever then adds it himself keeps it. What is taken away later comes back."""

    async def body() -> None:
        await world.look()
        for _ in range(2):
            world.firewalld.sources.clear()
            world.firewalld.changes += 1
            world.now += GIVE_WAY_S - 1
            await world.look()
            assert (world.firewalld.sources, written(world)) == ({}, {})
        world.firewalld.sources[FIRST] = "trusted"
        world.firewalld.changes += 1
        await world.look()
        assert written(world) == {}
        world.firewalld.sources.clear()
        world.firewalld.changes += 1
        await world.look()
        assert written(world) == OWN

    run(body())


def test_what_podwatch_took_away_itself_comes_back(world: World) -> None:
    """The setting is switched off and on again, or the network made anew, within a moment."""

    async def body() -> None:
        await world.look()
        for keeps in (False, True):
            world.permanent.keeps = keeps
            await world.look()
            assert bool(written(world)) == keeps
        world.networks.files.clear()
        await world.look(NOBODY)
        assert written(world) == {}
        await world.look()
        assert set(written(world)) == {FIRST}
        world.firewalld.sources.clear()
        world.firewalld.changes += 1
        for keeps in (True, False, True):
            world.permanent.keeps = keeps
            await world.look()
        assert set(written(world)) == {FIRST}

    run(body())


@pytest.mark.parametrize("how", ["dry run", "paused"])
def test_nothing_is_changed_where_podwatch_is_not_to(world: World, how: str) -> None:
    """It is read all the same, and done afterwards."""

    async def body() -> None:
        paused = how if how == "paused" else ""
        assert await world.look(acts=bool(paused), paused=paused) == [f"read {FIRST}"]
        assert f"add {FIRST}" in await world.look()

    run(body())


def test_a_source_that_firewalld_refuses_is_not_podwatchs(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said once, and tried again with the next change."""

    async def body() -> None:
        world.firewalld.refuses = REFUSED
        await world.look()
        assert written(world) == {}
        assert await world.look() == []
        world.firewalld.changes += 1
        await world.look()
        assert capsys.readouterr().out.count("ZONE_CONFLICT") == 1
        world.firewalld.refuses = None
        world.firewalld.changes += 1
        await world.look()
        assert written(world) == OWN
        world.firewalld.refuses = REFUSED
        with pytest.raises(RestoreFailed, match="ZONE_CONFLICT"):
            await world.permanent.release()
        assert written(world) == OWN

    run(body())


def test_one_that_is_refused_keeps_no_other_back(world: World) -> None:
    """Each subnet of a network is asked for."""

    async def body() -> None:
        six = ip_network("fd00::/64")
        both = replace(NETWORK, subnets=(SUBNET, six))
        world.firewalld.refuses = REFUSED
        asked = await world.look(replace(APP, networks={NETWORK.id: both}))
        assert asked[1:] == [f"add {FIRST}", f"add {six}"]

    run(body())


def test_a_source_whose_answer_never_came_is_podwatchs(world: World) -> None:
    """firewalld may have added it: it is written down before, and found by the next look."""

    async def body() -> None:
        world.firewalld.refuses = BusUnavailable("no answer after 2 s")
        await world.look()
        assert written(world) == OWN
        world.firewalld.refuses, world.firewalld.sources = None, {FIRST: "trusted"}
        world.firewalld.changes += 1
        await world.look()
        assert written(world) == OWN
        world.firewalld.refuses = BusUnavailable("no answer after 2 s")
        with pytest.raises(BusUnavailable):
            await world.permanent.release()
        assert written(world) == OWN

    run(body())


def test_nothing_is_added_that_cannot_be_written_down(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full or read-only disk: firewalld is left as it is, and that is said."""

    async def body() -> None:
        world.path.parent.write_text("in the way of the directory")
        assert await world.look() == [f"read {FIRST}"]
        assert "cannot write" in capsys.readouterr().out

    run(body())


def test_a_spoilt_file_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose the sources are is not known, so they stay; podwatch goes on."""

    async def body() -> None:
        await world.look()
        world.path.write_text("{")
        world.anew()
        assert "is not known" in capsys.readouterr().out
        await world.look(APP)
        assert world.firewalld.sources == {FIRST: "trusted"}

    run(body())
