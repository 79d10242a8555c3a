# SPDX-License-Identifier: Apache-2.0
"""What each means does on the host, what it reports, and whom it leaves alone."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest

from podwatch.adapters import sysctl
from podwatch.adapters.lock import hold
from podwatch.daemon.restore import END_S, ended
from podwatch.drivers.driver import expected_rules
from podwatch.words.errors import RestoreFailed, StateUnreadable
from podwatch.words.means import Method
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.verdict import Missing, MissingKind
from tests.unit.daemon.damaged_host import IDS, SETUP, Scene, chains_of, scene

FORWARDING = "net/ipv4/ip_forward"
SYSCTL = Missing(
    MissingKind.SYSCTL, "forwarding is off", f"{FORWARDING}=1", place=FORWARDING, value="1"
)
SOURCES = tuple(
    Missing(MissingKind.SOURCE, "no source", subnet) for subnet in ("10.88.0.0/16", "fd10::/64")
)
WHOLE = chains_of(SETUP)


def on(
    tmp_path: Path,
    story: Callable[[Scene], Coroutine[Any, Any, None]],
    reload: Callable[[str], str] = lambda _: "done",
) -> None:
    """Tell a story on a damaged host."""

    async def body() -> None:
        await story(await scene(tmp_path, reload))

    asyncio.run(body())


@pytest.fixture
def forwarding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's setting, as a file that says 0."""
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    path = tmp_path / FORWARDING
    path.parent.mkdir(parents=True)
    path.write_text("0")
    return path


def test_a_sysctl_is_written(tmp_path: Path, forwarding: Path) -> None:
    """Each that is missing gets the value that it has to have."""

    async def story(host: Scene) -> None:
        outcome = await host.run(Method.SYSCTLS, SYSCTL)
        assert (outcome.done, outcome.detail) == (True, "net.ipv4.ip_forward = 1 set again")
        assert outcome.transactions == 0

    on(tmp_path, story)
    assert forwarding.read_text() == "1"


def test_a_sysctl_that_cannot_be_written_is_reported_with_advice(
    tmp_path: Path, forwarding: Path
) -> None:
    """What the kernel refuses is a failure, and the administrator is told how to do it."""
    forwarding.unlink()

    async def story(host: Scene) -> None:
        outcome = await host.run(Method.SYSCTLS, SYSCTL)
        assert not outcome.done
        assert not outcome.outdated
        assert outcome.detail.startswith(f"cannot write {forwarding}: ")
        assert outcome.detail.endswith(f"; sysctl -w {FORWARDING}=1")

    on(tmp_path, story)


def test_no_sysctl_is_written_on_an_old_look(tmp_path: Path, forwarding: Path) -> None:
    """Where a container has come or gone since, the setting stays as it is."""

    async def story(host: Scene) -> None:
        host.setup.change(SETUP)
        outcome = await host.run(Method.SYSCTLS, SYSCTL)
        assert (outcome.done, outcome.outdated) == (False, True)
        assert outcome.detail == "a container has come or gone since the look"

    on(tmp_path, story)
    assert forwarding.read_text() == "0"


def test_sources_are_trusted_again(tmp_path: Path) -> None:
    """Each subnet that is missing becomes a source of the driver's zone."""

    async def story(host: Scene) -> None:
        outcome = await host.run(Method.SOURCES, *SOURCES)
        said = "firewalld's zone trusted has 10.88.0.0/16, fd10::/64 again"
        assert (outcome.done, outcome.detail) == (True, said)
        assert host.zones.trusted == [("10.88.0.0/16", "trusted"), ("fd10::/64", "trusted")]

    on(tmp_path, story)


def test_before_each_source_the_look_is_compared(tmp_path: Path) -> None:
    """A container that goes while the first is trusted keeps the second from being."""

    async def story(host: Scene) -> None:
        host.zones.when_trusted = lambda: host.setup.change(SETUP)
        assert (await host.run(Method.SOURCES, *SOURCES)).outdated
        assert len(host.zones.trusted) == 1

    on(tmp_path, story)


