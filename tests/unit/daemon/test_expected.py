# SPDX-License-Identifier: Apache-2.0
"""What is set up: by netavark's state, by CNI's results, or by podman, and when that is asked."""

import asyncio
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon import expected
from podwatch.daemon.expected import Expected
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, Endpoint, FirewallDriver, Setup

STATE = Path(__file__).parents[2] / "data/trixie-standard/state"
EMPTY = Setup(FirewallDriver.IPTABLES)
BUSY = Setup(FirewallDriver.IPTABLES, endpoints=(Endpoint("c" * 64, "n" * 64, "podman", ()),))
BY_CNI = Setup(FirewallDriver.CNI)
WEB = {"c" * 64: Container("c" * 64, "web")}


@dataclass
class FakeCni:
    """CNI's results, of which only the stamp counts; `setup` is None where there are none."""

    setup: Setup | None = None
    stamp: object = None
    reads: int = 0

    def read(self) -> Setup | None:
        """What they tell."""
        self.reads += 1
        return self.setup


@dataclass
class Place:
    """A host: netavark's state in a directory of its own, a podman, its lock, and CNI's results.

    `stamps` are those of podman's database, one for each question; the last stays. The lock is
    held by a change for `busy` questions. `during` is done while podman is asked.
    """

    directory: Path
    answer: Setup = EMPTY
    stamps: list[object] = field(default_factory=lambda: [1])
    busy: float = 0
    fails: int = 0
    asked: int = 0
    dns: int = 53
    cni: FakeCni | None = None
    during: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        installed: Any = SimpleNamespace(
            paths=Paths(aardvark=self.directory / "dns"),
            podman=self,
            lock=self,
            networks=SimpleNamespace(read_dns_port=lambda: self.dns),
        )
        cni: Any = self.cni
        self.state = self.directory / "firewall"
        self.expected = Expected(StateDirectory(self.state), installed, cni)

    def networks_stamp(self) -> object:
        """That of podman's database of addresses."""
        return self.stamps.pop(0) if len(self.stamps) > 1 else self.stamps[0]

    async def list_networks(self) -> tuple[Setup, dict[str, Container]]:
        """Its networks, or a failure."""
        self.asked += 1
        self.during()
        if self.fails:
            self.fails -= 1
            raise StateUnreadable("podman inspect fails")
        return self.answer, WEB

    async def list_containers(self) -> dict[str, Container]:
        """Its containers."""
        self.asked += 1
        return WEB

    def holder(self) -> str:
        """podman, until it is done."""
        self.busy -= 1
        return "podman is changing a network" if self.busy >= 0 else ""

    def keep_state(self) -> None:
        """netavark writes its state."""
        shutil.copytree(STATE, self.state, dirs_exist_ok=True)

    def read(self) -> Setup:
        """What is set up."""
        return asyncio.run(self.expected.read())


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for quiet does so in no time."""
    monkeypatch.setattr(expected, "QUIET_S", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A host on which netavark keeps no state, and podman answers at once."""
    return Place(tmp_path)


def test_netavarks_state_is_enough(place: Place) -> None:
    """podman is not asked where it is; and it is current until somebody writes it anew."""
    place.keep_state()
    setup = place.read()
    assert setup.driver is FirewallDriver.NFTABLES
    assert setup.endpoints
    assert place.asked == 0
    assert not place.expected.asks_podman
    assert place.expected.is_current()
    before = place.expected.stamp
    next((place.state / "ports").iterdir()).unlink()
    assert not place.expected.is_current()
    place.read()
    assert place.expected.stamp != before


def test_state_that_is_gone_is_unknown(place: Place) -> None:
    """It was there once, and stays when the last container stops: nobody may take it for none."""
    place.keep_state()
    place.read()
    (place.state / "firewall-driver").unlink()
    with pytest.raises(StateUnreadable, match=r"there is no .*firewall-driver") as caught:
        place.read()
    assert "restart the containers" in caught.value.hint


def test_state_that_is_being_written_is_waited_for(place: Place) -> None:
    """While podman has its lock it may come; only then it is gone."""
    place.keep_state()
    place.read()
    (place.state / "firewall-driver").unlink()
    place.busy = 5
    with pytest.raises(StateUnreadable):
        place.read()
    assert place.busy == -1


def test_without_podman_and_state_there_is_nothing(place: Place) -> None:
    """Where podman never had a network there is nothing to ask it for."""
    place.stamps = [None]
    assert place.read() == Setup(FirewallDriver.UNKNOWN)
    assert place.asked == 0


