# SPDX-License-Identifier: Apache-2.0
"""Starting relays again, each as it was while it did its work, without a word to podman.

Right before each start all that it depends on is looked at once more: that none of its kind runs,
that its container and conmon live, and that its network namespace still has the file that it is
given. podman would start the uplink, too, when it next changes a network: it waits meanwhile.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from podwatch.adapters.paths import Rootless
from podwatch.adapters.podman_lock import NetworkLock
from podwatch.adapters.process import started
from podwatch.adapters.relay_start import Order, RelayStart
from podwatch.adapters.relays import RelayProcesses
from podwatch.adapters.user_namespaces import member
from podwatch.daemon.relays import RelaysLook
from podwatch.decide.relays import assigned, can_start, mode_of
from podwatch.decide.uplink import ADDRESS, ROUTE
from podwatch.formats.relay_commands import to_start
from podwatch.formats.rootlessport import as_config, bridge_address, slirp_address
from podwatch.words.errors import Outdated, PodwatchError, RestoreFailed
from podwatch.words.network import Address, Container, Setup
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Relays, Role
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few, listed
from podwatch.words.verdict import Missing

TUN = Path("/dev/net/tun")
AT_ONCE = 8
"""So many are started at the same time: each is a job of the user's systemd."""

_GONE_S = 1.0
_AGAIN_S = 0.02


