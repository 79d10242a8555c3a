# SPDX-License-Identifier: Apache-2.0
"""The surroundings: when the rules of others are looked at, and what is known of them meanwhile."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters import kernel
from podwatch.adapters.paths import Paths
from podwatch.daemon import surroundings
from podwatch.daemon.installed import Installed
from podwatch.daemon.surroundings import Surroundings
from podwatch.words.errors import RulesUnreadable
from podwatch.words.links import Around
from podwatch.words.network import (
    FirewallDriver,
    Network,
    Setup,
)
from podwatch.words.rules import Ruleset
from podwatch.words.way import BaseChain

SETUP = Setup(FirewallDriver.NFTABLES)
DROPS = """
table inet site {
    chain passing {
        type filter hook forward priority filter; policy drop;
    }
}
"""


@dataclass
class FakeRules:
    """A driver's rules, which are there or not, and can be read or not."""

    there: bool = True
    readable: bool = True

    def exist(self) -> bool:
        """Whether any may be there."""
        return self.there

    async def read(self) -> Ruleset:
        """The rules."""
        if not self.readable:
            raise RulesUnreadable("no")
        return Ruleset(present=True, chains={})


@dataclass
class FakeNft:
    """An nft whose ruleset is one table of somebody else's, with a chain that drops."""

    listed: list[str] = field(default_factory=list)
    fails: bool = False

    async def list_chains(self) -> str:
        """Every base chain, without its rules."""
        if self.fails:
            raise RulesUnreadable("nft hangs")
        self.listed.append("chains")
        return DROPS

    async def list_chain(self, family: str, table: str, chain: str) -> str:
        """One chain."""
        self.listed.append(f"{family} {table} {chain}")
        return DROPS

    async def list_table(self, family: str, table: str) -> str:
        """One table."""
        self.listed.append(f"{family} {table}")
        return DROPS


@dataclass
class Place:
    """Surroundings with a clock of their own; `gone` are tables that are not in the kernel."""

    nft: Any = None
    rules: dict[FirewallDriver, Any] = field(default_factory=dict)
    now: float = 1000.0
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.there = Surroundings(
            Installed.at(Paths(), None),
            self.rules,
            None,
            self.nft,
            still_there=lambda chain: chain.table not in self.gone,
            clock=lambda: self.now,
        )

    def due(self) -> float | None:
        """When to look at the rules of others."""
        return self.there.due_at

    def look(self, *, is_quiet: bool, setup: Setup = SETUP) -> None:
        """Look at the rules of others, if it is time."""
        asyncio.run(self.there.look(setup, is_quiet=is_quiet))


def test_changes_of_others_are_looked_at_once_a_minute_at_most() -> None:
    """However many there are, one look is due: soon, or a minute after the last one."""
    place = Place()
    assert place.there.due_at is None  # an idle host has no timer
    assert place.there.changed(1000.0) == 1005.0
    assert place.there.changed(1001.0) is None

    place.look(is_quiet=False)  # the first one of this driver
    assert place.due() is None
    assert place.there.changed(1000.0) == 1060.0
    place.look(is_quiet=True)
    assert place.due() == 1060.0
    place.now = 1060.0
    place.look(is_quiet=True)
    assert place.due() is None


def test_a_chain_that_drops_is_found_and_its_table_listed_whole() -> None:
    """Once a minute, and at once where another driver is in use; between, nobody's rules."""
    nft = FakeNft()
    place = Place(nft)
    place.look(is_quiet=True)
    assert [(chain.table, chain.name) for chain in place.there.drops] == [("inet site", "passing")]
    assert nft.listed == ["chains", "inet site passing", "inet site"]
    place.look(is_quiet=True)
    assert nft.listed.count("chains") == 1
    place.look(is_quiet=False, setup=Setup(FirewallDriver.IPTABLES))
    assert nft.listed.count("chains") == 2
    nft.fails, place.now = True, 2000.0
    place.look(is_quiet=True)
    assert place.there.drops == ()


