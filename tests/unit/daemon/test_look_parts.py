# SPDX-License-Identifier: Apache-2.0
"""The parts of a look: what is read twice, who is waited for, and whom the kernel is asked for."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon import look, reading
from podwatch.daemon.containers import Containers
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.installed import Installed
from podwatch.daemon.kernel_settings import KernelSettings
from podwatch.daemon.names import Names
from podwatch.daemon.surroundings import Surroundings
from podwatch.daemon.wires import Wires
from podwatch.drivers.saved import SavedRules
from podwatch.words.links import Link, Links, Namespaces
from podwatch.words.network import (
    Address,
    Container,
    ContainerState,
    FirewallDriver,
    Setup,
)
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Firewalld, Part, Snapshot, Unknown
from podwatch.words.verdict import MissingKind, State
from tests.unit.daemon.damaged_host import IDS, NETWORK, SETUP, KernelRules, ToldSetup, chains_of

WHOLE = chains_of(SETUP)
FOR_EVER_S = 1e9


class FakeZones:
    """firewalld, which names its policies only to who asks for them."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.asked = self.changes = 0
        self.let = asyncio.Event()
        self.let.set()

    async def read(self, policies: Sequence[str] = ()) -> Firewalld:
        """What it is like, once it is let."""
        self.asked += 1
        await self.let.wait()
        chains = {name: Chain("", ()) for name in policies}
        return Firewalld(running=True, sources=dict(self.sources), policies=chains)


class FakeSurroundings(Surroundings):
    """Surroundings in which nothing is, and what they are asked for."""

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed, {}, None, None)
        self.limits: list[float | None] = []
        self.quiet: list[bool] = []
        self.further: list[Setup | None] = []
        self.parts: list[bool] = []
        self.changed_for: list[Setup | None] = []

    async def hear(self, asked: Any, limit_s: float | None) -> tuple[str, ...]:
        """For how many seconds units are waited for."""
        self.limits.append(limit_s)
        return await super().hear(asked, limit_s)

    async def look(self, setup: Setup, *, is_quiet: bool) -> None:
        """Whether nobody changes the driver's rules."""
        self.quiet.append(is_quiet)

    def are_others(self, setup: Setup | None) -> bool:
        """Whether the test says so of this setup."""
        return setup in self.changed_for

    def look_further(self, setup: Setup | None, *, drops: bool = False) -> None:
        """For which setup the routes are looked at, and whether anybody drops what he must not."""
        self.parts.append(drops)
        self.further.append(setup)


class FakeSettings(KernelSettings):
    """The kernel's settings, and the drivers for which they were read."""

    def __init__(self) -> None:
        super().__init__()
        self.drivers: list[FirewallDriver | None] = []

    def read(self, setup: Setup | None) -> None:
        """Read none."""
        self.drivers.append(None if setup is None else setup.driver)


class Busy:
    """podman's network lock, which it has all the time."""

    def holder(self) -> str:
        """Who has it."""
        return "podman (pid 7) is changing a network"

    def held(self) -> None:
        """Of no interest here."""


class Host:
    """A host of three containers whose rules are all there, and in the copy; a looker on it."""

    def __init__(self, nowhere: Path, setup: Setup = SETUP) -> None:
        self.expected, self.rules, self.zones = ToldSetup(setup), KernelRules(WHOLE), FakeZones()
        self.transactions = 7
        paths = Paths(locks=(), netavark_networks=nowhere, aardvark=nowhere)
        installed = Installed.at(paths, None)
        self.surroundings, self.settings = FakeSurroundings(installed), FakeSettings()
        self.asked = 0
        expected: Any = self.expected
        zones: Any = self.zones
        inside: Any = self
        self.looker = look.Looker(
            expected,
            installed,
            {setup.driver: self.rules},
            FirewalldLook(zones, is_there=lambda _family, _name: False),
            Containers(expected, installed, lambda: self.transactions, inside=inside),
            self.surroundings,
            changes=lambda: self.transactions,
            copied=lambda driver: SavedRules(WHOLE, driver),
        )
        self.looker.settings = self.settings

    def has_lock(self, lock: Any) -> None:
        """From now on podman's network lock is this one."""
        installed = replace(self.looker.installed, lock=lock)
        self.looker.installed = self.looker.reader.installed = installed

    def at(self, _key: object) -> dict[Address, int]:
        """The addresses in network namespaces: those of all containers."""
        self.asked += 1
        return {address: 1 for endpoint in SETUP.endpoints for address, _ in endpoint.addresses}

    def namespaces(self, *_: object) -> Namespaces:
        """Nothing is known of them."""
        return {}

    def are_others(self) -> bool:
        """Nothing has changed in them."""
        return False

    def leave_over(self) -> None:
        """A rule forwards to an address that nobody has."""
        chain, rule = next(
            (name, rule)
            for name, there in WHOLE.items()
            for rule in there.rules
            if "10.88.0.2:80" in rule
        )
        stale = rule.replace("10.88.0.2", "10.88.0.50")
        self.rules.chains = {**WHOLE, chain: Chain("", (stale, *WHOLE[chain].rules))}


