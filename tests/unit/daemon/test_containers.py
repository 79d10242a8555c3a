# SPDX-License-Identifier: Apache-2.0
"""podman's containers: when podman is asked, and whom they say runs, on a clock that jumps."""

import asyncio
import subprocess
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.daemon.containers import QUIET_S, Containers
from podwatch.decide.census import Asked
from podwatch.words.errors import PodwatchError, StateUnreadable
from podwatch.words.network import (
    Address,
    Container,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Setup,
)
from tests.unit.daemon.fakes import BEGAN_S, now, run

WEB, DB = "a" * 64, "b" * 64
SUBNET = ip_network("10.88.0.0/16")
AT = {WEB: ip_address("10.88.0.2"), DB: ip_address("10.88.0.3")}


def endpoint(key: str) -> Endpoint:
    """A container's place on the one network."""
    return Endpoint(key, "n" * 64, "podman", ((AT[key], SUBNET),))


@dataclass
class FakePodman:
    """What is set up, what podman says of it and who has a namespace: expected, podman, kernel."""

    listed: dict[str, Container] = field(default_factory=dict)
    inside: dict[Address, int] | None = field(default_factory=dict)
    stamp: int = 1
    runtime: int = 1
    asks_podman: bool = False
    silent: bool = False
    transactions: int = 1
    told: dict[str, Container] | None = None
    asked_at: list[float] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    keys: list[object] = field(default_factory=list)
    addresses: Path = Path("/nowhere/ipam.db")

    def __post_init__(self) -> None:
        installed: Any = SimpleNamespace(
            podman=self,
            networks=SimpleNamespace(read_files=lambda: {}),
            paths=SimpleNamespace(addresses=self.addresses),
        )
        expected: Any = self
        inside: Any = self
        self.containers = Containers(
            expected, installed, lambda: self.transactions, inside=inside, clock=now
        )

    async def list_containers(self) -> dict[str, Container]:
        """Its containers, or nothing at all."""
        self.asked_at.append(now())
        if self.silent:
            raise StateUnreadable("podman is silent")
        return self.listed

    def runtime_stamp(self) -> object:
        """The runtime's."""
        return self.runtime

    def take_listed(self) -> dict[str, Container] | None:
        """What it said when it was asked for its networks."""
        told, self.told = self.told, None
        return told

    def at(self, key: object) -> dict[Address, int] | None:
        """Who is in a namespace."""
        self.keys.append(key)
        return self.inside

    def complain(self, error: PodwatchError) -> None:
        """It did not answer."""
        self.heard.append(str(error))

    def ask_soon(self) -> None:
        """As the loop asks, after a look."""
        self.containers.ask_soon(lambda: self.heard.append("listed"), self.complain, again_s=150)

    def set_up(self, *keys: str) -> Setup:
        """A look finds these set up."""
        stamps = {key: f"{key} {self.stamp}" for key in keys}
        self.containers.setup = Setup(
            FirewallDriver.NFTABLES, endpoints=tuple(map(endpoint, keys)), stamps=stamps
        )
        return self.containers.setup


def test_podman_is_asked_when_the_state_has_been_still_for_a_while() -> None:
    """Nothing is asked before a look; then once, though it is said again meanwhile."""
    podman = FakePodman()

    async def body() -> None:
        podman.ask_soon()
        await asyncio.sleep(2 * QUIET_S)
        assert podman.asked_at == []
        podman.set_up()
        podman.ask_soon()
        asking = [podman.containers.is_asking]
        await asyncio.sleep(QUIET_S / 2)
        podman.stamp += 1
        podman.ask_soon()
        await asyncio.sleep(10)
        assert [*asking, podman.containers.is_asking] == [True, False]
        assert podman.asked_at == [BEGAN_S + 4 * QUIET_S]
        assert podman.heard == ["listed"]
        podman.ask_soon()
        await asyncio.sleep(10)
        assert len(podman.asked_at) == 1

    run(body())


@pytest.mark.parametrize("what", ["stamp", "runtime"])
def test_podman_is_asked_again_when_something_starts_or_ends(what: str) -> None:
    """On its networks (netavark's state), or on any (the runtime's directory)."""
    podman = FakePodman()

    async def body() -> None:
        podman.set_up()
        await podman.containers.ask()
        assert not podman.containers.is_due
        setattr(podman, what, 2)
        assert podman.containers.is_due

    run(body())