def test_a_chain_that_is_gone_drops_nothing_at_the_next_look() -> None:
    """Where its table is deleted a look is due at once, and does not list anybody's rules."""
    place = Place()
    place.look(is_quiet=True)
    place.there.drops = (BaseChain("inet site", "passing", "forward", "drop"),)
    assert place.there.changed(1000.0, {"inet other"}) != 1000.0
    assert place.there.changed(1000.0, {"inet site"}) == 1000.0

    place.look(is_quiet=True)
    assert place.there.drops
    place.gone.add("inet site")
    place.look(is_quiet=True)
    assert not place.there.drops


def test_a_look_at_others_waits_while_the_own_rules_change() -> None:
    """A loss is not kept waiting by it: it is put off until nothing has changed since a look."""
    place = Place()
    place.look(is_quiet=False)
    place.now += 60.0
    place.there.due_at = place.now
    place.look(is_quiet=False)
    assert place.there.due_at == place.now + 5.0
    place.look(is_quiet=True)
    assert place.there.due_at is None


def test_rules_of_drivers_not_in_use_are_read_until_they_go() -> None:
    """At each look while there are any; what cannot be read is none of them."""
    iptables = FakeRules()
    place = Place(rules={FirewallDriver.NFTABLES: FakeRules(), FirewallDriver.IPTABLES: iptables})
    place.look(is_quiet=True)
    assert set(place.there.others) == {FirewallDriver.IPTABLES}
    iptables.there = False
    place.look(is_quiet=True)
    assert not place.there.others
    iptables.there = True
    place.look(is_quiet=True)
    assert not place.there.others  # until it is time
    iptables.readable, place.now = False, 2000.0
    place.look(is_quiet=True)
    assert not place.there.others


@pytest.mark.parametrize(
    ("active", "works"),
    [((), False), (("docker.service",), False), (("netavark-firewalld-reload.service",), True)],
)
def test_netavarks_own_units_are_known_by_their_name(active: Sequence[str], *, works: bool) -> None:
    """They repair at a restart of firewalld, too, and get their time."""

    class FakeSystemd:
        """systemd, with these units active."""

        async def active_states(self, names: Sequence[str]) -> dict[str, str]:
            """What it says of these."""
            return {name: "active" for name in names if name in active}

    systemd: Any = FakeSystemd()
    there = Surroundings(Installed.at(Paths(), None), {}, systemd, None)

    async def body() -> None:
        assert not there.has_netavarks_units
        assert await there.hear(there.begin(), None) == tuple(active)

    asyncio.run(body())
    assert there.has_netavarks_units is works


