# SPDX-License-Identifier: Apache-2.0
"""podman: who holds its network lock, which containers there are, and reloading their network.

The daemon runs locked up, podman must not: where systemd runs the host, podman is started as a
unit of its own (`podwatch-inspect.service`, `podwatch-reload@ID.service`), elsewhere as a child.
"""

import asyncio
import fcntl
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from podwatch.adapters.command import run
from podwatch.adapters.files import open_regular, read_whole
from podwatch.formats.dhcp import parse_network_inspect
from podwatch.formats.podman_json import parse_ps
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.errors import RestoreFailed, StateUnreadable
from podwatch.words.network import Container, Setup
from podwatch.words.snapshot import HeldLock

LOCKS = (
    "/run/lock/netavark.lock",  # Podman 4.4 and later (libnetwork/netavark/const.go)
    "/etc/containers/networks/netavark.lock",  # Podman 4.0 to 4.3
    "/run/lock/podman-cni.lock",  # CNI, Podman 4.4 and later
    "/etc/cni/net.d/cni.lock",  # CNI before
)
INSPECT_UNIT = "podwatch-inspect.service"
LISTING = Path("/run/podwatch/podman.json")
LISTING_LIMIT_BYTES = 64 * 1024 * 1024
NETWORKS_UNIT = "podwatch-networks.service"
NETWORKS = Path("/run/podwatch/networks.json")
PS_TIMEOUT_S = 15.0

ADDRESSES = Path("/run/containers/networks/ipam.db")
"""Root podman's database of addresses, with netavark (libnetwork/netavark/const.go)."""

RUNTIMES = (Path("/run/crun"), Path("/run/runc"))
"""Where the OCI runtimes keep what runs: an entry comes at each start, and goes at each end."""

_PS = ("podman", "ps", "--all", "--pod", "--ns", "--format", "json")
_INSPECTED = (
    '{"Id":{{json .ID}},"State":{"Status":{{json .State.Status}}},'
    '"HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}}},'
    '"NetworkSettings":{"Networks":{{json .NetworkSettings.Networks}}}}'
)

_F_OFD_GETLK = 36  # <fcntl.h>; Python has no name for it
_FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid on 64-bit Linux


def no_locks() -> Iterable[StateUnreadable]:
    """Where something is that is no lock of podman's: /run/lock is everybody's to write on Debian.

    podwatch does not ask about such a lock, and does not wait for it.
    """
    for path in LOCKS:
        try:
            os.close(open_regular(path, of_root=True))
        except FileNotFoundError:
            continue  # not this version's, or no network was ever set up
        except OSError as exc:
            try:
                owner = f" of uid {os.lstat(path).st_uid}"
            except OSError:
                owner = ""
            yield StateUnreadable(
                f"{path}{owner} is no lock of podman's: {exc.strerror}",
                hint=f"see ls -l {path}; where nobody needs it: rm {path}",
            )


def held_lock() -> HeldLock | None:
    """podman's network lock while a program has it.

    The lock is only asked about (F_OFD_GETLK), never taken: podman does not wait for podwatch.
    """
    for path in LOCKS:
        try:
            descriptor = open_regular(path, of_root=True)
        except OSError:
            continue  # see no_locks
        try:
            question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(descriptor, _F_OFD_GETLK, question)
            kind, _, _, _, pid = _FLOCK.unpack(answer)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        if kind != fcntl.F_UNLCK:
            # A lock of an open file, not of a process, is nobody's: -1.
            return HeldLock(path, shared=kind == fcntl.F_RDLCK, pid=max(pid, 0))
    return None


def lock_holder(*, waited_for: bool = False) -> str:
    """Say that podman is changing a network right now; empty when it is not.

    With `waited_for`, say too that podman cannot, as somebody else has its lock.
    """
    held = held_lock()
    if held is not None and held.shared:
        return "somebody holds podman's network lock" if waited_for else ""
    return "podman is changing a network" if held is not None else ""


