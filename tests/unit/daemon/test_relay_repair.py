# SPDX-License-Identifier: Apache-2.0
"""Starting relays again: what is looked at right before, and what is asked for then."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, cast

import pytest

from podwatch.adapters.paths import Rootless
from podwatch.adapters.podman_lock import NetworkLock
from podwatch.adapters.relay_start import Order, RelayStart
from podwatch.daemon.relay_repair import RelayRepair
from podwatch.daemon.relays import RelaysLook
from podwatch.decide.relays import missing_relays
from podwatch.words.errors import Outdated, RestoreFailed
from podwatch.words.netns import Netns
from podwatch.words.network import (
    Container,
    Endpoint,
    FirewallDriver,
    PortMapping,
    Setup,
)
from podwatch.words.relays import RelayKind
from podwatch.words.snapshot import Snapshot
from tests.unit.relay_stage import RelayStage

OWN = os.stat("/proc/self/ns/net").st_ino
MEMBER = 202


class FakeStart:
    """Starts what it is asked for as a process of the stage; stands in for RelayStart."""

    def __init__(self, host: "Host") -> None:
        self.host = host
        self.orders: list[Order] = []
        self.works, self.fails = True, False

    async def start(self, order: Order) -> str:
        """Take down the order, and carry it out."""
        self.orders.append(order)
        self.host.held_at_start.append(self.host.is_held)
        if self.fails:
            raise RestoreFailed(f"{order.what} cannot be started: exit code 1")
        if self.works:
            self.host.begin(order)
        return f"{order.unit}.service"


class Lock:
    """podman's lock; stands in for NetworkLock."""

    def __init__(self, host: "Host") -> None:
        self.host = host

    @contextmanager
    def keeping_off(self) -> Iterator[None]:
        """Note that podman waits."""
        self.host.is_held = True
        try:
            yield
        finally:
            self.host.is_held = False


