# SPDX-License-Identifier: Apache-2.0
"""Looking at DHCP: one DhcpSnapshot of networks, proxy, leases and who holds them; and its telling.

On a host without a network that wants DHCP a look reads a directory, and that is all. podman is
asked for its containers only when the leases or the proxy's process have changed.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from podwatch.adapters.paths import Paths
from podwatch.adapters.podman_networks import Places
from podwatch.adapters.systemd import Systemd
from podwatch.adapters.units import UnitWatch
from podwatch.adapters.unixsocket import is_listening, path_exists
from podwatch.daemon.installed import Installed
from podwatch.decide.dhcp import DhcpDecision, DhcpVerdict
from podwatch.formats.dhcp import holders
from podwatch.words.dhcp import PROXIES, Backend, DhcpSnapshot, Holder, Lease
from podwatch.words.errors import Unreadable
from podwatch.words.verdict import State

UNITS = tuple(name for each in PROXIES.values() for name in (each.socket, each.service))


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


@dataclass
class DhcpLooker:
    """Reads everything a DhcpSnapshot is made of. `watch` is where to listen after a look.

    `unclaimed` is how many times in a row podman knew of nobody up who holds one of the leases: a
    container has its lease before podman calls it running, and nothing tells when it does.
    `unasked` says that podman would have been asked, but was changing a network: nothing tells when
    it has done that either.
    """

    units: UnitWatch
    systemd: Systemd | None
    installed: Installed
    watch: tuple[Path, ...] = ()
    unclaimed: int = 0
    unasked: bool = False
    since: dict[tuple[str, Lease], float] = field(default_factory=dict)
    _holders: tuple[Holder, ...] | None = ()
    _stamp: object = None

    async def look(self, *, fresh: bool = False) -> DhcpSnapshot:
        """Look once; `fresh` asks podman even if nothing seems to have changed. Never raises."""
        backend, directory = self.installed.networks.read_backend()
        networks = self.installed.networks.read_networks(backend, directory)
        self.watch = watched(self.installed.paths, backend, directory, networks)
        if not networks:
            self._stamp, self._holders, self.unclaimed, self.unasked = None, (), 0, False
            return DhcpSnapshot(backend)
        if self.systemd is None:
            why = "systemd does not run this host: nobody keeps the DHCP proxy running"
            return DhcpSnapshot(backend, networks, problem=why)
        proxy = PROXIES[backend]
        try:
            socket, service = await asyncio.gather(
                self.units.read(proxy.socket), self.units.read(proxy.service)
            )
        except Unreadable as exc:
            return DhcpSnapshot(backend, networks, problem=str(exc), hint=exc.hint)
        hint = ""
        leases: Mapping[str, Lease] | None = {}
        places: Mapping[str, Places] = {}
        if backend is Backend.CNI:
            places = self.installed.networks.read_cni_places(networks)
        elif self.installed.networks.leases_changed() >= service.started > 0:
            # Otherwise they are those of the process before: a new one empties the file at first.
            try:
                leases = self.installed.networks.read_leases()
            except Unreadable as exc:
                leases, hint = None, str(exc)
        self._remember(leases or {})
        busy = self.installed.lock.holder(waited_for=True)  # whatever podman is asked then
        stamp = (networks, service.pid, service.started, sorted(leases or ()), places)
        wanted = fresh or stamp != self._stamp
        self.unasked = wanted and bool(busy)
        if wanted and not busy:
            try:
                self._holders = await self._ask_podman(backend, networks, places)
                leased = {*(leases or ()), *chain.from_iterable(places.values())}
                leased -= {key for each in self._holders for key in (each.mac, each.container_id)}
                again = self.unclaimed if stamp == self._stamp else 0
                self._stamp, self.unclaimed = stamp, again + 1 if leased else 0
            except Unreadable as exc:
                self._holders, self._stamp, hint = None, None, str(exc)
        return DhcpSnapshot(
            backend,
            networks,
            socket,
            service,
            path_exists(proxy.path),
            is_listening(proxy.path),
            leases,
            self._holders,
            hint=hint,
            busy=busy or self.installed.lock.holder(waited_for=True),
        )

    async def _ask_podman(
        self, backend: Backend, networks: tuple[str, ...], places: Mapping[str, Places]
    ) -> tuple[Holder, ...]:
        containers = await self.installed.podman.list_containers()
        if backend is Backend.CNI or self.systemd is None:
            return holders(containers, places)
        found: dict[str, Places] = {}
        for name in networks:
            used = any(name in each.networks and each.up for each in containers.values())
            seen = await self.installed.podman.network_places(name) if used else {}
            found[name] = {key: (mac, address, 0.0) for key, (mac, address) in seen.items()}
        return holders(containers, found)

    def _remember(self, leases: Mapping[str, Lease]) -> None:
        """Keep when each lease was first seen; the file itself has no times."""
        now = self.installed.networks.leases_changed()
        self.since = {each: self.since.get(each, now) for each in leases.items()}


def section(
    seen: DhcpSnapshot,
    verdict: DhcpVerdict,
    decision: DhcpDecision | None,
    since: Mapping[tuple[str, Lease], float],
    now: float,
) -> dict[str, Any]:
    """The part `dhcp` of the status document; `now` is in seconds since the epoch."""
    if verdict.state is None:
        return {"state": ""}
    proxy = seen.proxy
    return {
        "state": verdict.state,
        "summary": verdict.what,
        "advice": verdict.advice,
        "next_try": decision.why if decision and verdict.state is not State.OK else "",
        "backend": seen.backend,
        "networks": list(seen.networks),
        "socket": {
            "unit": proxy.socket,
            "path": proxy.path,
            "path_exists": seen.path_exists,
            "listening": seen.listening,
            **{key: asdict(seen.socket)[key] for key in ("load", "active", "file", "result")},
        },
        "proxy": {
            "unit": proxy.service,
            "active": seen.service.active,
            "pid": seen.service.pid,
            "started": seen.service.started,
        },
        "containers": [_container(each, seen, since, now) for each in seen.holders or ()],
    }


def _container(
    holder: Holder,
    seen: DhcpSnapshot,
    since: Mapping[tuple[str, Lease], float],
    now: float,
) -> dict[str, Any]:
    lease = (seen.leases or {}).get(holder.mac)
    leased = since.get((holder.mac, lease), 0.0) if lease else holder.leased
    renewals = 0.0
    if lease and lease.renew_s and leased:
        # Each renewal starts the same times anew: the next one is a multiple of them away.
        times = max(math.ceil((now - leased) / lease.renew_s), 1)
        renewals = leased + times * lease.renew_s
    return {
        "id": holder.container_id,
        "name": holder.name,
        "network": holder.network,
        "mac": holder.mac,
        "address": lease.address if lease else holder.address,
        "known": seen.is_known(holder),
        "paused": holder.paused,
        "leased": leased,
        "lease_s": lease.lease_s if lease else 0,
        "renew_s": lease.renew_s if lease else 0,
        "renews_at": renewals,
    }