def test_the_kernel_is_asked_who_is_there_where_the_verdict_depends_on_it(tmp_path: Path) -> None:
    """A rule to an address is only left over where nobody has that; else nobody has to know."""

    async def body() -> None:
        host = Host(tmp_path)
        await host.looker.containers.ask()
        found, verdict = host.looker.judged(await host.looker.look())
        assert (host.asked, found.inside, verdict.missing_rules) == (0, None, ())

        host.leave_over()
        found, verdict = host.looker.judged(await host.looker.look())
        assert host.asked == 1
        assert found.inside == host.at(None)
        assert MissingKind.STALE in {loss.kind for loss in verdict.missing}

    asyncio.run(body())


def test_who_does_not_hurry_hears_what_firewalld_says_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes; who hurries gets what it said last."""
    monkeypatch.setattr(look, "PATIENCE_S", 0.0)

    async def body() -> None:
        host = Host(tmp_path)
        await host.looker.look()
        host.zones.sources = {"10.88.0.0/16": "trusted"}
        host.zones.let.clear()
        hurried = await host.looker.look(hurries=True)
        assert hurried.firewalld is not None
        assert hurried.firewalld.sources == {}
        asyncio.get_running_loop().call_later(0.01, host.zones.let.set)
        found = await host.looker.look()
        assert found.firewalld is not None
        assert found.firewalld.sources == host.zones.sources

    asyncio.run(body())


def test_a_hurried_look_has_one_limit_for_all_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What firewalld took of it units no longer get; without hurry there is none."""
    monkeypatch.setattr(look, "PATIENCE_S", 60.0)

    async def body() -> None:
        host = Host(tmp_path)
        limits = host.surroundings.limits
        await host.looker.look()
        assert limits.pop() is None
        await host.looker.look(hurries=True)
        left = limits.pop()
        assert left is not None
        assert 0.0 < left < 60.0

        monkeypatch.setattr(look, "PATIENCE_S", 1e-9)
        await host.looker.look(hurries=True)
        assert limits.pop() == 0.0
        monkeypatch.setattr(look, "PATIENCE_S", 60.0)
        host.rules.chains = {**WHOLE, "FORWARD": Chain("", ())}  # lost: nobody is waited for
        await host.looker.look(hurries=True)
        assert limits.pop() == 0.0

    asyncio.run(body())


@pytest.mark.parametrize(
    ("waited_s", "times"), [(FOR_EVER_S, 1), (-1.0, 2)], ids=["at once", "after a wait"]
)
def test_settings_are_read_again_after_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited_s: float, times: int
) -> None:
    """So that they are of the moment of the rules."""
    monkeypatch.setattr(reading, "WAITED_S", waited_s)
    host = Host(tmp_path)
    asyncio.run(host.looker.look())
    assert host.settings.drivers == [FirewallDriver.NFTABLES] * times


