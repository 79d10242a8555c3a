# SPDX-License-Identifier: Apache-2.0
"""podman: which containers and networks there are, and reloading a container's network.

The daemon runs locked up, podman must not: where systemd runs the host, podman is started as a
unit of its own (`podwatch-inspect.service`, `podwatch-reload@ID.service`), elsewhere as a child.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from podwatch.adapters.files import read_whole
from podwatch.adapters.paths import RUN, Paths, Rootless
from podwatch.adapters.program import run
from podwatch.formats.dhcp import parse_network_inspect
from podwatch.formats.podman_json import parse_ps
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.errors import RestoreFailed, StateUnreadable
from podwatch.words.network import Container, Setup

INSPECT_UNIT = "podwatch-inspect.service"
NETWORKS_UNIT = "podwatch-networks.service"
PS_TIMEOUT_S = 15.0
_NOTHING = "[] []"
MAX_LISTING_BYTES = 64 * 1024 * 1024

_PS = ("podman", "ps", "--all", "--pod", "--ns", "--format", "json")
_INSPECTED = (
    '{"Id":{{json .ID}},'
    '"State":{"Status":{{json .State.Status}},"ConmonPid":{{json .State.ConmonPid}}},'
    '"HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}}},'
    '"NetworkSettings":{"SandboxKey":{{json .NetworkSettings.SandboxKey}},'
    '"Networks":{{json .NetworkSettings.Networks}}}}'
)


class Units(Protocol):
    """What runs podman's units: systemd's adapter, which this one does not need to know."""

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Start units and wait for their end; the result of each by its name."""


class Podman:
    """The podman of a host. `systemd` is None where podman is to be run as a child.

    `keeper` gives a process by which podman finds a user's namespaces, 0 where there is none.
    The units write to podwatch's own run directory: where `paths` has another one, podman is asked
    by children, too.
    """

    def __init__(
        self,
        paths: Paths,
        systemd: Units | None,
        keeper: Callable[[Rootless], int] = lambda _: 1,
    ) -> None:
        self._keeper = keeper
        self._paths = paths
        self._rootless = paths.rootless
        self._systemd = systemd
        self._asks_by_unit = systemd if paths.run == RUN else None

    async def list_containers(self) -> dict[str, Container]:
        """Podman's containers by id.

        Raises StateUnreadable when podman fails, does not answer in time, or prints something else.
        """
        if self._asks_by_unit is None:
            return {} if self._is_idle() else parse_ps(await _output(_PS))
        failed = await _run(self._asks_by_unit, INSPECT_UNIT)
        if failed:
            raise StateUnreadable(
                f"podman ps did not answer: {INSPECT_UNIT}: {failed}",
                hint=f"journalctl -u {INSPECT_UNIT}",
            )
        return parse_ps(_listed(self._paths.listing))

    def last_listing(self) -> dict[str, Container]:
        """The containers as podwatch-inspect.service last listed them; none where that is no good.

        No unit is started.
        """
        try:
            return parse_ps(_listed(self._paths.listing))
        except StateUnreadable:
            return {}

    async def list_networks(self) -> tuple[Setup, dict[str, Container]]:
        """What is set up on podman's networks, and its containers by id.

        Raises StateUnreadable when podman fails, does not answer in time, or prints something else.
        """
        if self._asks_by_unit is None:
            return parse_setup(_NOTHING if self._is_idle() else await _ask_networks())
        failed = await _run(self._asks_by_unit, NETWORKS_UNIT)
        if failed:
            raise StateUnreadable(
                f"podman did not list its networks: {NETWORKS_UNIT}: {failed}",
                hint=f"journalctl -u {NETWORKS_UNIT}",
            )
        return parse_setup(_listed(self._paths.networks))

    async def network_places(self, network: str) -> dict[str, tuple[str, str]]:
        """(MAC, address) of each container on one network, by container id.

        Raises StateUnreadable when podman fails, does not answer in time, or prints something else.
        """
        if self._asks_by_unit is None:
            return parse_network_inspect(
                await _output(("podman", "network", "inspect", "--", network))
            )
        unit = network_unit(network)
        failed = await _run(self._asks_by_unit, unit)
        if failed:
            raise StateUnreadable(
                f"podman network inspect {network}: {failed}", hint=f"journalctl -u {unit}"
            )
        return parse_network_inspect(_listed(self._paths.network(network)))

    def networks_stamp(self) -> object | None:
        """What changes whenever a container joins one of netavark's networks or leaves it.

        None where none ever did since the host booted.
        """
        if self._rootless is not None:  # most of a user's containers are on none of them
            return self._database(), self.runtime_stamp()
        return self._database()

    def _database(self) -> object | None:
        try:
            info = self._paths.addresses.stat()
        except OSError:
            return None
        # Begun for a podwatch that is not root, and by no podman yet (nonroot-tmpfiles.conf).
        return (info.st_ino, info.st_mtime_ns, info.st_size) if info.st_size else None

    @property
    def journal(self) -> str:
        """What shows how a reload went."""
        return "journalctl --user" if self._rootless else "journalctl -u 'podwatch-reload@*'"

    def _outside(self) -> tuple[str, ...]:
        """What starts a user's podman outside of podwatch's sandbox; nothing where there is none.

        Where it finds no uplink podman starts one, and pasta cannot work in there.
        """
        if self._rootless is None or not (self._rootless.directory / "systemd/private").exists():
            return ()
        return ("systemd-run", "--user", "--quiet", "--collect", "--wait", "--pipe", "--")

    def _is_idle(self) -> bool:
        """Whether a user has no container at all: podman would begin by making its namespaces."""
        return self._rootless is not None and not self._keeper(self._rootless)

    def runtime_stamp(self) -> object:
        """What changes whenever a container starts or ends, on whatever network it is."""
        return tuple(_changed_ns(path) for path in self._paths.runtimes)

    async def reload(self, ids: Sequence[str], *, at_once: int, timeout_s: float) -> dict[str, str]:
        """Run `podman network reload` for each container, `at_once` at a time.

        Returns those that failed, with the reason. Raises RestoreFailed for what is no full id.
        """
        units = {reload_unit(container_id): container_id for container_id in ids}
        if self._systemd is None:
            command = (*self._outside(), "podman", "network", "reload")
            return await _reload(command, ids, at_once=at_once, timeout_s=timeout_s)
        results = await self._systemd.run_units(list(units), at_once=at_once, timeout_s=timeout_s)
        return {units[unit]: said for unit, said in results.items() if said != "done"}