def test_without_firewalld_no_source_can_be_trusted(tmp_path: Path) -> None:
    """That is a failure, and no crash."""

    async def story(host: Scene) -> None:
        host.restorer.firewalld = None
        outcome = await host.run(Method.SOURCES, *SOURCES)
        said = "firewalld is not there to take a trusted source"
        assert (outcome.done, outcome.detail) == (False, said)
        host.restorer.firewalld = cast("Any", host.zones)
        host.snapshot = replace(host.snapshot, setup=None)
        outcome = await host.run(Method.SOURCES, *SOURCES)
        assert (outcome.done, outcome.detail) == (False, said)
        assert host.zones.trusted == []

    on(tmp_path, story)


def copied(host: Scene) -> None:
    """A copy of all rules is at hand."""
    whole = Ruleset(present=True, chains=WHOLE)
    rules = expected_rules(SETUP, whole)
    host.restorer.copy.take(replace(host.snapshot, rules=whole), rules, whole=True)


def test_a_replay_says_what_it_put_right(tmp_path: Path) -> None:
    """In how many chains, and in how many transactions; and nothing where all is there."""

    async def story(host: Scene) -> None:
        copied(host)
        outcome = await host.run(Method.REPLAY)
        said = "1 chain put right from the verified copy"
        assert (outcome.done, outcome.detail, outcome.transactions) == (True, said, 1)
        assert host.rules.chains["FORWARD"] == WHOLE["FORWARD"]

        host.snapshot = await host.restorer.looker.look()
        outcome = await host.run(Method.REPLAY)
        assert (outcome.done, outcome.detail) == (True, "nothing had to be put back")
        assert (outcome.transactions, host.rules.commits) == (0, 1)

    on(tmp_path, story)


def test_rules_that_could_not_be_read_are_not_replayed(tmp_path: Path) -> None:
    """Neither without the rules nor without the setup they are for."""

    async def story(host: Scene) -> None:
        for changes in ({"rules": None}, {"setup": None}):
            before = host.snapshot
            host.snapshot = replace(before, **cast("Any", changes))
            outcome = await host.run(Method.REPLAY)
            assert (outcome.done, outcome.detail) == (False, "the rules could not be read")
            host.snapshot = before

    on(tmp_path, story)


@pytest.mark.parametrize("alive", [False, True])
def test_what_is_left_over_is_taken_away_unless_it_is_somebodys_by_now(
    tmp_path: Path, *, alive: bool
) -> None:
    """The kernel is asked anew whether anybody has the address that the rule forwards to."""
    chain, own = next(
        (name, text) for name, at in WHOLE.items() for text in at.rules if "10.88.0.2:80" in text
    )
    rule = own.replace("10.88.0.2", "10.88.0.50")
    loss = Missing(MissingKind.STALE, "a rule left over", rule, chain)

    async def story(host: Scene) -> None:
        host.rules.chains = {**WHOLE, chain: Chain("", (rule, *WHOLE[chain].rules))}
        looker = host.restorer.looker
        host.snapshot = await looker.look()
        there = ["10.88.0.2", "10.88.0.3", "10.88.0.4", *(["10.88.0.50"] if alive else [])]
        cast("Any", looker.containers).inside_now = lambda: {
            ip_address(address): 1 for address in there
        }
        outcome = await host.run(Method.REPLAY, loss)
        assert outcome.done
        assert (rule in host.rules.chains[chain].rules) is alive
        said = "1 chain put right, what was left over taken away"
        assert outcome.detail == ("nothing had to be put back" if alive else said)

    on(tmp_path, story)


def test_a_reload_is_of_those_that_were_decided_on(tmp_path: Path) -> None:
    """Each gets its unit, and the progress and the outcome say how many they were."""

    async def story(host: Scene) -> None:
        outcome = await host.run(Method.RELOAD)
        assert (outcome.done, outcome.detail) == (True, "podman network reload of 3 containers")
        assert host.units.done == [f"podwatch-reload@{key}.service" for key in IDS]
        assert host.told == ["reloading the network of 3 containers"]
        assert host.rules.commits == 0

    on(tmp_path, story)