class Host:
    """Containers with real processes in the roles of their relays and conmons."""

    def __init__(self, top: Path) -> None:
        self.stage = RelayStage(top)
        self.rootless = Rootless(top)
        self.file = str(top / "containers/networks/rootless-netns/rootless-netns")
        self.netns = Netns(self.file, OWN, OWN, has_file=True)
        self.tun = top / "tun"
        self.tun.touch()
        self.mounted = {self.file: OWN, "/netns/web": OWN + 1, "/netns/web1": OWN}
        self.mounted["/netns/slirp"] = OWN + 2
        conmon = self.stage.run("conmon", "conmon", (), "read -r _")
        Path(f"/proc/{conmon}/comm").read_text()
        self.end_of = (conmon, 0)
        self.web = Container(
            "b" * 64,
            "web",
            pid=os.getpid(),
            netns=str(OWN + 1),
            mode="pasta",
            sandbox="/netns/web",
            conmon=conmon,
        )
        self.web1 = Container(
            "a" * 64,
            "web1",
            networks=("n1",),
            pid=os.getpid(),
            netns=str(OWN),
            mode="bridge",
            sandbox="/netns/web1",
            conmon=conmon,
            ports=(PortMapping(8082, 80, "tcp"),),
        )
        self.slirp = replace(
            self.web,
            id="c" * 64,
            name="slirp",
            netns=str(OWN + 2),
            mode="slirp4netns",
            sandbox="/netns/slirp",
        )
        self.is_held = False
        self.held_at_start: list[bool] = []
        self.member = MEMBER
        find = self.stage.look.find

        def own() -> Any:
            ids = {process.pid for process in self.stage.processes}
            return tuple(relay for relay in find() if relay.pid in ids)

        look = self.stage.look
        look.find = own  # type: ignore[method-assign]
        look.net_files = lambda pid: self.mounted if pid == MEMBER else {}  # type: ignore[method-assign]
        look.descriptor_of = (  # type: ignore[method-assign]
            lambda pid, pipe: 5 if (pid, pipe) == (conmon, self.pipe) else -1
        )
        self.look = RelaysLook(top / "relays.json", look)
        self.start = FakeStart(self)
        self.repair = RelayRepair(
            self.rootless,
            self.look,
            cast("NetworkLock", Lock(self)),
            start=cast("RelayStart", self.start),
            inside=lambda _: self.member,
            tun=self.tun,
        )

    @property
    def pipe(self) -> int:
        """The inode of the pipe that ends with conmon."""
        return os.fstat(self.stage.pipe[0]).st_ino

    def begin(self, order: Order) -> None:
        """Run what was ordered."""
        program = Path(order.argv[0]).name
        if program == "pasta":
            self.stage.pasta(order.argv[-1])
        elif program == "slirp4netns":
            self.stage.slirp(order.argv[-2])
        else:
            self.stage.ports()

    def snapshot(self, *containers: Container) -> Snapshot:
        """A look at these containers; its relays are remembered."""
        known = {container.id: container for container in containers}
        endpoint = Endpoint(
            self.web1.id,
            "id",
            "n1",
            ((ip_address("10.89.0.2"), ip_network("10.89.0.0/24")),),
        )
        setup = Setup(FirewallDriver.NFTABLES, endpoints=(endpoint,))
        relays = self.look.read(known, self.netns, [])
        return Snapshot(setup, None, None, containers=known, netns=self.netns, relays=relays)

    def mend(self, snapshot: Snapshot) -> str:
        """Start what a look at the same containers finds missing."""
        assert snapshot.setup is not None
        relays = self.look.read(snapshot.containers, self.netns, [])
        losses = list(missing_relays(snapshot.setup, replace(snapshot, relays=relays)))
        assert losses
        return asyncio.run(self.repair.mend(losses, snapshot))

    def kill(self, *pids: int) -> None:
        """End these processes."""
        for pid in pids:
            self.stage.kill(pid)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host on which a conmon runs, and nothing else yet."""
    made = Host(tmp_path)
    yield made
    made.look.close()
    made.stage.end()


def test_the_uplink_is_started_as_it_was(host: Host) -> None:
    """While podman waits, and as the unit of its own that it always has."""
    uplink = host.stage.pasta(host.file)
    host.stage.ports()
    snapshot = host.snapshot(host.web1)
    host.kill(uplink)
    done = host.mend(snapshot)
    pid = host.stage.processes[-1].pid
    assert done == (
        f"pasta of the user's network started again (pid {pid}) in podwatch-uplink.service"
    )
    (order,) = host.start.orders
    assert order == Order(
        unit="podwatch-uplink",
        what="pasta of the user's network",
        target=MEMBER,
        argv=(
            f"{host.stage.directory}/pasta",
            *("-c", "echo; read -r _", "--quiet", "--netns", host.file),
        ),
        itself=True,
    )
    assert (host.held_at_start, host.is_held) == ([True], False)


def test_slirp4netns_as_the_uplink_is_named_in_podmans_pid_file(host: Host) -> None:
    """podman 5 has it beside the namespace's file, podman 4 elsewhere."""
    uplink = host.stage.slirp(host.file)
    host.stage.ports()
    snapshot = host.snapshot(host.web1)
    host.kill(uplink)
    host.mend(snapshot)
    (order,) = host.start.orders
    assert order.pid_file == str(host.rootless.uplinks[0])
    assert (order.itself, order.end) == (False, "")


def test_podman_4_has_its_pid_file_elsewhere(host: Host, tmp_path: Path) -> None:
    """Where its namespace's file is among those of containers."""
    host.file = str(tmp_path / "netns/rootless-netns-1f")
    host.netns, host.mounted[host.file] = Netns(host.file, OWN, OWN, has_file=True), OWN
    uplink = host.stage.slirp(host.file)
    host.stage.ports()
    snapshot = host.snapshot(host.web1)
    host.kill(uplink)
    host.mend(snapshot)
    assert host.start.orders[0].pid_file == str(host.rootless.uplinks[1])