def test_a_silent_podman_is_asked_for_the_same_state_after_a_while() -> None:
    """Not at every look; but at once where the state is another one."""
    podman = FakePodman(silent=True)

    async def body() -> None:
        podman.set_up()
        for wait_s in (1.0, 10.0, 138.0, 2.0):
            podman.ask_soon()
            await asyncio.sleep(wait_s)
        assert len(podman.asked_at) == 1
        podman.ask_soon()
        await asyncio.sleep(1)
        assert len(podman.asked_at) == 2
        podman.stamp += 1
        podman.ask_soon()
        await asyncio.sleep(1)
        assert len(podman.asked_at) == 3
        assert podman.heard == ["podman is silent", "listed"] * 3, "who waited for it goes on"

    run(body())


def test_nobody_asks_after_the_end() -> None:
    """What waits for quiet is not begun any more."""
    podman = FakePodman()

    async def body() -> None:
        podman.containers.close()
        podman.set_up()
        podman.ask_soon()
        await asyncio.sleep(QUIET_S / 2)
        podman.containers.close()
        await asyncio.sleep(10)
        assert podman.asked_at == []

    run(body())


def test_who_was_listed_by_an_earlier_podwatch_has_a_name_and_no_process() -> None:
    """Names are good until podman is asked; whether they run it cannot know."""
    podman = FakePodman()
    setup = podman.set_up(WEB)
    db = Container(DB, "db", ContainerState.PAUSED, pid=8)
    podman.containers.remember({WEB: Container(WEB, "web", pid=7), DB: db})
    found, surely, _ = podman.containers.known(setup, {7, 8})
    assert found[WEB].name == "web"
    assert found[WEB].pid == 0
    assert found[WEB].state is ContainerState.PRESUMED
    assert found[DB].is_paused
    assert surely == frozenset()


def test_who_is_listed_and_whose_process_is_there_surely_runs() -> None:
    """Unless podman itself says what is set up: then nothing else does."""
    podman = FakePodman()
    podman.listed = {WEB: Container(WEB, "web", pid=1)}

    async def body() -> None:
        setup = podman.set_up(WEB)
        await podman.containers.ask()
        alive = podman.containers.alive()
        assert alive == {1}
        assert podman.containers.known(setup, alive)[1] == {WEB}
        assert podman.keys == []  # nobody is in doubt
        assert podman.containers.known(setup, set())[0][WEB].state is ContainerState.JUST_ENDED
        podman.asks_podman = True
        assert podman.containers.known(setup, alive)[1] == frozenset()
        podman.containers.close()

    run(body())


def test_whose_process_ends_is_known_at_once() -> None:
    """While its state is that with which podman listed it: written anew, it may have started."""
    podman = FakePodman()

    async def body() -> None:
        ends = asyncio.Event()
        podman.containers.listen(asyncio.get_running_loop(), ends.set)
        with subprocess.Popen(["sleep", "60"]) as child:
            podman.listed = {WEB: Container(WEB, "web", pid=child.pid)}
            setup = podman.set_up(WEB)
            await podman.containers.ask()
            assert podman.containers.ended(setup) == frozenset()
            child.kill()
            await ends.wait()
        assert podman.containers.ended(setup) == {WEB}
        assert podman.containers.ended(setup, "another") == {WEB}
        anew = replace(setup, stamps={WEB: "another"})
        assert podman.containers.ended(anew, "another") == frozenset()
        podman.containers.close()

    asyncio.run(asyncio.wait_for(body(), 30))


def test_who_is_not_listed_lives_where_the_kernel_has_his_address() -> None:
    """He is doubted, and podman is asked again soon; who has no namespace is left out."""
    podman = FakePodman(inside={AT[WEB]: 1})

    async def body() -> None:
        setup = podman.set_up(WEB, DB)
        await podman.containers.ask()
        assert podman.containers.census.doubtful == {WEB}
        assert podman.containers.again_at is not None
        assert not podman.containers.is_due
        found, _, inside = podman.containers.known(setup, set())
        assert inside == {AT[WEB]: 1}
        assert found[WEB].state is ContainerState.UNLISTED
        assert found[DB].state is ContainerState.GONE
        assert [e.container_id for e in podman.containers.running(setup).endpoints] == [WEB]
        await asyncio.sleep(podman.containers.again_at - now())
        assert podman.containers.is_due

    run(body())


def test_a_change_of_the_rules_makes_the_doubted_asked_for_soon() -> None:
    """One that was only created may have come to run by it."""
    podman = FakePodman(inside={AT[WEB]: 1})

    async def body() -> None:
        podman.set_up(WEB)
        for _ in range(3):
            await podman.containers.ask()
        later = podman.containers.again_at
        assert later is not None
        podman.containers.doubt(now())
        soon = podman.containers.again_at
        assert soon is not None
        assert soon < later

    run(body())


