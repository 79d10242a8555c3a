# SPDX-License-Identifier: Apache-2.0
"""podman, asked by a program in its place, and by units that a fake systemd runs."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from podwatch.adapters.paths import Paths, Rootless
from podwatch.adapters.podman import Podman, reload_unit
from podwatch.words.errors import RestoreFailed, StateUnreadable

T = TypeVar("T")

ONE, OTHER = "a" * 64, "b" * 64
LISTED = [{"Id": ONE, "Names": ["web"], "State": "running", "Networks": ["lan"], "Pid": 9}]
NETWORKS = [
    {
        "name": "lan",
        "id": "c" * 64,
        "driver": "bridge",
        "network_interface": "podman1",
        "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}],
    }
]
INSPECTED = {
    "Id": ONE,
    "State": {"Status": "running"},
    "HostConfig": {"NetworkMode": "bridge"},
    "NetworkSettings": {"Networks": {"lan": {"IPAddress": "10.89.0.2"}}},
}
INTERFACE = {"mac_address": "02:00:00:00:00:01", "subnets": [{"ipnet": "10.89.0.2/24"}]}
PLACES = [{"name": "lan", "containers": {ONE: {"interfaces": {"eth0": INTERFACE}}}}]

PROGRAM = """#!/bin/sh
echo "$*" >> {0}/asked
case "$*" in
"network ls "*) cat {0}/networks ;;
"ps --all --quiet "*) cat {0}/ids ;;
"ps "*) cat {0}/containers ;;
"container inspect "*) cat {0}/inspected ;;
"network inspect -- lan") cat {0}/places ;;
"network reload {1}") exit 0 ;;
*) echo "Error: no such container" >&2; exit 125 ;;
esac
"""


class Elsewhere(Paths):
    """Root's host, whose units' answers are in a directory of the test's."""

    @property
    def listing(self) -> Path:
        """podman's containers."""
        return Path(os.environ["PODWATCH_TEST"]) / "containers"

    @property
    def networks(self) -> Path:
        """podman's networks."""
        return Path(os.environ["PODWATCH_TEST"]) / "setup"

    def network(self, name: str) -> Path:
        """One network."""
        assert name == "lan"
        return Path(os.environ["PODWATCH_TEST"]) / "places"


class FakeUnits:
    """systemd, which says the same of every unit that it is to run."""

    def __init__(self, says: str = "done") -> None:
        self.says = says
        self.run: list[str] = []

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Run them."""
        assert at_once >= 1
        assert timeout_s > 0
        self.run += names
        return dict.fromkeys(names, self.says)


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of podman's answers, with a program that gives them."""
    for name, answer in (
        ("networks", NETWORKS),
        ("containers", LISTED),
        ("inspected", INSPECTED),
        ("places", PLACES),
    ):
        (tmp_path / name).write_text(json.dumps(answer))
    (tmp_path / "ids").write_text(f"{ONE}\n")
    both = "\n".join(json.dumps(answer) for answer in (NETWORKS, LISTED, [INSPECTED]))
    (tmp_path / "setup").write_text(both)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/podman"
    program.write_text(PROGRAM.format(tmp_path, ONE))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("PODWATCH_TEST", str(tmp_path))
    return tmp_path


def run(asking: Awaitable[T]) -> T:
    """What is answered."""

    async def body() -> T:
        return await asking

    return asyncio.run(body())


def by_child(answers: Path) -> Podman:
    """A podman that is run as a child."""
    return Podman(Paths(run=answers), None)


def by_unit(units: FakeUnits) -> Podman:
    """A podman that is run by systemd's units."""
    return Podman(Elsewhere(), units)


