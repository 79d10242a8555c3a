# SPDX-License-Identifier: Apache-2.0
"""However a repair ends, the host is no worse than before it; and none is made on an old look."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.adapters import podman
from podwatch.daemon import restore
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.decide.judge import judge
from podwatch.drivers.driver import expected_rules
from podwatch.words.errors import BusUnavailable
from podwatch.words.means import Method
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Chain, Ruleset
from tests.unit.daemon.damaged_host import IDS, SETUP, chains_of, scene


def _fail(_unit: str) -> str:
    return "failed"


def _lose_bus(_unit: str) -> str:
    raise BusUnavailable("the bus went away")


def _crash(_unit: str) -> str:
    raise ZeroDivisionError


@pytest.mark.parametrize("reload", [_fail, _lose_bus, _crash], ids=lambda each: each.__name__)
def test_an_escalation_that_fails_is_undone(tmp_path: Path, reload: Callable[[str], str]) -> None:
    """Whatever a reload comes to, the rules that were cleared for it are there again."""

    async def body() -> None:
        there = await scene(tmp_path, reload)
        try:
            assert not (await there.run(Method.ESCALATE)).done
        except ZeroDivisionError:
            pass
        assert there.still_there()

    asyncio.run(body())


@pytest.mark.parametrize("ends", ["what has begun ends", "what has begun hangs"])
def test_an_escalation_that_is_cancelled_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """When podwatch is stopped in it, what has begun is waited for, and all is put back."""
    monkeypatch.setattr(restore, "END_S", 0.2)

    async def body() -> None:
        there = await scene(tmp_path, hangs=True)
        task = asyncio.ensure_future(there.run(Method.ESCALATE))
        await there.units.begun.wait()
        assert not there.rules.chains
        task.cancel()
        if ends == "what has begun ends":
            await asyncio.sleep(0)
            there.units.goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert there.still_there()
        assert len(there.units.done) == (ends == "what has begun ends")

    asyncio.run(body())


def test_what_was_cleared_is_in_the_copy(tmp_path: Path) -> None:
    """A podwatch that is killed in an escalation leaves a copy from which the next one heals."""

    async def body() -> None:
        there = await scene(tmp_path, hangs=True)
        task = asyncio.ensure_future(there.run(Method.ESCALATE))
        await there.units.begun.wait()
        later = SavedCopy(tmp_path / "rules.json")
        later.load()
        before = there.snapshot.rules
        assert before is not None
        kept = later.of(FirewallDriver.NFTABLES).chains
        assert {name: sorted(kept[name].rules) for name in before.chains} == {
            name: sorted(chain.rules) for name, chain in before.chains.items()
        }
        there.units.goes_on.set()
        await task

    asyncio.run(body())


def test_what_comes_and_goes_in_an_escalation_is_minded(tmp_path: Path) -> None:
    """To undo it is to put back what is expected then: not the rules of who has gone meanwhile."""

    async def body() -> None:
        there = await scene(tmp_path)
        left = replace(SETUP, endpoints=SETUP.endpoints[:2])

        def reload(_unit: str) -> str:
            there.setup.change(left)
            there.rules.chains["MINE"] = Chain("", ("accept",))
            return "failed"

        there.units.reload = reload
        await there.run(Method.ESCALATE)
        assert there.still_there()
        assert there.rules.chains["MINE"].rules == ("accept",)
        assert not any(
            "8082" in text for each in there.rules.chains.values() for text in each.rules
        )

    asyncio.run(body())


def test_what_cannot_be_put_back_is_told(tmp_path: Path) -> None:
    """A commit that fails because of somebody else is tried again; for good, it is told."""

    async def body() -> None:
        there = await scene(tmp_path, _fail)
        there.rules.refuses = ["busy"]
        await there.run(Method.ESCALATE)
        assert there.still_there()
        again = await scene(tmp_path, _fail)
        again.rules.refuses = ["no space"] * 9
        await again.run(Method.ESCALATE)
        assert "could not put back the rules as they were: no space" in again.told

    asyncio.run(body())


@pytest.mark.parametrize("method", [Method.REPLAY, Method.RELOAD, Method.ESCALATE])
def test_nothing_is_done_on_an_old_look(tmp_path: Path, method: Method) -> None:
    """Where a container has come or gone since the look, no rule is touched and nobody reloaded."""

    async def body() -> None:
        there = await scene(tmp_path)
        whole = Ruleset(present=True, chains=chains_of(SETUP))
        there.restorer.copy.take(
            replace(there.snapshot, rules=whole), expected_rules(SETUP, whole), whole=True
        )
        there.setup.change(replace(SETUP, endpoints=SETUP.endpoints[:2]))
        before = dict(there.rules.chains)
        outcome = await there.run(method)
        assert (outcome.done, outcome.outdated) == (False, True)
        assert there.rules.chains == before
        assert not there.units.done

    asyncio.run(body())


@pytest.mark.parametrize("changes", [[7, 8], [7, 7]], ids=["changed", "as it was"])
def test_a_commit_that_fails_as_the_rules_changed_is_no_failure(
    tmp_path: Path, changes: list[int]
) -> None:
    """The rules are looked at again; only where nobody changed them has the means failed."""

    async def body() -> None:
        there = await scene(tmp_path)
        whole = Ruleset(present=True, chains=chains_of(SETUP))
        there.restorer.copy.take(
            replace(there.snapshot, rules=whole), expected_rules(SETUP, whole), whole=True
        )
        there.snapshot = replace(there.snapshot, changes=changes[0])
        there.restorer.looker.reader.changes = lambda: changes[1]
        there.rules.refuses = ["No such file or directory"]
        outcome = await there.run(Method.REPLAY)
        assert (outcome.done, outcome.outdated) == (False, changes[0] != changes[1])
        assert (await there.run(Method.REPLAY)).done
        assert judge(await there.restorer.looker.look()).missing_rules == ()

    asyncio.run(body())


def test_reload_units_are_those_of_full_ids() -> None:
    """What the scene calls a container is what a unit can be named by."""
    assert podman.reload_unit(IDS[0]) == f"podwatch-reload@{IDS[0]}.service"