def test_who_is_being_started_is_doubted_where_podman_says_what_is_set_up() -> None:
    """He is not in the setup yet, and nothing tells when he is."""
    podman = FakePodman(asks_podman=True)
    podman.listed = {WEB: Container(WEB, "web", ContainerState.CREATED, networks=("podman",))}

    async def body() -> None:
        podman.set_up()
        await podman.containers.ask()
        assert podman.containers.census.doubtful == {WEB}

    run(body())


def test_what_podman_said_with_its_networks_is_kept() -> None:
    """It need not be asked a second time; where it was not asked, nothing changes."""
    podman = FakePodman(told={WEB: Container(WEB, "web")})

    async def body() -> None:
        setup = podman.set_up(WEB)
        podman.containers.take_listed(setup, 1)
        census = podman.containers.census
        assert census.asked == Asked(1, setup.stamps, 1)
        assert census.containers[WEB].name == "web"
        podman.containers.take_listed(setup, 2)
        assert podman.containers.census is census

    run(body())


def test_the_kernel_is_asked_anew_where_anybody_may_have_come_or_gone() -> None:
    """Its answer holds for the same rules and state; at the moment of a repair, never."""
    podman = FakePodman()
    containers = podman.containers
    containers.inside()
    containers.inside()
    podman.transactions += 1
    containers.inside()
    podman.stamp += 1
    containers.inside()
    containers.inside_now()
    containers.inside_now()
    same, again, changed, other, *ever = podman.keys
    assert same == again
    assert len({same, changed, other, *ever}) == 5


def test_what_is_so_before_podman_is_asked_is_noted() -> None:
    """Each container's state once something was looked at; none before."""
    podman = FakePodman(stamp=3, runtime=4)
    assert podman.containers.asked_now() == Asked(3, {}, 4)
    podman.set_up(WEB)
    assert podman.containers.asked_now() == Asked(3, {WEB: f"{WEB} 3"}, 4)


def test_who_is_in_doubt_has_time_though_others_start() -> None:
    """He would be taken for dead if podman were asked at each container of another network."""
    podman = FakePodman(inside={AT[WEB]: 1})

    async def body() -> None:
        podman.set_up(WEB)
        await podman.containers.ask()
        assert podman.containers.again_at is not None
        podman.runtime = 2
        assert not podman.containers.is_due
        podman.stamp = 2
        assert podman.containers.is_due

    run(body())


@pytest.mark.parametrize("what", ["nothing was looked at", "the state is another by now"])
def test_nobody_is_doubted_by_a_setup_that_is_not_of_the_answer(what: str) -> None:
    """Whom podman does not list may have come since, or gone: the next look tells."""
    podman = FakePodman(inside={AT[WEB]: 1})

    async def body() -> None:
        if what == "nothing was looked at":
            asked = podman.containers.asked_now()
        else:
            podman.set_up(WEB)
            asked = podman.containers.asked_now()
            podman.stamp += 1
        podman.containers.take({}, asked)
        assert podman.containers.census.doubtful == frozenset()
        assert podman.keys == []

    run(body())


@pytest.mark.parametrize(
    ("state", "networks", "asks_podman"),
    [
        (ContainerState.CREATED, (), True),
        (ContainerState.ENDED, ("podman",), True),
        (ContainerState.CREATED, ("podman",), False),
    ],
    ids=["on no network", "ended", "where the state tells"],
)
def test_who_is_not_being_started_is_not_doubted(
    state: ContainerState, networks: tuple[str, ...], *, asks_podman: bool
) -> None:
    """Only who is created, has a network, and is not told of by netavark's state may be."""
    podman = FakePodman(asks_podman=asks_podman)
    podman.listed = {WEB: Container(WEB, "web", state, networks=networks)}

    async def body() -> None:
        podman.set_up()
        await podman.containers.ask()
        assert podman.containers.census.doubtful == frozenset()
        assert podman.containers.again_at is None

    run(body())


def test_nobody_is_known_where_no_setup_could_be_read() -> None:
    """Names are known all the same, and the kernel is not asked."""
    podman = FakePodman()
    podman.containers.remember({WEB: Container(WEB, "web")})
    found, surely, inside = podman.containers.known(None, set())
    assert [container.name for container in found.values()] == ["web"]
    assert (surely, inside) == (frozenset(), None)


def test_the_kernel_of_this_host_is_asked_unless_another_is_named() -> None:
    """It tells how many namespaces have an address, or not, where that is forbidden."""
    podman = FakePodman()
    expected: Any = podman
    containers = Containers(expected, podman.containers._installed, lambda: 1)
    found = containers.inside_now()
    assert found is None or all(count > 0 for count in found.values())
