# SPDX-License-Identifier: Apache-2.0
"""Looking at DHCP, on real files and a program in podman's place: what is read, and when."""

import asyncio
import fcntl
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon.dhcp_look import UNITS, DhcpLooker, watched
from podwatch.daemon.installed import Installed
from podwatch.words.dhcp import Backend, DhcpSnapshot, Holder, Lease, Unit
from podwatch.words.errors import BusUnavailable

ID = "a" * 64
MAC = "02:00:00:00:00:01"
WEB = Holder(ID, "web", "lan", MAC, "192.0.2.7")
STARTED_AT = 1_000_000_000.0
F_OFD_SETLK = 37  # of an open file, so that the process that asks is in conflict with itself

PODMAN = """#!/bin/sh
echo "$*" >> {0}/asked
case "$*" in
"ps "*) cat {0}/ps.json ;;
"network inspect -- "*) cat {0}/lan.json ;;
*) exit 125 ;;
esac
"""


class FakeUnits:
    """systemd's units: both of the proxy run, or the bus is away."""

    def __init__(self) -> None:
        self.service = Unit("loaded", "active", "enabled", pid=7, started=STARTED_AT)
        self.away = False

    async def read(self, name: str) -> Unit:
        """A unit as it is now."""
        if self.away:
            raise BusUnavailable("the system bus does not answer", hint="systemctl status dbus")
        return self.service if name.endswith(".service") else Unit("loaded", "active", "enabled")


class Stage:
    """Podman's files below a directory of their own, and a program that answers for podman."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths(
            run=root / "run",
            locks=(root / "netavark.lock",),
            containers_conf=(root / "usr.conf", root / "conf/containers.conf", root / "conf.d"),
            chosen_backend=root / "chosen",
            netavark_networks=root / "networks",
            cni_networks=root / "net.d",
            cni_results=root / "results",
            leases=root / "leases",
        )
        for directory in (self.paths.netavark_networks, self.paths.cni_networks):
            directory.mkdir()
        self.paths.cni_results.mkdir()
        self.paths.chosen_backend.write_text("netavark")
        (root / "bin").mkdir()
        podman = root / "bin/podman"
        podman.write_text(PODMAN.format(root))
        podman.chmod(0o755)
        self.units = FakeUnits()
        self.looker = DhcpLooker(self.units, Installed.at(self.paths, None))

    def add_network(self) -> None:
        """A macvlan network that wants DHCP."""
        network = {"name": "lan", "driver": "macvlan", "ipam_options": {"driver": "dhcp"}}
        (self.paths.netavark_networks / "lan.json").write_text(json.dumps(network))

    def run_web(self, state: str = "running") -> None:
        """One container on the network, and one on another."""
        listed = {"Id": ID, "Names": ["web"], "State": state, "Networks": ["lan"], "Pid": 9}
        other = {"Id": "b" * 64, "Names": ["db"], "State": "running", "Networks": ["pod"]}
        (self.root / "ps.json").write_text(json.dumps([listed, other]))
        subnets = [{"ipnet": "192.0.2.7/24"}]
        interfaces = {"eth0": {"mac_address": MAC, "subnets": subnets}}
        inspected = [{"name": "lan", "containers": {ID: {"interfaces": interfaces}}}]
        (self.root / "lan.json").write_text(json.dumps(inspected))

    def lease(self, at: float = STARTED_AT + 5) -> None:
        """The proxy has leased an address, and written so at this time."""
        lease = {"t1": 60, "t2": 105, "lease_time": 120, "yiaddr": "192.0.2.7"}
        self.paths.leases.write_text(json.dumps({MAC: [lease]}))
        os.utime(self.paths.leases, (at, at))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """podman is changing a network."""
        with self.paths.locks[0].open("w") as file:
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(file, F_OFD_SETLK, lock)
            yield

    def look(self, *, fresh: bool = False) -> DhcpSnapshot:
        """One look."""
        return asyncio.run(self.looker.look(fresh=fresh))

    @property
    def asked(self) -> list[str]:
        """What podman was asked since this was last read."""
        path = self.root / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line.partition(" --")[0] for line in lines]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A host without a network that wants DHCP."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Stage(tmp_path)


def test_a_host_without_dhcp_costs_nothing(stage: Stage) -> None:
    """Where no network wants DHCP, neither systemd nor podman is asked."""
    stage.units.away = True
    stage.run_web()

    assert stage.look(fresh=True) == DhcpSnapshot(Backend.NETAVARK)
    assert stage.asked == []


def test_everything_is_in_one_snapshot(stage: Stage) -> None:
    """Units, leases with their time, and who holds them."""
    stage.add_network()
    stage.run_web()
    stage.lease()
    seen = stage.look()

    assert (seen.backend, seen.networks) == (Backend.NETAVARK, ("lan",))
    assert (seen.socket.file, seen.service.pid) == ("enabled", 7)
    assert seen.leases == {MAC: Lease("192.0.2.7", 120, 60)}
    assert seen.leased_at == {MAC: STARTED_AT + 5}
    assert seen.holders == (WEB,)
    assert (seen.problem, seen.hint, seen.busy) == ("", "", "")
    assert (seen.fresh, seen.unasked, seen.unclaimed) == (False, False, 0)


def test_podman_is_asked_only_for_a_reason(stage: Stage) -> None:
    """At first, when leases or the proxy's process changed, and when it has to be."""
    stage.add_network()
    stage.run_web()
    both = ["ps", "network inspect"]
    stage.look()
    assert stage.asked == both
    stage.look()
    assert stage.asked == []
    stage.lease()
    stage.look()
    assert stage.asked == both
    stage.units.service = replace(stage.units.service, pid=8)
    stage.look()
    assert stage.asked == both
    assert stage.look(fresh=True).fresh
    assert stage.asked == both