class RelayRepair:
    """Starts what is missing of one user's relays. `inside` gives a process in the namespaces."""

    def __init__(
        self,
        rootless: Rootless,
        look: RelaysLook,
        lock: NetworkLock,
        *,
        start: RelayStart | None = None,
        inside: Callable[[Rootless], int] = member,
        tun: Path = TUN,
    ) -> None:
        self._rootless = rootless
        self._look = look
        self._lock = lock
        self._start = start or RelayStart(rootless)
        self._inside = inside
        self._tun = tun

    async def mend(self, losses: Sequence[Missing], snapshot: Snapshot) -> str:
        """Start each that is lost, several at a time; what was done, in words.

        One that cannot be started keeps no other from it, nor waits another for it. Raises
        PodwatchError for the first such one when all were tried.
        """
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(loss: Missing) -> str | PodwatchError:
            role, _, container_id = loss.place.partition(":")
            duty, replaces = Duty(Role(role), container_id), loss.value in (ROUTE, ADDRESS)
            async with turns:
                try:
                    return await self._mend(duty, snapshot, replaces=replaces)
                except PodwatchError as exc:
                    return exc

        outcomes = await asyncio.gather(*map(one, losses))
        for outcome in outcomes:
            if isinstance(outcome, PodwatchError):
                raise outcome
        return listed([outcome for outcome in outcomes if isinstance(outcome, str)], 4)

    async def _mend(self, duty: Duty, snapshot: Snapshot, *, replaces: bool) -> str:
        with ExitStack() as held:
            if duty == UPLINK:
                held.enter_context(self._lock.keeping_off())
            netns = snapshot.netns
            is_there = netns is not None and netns.inode and netns.has_file
            netns_file = netns.path if netns is not None and is_there else ""
            relays = self._look.scan(snapshot.containers, netns_file)
            running = _of(duty, relays, snapshot.containers)
            whose = _whose(duty, snapshot.containers)
            works = any(relay.child or duty.role is not Role.PORTS for relay in running)
            if works and not replaces:
                return f"{running[0].named} {whose} runs by now"
            if not can_start(duty, relays, snapshot.containers):
                raise Outdated(f"how the relay {whose} was started is not known any more")
            order = self._order(duty, relays, snapshot)
            await self._end(running)
            try:
                where = await self._start.start(order)
            except RestoreFailed:
                self._blame_others(duty, order, snapshot.containers)
                raise
            relays = self._look.scan(snapshot.containers, netns_file)
        now = _of(duty, relays, snapshot.containers)
        if not now:
            raise RestoreFailed(f"{order.what} was started, and does not run")
        return f"{now[0].kind} {whose} started again (pid {now[0].pid}) in {where}"

    def _order(self, duty: Duty, relays: Relays, snapshot: Snapshot) -> Order:
        """How to start it. Raises RestoreFailed where something forbids it now."""
        relay = relays.healthy[duty]
        container = None if duty == UPLINK else snapshot.containers[duty.container_id]
        what = f"{relay.kind} {_whose(duty, snapshot.containers)}"
        if container is not None:
            self._check_alive(container, what)
        target = self._inside(self._rootless)
        if not target:
            raise RestoreFailed(
                f"{what} cannot be started: nobody is in the namespaces of the user's containers",
                hint="restart the containers",
            )
        file = relay.file or (container.sandbox if container is not None else "")
        inode = self._look.processes.net_files(target).get(file, 0)
        expected = snapshot.netns.inode if snapshot.netns is not None else 0
        if not inode or inode != (int(container.netns or 0) if container is not None else expected):
            raise RestoreFailed(
                f"{what} cannot be started: its network namespace is not mounted on {file}"
            )
        if relay.kind is not RelayKind.PORTS and not os.access(self._tun, os.R_OK | os.W_OK):
            raise RestoreFailed(
                f"{what} cannot be started: {self._tun} cannot be opened",
                hint=f"as root: chmod 666 {self._tun}",
            )
        program = self._look.processes.program(relay.exe)
        return Order(
            unit=_unit(duty),
            what=what,
            target=target,
            argv=(program, *to_start(relay.kind, relay.argv)),
            itself=relay.kind is RelayKind.PASTA,
            end="" if container is None else self._end_of(relay, container, what),
            pid_file=self._pid_file(file) if duty == UPLINK and not _names_itself(relay) else "",
            config=self._config(container, snapshot.setup, relays, what)
            if relay.kind is RelayKind.PORTS and container is not None
            else "",
        )

    def _check_alive(self, container: Container, what: str) -> None:
        processes = self._look.processes
        if not container.pid or not started([container.pid]):
            raise Outdated(f"{container.title} has ended since the look")
        if not processes.is_called(container.conmon, "conmon"):
            raise RestoreFailed(
                f"{what} cannot be started: its container's conmon has ended",
                hint=f"podman restart {container.name}",
            )

    def _end_of(self, relay: Relay, container: Container, what: str) -> str:
        """The pipe that ends with its conmon, by its path; "" for what needs none.

        Raises RestoreFailed.
        """
        if relay.kind is RelayKind.PASTA:
            return ""  # it looks at the file of the namespace
        descriptor = self._look.processes.descriptor_of(container.conmon, relay.end_pipe)
        if descriptor < 0:
            raise RestoreFailed(
                f"{what} cannot be started: nothing would end it with its container",
                hint=f"podman restart {container.name}",
            )
        return f"/proc/{container.conmon}/fd/{descriptor}"

    def _config(self, container: Container, setup: Setup | None, relays: Relays, what: str) -> str:
        """What rootlessport is to publish. Raises RestoreFailed."""
        is_on_bridge = mode_of(container) != RelayKind.SLIRP
        if is_on_bridge:
            address = bridge_address(_addresses(container.id, setup))
        else:
            way = relays.healthy.get(Duty(Role.WAY, container.id))
            address = slirp_address(way.argv) if way is not None else None
        if address is None:
            raise RestoreFailed(
                f"{what} cannot be started: the address of its container is not known",
                hint=f"podman restart {container.name}",
            )
        scratch = str(self._rootless.pause.parent)
        return as_config(container, address, scratch, is_on_bridge=is_on_bridge)

    def _blame_others(self, duty: Duty, order: Order, containers: Mapping[str, Container]) -> None:
        """Raise RestoreFailed where others listen on a port that one could not be started for."""
        if duty == UPLINK:
            return
        taken = self._look.processes.taken()
        ports = containers[duty.container_id].ports
        if busy := [port for port in ports if (port.protocol, port.host_port) in taken]:
            raise RestoreFailed(
                f"{order.what} cannot be started: another program listens on {few(busy)}",
                hint="see which: ss -lntup",
            )

    def _pid_file(self, netns_file: str) -> str:
        """The pid file by which podman ends this uplink: 5 has it beside the namespace's file."""
        *beside, older = self._rootless.uplinks
        return str(next((path for path in beside if path.parent == Path(netns_file).parent), older))

    async def _end(self, halves: Sequence[Relay]) -> None:
        """End what is left of rootlessports without their second half, and wait for that."""
        processes: RelayProcesses = self._look.processes
        for relay in halves:
            processes.end(relay)
        for _ in range(round(_GONE_S / _AGAIN_S)):
            if not any(map(processes.is_same, halves)):
                return
            await asyncio.sleep(_AGAIN_S)
        raise RestoreFailed(f"{halves[0].named} does not end")


def _of(duty: Duty, relays: Relays, containers: Mapping[str, Container]) -> list[Relay]:
    return assigned(relays.running, containers, relays.netns_file).get(duty, [])


def _names_itself(relay: Relay) -> bool:
    """Whether it writes its pid file itself."""
    return relay.kind is RelayKind.PASTA


def _whose(duty: Duty, containers: Mapping[str, Container]) -> str:
    if duty == UPLINK:
        return "of the user's network"
    known = containers.get(duty.container_id)
    return f"of {known.title if known is not None else duty.container_id[:12]}"


def _unit(duty: Duty) -> str:
    """The unit's name without its suffix. Raises RestoreFailed for no full id of a container."""
    if duty == UPLINK:
        return "podwatch-uplink"
    key = duty.container_id
    if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        raise RestoreFailed(f"{key[:80]!r} is not the full id of a container")
    return f"podwatch-{'port' if duty.role is Role.PORTS else 'relay'}-{key}"


def _addresses(container_id: str, setup: Setup | None) -> list[Address]:
    return [
        address
        for endpoint in (() if setup is None else setup.endpoints)
        if endpoint.container_id == container_id
        for address, _ in endpoint.addresses
    ]