def test_settings_are_read_again_for_another_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where firewalld tells that the rules are in it, that counts, with its policies."""
    monkeypatch.setattr(reading, "WAITED_S", FOR_EVER_S)
    host = Host(tmp_path, replace(SETUP, driver=FirewallDriver.IPTABLES))
    host.expected.asks_podman = True
    host.rules.chains = {}
    host.zones.sources = {str(subnet): "netavark_zone" for subnet in NETWORK.subnets}
    found = asyncio.run(host.looker.look())
    assert host.settings.drivers == [FirewallDriver.IPTABLES, FirewallDriver.FIREWALLD]
    assert found.setup is not None
    assert found.setup.driver is FirewallDriver.FIREWALLD
    assert found.firewalld is not None
    assert found.firewalld.policies


def test_what_firewalld_said_counts_where_the_rules_are_in_iptables(tmp_path: Path) -> None:
    """It is not asked for its policies then, and its first word is not lost."""
    setup = replace(SETUP, driver=FirewallDriver.IPTABLES)
    host = Host(tmp_path, setup)
    host.expected.asks_podman = True
    host.rules.chains = chains_of(setup)
    found = asyncio.run(host.looker.look())
    assert found.setup is setup
    assert found.firewalld is not None
    assert not found.firewalld.policies


def test_surroundings_are_looked_at_while_the_rules_hold_still(tmp_path: Path) -> None:
    """Not where a transaction came since the look before: then nobody waits for routes."""

    async def body() -> None:
        host = Host(tmp_path)
        await host.looker.look()
        await host.looker.look()
        assert host.surroundings.quiet == [False, True]
        assert host.surroundings.further == [SETUP, SETUP]
        host.transactions += 1
        await host.looker.look()
        assert host.surroundings.quiet == [False, True, False]
        assert len(host.surroundings.further) == 2
        await host.looker.look()
        assert host.surroundings.quiet[-1]
        assert len(host.surroundings.further) == 3

    asyncio.run(body())


def test_routes_do_not_count_while_podman_changes_a_network(tmp_path: Path) -> None:
    """Those of a network that is being set up are not there yet."""

    host = Host(tmp_path)
    busy: Any = Busy()
    host.has_lock(busy)
    asyncio.run(host.looker.look())
    assert host.surroundings.further == []


def test_what_was_not_read_has_no_number(tmp_path: Path) -> None:
    """Where no rules are looked for, the generation and the count of transactions are none."""
    host = Host(tmp_path, Setup(FirewallDriver.NFTABLES))
    found = asyncio.run(host.looker.look())
    assert (found.generation, found.changes) == (0, 0)
    assert host.surroundings.further == [None]
    assert (found.copied, found.others) == (WHOLE, {})
    assert IDS[0] not in found.containers


def test_who_is_waiting_for_an_answer_of_before_a_change_asks_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that was under way when a container came has an answer that is too old."""
    monkeypatch.setattr(look, "PATIENCE_S", 0.0)

    async def body() -> None:
        host = Host(tmp_path)
        await host.looker.look()
        asked = host.zones.asked
        await host.looker.look()
        assert host.zones.asked == asked + 1
        host.expected.change(SETUP)
        host.zones.let.clear()
        asyncio.get_running_loop().call_later(0.01, host.zones.let.set)
        assert not (await host.looker.look(hurries=True)).busy
        assert host.zones.asked == asked + 3

    asyncio.run(body())


def test_who_is_busy_is_named_though_the_setup_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder of the lock says more than that somebody changes a network."""
    monkeypatch.setattr(reading, "WAITED_S", -1.0)

    async def body() -> None:
        host = Host(tmp_path)
        await host.looker.look()
        busy: Any = Busy()
        host.has_lock(busy)
        reads = KernelRules.read

        async def read() -> Any:
            host.expected.now = object()
            return await reads(host.rules)

        host.rules.read = read  # type: ignore[method-assign]
        assert (await host.looker.look()).busy == busy.holder()

    asyncio.run(body())


def test_what_firewalld_said_while_podman_was_at_it_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of the middle of it, though podman is done when the rules are read again."""
    monkeypatch.setattr(reading, "WAITED_S", -1.0)

    class Done(Busy):
        """The lock, which podman lets go of once the rules are read."""

        def holder(self) -> str:
            """Who has it."""
            return "" if reads else super().holder()

    async def body() -> None:
        lock: Any = Done()
        host.has_lock(lock)
        assert (await host.looker.look()).busy == "podman is changing a network"
        assert not (await host.looker.look()).busy

    reads: list[bool] = []
    host = Host(tmp_path)
    asyncio.run(host.looker.look())
    read = host.rules.read

    async def count() -> Any:
        reads.append(True)
        return await read()

    host.rules.read = count  # type: ignore[method-assign]
    asyncio.run(body())


def test_surroundings_that_nobody_tells_of_outdate_a_look(tmp_path: Path) -> None:
    """The kernel sends no event for each of them: they are compared, for what is set up."""
    host = Host(tmp_path)
    asyncio.run(host.looker.look())
    assert not host.looker.is_outdated()
    host.surroundings.changed_for.append(SETUP)
    assert host.looker.is_outdated()


def test_rules_of_other_drivers_count_beside_those_that_were_read(tmp_path: Path) -> None:
    """They tell of duplicates of rules that are there."""
    host = Host(tmp_path)
    host.surroundings.others = {FirewallDriver.IPTABLES: Ruleset(present=True, chains=WHOLE)}
    assert asyncio.run(host.looker.look()).others == host.surroundings.others
    host.expected.change(Setup(FirewallDriver.NFTABLES))
    assert asyncio.run(host.looker.look()).others == {}