@pytest.mark.parametrize("how", ["child", "unit"])
def test_the_same_is_answered_however_it_is_asked(answers: Path, how: str) -> None:
    """Containers, what is set up, and the places on one network."""
    units = FakeUnits()
    podman = by_child(answers) if how == "child" else by_unit(units)
    containers = run(podman.list_containers())
    setup, listed = run(podman.list_networks())
    places = run(podman.network_places("lan"))

    assert containers[ONE].name == "web"
    assert {key: replace(found, mode="") for key, found in listed.items()} == containers
    assert [endpoint.container_id for endpoint in setup.endpoints] == [ONE]
    assert places == {ONE: ("02:00:00:00:00:01", "10.89.0.2")}
    assert (
        units.run == []
        if how == "child"
        else units.run
        == [
            "podwatch-inspect.service",
            "podwatch-networks.service",
            "podwatch-network@lan.service",
        ]
    )


def test_without_containers_nobody_is_inspected(answers: Path) -> None:
    """podman would inspect nothing, which is an error to it."""
    (answers / "ids").write_text("")
    (answers / "containers").write_text("[]")
    setup, listed = run(by_child(answers).list_networks())

    assert (setup.endpoints, listed) == ((), {})
    assert "inspect" not in (answers / "asked").read_text()


def test_a_podman_that_fails_is_said_with_its_command(answers: Path) -> None:
    """What was asked, how it failed, and that one can ask by hand."""
    (answers / "containers").unlink()
    with pytest.raises(StateUnreadable, match=r"podman ps: exit code 1: .*containers") as failed:
        run(by_child(answers).list_containers())
    assert failed.value.hint == "run it by hand"
    with pytest.raises(StateUnreadable, match="podman network inspect: exit code 125: Error: no"):
        run(by_child(answers).network_places("wan"))


@pytest.mark.parametrize(
    ("what", "said", "unit"),
    [
        ("containers", "podman ps did not answer: podwatch-inspect.service: timeout", "inspect"),
        ("networks", "podman did not list its networks: podwatch-networks.service: ", "networks"),
        ("places", "podman network inspect lan: timeout", "network@lan"),
    ],
)
def test_a_unit_that_fails_is_said_with_its_journal(
    answers: Path, what: str, said: str, unit: str
) -> None:
    """What the unit was to do, systemd's word, and where its output is; the answer is not read."""
    podman = by_unit(FakeUnits("timeout"))
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "containers": podman.list_containers,
        "networks": podman.list_networks,
        "places": lambda: podman.network_places("lan"),
    }
    with pytest.raises(StateUnreadable, match=said) as failed:
        run(asks[what]())
    assert failed.value.hint == f"journalctl -u podwatch-{unit}.service"


def test_the_last_listing_is_read_without_asking(answers: Path) -> None:
    """None where it is no good; no unit is started for it."""
    units = FakeUnits()
    podman = by_unit(units)

    assert set(podman.last_listing()) == {ONE}
    (answers / "containers").write_text("{")
    assert podman.last_listing() == {}
    assert units.run == []


def test_reloads_are_of_full_ids_alone(answers: Path) -> None:
    """Nothing is run for a name, an option, or a part of an id."""
    every_digit = "0123456789abcdef" * 4
    assert reload_unit(every_digit) == f"podwatch-reload@{every_digit}.service"
    for odd in ("web", "--all", "a" * 63, "a" * 65, "A" * 64, "g" * 64):
        with pytest.raises(RestoreFailed, match="is not the full id of a container"):
            reload_unit(odd)
        with pytest.raises(RestoreFailed, match="is not the full id"):
            run(by_child(answers).reload([ONE, odd], at_once=1, timeout_s=5))
    assert not (answers / "asked").exists()


def test_those_that_could_not_be_reloaded_are_said(answers: Path) -> None:
    """By a child with what podman says, by a unit with what systemd says."""
    child = by_child(answers)
    said = "exit code 125: Error: no such container"
    assert run(child.reload([ONE, OTHER], at_once=2, timeout_s=30)) == {OTHER: said}
    asked = (answers / "asked").read_text().splitlines()
    assert set(asked) == {f"network reload {ONE}", f"network reload {OTHER}"}

    units = FakeUnits("failed")
    failed = run(by_unit(units).reload([ONE, OTHER], at_once=2, timeout_s=30))
    assert failed == {ONE: "failed", OTHER: "failed"}
    assert units.run == [f"podwatch-reload@{ONE}.service", f"podwatch-reload@{OTHER}.service"]
    assert run(by_unit(FakeUnits()).reload([ONE], at_once=1, timeout_s=30)) == {}