def test_slirp4netns_of_a_container_ends_with_its_conmon(host: Host) -> None:
    """By the pipe that conmon holds open."""
    way = host.stage.slirp("/netns/slirp")
    snapshot = host.snapshot(host.slirp)
    host.kill(way)
    assert "slirp4netns of slirp started again" in host.mend(snapshot)
    (order,) = host.start.orders
    assert order.unit == f"podwatch-relay-{host.slirp.id}"
    assert order.end == f"/proc/{host.slirp.conmon}/fd/5"
    assert order.argv[1:3] == ("-r", "4")
    assert host.held_at_start == [False]


def test_rootlessport_is_told_anew_what_to_publish(host: Host) -> None:
    """For the address that its container has now."""
    host.stage.pasta(host.file)
    ports = host.stage.ports()
    snapshot = host.snapshot(host.web1)
    host.kill(ports)
    assert "rootlessport of web1 started again" in host.mend(snapshot)
    (order,) = host.start.orders
    config = json.loads(order.config)
    assert (order.unit, order.end) == (
        f"podwatch-port-{host.web1.id}",
        f"/proc/{host.web1.conmon}/fd/5",
    )
    assert (config["ChildIP"], config["RootlessCNI"]) == ("10.89.0.2", True)
    assert config["TmpDir"] == str(host.rootless.pause.parent)


def test_what_is_left_of_a_rootlessport_is_ended_first(host: Host) -> None:
    """Both halves are started: one that listens takes the ports."""
    host.stage.pasta(host.file)
    ports = host.stage.ports()
    snapshot = host.snapshot(host.web1)
    child = host.stage.child_of(ports)
    os.kill(child, 9)
    while "Z" not in Path(f"/proc/{child}/stat").read_text():
        pass
    # The test is the parent that has to take note of its end.
    end = host.stage.look.end

    def ended(relay: Any) -> None:
        end(relay)
        host.kill(relay.pid)

    host.stage.look.end = ended  # type: ignore[method-assign]
    assert "rootlessport of web1 started again" in host.mend(snapshot)
    (now,) = [relay for relay in host.look.processes.find() if relay.kind is RelayKind.PORTS]
    assert now.pid != ports
    assert now.child


def test_one_with_slirp4netns_has_the_address_that_that_gave(host: Host) -> None:
    """It is in no setup."""
    slirp = replace(host.slirp, ports=host.web1.ports, netns=str(OWN))
    host.mounted["/netns/slirp"] = OWN
    host.stage.slirp("/netns/slirp")
    ports = host.stage.ports()
    snapshot = host.snapshot(slirp)
    host.kill(ports)
    host.mend(snapshot)
    config = json.loads(host.start.orders[0].config)
    assert (config["ChildIP"], config["RootlessCNI"]) == ("10.0.2.100", False)


def test_none_is_started_beside_one_that_runs(host: Host) -> None:
    """Somebody else may have started it since the look."""
    way = host.stage.pasta("/netns/web")
    snapshot = host.snapshot(host.web)
    host.kill(way)
    relays = host.look.read(snapshot.containers, host.netns, [])
    assert snapshot.setup is not None
    losses = list(missing_relays(snapshot.setup, replace(snapshot, relays=relays)))
    again = host.stage.pasta("/netns/web")
    assert (
        asyncio.run(host.repair.mend(losses, snapshot)) == f"pasta (pid {again}) of web runs by now"
    )
    assert host.start.orders == []


def unmounted(host: Host) -> None:
    """The namespace has lost its file."""
    host.mounted["/netns/web"] = 0


def another(host: Host) -> None:
    """Another namespace is at its file."""
    host.mounted["/netns/web"] = OWN


def deserted(host: Host) -> None:
    """Nobody is in the user's namespaces."""
    host.member = 0


def without_tun(host: Host) -> None:
    """The device that all of them need is not there."""
    host.tun.unlink()