@pytest.mark.parametrize("state", ["exited", "created"])
def test_a_network_nobody_runs_on_is_not_asked_for(stage: Stage, state: str) -> None:
    """A container that does not run holds no lease."""
    stage.add_network()
    stage.run_web(state)

    assert stage.look().holders == ()
    assert stage.asked == ["ps"]


def test_leases_of_the_process_before_are_none(stage: Stage) -> None:
    """A file older than the proxy's process is not this one's; nor is any without a process."""
    stage.add_network()
    stage.run_web()
    stage.lease(STARTED_AT - 1)
    assert stage.look().leases == {}
    stage.lease(STARTED_AT)
    assert MAC in (stage.look().leases or {})
    stage.units.service = Unit("loaded", "inactive", "enabled")
    assert stage.look().leases == {}


def test_when_a_lease_was_first_seen_is_kept(stage: Stage) -> None:
    """The file has no times, and is written anew for every container's lease."""
    stage.add_network()
    stage.run_web()
    stage.lease(STARTED_AT + 5)
    stage.look()
    stage.lease(STARTED_AT + 50)

    assert stage.look().leased_at == {MAC: STARTED_AT + 5}


def test_a_lease_file_without_sense_is_unknown(stage: Stage) -> None:
    """It is not taken for an empty one; the hint names the file."""
    stage.add_network()
    stage.run_web()
    stage.lease()
    stage.paths.leases.write_text("{")
    seen = stage.look()

    assert seen.leases is None
    assert seen.hint.startswith(f"{stage.paths.leases}: ")
    assert seen.holders == (WEB,)


def test_a_podman_that_fails_makes_the_holders_unknown(stage: Stage) -> None:
    """The next look asks again by itself, and finds them."""
    stage.add_network()
    seen = stage.look()
    assert (seen.holders, seen.hint[:11]) == (None, "podman ps: ")

    stage.run_web()
    assert stage.look().holders == (WEB,)


def test_a_bus_that_does_not_answer_is_a_problem(stage: Stage) -> None:
    """Nothing else is said then, and nobody asked."""
    stage.add_network()
    stage.units.away = True
    seen = stage.look(fresh=True)

    assert seen.problem == "the system bus does not answer"
    assert seen.hint == "systemctl status dbus"
    assert (seen.fresh, stage.asked) == (True, [])


def test_without_systemd_there_is_a_problem(stage: Stage) -> None:
    """Nobody keeps the proxy running then, which is said."""
    stage.add_network()
    looker = DhcpLooker(None, Installed.at(stage.paths, None))
    seen = asyncio.run(looker.look())

    assert seen.networks == ("lan",)
    assert seen.problem.startswith("systemd does not run this host")
    assert (seen.fresh, seen.unasked, seen.unclaimed) == (False, False, 0)