def test_where_other_units_write_podman_is_asked_by_children(answers: Path) -> None:
    """With another run directory only reloads are made by units: they write nothing."""
    units = FakeUnits()
    podman = Podman(Paths(run=answers), units)

    assert set(run(podman.list_containers())) == {ONE}
    assert run(podman.reload([ONE], at_once=1, timeout_s=30)) == {}
    assert units.run == [f"podwatch-reload@{ONE}.service"]


def test_what_changes_with_containers_is_a_stamp(tmp_path: Path) -> None:
    """Of the addresses' database, None without one; of the runtimes' directories."""
    database, runtime = tmp_path / "ipam.db", tmp_path / "crun"
    podman = Podman(Paths(addresses=database, runtimes=(runtime, tmp_path / "runc")), None)
    assert podman.networks_stamp() is None
    database.touch()
    assert podman.networks_stamp() is None  # begun, and no container has joined a network yet
    database.write_text("x")
    before = podman.networks_stamp()
    assert before == podman.networks_stamp() is not None
    database.write_text("xy")
    assert podman.networks_stamp() != before

    none = podman.runtime_stamp()
    assert none == podman.runtime_stamp()
    runtime.mkdir()
    assert podman.runtime_stamp() != none


class FakeUser:
    """A user's namespaces; stands in for adapters.user_namespaces. `pid` is who is in them."""

    def __init__(self, answers: Path) -> None:
        self.pid = 0
        self.rootless = Rootless(answers)
        self.paths = Paths(
            run=answers,
            addresses=answers / "ipam.db",
            runtimes=(answers / "crun",),
            rootless=self.rootless,
        )
        self.podman = Podman(self.paths, None, self.keeper)

    def keeper(self, rootless: Rootless) -> int:
        """A process by which podman finds them."""
        assert rootless == self.rootless
        return self.pid


def test_a_users_podman_is_not_asked_while_nothing_of_it_runs(answers: Path) -> None:
    """It would make its namespaces to answer: there is no container, and none is listed."""
    user = FakeUser(answers)
    assert run(user.podman.list_containers()) == {}
    setup, listed = run(user.podman.list_networks())
    assert (setup.endpoints, setup.networks, listed) == ((), {}, {})
    assert not (answers / "asked").exists()


def test_a_users_podman_is_asked_once_something_runs(answers: Path) -> None:
    """By children: what it says is what root's would."""
    user = FakeUser(answers)
    user.pid = 7
    assert set(run(user.podman.list_containers())) == {ONE}
    setup, listed = run(user.podman.list_networks())
    assert ([each.container_id for each in setup.endpoints], set(listed)) == ([ONE], {ONE})
    asked = (answers / "asked").read_text().splitlines()
    assert [line.partition(" -")[0] for line in asked] == [
        *("ps", "network ls", "ps", "ps", "container inspect"),
    ]


def test_roots_podman_is_asked_whoever_runs(answers: Path) -> None:
    """It has no namespaces to make."""
    podman = Podman(Paths(run=answers), None, lambda _: 0)
    assert set(run(podman.list_containers())) == {ONE}


def test_a_users_stamp_is_of_the_runtime_too(answers: Path) -> None:
    """Most of a user's containers are on no network with a database; root's need not be asked."""
    user = FakeUser(answers)
    stamps = [user.podman.networks_stamp()]
    assert stamps == [user.podman.networks_stamp()]
    (answers / "crun").mkdir()
    stamps.append(user.podman.networks_stamp())
    (answers / "ipam.db").write_text("x")
    stamps.append(user.podman.networks_stamp())
    assert len(set(stamps)) == 3

    root = Podman(replace(user.paths, rootless=None), None)
    before = root.networks_stamp()
    (answers / "crun/web").mkdir()
    assert root.networks_stamp() == before
    assert user.podman.networks_stamp() != stamps[-1]