async def _run(systemd: Units, unit: str) -> str:
    """Run a unit; "" when it went well, else what systemd says."""
    said = (await systemd.run_units([unit], at_once=1, timeout_s=PS_TIMEOUT_S))[unit]
    return "" if said == "done" else said


def _listed(path: Path) -> str:
    return read_whole(path, limit_bytes=MAX_LISTING_BYTES) or ""


async def _output(argv: Sequence[str]) -> str:
    """What a podman of our own prints. Raises StateUnreadable."""
    result = await run(argv, timeout_s=PS_TIMEOUT_S)
    if result.failure:
        words = 2 if argv[1] == "ps" else 3
        raise StateUnreadable(f"{' '.join(argv[:words])}: {result.failure}", hint="run it by hand")
    return result.stdout


async def _ask_networks() -> str:
    """The same as podwatch-networks.service asks, by children of our own."""
    answers = [await _output(("podman", "network", "ls", "--format", "json")), await _output(_PS)]
    ids = (await _output(("podman", "ps", "--all", "--quiet", "--no-trunc"))).split()
    if ids:
        argv = ("podman", "container", "inspect", "--format", _INSPECTED, *ids)
        answers.append(await _output(argv))
    return "\n".join(answers)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def network_unit(network: str) -> str:
    """The unit that asks podman for one network."""
    return f"podwatch-network@{network}.service"


def reload_unit(container_id: str) -> str:
    """The unit that reloads one container's network. Raises RestoreFailed for no full id."""
    if len(container_id) != 64 or not set(container_id) <= set("0123456789abcdef"):
        raise RestoreFailed(f"{container_id[:80]!r} is not the full id of a container")
    return f"podwatch-reload@{container_id}.service"


async def _reload(
    command: Sequence[str], ids: Sequence[str], *, at_once: int, timeout_s: float
) -> dict[str, str]:
    turns = asyncio.Semaphore(at_once)

    async def one(container_id: str) -> tuple[str, str]:
        async with turns:
            result = await run([*command, container_id], timeout_s=timeout_s)
        return container_id, result.failure

    done = await asyncio.gather(*(one(container_id) for container_id in ids))
    return {container_id: failure for container_id, failure in done if failure}
