# SPDX-License-Identifier: Apache-2.0
"""DHCP for containers: the proxy that asks for leases, its socket, and who holds a lease.

A macvlan network without a subnet takes its addresses from a DHCP server through a proxy, which
systemd starts from a socket. These are the facts that `podwatch.decide.dhcp` decides from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Backend(StrEnum):
    """Podman's network backends."""

    NETAVARK = "netavark"
    CNI = "cni"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One backend's DHCP proxy: its units, the path clients connect to, who brings the units."""

    socket: str
    service: str
    path: str
    package: str


PROXIES: Mapping[Backend, Proxy] = {
    # netavark src/dhcp_proxy/proxy_conf.rs; contrib/systemd of 1.6 and later.
    Backend.NETAVARK: Proxy(
        "netavark-dhcp-proxy.socket",
        "netavark-dhcp-proxy.service",
        "/run/podman/nv-proxy.sock",
        "netavark 1.6 or later",
    ),
    # containernetworking/plugins plugins/ipam/dhcp/systemd.
    Backend.CNI: Proxy(
        "cni-dhcp.socket",
        "cni-dhcp.service",
        "/run/cni/dhcp.sock",
        "containernetworking-plugins",
    ),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd shows it, in systemd's words; `file` is its UnitFileState.

    `pid` is a service's main process, 0 without one; `started`, when that began, in seconds since
    the epoch.
    """

    load: str = "not-found"
    active: str = "inactive"
    file: str = ""
    result: str = ""
    pid: int = 0
    started: float = 0.0

    @property
    def exists(self) -> bool:
        """Whether there is such a unit at all."""
        return self.load != "not-found"

    @property
    def masked(self) -> bool:
        """Whether an administrator forbids it."""
        return self.load == "masked" or self.file.startswith("masked")


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as the proxy's lease file has it; times in seconds, counted from its last renewal."""

    address: str
    lease_s: int = 0
    renew_s: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """A running container's place on a network with DHCP.

    `mac` and `address` are "" where they are not known. `leased` is when CNI had its lease, in
    seconds since the epoch; netavark's proxy has its leases in a file instead.
    """

    container_id: str
    name: str
    network: str
    mac: str = ""
    address: str = ""
    leased: float = 0.0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class DhcpSnapshot:
    """What one look at DHCP found, of the backend in use.

    `leases` are what the proxy of netavark knows, by MAC; None when its file makes no sense.
    `leased_at` says when each was first seen, in seconds since the epoch.
    `holders` is None when podman could not be asked. `problem` is what kept podwatch from looking.
    `busy` says that podman is changing a network right now, or waits for its lock.

    `fresh` means that podman was to be asked for the holders in any case, not only for a reason.
    `unasked` means that podman was not asked although it had to be: it was changing a network.
    `unclaimed` counts the looks in a row in which podman knew no running container with one of the
    leases: a container has its lease before podman calls it running.
    """

    backend: Backend
    networks: tuple[str, ...] = ()
    socket: Unit = field(default_factory=Unit)
    service: Unit = field(default_factory=Unit)
    path_exists: bool = False
    listening: bool = False
    leases: Mapping[str, Lease] | None = None
    holders: tuple[Holder, ...] | None = ()
    problem: str = ""
    hint: str = ""
    busy: str = ""
    leased_at: Mapping[str, float] = field(default_factory=dict)
    fresh: bool = False
    unasked: bool = False
    unclaimed: int = 0

    @property
    def proxy(self) -> Proxy:
        """The proxy of the backend in use."""
        return PROXIES[self.backend]

    @property
    def generation(self) -> str:
        """Which process the proxy is; "" while there is none."""
        return f"{self.service.pid} {self.service.started}" if self.service.pid else ""

    @property
    def serving(self) -> bool:
        """Whether a container that starts would find the proxy: unit, path and listening socket."""
        return self.socket.active == "active" and self.path_exists and self.listening

    def is_known(self, holder: Holder) -> bool:
        """Whether the running proxy knows this container's lease, and so renews it in time."""
        if not self.service.pid:
            return False
        if self.backend is Backend.CNI:
            return holder.leased >= self.service.started
        return self.leases is not None and holder.mac in self.leases


class Fault(StrEnum):
    """What can be wrong with DHCP; the first that holds is reported."""

    UNREADABLE = "unreadable"
    MISSING = "missing"
    MASKED = "masked"
    NOT_SERVING = "not_serving"
    NOT_ENABLED = "not_enabled"
    LEASES = "leases"