def test_a_podman_at_work_is_not_asked(stage: Stage) -> None:
    """It would wait for its own lock: that it was to be asked is kept until it has been."""
    stage.add_network()
    stage.run_web()
    with stage.locked():
        seen = stage.look()
        assert (seen.busy, seen.unasked, seen.holders) == (
            "podman is changing a network",
            True,
            (),
        )
        stage.units.away = True
        assert stage.look().unasked
        stage.units.away = False
    assert stage.asked == []
    seen = stage.look()
    assert (seen.busy, seen.unasked, seen.holders) == ("", False, (WEB,))


def test_a_podman_at_work_that_needs_no_asking_is_only_told(stage: Stage) -> None:
    """Nothing has changed: nobody has to ask, and it is not waited for."""
    stage.add_network()
    stage.run_web()
    stage.look()
    with stage.locked():
        seen = stage.look()

    assert (seen.busy, seen.unasked) == ("podman is changing a network", False)


def test_looks_at_a_lease_without_a_holder_are_counted(stage: Stage) -> None:
    """While podman is asked for the same leases; it begins anew with other ones, and ends."""
    stage.add_network()
    stage.run_web("created")
    stage.lease()
    assert [stage.look().unclaimed, stage.look().unclaimed] == [1, 1]
    assert [stage.look(fresh=True).unclaimed, stage.look(fresh=True).unclaimed] == [2, 3]
    stage.units.service = replace(stage.units.service, pid=8)
    assert stage.look().unclaimed == 1
    stage.units.away = True
    assert stage.look(fresh=True).unclaimed == 1
    stage.units.away = False
    stage.run_web()
    assert stage.look(fresh=True).unclaimed == 0


def test_a_network_that_goes_is_forgotten(stage: Stage) -> None:
    """So are its holders: should it come again, podman is asked again."""
    stage.add_network()
    stage.run_web("created")
    stage.lease()
    stage.look()
    (stage.paths.netavark_networks / "lan.json").unlink()
    assert stage.look().holders == ()
    stage.add_network()
    assert stage.look().unclaimed == 1
    assert stage.asked == ["ps", "ps"]


def test_cni_answers_from_its_files(stage: Stage) -> None:
    """Who is on the network, since when, is in what its plugins answered; leases are in none."""
    stage.paths.chosen_backend.write_text("cni")
    macvlan = {"type": "macvlan", "ipam": {"type": "dhcp"}}
    conflist = {"name": "lan", "plugins": [macvlan]}
    (stage.paths.cni_networks / "lan.conflist").write_text(json.dumps(conflist))
    stage.run_web()
    result = {
        "interfaces": [{"sandbox": "/run/netns/x", "mac": MAC}],
        "ips": [{"address": "192.0.2.7/24"}],
    }
    cached = {"kind": "cniCacheV1", "containerId": ID, "networkName": "lan", "result": result}
    path = stage.paths.cni_results / f"lan-{ID}-eth0"
    path.write_text(json.dumps(cached))
    os.utime(path, (STARTED_AT + 7, STARTED_AT + 7))
    stage.lease()
    seen = stage.look()

    assert seen.backend is Backend.CNI
    assert seen.leases == {}
    assert seen.holders == (replace(WEB, leased=STARTED_AT + 7),)
    assert stage.asked == ["ps"]
    stage.run_web("created")
    assert stage.look(fresh=True).unclaimed == 1


def test_the_units_of_both_backends_are_heard_of() -> None:
    """Whichever is in use later, its socket and its service are."""
    assert set(UNITS) == {
        "netavark-dhcp-proxy.socket",
        "netavark-dhcp-proxy.service",
        "cni-dhcp.socket",
        "cni-dhcp.service",
    }


def test_directories_are_watched_as_far_as_they_matter(tmp_path: Path) -> None:
    """Configuration always, what a proxy writes only while a network wants it."""
    paths = Stage(tmp_path).paths
    directory = tmp_path / "elsewhere"
    always = (tmp_path / "conf", tmp_path / "conf.d", directory, paths.cni_networks)
    found = watched(paths, Backend.NETAVARK, directory, ())

    assert set(found) == {*always, paths.netavark_networks}
    proxy = watched(paths, Backend.NETAVARK, directory, ("lan",))
    assert set(proxy) == {*found, Path("/run/podman")}
    cni = watched(paths, Backend.CNI, directory, ("lan",))
    assert set(cni) == {*found, Path("/run/cni"), paths.cni_results}