def test_an_escalation_says_what_was_cleared(tmp_path: Path) -> None:
    """The table is named."""

    async def story(host: Scene) -> None:
        outcome = await host.run(Method.ESCALATE)
        assert outcome.done
        assert outcome.detail == (
            "table inet netavark was cleared and podman network reload of 3 containers"
        )

    on(tmp_path, story)


@pytest.mark.parametrize("method", [Method.RELOAD, Method.ESCALATE])
def test_with_a_broken_firewall_tool_nobody_is_reloaded(tmp_path: Path, method: Method) -> None:
    """netavark would call it, too: the reload would take containers off the network."""

    async def story(host: Scene) -> None:
        host.rules.broken = "no such file"
        before = dict(host.rules.chains)
        outcome = await host.run(method)
        assert not outcome.done
        assert outcome.detail == (
            "not reloading: the nft program does not work: no such file; repair nft first: a "
            "reload now would take containers off the network"
        )
        assert (host.units.done, host.rules.chains) == ([], before)

    on(tmp_path, story)


def test_who_does_not_run_is_not_reloaded(tmp_path: Path) -> None:
    """podman is asked again first; where none of them runs that is said."""

    async def story(host: Scene) -> None:
        host.setup.stopped = IDS[:2]
        assert (await host.run(Method.RELOAD)).detail == "podman network reload of 1 container"
        host.setup.stopped = IDS
        outcome = await host.run(Method.RELOAD)
        said = "none of the containers can be reloaded: not running"
        assert (outcome.done, outcome.detail) == (False, said)
        assert len(host.units.done) == 1

    on(tmp_path, story)


def test_who_is_held_back_is_named(tmp_path: Path) -> None:
    """The others are reloaded; the outcome is no success, and says who was left out and why."""

    async def story(host: Scene) -> None:
        host.setup.paused = IDS[:1]
        outcome = await host.run(Method.RELOAD)
        why = "held back: aa (paused: podman unpause)"
        assert (outcome.done, outcome.outdated) == (False, False)
        assert outcome.held == f"podman network reload of 2 containers, {why}"
        assert len(host.units.done) == 2

        host.setup.paused = IDS
        assert (await host.run(Method.RELOAD)).held.startswith("held back: aa, bb, cc (paused")
        assert len(host.units.done) == 2

    on(tmp_path, story)


def test_nothing_is_cleared_while_anybody_is_held_back(tmp_path: Path) -> None:
    """Cleared with the rest, a paused container would be left without any rule."""

    async def story(host: Scene) -> None:
        host.setup.paused = IDS[:1]
        before = dict(host.rules.chains)
        outcome = await host.run(Method.ESCALATE)
        assert outcome.held == "held back: aa (paused: podman unpause)"
        assert (host.units.done, host.rules.chains) == ([], before)

    on(tmp_path, story)


def test_reloads_that_fail_are_named(tmp_path: Path) -> None:
    """How many of how many, and the reason of each."""

    async def story(host: Scene) -> None:
        outcome = await host.run(Method.RELOAD)
        assert not outcome.done
        assert outcome.detail.startswith(
            "podman network reload failed for 1 of 3 containers: bb (failed"
        )
        assert outcome.detail.endswith("; journalctl -u 'podwatch-reload@*'")
        assert outcome.held == ""

    on(tmp_path, story, lambda unit: "failed" if IDS[1] in unit else "done")


def test_rules_of_an_unknown_driver_are_not_cleared(tmp_path: Path) -> None:
    """Where it is not known what is set up, there is no table to clear."""

    async def story(host: Scene) -> None:
        host.snapshot = replace(host.snapshot, setup=None)
        outcome = await host.run(Method.ESCALATE)
        said = "podwatch cannot put back rules of the driver unknown"
        assert (outcome.done, outcome.detail) == (False, said)

    on(tmp_path, story)


