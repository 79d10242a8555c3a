# SPDX-License-Identifier: Apache-2.0
"""Looking for relays, keeping how the healthy ones were started, and hearing of their ends."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon.relays import RelaysLook, RelaysWatch
from podwatch.formats.saved_relays import parse_saved
from podwatch.words.errors import Unreadable
from podwatch.words.netns import Netns
from podwatch.words.network import Container, ContainerState, PortMapping
from podwatch.words.relays import UPLINK, Duty, RelayKind, Relays, Role
from podwatch.words.snapshot import Part, Unknown
from tests.unit.relay_stage import RelayStage
from tests.unit.waiting import until

NETNS = "/run/user/1000/containers/networks/rootless-netns/rootless-netns"
THERE = Netns(NETNS, 4026533159, 4026533159, has_file=True)
WEB = Container(
    "b" * 64,
    "web",
    pid=os.getpid(),
    netns="4026533390",
    mode="pasta",
    sandbox="/run/user/1000/netns/netns-2",
)
WEB1 = Container(
    "a" * 64,
    "web1",
    networks=("n1",),
    pid=os.getpid(),
    netns=str(os.stat("/proc/self/ns/net").st_ino),
    mode="bridge",
    sandbox="/run/user/1000/netns/netns-1",
    ports=(PortMapping(8082, 80, "tcp"),),
)


class Host:
    """Real processes in the roles of relays, and who looks at them."""

    def __init__(self, top: Path) -> None:
        self.stage = RelayStage(top)
        self.kept = top / "relays.json"
        self.containers = {WEB.id: WEB, WEB1.id: WEB1}
        self.unknown: list[Unknown] = []
        self.scans = 0
        self.heard: list[str] = []
        self.rung = asyncio.Event()
        find = self.stage.look.find

        def counted() -> Any:
            self.scans += 1
            own = {process.pid for process in self.stage.processes}
            return tuple(relay for relay in find() if relay.pid in own)

        self.stage.look.find = counted  # type: ignore[method-assign]
        self.look = RelaysLook(self.kept, self.stage.look)
        self.watch = RelaysWatch(self.look, self.hear)

    def hear(self, what: str) -> None:
        """Take down what the watch tells."""
        self.heard.append(what)
        self.rung.set()

    def start(self) -> tuple[int, int, int]:
        """All that the two containers need: the uplink, web's pasta, web1's rootlessport."""
        return self.stage.pasta(NETNS), self.stage.pasta(WEB.sandbox), self.stage.ports()

    def read(self, netns: Netns | None = THERE) -> Relays:
        """One look."""
        found = self.look.read(self.containers, netns, self.unknown)
        assert found is not None
        return found

    def listen(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run this while the watch listens."""

        async def whole() -> None:
            self.watch.attach(asyncio.get_running_loop())
            assert self.watch.describe() == "listening"
            try:
                await body()
            finally:
                self.watch.close()

        assert self.watch.describe() == "not listening"
        asyncio.run(whole())
        assert self.watch.describe() == "not listening"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host on which no relay runs yet."""
    made = Host(tmp_path)
    yield made
    made.look.close()
    made.stage.end()


def test_what_runs_is_remembered_by_what_it_is_for(host: Host) -> None:
    """With all that it takes to start it again."""
    uplink, way, ports = host.start()
    relays = host.read()
    assert {relay.pid for relay in relays.running} == {uplink, way, ports}
    assert relays.netns_file == NETNS
    healthy = {duty: relay.pid for duty, relay in relays.healthy.items()}
    assert healthy == {
        UPLINK: uplink,
        Duty(Role.WAY, WEB.id): way,
        Duty(Role.PORTS, WEB1.id): ports,
    }
    assert relays.taken is None


def test_processes_are_looked_through_once_on_a_quiet_host(host: Host) -> None:
    """And again when a relay has ended, or the containers or their namespace are others."""
    _, way, _ = host.start()
    first = host.read()
    assert host.read() is host.read() is first
    assert host.scans == 1
    host.containers = {**host.containers, WEB.id: replace(WEB, state=ContainerState.JUST_ENDED)}
    host.read()
    assert host.scans == 2
    host.containers = {**host.containers, WEB.id: WEB}
    host.read()
    host.read(replace(THERE, path="/other"))
    host.read()
    scans = host.scans
    host.stage.kill(way)
    assert way not in {relay.pid for relay in host.read().running}
    assert host.scans == scans + 1


def test_while_one_is_missing_each_look_looks(host: Host) -> None:
    """Nothing tells when somebody starts it."""
    host.stage.pasta(NETNS)
    host.read()
    host.read()
    assert host.scans == 2
    host.stage.pasta(WEB.sandbox)
    host.stage.ports()
    host.read()
    host.read()
    assert host.scans == 3


def test_the_ports_of_the_host_are_asked_for_only_where_it_depends_on_them(host: Host) -> None:
    """Where a rootlessport was never seen at work."""
    host.stage.pasta(NETNS)
    assert host.read().taken is not None


def test_without_a_namespace_there_is_no_uplink(host: Host) -> None:
    """podwatch looks into none."""
    host.start()
    assert host.read(Netns()).netns_file == host.read(None).netns_file == ""


def test_half_a_rootlessport_is_still_known(host: Host) -> None:
    """It shows no more whose it is: number and start do."""
    *_, ports = host.start()
    host.read()
    os.kill(host.stage.child_of(ports), 9)
    while "Z" not in Path(f"/proc/{host.stage.child_of(ports)}/stat").read_text():
        pass
    (half,) = [relay for relay in host.read().running if relay.kind is RelayKind.PORTS]
    assert (half.pid, half.child, str(half.netns)) == (ports, 0, WEB1.netns)
    assert host.read().healthy[Duty(Role.PORTS, WEB1.id)].child


def test_what_was_healthy_is_kept_for_the_next_podwatch(host: Host) -> None:
    """For nobody else's eyes; a command that looks once writes nothing, and knows it all."""

    async def body() -> None:
        host.start()
        host.read()

    host.listen(body)
    assert host.kept.stat().st_mode & 0o777 == 0o600
    kept = parse_saved(host.kept.read_text())
    assert set(kept) == {UPLINK, Duty(Role.WAY, WEB.id), Duty(Role.PORTS, WEB1.id)}
    for process in list(host.stage.processes):
        host.stage.kill(process.pid)
    again = RelaysLook(host.kept, host.stage.look)
    found = again.read(host.containers, THERE, [])
    assert found is not None
    assert (found.running, dict(found.healthy)) == ((), kept)
    host.kept.unlink()
    again.read(host.containers, THERE, [])
    assert not host.kept.exists()
    again.close()