def test_a_glance_is_of_links_and_names_alone(tmp_path: Path) -> None:
    """It tells what is missing of them, on a host that is as it was at the look before."""
    host = Host(tmp_path)
    there = links_of(SETUP)
    host.looker.wires = Wires(None, lambda: there)
    snapshot, verdict = host.looker.judged(asyncio.run(host.looker.look()))
    both = {Part.LINKS, Part.NAMES}
    assert host.looker.glance(snapshot, verdict, both) is None
    name = next(iter(SETUP.networks.values())).bridge
    down = replace(there.by_name[name], is_up=False)
    after = replace(there, by_name={**there.by_name, name: down})
    host.looker.wires = Wires(None, lambda: after)
    assert host.looker.glance(snapshot, verdict, {Part.NAMES}) is None
    found = host.looker.glance(snapshot, verdict, {Part.LINKS})
    assert found is not None
    assert [loss.thing for loss in found[1].missing] == [("link", name, "")]
    assert found[1].state is State.LOST
    assert (found[0].rules, found[1].rules) == (snapshot.rules, verdict.rules)
    (endpoint, *_), served = SETUP.endpoints, tmp_path / "dns"
    served.mkdir()
    (served / "app").write_text(f"10.88.0.1\n{endpoint.container_id} 10.88.0.2  web\n")
    host.looker.wires = Wires(None, lambda: there)
    host.looker.names = Names(Installed.at(Paths(aardvark=served, locks=()), None))
    assert host.looker.glance(snapshot, verdict, {Part.LINKS}) is None
    found = host.looker.glance(snapshot, verdict, {Part.NAMES})
    assert found is not None
    assert [loss.kind for loss in found[1].missing] == ["names"]
    for other, before in (
        (replace(snapshot, busy="podman"), verdict),
        (snapshot, replace(verdict, setup=None)),
        (replace(snapshot, stamp="another"), verdict),
    ):
        assert host.looker.glance(other, before, both) is None


def links_of(setup: Setup) -> Links:
    """Links as the networks of a setup need them."""
    gateways = {
        network.bridge: tuple(
            ip_interface((subnet.network_address + 1, subnet.prefixlen))
            for subnet in network.subnets
        )
        for network in setup.networks.values()
    }
    return Links(
        {name: Link(name, at, kind="bridge") for at, name in enumerate(gateways, 1)},
        gateways,
        {address.network: (name,) for name, found in gateways.items() for address in found},
    )


def test_after_a_census_all_else_is_as_it_was(tmp_path: Path) -> None:
    """Only while the state, the rules and the links are the same, and nothing was unknown."""
    host = Host(tmp_path)
    there = links_of(SETUP)
    host.looker.wires = Wires(Told(), lambda: there)
    before = asyncio.run(host.looker.look())
    now = host.looker.with_census(before)
    assert now is not None
    assert replace(now, names=before.names) == before
    for other in (
        replace(before, busy="podman"),
        replace(before, setup=None),
        replace(before, unknown=(Unknown(Part.LINKS, "what", "why"),)),
        replace(before, changes=before.changes + 1),
        replace(before, links=Links()),
        replace(before, stamp="another"),
    ):
        assert host.looker.with_census(other) is None


class Told:
    """A watch that hears of no change."""

    def changes(self) -> int:
        """None."""
        return 0

    def follow(self, *_: object, **__: object) -> None:
        """Nothing."""


def test_podman_may_answer_while_others_are_waited_for(tmp_path: Path) -> None:
    """Whose process lives is asked of those who were listed then: none of them has ended."""
    host = Host(tmp_path)
    containers = host.looker.containers
    listed = {key: Container(key, key[:4], pid=os.getpid()) for key in IDS}

    async def body() -> Snapshot:
        await host.looker.look()
        host.zones.let.clear()
        looking = asyncio.ensure_future(host.looker.look())
        while host.zones.asked < 2 or not host.settings.drivers[1:]:
            await asyncio.sleep(0)  # until it has read what it can, and waits for firewalld
        containers.take(listed, containers.asked_now())
        host.zones.let.set()
        return await looking

    try:
        found = asyncio.run(body()).containers
    finally:
        containers.close()
    assert {key: container.state for key, container in found.items()} == dict.fromkeys(
        IDS, ContainerState.UP
    )