def test_another_podwatch_keeps_this_one_from_repairing(tmp_path: Path, forwarding: Path) -> None:
    """The lock is held for a repair alone; two repairs of one podwatch hold it together."""

    async def story(host: Scene) -> None:
        with hold(host.restorer.lock):
            outcome = await host.run(Method.SYSCTLS, SYSCTL)
            assert not outcome.done
            assert "another podwatch" in outcome.detail
            assert forwarding.read_text() == "0"
        host.units.hangs = True
        reload = asyncio.ensure_future(host.run(Method.RELOAD))
        await host.units.begun.wait()
        assert (await host.run(Method.SYSCTLS, SYSCTL)).done
        with pytest.raises(RestoreFailed), hold(host.restorer.lock):
            pass
        host.units.goes_on.set()
        assert (await reload).done
        with hold(host.restorer.lock):
            pass

    on(tmp_path, story)


def test_a_lease_is_renewed_by_a_reload(tmp_path: Path) -> None:
    """Of one container; "" when it worked, else the reason."""

    async def story(host: Scene) -> None:
        assert await host.restorer.renew(IDS[0]) == ""
        assert host.units.done == [f"podwatch-reload@{IDS[0]}.service"]
        assert (await host.restorer.renew(IDS[1])).startswith("failed")
        host.setup.paused = IDS
        await host.restorer.looker.containers.ask()
        assert await host.restorer.renew(IDS[0]) == "paused: podman unpause"
        assert len(host.units.done) == 2

    on(tmp_path, story, lambda unit: "failed" if IDS[1] in unit else "done")


def test_what_keeps_a_lease_from_being_renewed(tmp_path: Path) -> None:
    """Each gate of a reload by itself, and none where nothing speaks against it."""

    async def story(host: Scene) -> None:
        restorer = host.restorer
        assert await restorer.holds_back(IDS[0]) == ""
        host.rules.broken = "no such file"
        why = "the nft program does not work: no such file"
        assert await restorer.holds_back(IDS[0]) == why
        assert await restorer.holds_back("d" * 64) == ""  # it has no rules
        host.zones.silent = True
        assert await restorer.holds_back("d" * 64) == ""
        why = "firewalld does not answer: it does not answer"
        assert await restorer.holds_back(IDS[0]) == why
        host.zones.silent, host.zones.panic = False, True
        assert "panic mode" in await restorer.holds_back(IDS[0])
        host.zones.panic = False
        host.setup.paused = IDS
        await restorer.looker.containers.ask()
        assert await restorer.holds_back(IDS[0]) == "paused: podman unpause"
        restorer.looker.containers.setup = None
        why = "it is not known what else a reload would touch"
        assert await restorer.holds_back(IDS[0]) == why

    on(tmp_path, story)


def test_a_driver_without_a_tool_keeps_no_lease_from_being_renewed(tmp_path: Path) -> None:
    """Nor a reload: with netavark's firewalld driver there is no program that might not work."""

    async def story(host: Scene) -> None:
        host.restorer.looker.rules = {}
        assert await host.restorer.holds_back(IDS[0]) == ""
        assert (await host.run(Method.RELOAD)).done
        assert len(host.units.done) == len(IDS)

    on(tmp_path, story)


def test_gates_that_cannot_be_read_are_shut(tmp_path: Path) -> None:
    """Where the files of networks cannot be read nobody is reloaded for a lease."""

    class Unreadable:
        def read_files(self) -> object:
            raise StateUnreadable("no such directory")

    async def story(host: Scene) -> None:
        installed = host.restorer.installed
        host.restorer.installed = replace(installed, networks=cast("Any", Unreadable()))
        assert await host.restorer.holds_back(IDS[0]) == "no such directory"
        assert await host.restorer.renew(IDS[0]) == "no such directory"
        assert host.units.done == []

    on(tmp_path, story)


def test_what_fails_after_it_was_interrupted_is_nobodys_error() -> None:
    """Who is cancelled waits for what has begun, and takes its failure with it."""

    async def body() -> None:
        begun, goes_on = asyncio.Event(), asyncio.Event()

        async def fails() -> None:
            begun.set()
            await goes_on.wait()
            raise RestoreFailed("no")

        unheard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: unheard.append(what))
        task = asyncio.ensure_future(ended(fails()))
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        assert unheard == []
        assert END_S < 15

    asyncio.run(body())