def test_what_is_kept_of_a_container_goes_with_it(host: Host) -> None:
    """Once podman calls it ended, or lists it no more; not before podman is asked."""
    host.start()
    host.read()
    host.containers = {}
    assert len(host.read().healthy) == 3
    host.containers = {WEB1.id: WEB1, WEB.id: replace(WEB, state=ContainerState.ENDED)}
    assert set(host.read().healthy) == {UPLINK, Duty(Role.PORTS, WEB1.id)}
    host.containers = {WEB.id: WEB}
    assert set(host.read().healthy) == {UPLINK, Duty(Role.WAY, WEB.id)}


def test_a_file_that_makes_no_sense_is_none(host: Host) -> None:
    """What runs is remembered anew."""
    host.kept.write_text("{")
    host.start()
    assert len(host.read().healthy) == 3


def test_what_cannot_be_read_is_unknown(host: Host) -> None:
    """And asked for at the next look."""

    def refused() -> Any:
        raise Unreadable("cannot list /proc: no")

    host.start()
    find, host.stage.look.find = host.stage.look.find, refused  # type: ignore[method-assign]
    assert host.look.read(host.containers, THERE, host.unknown) is None
    assert [(each.part, each.why) for each in host.unknown] == [
        (Part.RELAYS, "cannot list /proc: no")
    ]
    host.stage.look.find = find  # type: ignore[method-assign]
    assert host.read().running


def test_the_end_of_one_is_heard(host: Host) -> None:
    """With whose it was; so is that of a second half."""

    async def body() -> None:
        uplink, way, ports = host.start()
        host.read()
        host.stage.kill(way)
        await until(host.rung, lambda: bool(host.heard))
        host.read()
        half = host.stage.child_of(ports)
        os.kill(half, 9)
        await until(host.rung, lambda: len(host.heard) > 1)
        host.read()
        host.stage.kill(uplink)
        await until(host.rung, lambda: len(host.heard) > 2)
        assert host.heard == [
            f"pasta (pid {way}) of web ended",
            f"rootlessport (pid {ports}) of web1 lost its second half ({half})",
            f"pasta (pid {uplink}) of the user's network ended",
        ]

    host.listen(body)


def test_a_relay_that_ends_behind_its_container_is_no_news(host: Host) -> None:
    """podman ends it; nor is the uplink's end behind the last container on a bridge."""

    async def body() -> None:
        uplink, way, _ = host.start()
        gone = 2**22 + 1
        host.containers = {
            WEB.id: replace(WEB, pid=gone),
            WEB1.id: replace(WEB1, pid=gone),
        }
        host.read()
        host.stage.kill(way)
        host.stage.kill(uplink)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert host.heard == []

    host.listen(body)