def without_conmon(host: Host) -> None:
    """The container's conmon was killed."""
    host.kill(host.web.conmon)


def without_program(host: Host) -> None:
    """The package was removed."""
    (host.stage.directory / "pasta").unlink()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (unmounted, "its network namespace is not mounted on /netns/web"),
        (another, "its network namespace is not mounted on /netns/web"),
        (deserted, "nobody is in the namespaces of the user's containers"),
        (without_tun, "tun cannot be opened"),
        (without_conmon, "its container's conmon has ended"),
        (without_program, "cannot be started: No such file"),
    ],
)
def test_nothing_is_started_where_it_could_not_work(
    host: Host, what: Callable[[Host], None], why: str
) -> None:
    """And what is in its way is told."""
    way = host.stage.pasta("/netns/web")
    snapshot = host.snapshot(host.web)
    host.kill(way)
    what(host)
    with pytest.raises(RestoreFailed, match=why):
        host.mend(snapshot)
    assert host.start.orders == []


def test_nothing_is_started_for_a_container_that_has_ended(host: Host) -> None:
    """The next look knows."""
    way = host.stage.pasta("/netns/web")
    gone = replace(host.web, pid=2**22 + 1)
    snapshot = host.snapshot(gone)
    host.kill(way)
    with pytest.raises(Outdated, match="web has ended since the look"):
        host.mend(snapshot)


def test_without_its_pipe_slirp4netns_would_outlive_its_container(host: Host) -> None:
    """conmon has it no more."""
    way = host.stage.slirp("/netns/slirp")
    snapshot = host.snapshot(host.slirp)
    host.kill(way)
    host.stage.look.descriptor_of = lambda pid, pipe: -1  # type: ignore[method-assign]
    with pytest.raises(RestoreFailed, match="nothing would end it with its container") as caught:
        host.mend(snapshot)
    assert caught.value.hint == "podman restart slirp"


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        (frozenset({("tcp", 8082)}), "another program listens on 8082/tcp"),
        (frozenset({("udp", 8082)}), "exit code 1"),
    ],
)
def test_who_took_its_port_meanwhile_is_told(
    host: Host, taken: frozenset[tuple[str, int]], why: str
) -> None:
    """rootlessport itself says so in the journal alone."""
    host.stage.pasta(host.file)
    ports = host.stage.ports()
    snapshot = host.snapshot(host.web1)
    host.kill(ports)
    host.start.fails = True
    host.stage.look.taken = lambda: taken  # type: ignore[method-assign]
    with pytest.raises(RestoreFailed, match=f"^rootlessport of web1 cannot be started: {why}$"):
        host.mend(snapshot)


def test_one_that_does_not_run_after_all_has_failed(host: Host) -> None:
    """Whatever the service manager says."""
    way = host.stage.pasta("/netns/web")
    snapshot = host.snapshot(host.web)
    host.kill(way)
    host.start.works = False
    with pytest.raises(RestoreFailed, match="pasta of web was started, and does not run"):
        host.mend(snapshot)


def test_one_that_cannot_be_started_keeps_no_other_from_it(host: Host) -> None:
    """The failure is told when all were tried."""
    way, slirp = host.stage.pasta("/netns/web"), host.stage.slirp("/netns/slirp")
    snapshot = host.snapshot(host.web, host.slirp)
    host.kill(way, slirp)
    unmounted(host)
    with pytest.raises(RestoreFailed, match="is not mounted on /netns/web"):
        host.mend(snapshot)
    assert [order.what for order in host.start.orders] == ["slirp4netns of slirp"]


def test_only_full_ids_are_in_names_of_units(host: Host) -> None:
    """podman lists no others."""
    way = host.stage.pasta("/netns/web")
    odd = replace(host.web, id="b" * 12)
    snapshot = host.snapshot(odd)
    host.kill(way)
    with pytest.raises(RestoreFailed, match="is not the full id of a container"):
        host.mend(snapshot)
