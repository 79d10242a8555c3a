# SPDX-License-Identifier: Apache-2.0
"""What is set up: when state or cache tells, and when podman has to be asked."""

import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon.expected import QUIET_S, Expected
from podwatch.daemon.installed import Installed
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, Endpoint, FirewallDriver, Network, Setup
from tests.unit.daemon.fakes import BEGAN_S, now, run

BUSY = "podman is changing a network"
NETWORK = Network("a" * 64, "podman0", (ip_network("10.88.0.0/16"),))
ENDPOINT = Endpoint("b" * 64, NETWORK.id, "podman", ())
EMPTY = Setup(FirewallDriver.IPTABLES)
ANSWER = Setup(FirewallDriver.IPTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))
LISTED = {ENDPOINT.container_id: Container(ENDPOINT.container_id, "web")}


class FakePodman:
    """A podman that is asked for its networks; stands in for adapters.podman.Podman.

    `in_answers` are done while it answers, one for each question: a change, or its failure.
    """

    def __init__(self, stamp: object = 1, answer: Setup = EMPTY) -> None:
        self.stamp, self.answer = stamp, answer
        self.in_answers: list[Callable[[], None]] = []
        self.asked_at: list[float] = []
        self.listed = 0

    def networks_stamp(self) -> object:
        """What changes with its database of addresses."""
        return self.stamp

    async def list_networks(self) -> tuple[Setup, dict[str, Container]]:
        """What is set up, and its containers."""
        self.asked_at.append(now())
        if self.in_answers:
            self.in_answers.pop(0)()
        return self.answer, dict(LISTED)

    async def list_containers(self) -> dict[str, Container]:
        """Its containers, where only they are asked for."""
        self.listed += 1
        return dict(LISTED)

    def change(self) -> None:
        """A container joins a network, or leaves one."""
        self.stamp = object()

    def fail(self) -> None:
        """It does not answer."""
        raise StateUnreadable("podman did not list its networks")

    def change_and_fail(self) -> None:
        """It was told of a container that has gone since."""
        self.change()
        self.fail()


@dataclass
class FakeLock:
    """podman's network lock, held by a change for so many questions; `then` ends the change."""

    left: float = 0
    then: Callable[[], None] = lambda: None

    def holder(self) -> str:
        """podman, until it is done."""
        self.left -= 1
        if self.left == -1:
            self.then()
        return BUSY if self.left >= 0 else ""


@dataclass
class FakeCni:
    """libcni's cache: what CNI set up; stands in for adapters.cni.CniCache."""

    setup: Setup | None = None
    stamp: object = 1
    reads: int = 0

    def read(self) -> Setup | None:
        """What CNI set up."""
        self.reads += 1
        return self.setup


@dataclass
class Host:
    """A host without netavark's state, until a test writes some."""

    tmp_path: Path
    podman: FakePodman = field(default_factory=FakePodman)
    lock: FakeLock = field(default_factory=FakeLock)
    cni: FakeCni | None = None
    has_nftables: bool = False
    served: int | None = None
    configured: int = 53
    tables: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.tmp_path / "firewall"
        paths = Paths(aardvark=self.tmp_path / "dns")
        podman: Any = self.podman
        lock: Any = self.lock
        networks: Any = self
        cni: Any = self.cni
        self.expected = Expected(
            StateDirectory(self.path),
            Installed(paths, podman, lock, networks, networks),
            cni,
            has_table=self._has_table,
            served=lambda directory: self.served if directory == paths.aardvark else None,
        )

    def _has_table(self, family: str, name: str) -> bool:
        self.tables.append((family, name))
        return self.has_nftables

    def read_dns_port(self) -> int:
        """The port that podman's configuration names."""
        return self.configured

    def write_state(self, driver: str = "nftables") -> None:
        """netavark writes its state, and the driver last."""
        (self.path / "ports").mkdir(parents=True, exist_ok=True)
        (self.path / "firewall-driver").write_text(driver)

    def join(self) -> None:
        """A container's state comes; it need not make sense to be another state."""
        (self.path / "ports" / f"{'a' * 64}_{'c' * 64}").write_text("{}")

    def lose_state(self) -> None:
        """Somebody takes away which driver it was."""
        (self.path / "firewall-driver").unlink()