def test_routes_and_settings_are_compared_with_those_of_the_last_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nobody had to know, or nothing is set up, nothing is another."""
    answers = {"way": Around(deaf=("eth0",))}
    asked: list[bool] = []

    def read(
        _setup: Setup, _installed: Installed, *, drops: bool, keepers: Sequence[str]
    ) -> Around:
        assert keepers == []
        asked.append(drops)
        if not answers:
            raise RulesUnreadable("the kernel does not tell")
        return answers["way"]

    monkeypatch.setattr(surroundings, "around", read)
    there = Place().there
    assert there.around == Around()
    assert not there.are_others(SETUP)
    assert asked == []
    there.look_further(SETUP, drops=True)
    assert there.around == Around(deaf=("eth0",))
    assert not there.are_others(SETUP)
    assert not there.are_others(None)
    answers["way"] = Around()
    assert there.are_others(SETUP)
    assert asked == [True, True, True]
    answers.clear()
    there.look_further(SETUP)
    assert there.around == Around()
    there.look_further(None)
    assert not there.are_others(SETUP)


@pytest.mark.parametrize(
    ("deaf", "default", "learned"),
    [((), True, True), ((), False, True), (("eth0",), True, True), (("eth0",), False, False)],
)
def test_a_way_out_by_ipv6_is_asked_for_where_routers_are_not_heard(
    deaf: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, *, default: bool, learned: bool
) -> None:
    """Without a link that is deaf to routers nothing can be wrong with the default route."""
    monkeypatch.setattr(kernel, "deaf_to_routers", lambda: deaf)
    monkeypatch.setattr(kernel, "has_default_v6", lambda: default)
    found = surroundings.around(SETUP, Installed.at(Paths(), None), drops=False)
    assert (found.deaf, found.has_default_v6) == (deaf, learned)


@pytest.mark.parametrize("bridged", [frozenset(), frozenset({4})], ids=["routed", "bridged"])
def test_internal_networks_count_where_bridges_hand_packets_on(
    bridged: frozenset[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose bridge is there, and only where a chain drops."""
    for name, link, internal in (("a", "lo", True), ("b", "lo", False), ("c", "no-such", True)):
        file = {"name": name, "driver": "bridge", "network_interface": link, "internal": internal}
        (tmp_path / f"{name}.json").write_text(json.dumps(file))
    monkeypatch.setattr(kernel, "bridged", lambda: bridged)
    installed = Installed.at(replace(Paths(), netavark_networks=tmp_path), None)
    found = surroundings.around(SETUP, installed, drops=True)
    assert [network.bridge for network in found.internal] == ["lo"] * len(bridged)
    assert all(network.internal for network in found.internal)
    assert surroundings.around(SETUP, installed, drops=False).bridged == frozenset()


def test_this_very_host_can_be_asked() -> None:
    """The kernel tells of routes and settings without root; a bridge that is not there has none."""
    network = Network("n" * 64, "no-such-bridge", (ip_network("10.88.0.0/16"),))
    found = surroundings.around(
        Setup(FirewallDriver.NFTABLES, {network.id: network}),
        Installed.at(Paths(), None),
        drops=True,
    )
    assert found.routes == ()


def test_an_answer_of_systemds_that_comes_late_is_told() -> None:
    """Who hurries goes by the one before it: without a look it would count for minutes."""

    class FakeSystemd:
        """systemd, which is slow to say that one more unit is active."""

        def __init__(self) -> None:
            self.active: tuple[str, ...] = ()
            self.let = asyncio.Event()

        async def active_states(self, names: Sequence[str]) -> dict[str, str]:
            """What it says of these, when it is let."""
            await self.let.wait()
            return {name: "active" for name in names if name in self.active}

    async def body() -> None:
        systemd: Any = FakeSystemd()
        told: list[str] = []
        there = Surroundings(
            Installed.at(Paths(), None), {}, systemd, None, heard_late=lambda: told.append("late")
        )
        systemd.let.set()
        assert await there.hear(there.begin(), 0.0) == ()
        systemd.active = ("netavark-firewalld-reload.service",)
        systemd.let.clear()
        asked = there.begin()
        assert await there.hear(asked, 0.0) == ()
        assert told == []
        systemd.let.set()
        await asked
        assert told == ["late"]
        assert await there.hear(there.begin(), None) == systemd.active
        assert told == ["late"], "who waits hears it himself"

    asyncio.run(body())


class Active:
    """A systemd by which these units are active."""

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """Their states."""
        active = ("docker.service", "NetworkManager.service")
        return {name: "active" for name in names if name in active}


def test_who_configures_links_is_no_neighbour_with_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a unit that runs and may do so the bridges are asked for; it is not listed."""
    asked: list[Sequence[str]] = []

    def read(
        _setup: Setup, _installed: Installed, *, drops: bool, keepers: Sequence[str]
    ) -> Around:
        assert not drops
        asked.append(keepers)
        return Around()

    monkeypatch.setattr(surroundings, "around", read)
    systemd: Any = Active()

    async def body() -> None:
        there = Surroundings(Installed.at(Paths(), None), {}, systemd, None)
        assert await there.hear(there.begin(), None) == ("docker.service",)
        there.look_further(SETUP)

    asyncio.run(body())
    assert asked == [["NetworkManager.service"]]
