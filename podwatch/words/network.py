# SPDX-License-Identifier: Apache-2.0
"""What Podman set up: networks, port mappings and containers, in netavark's own words.

These are the facts expected rules are derived from. They own no I/O and no rule texts: reading
them is the work of the adapters, turning them into rules that of the drivers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface
"""An address with the length of its subnet's prefix."""
Held = Mapping[str, Mapping[str, tuple[Address, ...]]]
"""By a network's name and a container's id: the addresses it holds there."""


class FirewallDriver(StrEnum):
    """netavark's firewall drivers, and CNI; `UNKNOWN` where nothing says which."""

    NFTABLES = "nftables"
    IPTABLES = "iptables"
    FIREWALLD = "firewalld"
    NONE = "none"
    CNI = "cni"
    UNKNOWN = "unknown"


class Isolation(StrEnum):
    """A network's isolation from other networks (netavark's IsolateOption)."""

    NEVER = "never"
    NORMAL = "normal"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A published port, or a run of `count` consecutive ones.

    `host_ip` is None for every address of either family, and a wildcard address (0.0.0.0 or ::)
    for every address of one family.
    """

    host_port: int
    container_port: int
    protocol: str
    count: int = 1
    host_ip: Address | None = None

    def __str__(self) -> str:
        last = self.host_port + self.count - 1
        ports = str(self.host_port) if self.count == 1 else f"{self.host_port}-{last}"
        if self.host_ip is None or self.host_ip.is_unspecified:
            return f"{ports}/{self.protocol}"
        host = f"[{self.host_ip}]" if self.host_ip.version == 6 else str(self.host_ip)
        return f"{host}:{ports}/{self.protocol}"

    def only(self, port: int) -> "PortMapping":
        """The part of it for one of its host ports."""
        inside = self.container_port + port - self.host_port
        return replace(self, host_port=port, container_port=inside, count=1)

    def target(self, address: Address) -> str:
        """Where it leads to in the container that has the address: address and first port."""
        host = str(address) if address.version == 4 else f"[{address}]"
        return f"{host}:{self.container_port}"

    def way_to(self, address: Address) -> str:
        """The way from the host into the container that has the address, for a person."""
        return f"{self} → {self.target(address)}"


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge network that netavark or CNI set up on this host.

    One that is not `internal` but does not masquerade either is routed; only CNI has such.
    `gateways` are the addresses of its bridge, where what tells of it has them: netavark's state
    has none.
    """

    id: str
    bridge: str
    subnets: tuple[Subnet, ...]
    isolation: Isolation = Isolation.NEVER
    dns_port: int = 53
    internal: bool = False
    masquerades: bool = True
    outbound: tuple[Address, ...] = ()
    hash_name: str = ""
    gateways: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One container's place on one network: its addresses there and its published ports."""

    container_id: str
    network_id: str
    network_name: str
    addresses: tuple[tuple[Address, Subnet], ...]
    port_mappings: tuple[PortMapping, ...] | None = None
    dns_port: int = 53
    dns_servers: tuple[Address, ...] = ()
    internal: bool = False


@dataclass(frozen=True, slots=True)
class BadFile:
    """A state file that could not be understood. What it stands for is unknown, not lost."""

    path: str
    reason: str
    network_id: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that netavark says it set up: what the expected rules are derived from.

    `stamps` has what changes whenever the state of a container is written anew, by its id; it is
    compared for sameness alone, as no clock is to be trusted. `state_dir` is netavark's directory
    of that state. Both are empty in a setup that was not read from there.
    """

    driver: FirewallDriver
    networks: Mapping[str, Network] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    bad_files: tuple[BadFile, ...] = ()
    stamps: Mapping[str, object] = field(default_factory=dict)
    state_dir: str = ""


class ContainerClass(StrEnum):
    """What a container's network is; of one on several networks, the class that comes first here.

    Only a bridge has rules on the host. A pod's infra container is what its network makes it.
    """

    BRIDGE = "bridge"
    INTERNAL = "internal"  # a bridge without a way out
    UNMANAGED = "unmanaged"  # a bridge that Podman only attaches to
    MACVLAN = "macvlan"
    IPVLAN = "ipvlan"
    HOST = "host"
    PASTA = "pasta"  # no bridge: a process of its own carries its packets
    SLIRP4NETNS = "slirp4netns"
    MEMBER = "member"  # of a pod, on its infra container's network
    SHARED = "shared"  # on another container's network
    NONE = "none"
    UNKNOWN = "unknown"


class ContainerState(StrEnum):
    """How far a container has come, by what podman said of it last and what the kernel shows."""

    CREATED = "created"
    """It has neither network nor process: it is being started, its start has failed, or it was
    never started."""
    PRESUMED = "presumed"
    """It is taken for running: podman calls it neither up nor ended (it is on its way up or down),
    or what podman said is out of date."""
    UP = "up"
    """It has its network and its process."""
    PAUSED = "paused"
    """As UP, but its processes are frozen, and it cannot be reloaded."""
    UNLISTED = "unlisted"
    """A network namespace has its address, and this host's `podman ps` does not list it as running:
    it is in another storage, or a build's. podman cannot reload it."""
    JUST_ENDED = "just ended"
    """Its process has ended since podman was asked, or podman was not asked yet and no namespace
    has its address. Its rules need not be there; it is reported once podman says so, too."""
    ENDED = "ended"
    """podman says that it does not run."""
    GONE = "gone"
    """podman does not list it at all: it was removed, or was never of this storage."""


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of a container, for names and for what may be reloaded.

    `netns` is the inode of its network namespace while it is up, as text; `shares` names the
    container whose network it is on.

    Where podman was asked for each container, as a user's is: `mode` is its word for the network
    ("bridge", "pasta", "slirp4netns", "container:ID"), `sandbox` the file that its network
    namespace has, `conmon` the process of its conmon, `ports` what it publishes.
    """

    id: str
    name: str
    state: ContainerState = ContainerState.UP
    pod: str = ""
    is_infra: bool = False
    networks: tuple[str, ...] = ()
    pid: int = 0
    netns: str = ""
    pod_id: str = ""
    kind: ContainerClass = ContainerClass.UNKNOWN
    shares: str = ""
    mode: str = ""
    sandbox: str = ""
    conmon: int = 0
    ports: tuple[PortMapping, ...] = ()

    @property
    def title(self) -> str:
        """The name a person knows it by: the pod's for a pod's infra container."""
        return f"pod {self.pod}" if self.is_infra and self.pod else self.name

    @property
    def is_running(self) -> bool:
        """Whether its rules have to be there."""
        return not self.is_dead and self.state is not ContainerState.JUST_ENDED

    @property
    def is_up(self) -> bool:
        """Whether podman says that it has its network and its process."""
        return self.state in (ContainerState.UP, ContainerState.PAUSED)

    @property
    def is_paused(self) -> bool:
        """Whether it has to be unpaused before it can be reloaded."""
        return self.state is ContainerState.PAUSED

    @property
    def is_dead(self) -> bool:
        """Whether podman says that it does not run, or does not list it at all."""
        return self.state in (ContainerState.ENDED, ContainerState.GONE)

    @property
    def is_doubtful(self) -> bool:
        """Whether it may run though podman does not say so: the kernel has to be asked."""
        return self.is_dead or self.state is ContainerState.CREATED


def title_of(containers: Mapping[str, Container], container_id: str) -> str:
    """What a person knows a container by; the beginning of its id where nobody listed it."""
    known = containers.get(container_id)
    return container_id[:12] if known is None else known.title
