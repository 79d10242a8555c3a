# SPDX-License-Identifier: Apache-2.0
"""However a repair ends, the host is no worse than before it; and none is made on an old look."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, cast

import pytest

from podwatch.adapters import podman
from podwatch.adapters.paths import Paths
from podwatch.daemon import restore
from podwatch.daemon.installed import Installed
from podwatch.daemon.look import Looker
from podwatch.daemon.restore import Restorer
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.decide.judge import judge
from podwatch.decide.policy import Decision
from podwatch.drivers.driver import expected_rules
from podwatch.drivers.saved import Repair
from podwatch.words.errors import BusUnavailable, RestoreFailed
from podwatch.words.means import Method, Outcome
from podwatch.words.network import Container, Endpoint, FirewallDriver, Network, PortMapping, Setup
from podwatch.words.rules import Chain, RuleKind, Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import BaseChain

SUBNET = ip_network("10.88.0.0/16")
NETWORK = Network("2f259bab", "podman0", (SUBNET,))
IDS = ("a" * 64, "b" * 64, "c" * 64)


def endpoint(number: int) -> Endpoint:
    """A container's place on the network, with one published port."""
    address = ip_address(f"10.88.0.{number + 2}")
    ports = (PortMapping(8080 + number, 80, "tcp"),)
    return Endpoint(IDS[number], NETWORK.id, "podman", ((address, SUBNET),), ports)


SETUP = Setup(
    FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, tuple(endpoint(each) for each in range(3))
)


def chains_of(setup: Setup) -> dict[str, Chain]:
    """Every rule that is expected, where it has to be."""
    found: dict[str, Chain] = {}
    for rule in expected_rules(setup, Ruleset(present=False)):
        chain = found.get(rule.chain, Chain("", ()))
        if rule.kind is RuleKind.HOOK:
            found[rule.chain] = Chain(rule.text, chain.rules)
        else:
            found[rule.chain] = Chain(chain.hook, (*chain.rules, rule.texts[0]))
    return found


class KernelRules:
    """A firewall driver's rules in memory: what is committed is there, all of it or nothing."""

    tool = "nft"
    writers: frozenset[str] = frozenset()

    def __init__(self, chains: Mapping[str, Chain]) -> None:
        self.chains = dict(chains)
        self.refuses: list[str] = []
        self.commits = 0

    async def read(self) -> Ruleset:
        """The rules as they are."""
        await asyncio.sleep(0)
        return Ruleset(present=bool(self.chains), chains=dict(self.chains))

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> int:
        """Commit, unless it is told to refuse."""
        await asyncio.sleep(0)
        if self.refuses:
            raise RestoreFailed(self.refuses.pop())
        self.commits += 1
        self.chains |= {each.name: each.chain for each in todo}
        return 1

    async def clear(self) -> None:
        """All gone."""
        await asyncio.sleep(0)
        self.chains = {}

    async def elsewhere(self, setup: Setup) -> Ruleset | None:
        """Nowhere."""
        return None

    def remember(self, chains: Mapping[str, Chain]) -> None:
        """Nothing."""

    def exist(self) -> bool:
        """Not asked for."""
        return False

    def filter_chains(self) -> tuple[BaseChain, ...]:
        """None."""
        return ()

    async def tool_works(self) -> str:
        """It does."""
        return ""


class ToldSetup:
    """What is set up, as the test says; stands in for daemon.expected.Expected."""

    asks_podman = False
    listed = None

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.stamp: object = 0
        self.now: object = 0

    async def read(self) -> Setup:
        """The setup now."""
        self.stamp = self.now
        return self.setup

    def change(self, setup: Setup) -> None:
        """A container came or went."""
        self.setup, self.now = setup, object()

    def is_current(self) -> bool:
        """Whether it is the one that was read."""
        return self.stamp == self.now

    async def list_containers(self) -> dict[str, Container]:
        """podman's containers."""
        found = {each.container_id for each in self.setup.endpoints}
        return {key: Container(key, key[:2]) for key in sorted(found)}


@dataclass
class Units:
    """systemd, which runs each reload as `reload` says; stands in for adapters.systemd.Systemd."""

    reload: Callable[[str], str]
    hangs: bool = False
    done: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Run these units to their end."""
        self.begun.set()
        if self.hangs:
            await self.goes_on.wait()
        self.done += names
        return {name: self.reload(name) for name in names}

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """None is active."""
        return {}


@dataclass
class Scene:
    """A damaged host, and a restorer on it."""

    rules: KernelRules
    setup: ToldSetup
    units: Units
    restorer: Restorer
    snapshot: Snapshot
    told: list[str] = field(default_factory=list)

    async def run(self, method: Method) -> Outcome:
        """Carry out a means for all containers."""
        decision = Decision(method, "", container_ids=IDS)
        verdict = judge(self.snapshot)
        return await self.restorer.restore(
            method, decision, self.snapshot, verdict, self.told.append
        )

    def still_there(self) -> bool:
        """Whether every rule that was there before the repair, and is expected, is there."""
        before, wanted = self.snapshot.rules, chains_of(self.setup.setup)
        assert before is not None
        return all(
            text in self.rules.chains.get(name, Chain("", ())).rules
            for name, chain in before.chains.items()
            for text in chain.rules
            if text in wanted.get(name, Chain("", ())).rules
        )


async def scene(
    tmp_path: Path, reload: Callable[[str], str] = lambda _: "done", *, hangs: bool = False
) -> Scene:
    """A host that has lost one rule which no reload brings back."""
    whole = chains_of(SETUP)
    forward = whole["FORWARD"]
    damaged = {**whole, "FORWARD": Chain(forward.hook, forward.rules[1:])}
    rules, setup, units = KernelRules(damaged), ToldSetup(SETUP), Units(reload, hangs)
    known = {FirewallDriver.NFTABLES: rules}
    installed = Installed.at(Paths(), cast("Any", units))
    looker = Looker(cast("Any", setup), installed, known, None, None)
    looker.take_census(await setup.list_containers(), looker.asking())
    restorer = Restorer(
        looker,
        None,
        installed,
        SavedCopy(tmp_path / "rules.json"),
        lock=tmp_path / "restore.lock",
        at_once=1,
        timeout_s=1.0,
    )
    return Scene(rules, setup, units, restorer, await looker.look())


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
        there.restorer.looker.changes = lambda: changes[1]
        there.rules.refuses = ["No such file or directory"]
        outcome = await there.run(Method.REPLAY)
        assert (outcome.done, outcome.outdated) == (False, changes[0] != changes[1])
        assert (await there.run(Method.REPLAY)).done
        assert judge(await there.restorer.looker.look()).missing_rules == ()

    asyncio.run(body())


def test_reload_units_are_those_of_full_ids() -> None:
    """What the scene calls a container is what a unit can be named by."""
    assert podman.reload_unit(IDS[0]) == f"podwatch-reload@{IDS[0]}.service"