def test_cni_tells_where_netavark_does_not(tmp_path: Path) -> None:
    """Its results may be left over: netavark's state, which is of this boot, counts before them."""
    place = Place(tmp_path, stamps=[None], cni=FakeCni(BY_CNI, stamp=1))
    assert place.read() is BY_CNI
    assert place.expected.is_current()
    assert place.cni is not None
    place.cni.stamp = 2
    assert not place.expected.is_current()
    place.keep_state()
    reads = place.cni.reads
    assert place.read().driver is FirewallDriver.NFTABLES
    assert place.cni.reads == reads


def test_what_cannot_be_read_any_more_is_not_current(place: Place) -> None:
    """A repair that is built on it is not carried out."""
    place.keep_state()
    place.read()
    shutil.rmtree(place.state / "ports")
    (place.state / "ports").write_text("no directory")
    assert not place.expected.is_current()


def test_podman_is_asked_once_for_each_change_of_its_database(place: Place) -> None:
    """And its containers, which it named with them, are taken once."""
    assert place.read() is EMPTY
    assert place.expected.asks_podman
    assert place.expected.take_listed() == WEB
    assert place.expected.take_listed() is None
    assert place.expected.is_current()
    place.read()
    assert place.asked == 1
    place.stamps = [2]
    assert not place.expected.is_current()
    place.read()
    assert place.asked == 2


def test_podman_is_asked_when_its_lock_is_free(place: Place) -> None:
    """While podman changes a network it is waited for, and asked then."""
    place.busy = 3
    assert place.read() is EMPTY
    assert place.busy < 0


def test_a_change_without_end_is_not_waited_for(place: Place) -> None:
    """A podman that hangs with its lock makes the setup unknown; the look goes on without it."""
    place.busy = math.inf
    with pytest.raises(StateUnreadable, match="podman is changing a network"):
        place.read()
    assert place.asked == 0


def test_an_answer_from_before_a_change_is_asked_for_again(place: Place) -> None:
    """The stamp after the answer has to be that of before: an old one could bring back the dead."""
    place.stamps = [1, 1, 1, 2, 2]
    assert place.read() is EMPTY
    assert place.asked == 2
    assert place.expected.stamp == 2


def test_changes_without_end_make_it_unknown(place: Place) -> None:
    """podman's networks change faster than podman can be asked."""
    place.stamps = list(range(100_000))
    with pytest.raises(StateUnreadable, match="faster than podman can be asked"):
        place.read()


def test_a_podman_that_fails_amid_a_change_is_asked_again(place: Place) -> None:
    """It may have been told of a container that came or went; without a change it has failed."""
    place.fails = 1
    place.stamps = [1, 1, 1]

    def change() -> None:
        if place.asked == 1:
            place.stamps = [2]

    place.during = change
    assert place.read() is EMPTY
    assert place.asked == 2
    place.fails, place.stamps = 1, [3]
    with pytest.raises(StateUnreadable, match="podman inspect fails"):
        place.read()


def test_state_that_came_while_podman_was_asked_counts(place: Place) -> None:
    """The first container was being set up: netavark keeps state after all."""
    place.answer, place.during = BUSY, place.keep_state
    assert place.read().driver is FirewallDriver.NFTABLES
    assert not place.expected.asks_podman


def test_a_state_directory_without_a_driver_is_a_state_that_is_gone(place: Place) -> None:
    """podman names a container, and netavark's directory is there, but says nothing."""
    place.state.mkdir()
    place.answer = BUSY
    with pytest.raises(StateUnreadable, match="netavark's state is gone"):
        place.read()
    assert not place.expected.asks_podman


def test_containers_are_podmans_to_list(place: Place) -> None:
    """With the networks where podman says what is set up, else by themselves."""
    place.keep_state()
    place.read()
    assert asyncio.run(place.expected.list_containers()) == WEB
    assert place.asked == 1
    shutil.rmtree(place.state)


def test_the_setup_is_renewed_when_containers_are_listed(place: Place) -> None:
    """Where podman says what is set up, both come of one answer."""
    place.read()
    place.answer = BUSY
    assert asyncio.run(place.expected.list_containers()) == WEB
    assert place.read() is BUSY
    assert place.asked == 2


@pytest.mark.parametrize(("configured", "port"), [(53, 53), (1053, 53)])
def test_dns_is_redirected_only_where_the_server_runs_as_configured(
    place: Place, configured: int, port: int
) -> None:
    """Without a running aardvark-dns the port is not known, and 53 is nowhere redirected to."""
    place.answer, place.dns = BUSY, configured
    assert {endpoint.dns_port for endpoint in place.read().endpoints} == {port}
