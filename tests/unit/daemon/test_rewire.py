# SPDX-License-Identifier: Apache-2.0
"""Who is reloaded for his link: who still has none at that moment, and may be reloaded."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from podwatch.decide.kinds import PLACES
from podwatch.words.means import Method
from podwatch.words.verdict import MissingKind
from tests.unit.daemon.damaged_host import IDS, Scene, Wired, scene

WEB, DB, _ = IDS


def on(tmp_path: Path, wired: Wired, story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    """Tell a story on a host with these links."""

    async def body() -> None:
        await story(await scene(tmp_path, wired=wired))

    asyncio.run(body())


def test_who_is_out_is_reloaded_alone(tmp_path: Path) -> None:
    """Of those it was decided for, only the ones that still have no link are reloaded."""
    wired = Wired(out=(WEB, DB))

    async def story(host: Scene) -> None:
        wired.out = (DB,)
        outcome = await host.run(Method.REWIRE)
        assert (outcome.done, outcome.detail) == (True, "podman network reload of 1 container")
        assert host.units.done == [f"podwatch-reload@{DB}.service"]

    on(tmp_path, wired, story)


def test_nobody_is_reloaded_whose_link_came_back(tmp_path: Path) -> None:
    """Somebody else did it, or podman: the look is out of date, and nothing has failed."""
    wired = Wired(out=(WEB,))

    async def story(host: Scene) -> None:
        wired.out = ()
        outcome = await host.run(Method.REWIRE)
        assert (outcome.done, outcome.outdated) == (False, True)
        assert outcome.detail == "the containers' links were put right since the look"
        assert host.units.done == []

    on(tmp_path, wired, story)


def test_who_is_paused_is_held_back(tmp_path: Path) -> None:
    """podman would take him off the network and could not put him back."""

    async def story(host: Scene) -> None:
        host.setup.paused = (WEB,)
        outcome = await host.run(Method.REWIRE)
        assert outcome.held == (
            "podman network reload of 1 container, held back: aa (paused: podman unpause)"
        )
        assert host.units.done == [f"podwatch-reload@{DB}.service"]

    on(tmp_path, Wired(out=(WEB, DB)), story)


def test_nobody_is_reloaded_on_an_old_look(tmp_path: Path) -> None:
    """A container has come or gone since: what is expected is another thing."""

    async def story(host: Scene) -> None:
        host.setup.change(host.setup.setup)
        outcome = await host.run(Method.REWIRE)
        assert (outcome.outdated, host.units.done) == (True, [])

    on(tmp_path, Wired(out=(WEB,)), story)


def test_with_a_broken_firewall_tool_nobody_is_reloaded(tmp_path: Path) -> None:
    """netavark would call it, too."""

    async def story(host: Scene) -> None:
        host.rules.broken = "no such file"
        outcome = await host.run(Method.REWIRE)
        assert not outcome.done
        assert outcome.detail.startswith("not reloading: the nft program does not work")
        assert host.units.done == []

    on(tmp_path, Wired(out=(WEB,)), story)


def test_a_loss_is_asked_for_anew_before_it_is_judged(tmp_path: Path) -> None:
    """What was kept may be older than what is expected now: the kernel's word now counts."""
    wired = Wired(out=(WEB,))

    async def story(host: Scene) -> None:
        looker = host.restorer.looker
        assert [loss.kind for loss in PLACES.of(looker.judged(host.snapshot)[1].missing)] == [
            MissingKind.VETH
        ]
        wired.out = ()
        snapshot, verdict = looker.judged(host.snapshot)
        assert PLACES.of(verdict.missing) == ()
        assert snapshot.links is not None
        assert "veth0" in snapshot.links.by_name

    on(tmp_path, wired, story)


def test_nothing_is_asked_anew_where_nothing_is_lost(tmp_path: Path) -> None:
    """A look whose containers all have their links costs no second question."""
    wired = Wired()

    async def story(host: Scene) -> None:
        before = wired.asked
        host.restorer.looker.judged(host.snapshot)
        assert wired.asked == before

    on(tmp_path, wired, story)