def on(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run this on a clock that jumps over every pause."""
    run(body())


def test_podman_is_asked_when_its_networks_are_quiet(tmp_path: Path) -> None:
    """The first question waits until the database was the same for QUIET_S."""
    host = Host(tmp_path)

    @on
    async def body() -> None:
        assert await host.expected.read() is EMPTY
        assert host.expected.asks_podman
        assert host.expected.stamp == 1

    assert host.podman.asked_at == [pytest.approx(BEGAN_S + QUIET_S)]


def test_podman_is_asked_when_its_lock_is_free(tmp_path: Path) -> None:
    """While podman changes a network it is waited for, and asked then."""
    host = Host(tmp_path, lock=FakeLock(4))

    @on
    async def body() -> None:
        assert await host.expected.read() is EMPTY

    # The first of the four questions is the one whether the state may be about to come.
    assert host.podman.asked_at == [pytest.approx(BEGAN_S + 3 * QUIET_S)]


def test_a_change_without_end_is_not_waited_for(tmp_path: Path) -> None:
    """A podman that hangs with its lock makes the setup unknown; the look goes on without it."""
    host = Host(tmp_path, lock=FakeLock(math.inf))

    @on
    async def body() -> None:
        with pytest.raises(StateUnreadable, match=BUSY):
            await host.expected.read()
        assert now() == pytest.approx(BEGAN_S + 50 * QUIET_S)
        assert not host.expected.asks_podman

    assert host.podman.asked_at == []


def test_podman_is_asked_again_only_when_its_database_has_changed(tmp_path: Path) -> None:
    """A look at a host where nothing came or went asks nobody."""
    host = Host(tmp_path)

    @on
    async def body() -> None:
        for _ in range(2):
            await host.expected.read()
            assert host.expected.is_current()
        assert len(host.podman.asked_at) == 1

        host.podman.change()
        assert not host.expected.is_current()
        await host.expected.read()
        assert host.expected.is_current()
        assert len(host.podman.asked_at) == 2


def test_an_answer_from_before_a_change_is_asked_for_anew(tmp_path: Path) -> None:
    """Who came while podman answered, or made it fail, is in the answer that counts."""
    host = Host(tmp_path)
    host.podman.in_answers = [host.podman.change, host.podman.change_and_fail]

    @on
    async def body() -> None:
        await host.expected.read()
        assert host.expected.stamp is host.podman.stamp

    assert len(host.podman.asked_at) == 3


def test_a_podman_that_fails_is_not_asked_for_the_same_again(tmp_path: Path) -> None:
    """Its own words are raised, where no change explains that it failed."""
    host = Host(tmp_path)
    host.podman.in_answers = [host.podman.fail]

    @on
    async def body() -> None:
        with pytest.raises(StateUnreadable, match="did not list its networks"):
            await host.expected.read()
        assert not host.expected.asks_podman

    assert len(host.podman.asked_at) == 1


def test_networks_that_never_rest_are_given_up(tmp_path: Path) -> None:
    """After twenty answers that were old when they came, the setup is unknown."""
    host = Host(tmp_path)
    host.podman.in_answers = [host.podman.change] * 30

    @on
    async def body() -> None:
        with pytest.raises(StateUnreadable, match="faster than podman can be asked"):
            await host.expected.read()

    assert len(host.podman.asked_at) == 20


def test_a_database_that_never_rests_is_given_up(tmp_path: Path) -> None:
    """A database that changes all the time with a free lock says so, not that the lock is held."""
    host = Host(tmp_path)
    stamps = iter(range(1000))
    host.podman.networks_stamp = lambda: next(stamps)  # type: ignore[method-assign]

    @on
    async def body() -> None:
        with pytest.raises(StateUnreadable, match="faster than podman can be asked"):
            await host.expected.read()

    assert host.podman.asked_at == []


def test_nobody_is_asked_where_no_container_ever_joined(tmp_path: Path) -> None:
    """Without netavark's state and without a database nothing is set up."""
    host = Host(tmp_path, FakePodman(stamp=None))

    @on
    async def body() -> None:
        nothing = Setup(FirewallDriver.UNKNOWN, state_dir=str(host.path))
        assert await host.expected.read() == nothing
        assert not host.expected.asks_podman
        assert host.expected.is_current()

    assert host.podman.asked_at == []
    assert host.tables == [("inet", "netavark")]


def test_the_state_tells_by_itself(tmp_path: Path) -> None:
    """Where netavark names its driver podman is not asked, and a new file is another setup."""
    host = Host(tmp_path)
    host.write_state()

    @on
    async def body() -> None:
        assert (await host.expected.read()).driver is FirewallDriver.NFTABLES
        assert not host.expected.asks_podman
        assert host.expected.is_current()
        before = host.expected.stamp

        host.join()
        assert not host.expected.is_current()
        await host.expected.read()
        assert host.expected.stamp != before

    assert host.podman.asked_at == []


def test_a_state_that_cannot_be_read_is_not_current(tmp_path: Path) -> None:
    """A repair is not decided from it."""
    host = Host(tmp_path)
    host.write_state()

    @on
    async def body() -> None:
        await host.expected.read()
        host.write_state(driver="no driver that there is")
        assert not host.expected.is_current()


def test_what_only_became_fewer_is_told_by_netavarks_state_alone(tmp_path: Path) -> None:
    """A state that cannot be read tells nothing, and podman's word has no files."""
    host = Host(tmp_path, FakePodman(answer=ANSWER))

    @on
    async def body() -> None:
        host.write_state()
        await host.expected.read()
        assert not host.expected.has_only_fewer()
        host.expected.state.path.joinpath("ports").rmdir()
        host.expected.state.path.joinpath("ports").touch()
        assert not host.expected.has_only_fewer()


def test_state_that_came_while_podman_was_asked_counts(tmp_path: Path) -> None:
    """The first container was being set up: what netavark wrote is taken, not podman's answer."""
    host = Host(tmp_path, FakePodman(answer=ANSWER))
    host.podman.in_answers = [host.write_state]

    @on
    async def body() -> None:
        assert (await host.expected.read()).driver is FirewallDriver.NFTABLES
        assert not host.expected.asks_podman


def test_half_a_state_beside_containers_is_gone(tmp_path: Path) -> None:
    """A directory without a driver, and containers by podman's word: the setup is unknown."""
    host = Host(tmp_path, FakePodman(answer=ANSWER))
    host.path.mkdir()

    @on
    async def body() -> None:
        for asked in (1, 2):
            with pytest.raises(StateUnreadable, match="netavark's state is gone") as caught:
                await host.expected.read()
            assert str(host.path / "firewall-driver") in str(caught.value)
            assert "netavark writes it anew" in caught.value.hint
            assert not host.expected.asks_podman
            assert len(host.podman.asked_at) == asked


def test_half_a_state_without_containers_is_podmans_word(tmp_path: Path) -> None:
    """Where podman knows of no container, a directory that is left over is no matter."""
    host = Host(tmp_path)
    host.path.mkdir()

    @on
    async def body() -> None:
        assert await host.expected.read() is EMPTY
        assert host.expected.asks_podman


def test_state_that_was_there_does_not_go(tmp_path: Path) -> None:
    """Without a change going on it is gone at once, and podman's word does not stand in."""
    host = Host(tmp_path)
    host.write_state()

    @on
    async def body() -> None:
        await host.expected.read()
        host.lose_state()
        with pytest.raises(StateUnreadable, match="netavark's state is gone"):
            await host.expected.read()
        assert now() == BEGAN_S

    assert host.podman.asked_at == []
    assert host.tables == []


def test_a_table_of_netavarks_tells_that_there_was_state(tmp_path: Path) -> None:
    """Its nftables driver was never without state: podwatch need not have seen it."""
    host = Host(tmp_path, has_nftables=True)

    @on
    async def body() -> None:
        with pytest.raises(StateUnreadable, match="netavark's state is gone"):
            await host.expected.read()

    assert host.podman.asked_at == []


def test_state_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """While podman has its lock the state may come; it is read when it has."""
    host = Host(tmp_path, has_nftables=True)
    host.lock.left, host.lock.then = 2, host.write_state

    @on
    async def body() -> None:
        assert (await host.expected.read()).driver is FirewallDriver.NFTABLES
        assert now() == pytest.approx(BEGAN_S + 2 * QUIET_S)


def test_state_that_never_comes_is_gone(tmp_path: Path) -> None:
    """Twenty looks at a lock that stays held, and no more."""
    host = Host(tmp_path, lock=FakeLock(math.inf), has_nftables=True)

    @on
    async def body() -> None:
        with pytest.raises(StateUnreadable, match="netavark's state is gone"):
            await host.expected.read()
        assert now() == pytest.approx(BEGAN_S + 20 * QUIET_S)


CNI = Setup(FirewallDriver.CNI, {NETWORK.id: NETWORK}, (ENDPOINT,))


def test_cnis_cache_tells_where_netavark_is_not_in_use(tmp_path: Path) -> None:
    """What CNI set up is expected, and a change of its cache is another setup."""
    host = Host(tmp_path, FakePodman(stamp=None), cni=FakeCni(CNI))

    @on
    async def body() -> None:
        assert await host.expected.read() is CNI
        assert host.expected.is_current()
        assert host.cni is not None
        assert host.cni.reads == 2  # once to tell, once to see whether it is still so
        host.cni.stamp = 2
        assert not host.expected.is_current()


def test_a_cache_that_was_never_there_is_not_looked_for(tmp_path: Path) -> None:
    """Whether the setup is current is asked often: a cache without a stamp is not read for it."""
    host = Host(tmp_path, FakePodman(stamp=None), cni=FakeCni(stamp=None))

    @on
    async def body() -> None:
        await host.expected.read()
        assert host.expected.is_current()

    assert host.cni is not None
    assert host.cni.reads == 1


def test_cnis_cache_may_be_left_over(tmp_path: Path) -> None:
    """Where netavark has state the cache tells nothing; where it has none, nor anything, nobody."""
    host = Host(tmp_path, FakePodman(stamp=None), cni=FakeCni(CNI))
    host.write_state()

    @on
    async def body() -> None:
        assert (await host.expected.read()).driver is FirewallDriver.NFTABLES
        assert host.cni is not None
        assert host.cni.reads == 0


@pytest.mark.parametrize(
    ("served", "configured", "port"),
    [(1053, 1053, 1053), (1053, 53, 53), (1053, 1054, 53), (None, 1053, 53), (53, 53, 53)],
)
def test_dns_is_redirected_where_server_and_configuration_agree(
    tmp_path: Path, served: int | None, configured: int, port: int
) -> None:
    """Elsewhere which rules there have to be is not known: none is expected."""
    host = Host(tmp_path, FakePodman(answer=ANSWER), served=served, configured=configured)

    @on
    async def body() -> None:
        setup = await host.expected.read()
        assert [network.dns_port for network in setup.networks.values()] == [port]
        assert [endpoint.dns_port for endpoint in setup.endpoints] == [port]


def test_containers_come_with_what_is_set_up(tmp_path: Path) -> None:
    """Where podman says what is set up, its containers are taken from that answer, once."""
    host = Host(tmp_path)

    @on
    async def body() -> None:
        assert host.expected.take_listed() is None
        await host.expected.read()
        assert host.expected.take_listed() == LISTED
        assert host.expected.take_listed() is None

        host.podman.answer = ANSWER
        assert await host.expected.list_containers() == LISTED
        assert host.podman.listed == 0
        assert await host.expected.read() == ANSWER
        assert len(host.podman.asked_at) == 2


def test_containers_alone_are_asked_for_where_the_state_tells(tmp_path: Path) -> None:
    """The question for networks costs more, and is not needed there."""
    host = Host(tmp_path)
    host.write_state()

    @on
    async def body() -> None:
        await host.expected.read()
        assert await host.expected.list_containers() == LISTED

    assert host.podman.listed == 1
    assert host.podman.asked_at == []