class Units(Protocol):
    """What runs podman's units: systemd's adapter, which this one does not need to know."""

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Start units and wait for their end; the result of each by its name."""


async def list_containers(systemd: Units | None) -> dict[str, Container]:
    """Podman's containers by id.

    Raises StateUnreadable when podman fails, does not answer in time, or prints something else.
    """
    if systemd is None:
        result = await run(_PS, timeout_s=PS_TIMEOUT_S)
        if result.failure:
            raise StateUnreadable(f"podman ps: {result.failure}", hint="run it by hand")
        return parse_ps(result.stdout)
    done = await systemd.run_units([INSPECT_UNIT], at_once=1, timeout_s=PS_TIMEOUT_S)
    if done[INSPECT_UNIT] != "done":
        raise StateUnreadable(
            f"podman ps did not answer: {INSPECT_UNIT}: {done[INSPECT_UNIT]}",
            hint=f"journalctl -u {INSPECT_UNIT}",
        )
    return parse_ps(read_whole(LISTING, limit_bytes=LISTING_LIMIT_BYTES) or "")


def last_listing() -> dict[str, Container]:
    """The containers as podwatch-inspect.service last listed them; none where that is no good."""
    try:
        return parse_ps(read_whole(LISTING, limit_bytes=LISTING_LIMIT_BYTES) or "")
    except StateUnreadable:
        return {}


async def network_places(systemd: Units, network: str) -> dict[str, tuple[str, str]]:
    """(MAC, address) of each container on one network, by container id.

    Raises StateUnreadable when podman fails, does not answer in time, or prints something else.
    """
    unit = f"podwatch-network@{network}.service"
    done = await systemd.run_units([unit], at_once=1, timeout_s=PS_TIMEOUT_S)
    if done[unit] != "done":
        raise StateUnreadable(
            f"podman network inspect {network}: {done[unit]}", hint=f"journalctl -u {unit}"
        )
    path = LISTING.with_name(f"network-{network}.json")
    return parse_network_inspect(read_whole(path, limit_bytes=LISTING_LIMIT_BYTES) or "")


def networks_stamp() -> object | None:
    """What changes whenever a container joins one of netavark's networks or leaves it.

    None where none ever did since the host booted.
    """
    try:
        info = ADDRESSES.stat()
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


def runtime_stamp() -> object:
    """What changes whenever a container starts or ends, on whatever network it is."""
    return tuple(_changed_ns(path) for path in RUNTIMES)


async def list_networks(systemd: Units | None) -> tuple[Setup, dict[str, Container]]:
    """What is set up on podman's networks, and its containers by id.

    Raises StateUnreadable when podman fails, does not answer in time, or prints something else.
    """
    if systemd is None:
        return parse_setup(await _ask_networks())
    done = await systemd.run_units([NETWORKS_UNIT], at_once=1, timeout_s=PS_TIMEOUT_S)
    if done[NETWORKS_UNIT] != "done":
        raise StateUnreadable(
            f"podman did not list its networks: {NETWORKS_UNIT}: {done[NETWORKS_UNIT]}",
            hint=f"journalctl -u {NETWORKS_UNIT}",
        )
    return parse_setup(read_whole(NETWORKS, limit_bytes=LISTING_LIMIT_BYTES) or "")


async def _ask_networks() -> str:
    """The same as podwatch-networks.service asks, by children of our own."""
    told = []
    for argv in (
        ["podman", "network", "ls", "--format", "json"],
        _PS,
        ["podman", "ps", "--all", "--quiet", "--no-trunc"],
    ):
        result = await run(argv, timeout_s=PS_TIMEOUT_S)
        if result.failure:
            raise StateUnreadable(f"{' '.join(argv[:3])}: {result.failure}", hint="run it by hand")
        told.append(result.stdout)
    ids = told.pop().split()
    if ids:
        argv = ["podman", "container", "inspect", "--format", _INSPECTED, *ids]
        result = await run(argv, timeout_s=PS_TIMEOUT_S)
        if result.failure:
            raise StateUnreadable(f"podman container inspect: {result.failure}")
        told.append(result.stdout)
    return "\n".join(told)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def reload_unit(container_id: str) -> str:
    """The unit that reloads one container's network. Raises RestoreFailed for no full id."""
    if len(container_id) != 64 or not set(container_id) <= set("0123456789abcdef"):
        raise RestoreFailed(f"{container_id[:80]!r} is not the full id of a container")
    return f"podwatch-reload@{container_id}.service"


async def reload_networks(ids: Sequence[str], *, at_once: int, timeout_s: float) -> dict[str, str]:
    """Run `podman network reload` for each container, `at_once` at a time, as our own children.

    Returns those that failed, with the reason.
    """
    turns = asyncio.Semaphore(at_once)

    async def one(container_id: str) -> tuple[str, str]:
        reload_unit(container_id)
        async with turns:
            result = await run(["podman", "network", "reload", container_id], timeout_s=timeout_s)
        return container_id, result.failure

    done = await asyncio.gather(*(one(each) for each in ids))
    return {container_id: failure for container_id, failure in done if failure}
