# SPDX-License-Identifier: Apache-2.0
"""Looking at DHCP: one DhcpSnapshot of networks, proxy, leases and who holds them.

On a host without a network that wants DHCP a look reads a directory, and that is all. podman is
asked for its containers only when the leases or the proxy's process have changed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from podwatch.adapters.paths import Paths
from podwatch.adapters.podman_networks import Places
from podwatch.adapters.unixsocket import is_listening, path_exists
from podwatch.daemon.installed import Installed
from podwatch.formats.dhcp import holders
from podwatch.words.dhcp import PROXIES, Backend, DhcpSnapshot, Holder, Lease, Unit
from podwatch.words.errors import Unreadable

UNITS = tuple(unit for proxy in PROXIES.values() for unit in (proxy.socket, proxy.service))


def watched(
    paths: Paths, backend: Backend, directory: Path, networks: tuple[str, ...]
) -> tuple[Path, ...]:
    """The directories in which a change may concern DHCP."""
    # The first containers.conf is the distribution's.
    always = (*paths.containers_conf[1:], paths.netavark_networks, paths.cni_networks)
    configuration = {path.parent if path.suffix == ".conf" else path for path in always}
    found = sorted({*configuration, directory})
    if networks:
        found.append(Path(PROXIES[backend].path).parent)
        if backend is Backend.CNI:
            found.append(paths.cni_results)
    return tuple(found)


class Units(Protocol):
    """Who knows systemd's units: the adapter of its bus."""

    async def read(self, name: str) -> Unit:
        """A unit as it is now. Raises Unreadable."""


@dataclass
class DhcpLooker:
    """Reads everything a DhcpSnapshot is made of. `units` is None on a host without systemd.

    `watch` are the directories to listen to after a look.
    """

    units: Units | None
    installed: Installed
    watch: tuple[Path, ...] = ()
    _holders: tuple[Holder, ...] | None = ()
    _stamp: object = None
    _leased_at: dict[tuple[str, Lease], float] = field(default_factory=dict)
    _unasked: bool = False
    _unclaimed: int = 0

    async def look(self, *, fresh: bool = False) -> DhcpSnapshot:
        """Look once; `fresh` asks podman even if nothing seems to have changed. Never raises."""
        files = self.installed.networks
        backend, directory = files.read_backend()
        networks = files.read_networks(backend, directory)
        self.watch = watched(self.installed.paths, backend, directory, networks)
        if not networks:
            self._stamp, self._holders, self._unclaimed, self._unasked = None, (), 0, False
            return DhcpSnapshot(backend)
        seen = DhcpSnapshot(
            backend, networks, fresh=fresh, unasked=self._unasked, unclaimed=self._unclaimed
        )
        if self.units is None:
            why = "systemd does not run this host: nobody keeps the DHCP proxy running"
            return replace(seen, problem=why)
        proxy = seen.proxy
        try:
            socket, service = await asyncio.gather(
                self.units.read(proxy.socket), self.units.read(proxy.service)
            )
        except Unreadable as exc:
            return replace(seen, problem=str(exc), hint=exc.hint)
        leases, hint = self._read_leases(backend, service)
        places = files.read_cni_places(networks) if backend is Backend.CNI else {}
        busy = self.installed.lock.holder(waited_for=True)  # whatever podman is asked then
        stamp = (networks, service.pid, service.started, sorted(leases or ()), places)
        wanted = fresh or stamp != self._stamp
        self._unasked = wanted and bool(busy)
        if wanted and not busy:
            try:
                self._holders = await self._ask_podman(seen, places)
                self._count_unclaimed({*(leases or ()), *chain(*places.values())}, stamp)
                self._stamp = stamp
            except Unreadable as exc:
                self._holders, self._stamp, hint = None, None, str(exc)
        return replace(
            seen,
            socket=socket,
            service=service,
            path_exists=path_exists(proxy.path),
            listening=is_listening(proxy.path),
            leases=leases,
            holders=self._holders,
            hint=hint,
            busy=busy or self.installed.lock.holder(waited_for=True),
            leased_at={mac: at for (mac, _), at in self._leased_at.items()},
            unasked=self._unasked,
            unclaimed=self._unclaimed,
        )

    def _read_leases(
        self, backend: Backend, service: Unit
    ) -> tuple[Mapping[str, Lease] | None, str]:
        """What netavark's running proxy has leased, None if that makes no sense; and a hint.

        The file itself has no times: when each lease was first seen is kept here.
        """
        written_at = self.installed.networks.leases_changed()
        leases: Mapping[str, Lease] | None = {}
        hint = ""
        # An older file is of the process before: a new one empties it at first.
        if backend is Backend.NETAVARK and written_at >= service.started > 0:
            try:
                leases = self.installed.networks.read_leases()
            except Unreadable as exc:
                leases, hint = None, str(exc)
        known = (leases or {}).items()
        self._leased_at = {lease: self._leased_at.get(lease, written_at) for lease in known}
        return leases, hint

    async def _ask_podman(
        self, seen: DhcpSnapshot, places: Mapping[str, Places]
    ) -> tuple[Holder, ...]:
        """Who is on the networks; `places` are what CNI's plugins answered."""
        podman = self.installed.podman
        containers = await podman.list_containers()
        if seen.backend is Backend.CNI:
            return holders(containers, places)
        found: dict[str, Places] = {}
        for name in seen.networks:
            used = any(name in of.networks and of.is_up for of in containers.values())
            answer = await podman.network_places(name) if used else {}
            found[name] = {key: (mac, address, 0.0) for key, (mac, address) in answer.items()}
        return holders(containers, found)

    def _count_unclaimed(self, leased: set[str], stamp: object) -> None:
        """Count the looks at the same leases of which one has no running holder."""
        keys = {key for holder in self._holders or () for key in (holder.mac, holder.container_id)}
        before = self._unclaimed if stamp == self._stamp else 0
        self._unclaimed = before + 1 if leased - keys else 0
