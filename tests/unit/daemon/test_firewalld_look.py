# SPDX-License-Identifier: Apache-2.0
"""What firewalld says, for a look, beside what the kernel says of its tables."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.drivers.firewalld import POLICIES
from podwatch.words.errors import BusUnavailable, RulesUnreadable
from podwatch.words.network import FirewallDriver, Network, Setup
from podwatch.words.rules import Chain
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Unknown

RUNS = Firewalld(running=True)
OWN, DROP = "firewalld", "firewalld_policy_drop"


def looked(said: Firewalld, *tables: str) -> Firewalld:
    """What a look makes of this answer where the kernel has these tables."""
    look = FirewalldLook(None, is_there=lambda family, name: family == "inet" and name in tables)
    return look.with_tables(said, [])


@pytest.mark.parametrize(
    ("said", "tables", "in_kernel", "reloading"),
    [
        (RUNS, [OWN], True, False),
        (RUNS, [], False, False),
        (RUNS, [OWN, DROP], True, True),
        (replace(RUNS, panic=True), [OWN, DROP], True, False),
        (replace(RUNS, in_kernel=False), [], True, False),
    ],
    ids=["whole", "its table is gone", "reloading", "panic", "not of nftables"],
)
def test_the_tables_tell_what_firewalld_does_not(
    said: Firewalld, tables: list[str], *, in_kernel: bool, reloading: bool
) -> None:
    """In panic mode its chain that drops is no reload; without nftables it has no table to lose."""
    found = looked(said, *tables)
    assert (found.in_kernel, found.reloading) == (in_kernel, reloading)


def test_who_does_not_run_has_no_tables() -> None:
    """Nobody asks the kernel for them."""
    assert looked(ABSENT_FIREWALLD, OWN, DROP) == ABSENT_FIREWALLD


def test_a_kernel_that_does_not_tell_makes_it_unknown() -> None:
    """What was lost of firewalld's is not told from what could not be read."""

    def refuse(_family: str, _name: str) -> bool:
        raise RulesUnreadable("the kernel does not tell")

    unknown: list[Unknown] = []
    found = FirewalldLook(None, is_there=refuse).with_tables(RUNS, unknown)
    assert found == ABSENT_FIREWALLD
    assert [part.why for part in unknown] == ["the kernel does not tell"]


def test_policies_that_were_there_once_are_remembered() -> None:
    """Asked for with netavark's firewalld driver alone; those of a stopped firewalld are none."""

    class FakeWatch:
        """firewalld, which has this to say."""

        said = replace(RUNS, policies={"netavark_policy": Chain("netavark_policy", ())})
        asked: tuple[str, ...] = ()
        changes = 0

        async def read(self, policies: tuple[str, ...]) -> Firewalld:
            """What it says, of these policies, too."""
            self.asked = policies
            return self.said

    watch: Any = FakeWatch()
    look = FirewalldLook(watch, is_there=lambda _family, name: name == OWN)

    def ask(driver: FirewallDriver | None) -> Firewalld:
        return asyncio.run(look.ask([], None if driver is None else Setup(driver)))

    assert ask(FirewallDriver.FIREWALLD).policies_before == {"netavark_policy"}
    assert watch.asked == POLICIES
    watch.said = RUNS
    assert ask(FirewallDriver.NFTABLES).policies_before == {"netavark_policy"}
    assert watch.asked == ()
    ask(None)
    assert watch.asked == ()
    watch.said = replace(ABSENT_FIREWALLD, policies={"x": Chain("x", ())})
    ask(FirewallDriver.FIREWALLD)
    watch.said = RUNS
    assert ask(FirewallDriver.FIREWALLD).policies_before == {"netavark_policy"}


def test_what_firewalld_said_is_kept_until_it_tells_of_something() -> None:
    """Of the same networks; an answer that was none is not kept."""

    class FakeWatch:
        """firewalld, which answers or does not."""

        changes = 0
        silent = False

        async def read(self, _policies: tuple[str, ...]) -> Firewalld:
            """What it says."""
            if self.silent:
                raise BusUnavailable("it does not answer")
            return RUNS

    watch: Any = FakeWatch()
    look = FirewalldLook(watch, is_there=lambda _family, name: name == OWN)
    setup = Setup(FirewallDriver.NFTABLES)
    network = Network("n" * 64, "podman1", (ip_network("10.89.0.0/24"),))
    other = replace(setup, networks={network.id: network})

    async def hear() -> None:
        await look.hear(look.begin(setup), None, [])

    assert look.kept(setup) is None
    asyncio.run(hear())
    assert look.kept(setup) == RUNS
    assert look.kept(other) is None
    assert look.kept(None) is None
    watch.changes = 1
    assert look.kept(setup) is None
    asyncio.run(hear())
    assert look.kept(setup) == RUNS
    watch.silent = True
    asyncio.run(hear())
    assert look.kept(setup) is None


class Waiting:
    """firewalld, which answers with these sources once it is let."""

    def __init__(self) -> None:
        self.changes = 0
        self.sources: dict[str, str] = {}
        self.let = asyncio.Event()
        self.asked = 0

    async def read(self, _policies: tuple[str, ...]) -> Firewalld:
        """What it says: as it was when it was asked."""
        self.asked += 1
        found = replace(RUNS, sources=dict(self.sources))
        await self.let.wait()
        return found


def test_an_answer_from_before_a_network_says_nothing_of_it() -> None:
    """Who hurries takes the last answer where the networks are the same, and waits where not."""
    setup = Setup(FirewallDriver.NFTABLES)
    network = Network("n" * 64, "podman1", (ip_network("10.89.0.0/24"),))
    other = replace(setup, networks={network.id: network})

    async def body() -> None:
        watch: Any = Waiting()
        look = FirewalldLook(watch, is_there=lambda _family, name: name == OWN)
        watch.let.set()
        assert not (await look.hear(look.begin(setup), None, [], setup)).sources
        watch.let.clear()
        watch.sources["10.89.0.0/24"] = "trusted"
        assert not (await look.hear(look.begin(setup), 0.0, [], setup)).sources
        asyncio.get_running_loop().call_later(0.01, watch.let.set)
        assert (await look.hear(look.begin(other), 0.0, [], other)).sources

    asyncio.run(body())


def test_a_question_from_before_a_change_is_asked_anew() -> None:
    """Its answer would not know of what firewalld has told since."""
    setup = Setup(FirewallDriver.NFTABLES)

    async def body() -> None:
        watch: Any = Waiting()
        look = FirewalldLook(watch, is_there=lambda _family, name: name == OWN)
        first = look.begin(setup)
        await asyncio.sleep(0)
        assert look.begin(setup) is first
        watch.sources["10.89.0.0/24"] = "trusted"
        watch.changes = 1
        watch.let.set()
        assert (await look.hear(look.begin(setup), None, [], setup)).sources
        assert watch.asked == 2

    asyncio.run(body())
