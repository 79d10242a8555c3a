# SPDX-License-Identifier: Apache-2.0
"""Ways to take a user's containers off the network, each with the ways in and out that it closes.

Nothing here asks podman, which would repair some of it on the way. Seen without podwatch, each
stays as it is until somebody helps, while `podman ps` says "Up".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.lab.errors import LabError
from tests.lab.machine import until
from tests.lab.user import Process
from tests.lab.user_containers import UserContainers

NEWER = ("trixie", "forky")
ALL = ("bookworm", *NEWER)

_BRIDGED = ("web1", "web2", "pod-web", "north", "south")
_OUT = frozenset(f"{name} out" for name in _BRIDGED)
_INTERNAL = frozenset(("web1 host.containers.internal",))
_BY_HOST = frozenset(("web1 hairpin by host",))
_HAIRPIN = frozenset(("web1 hairpin by gateway", "web1 hairpin by host"))
_ISOLATION = frozenset(("north isolation", "south isolation"))


@dataclass(frozen=True)
class UserFault:
    """One way: its name, what does it, the ways it closes, and the suites it is for.

    ``by_slirp`` are those it closes where slirp4netns is the uplink of all bridges, beside them.
    """

    name: str
    strike: Callable[[UserContainers], object]
    closes: frozenset[str]
    suites: tuple[str, ...] = ALL
    by_slirp: frozenset[str] = frozenset()
    named: str = ""
    """What podwatch calls it, in part."""

    def closes_on(self, suite: str) -> frozenset[str]:
        """The ways it closes on hosts of this suite."""
        return self.closes | self.by_slirp if suite == "bookworm" else self.closes

    def __str__(self) -> str:
        return self.name


def kill(there: UserContainers, process: Process | None) -> None:
    """Kill a process, and wait until it is gone."""
    if process is None:
        raise LabError(f"{there.user.called} has no such process: {there.user.relays()}")
    there.user.kill(process)
    gone = lambda: process not in there.user.processes()  # noqa: E731
    if not until(gone, 10):
        raise LabError(f"{process} is still there")


def kill_uplink(there: UserContainers) -> None:
    """The pasta or slirp4netns of all bridges."""
    kill(there, there.user.uplink())


def kill_name_server(there: UserContainers) -> None:
    """The user's aardvark-dns."""
    kill(there, there.user.name_server())


def kill_relay(there: UserContainers, name: str) -> None:
    """The pasta or slirp4netns of one container."""
    kill(there, there.relay(name))


def kill_port(there: UserContainers, name: str, kind: str) -> None:
    """The rootlessport of one container, or its child."""
    kill(there, there.port_process(name, kind))


def inside(there: UserContainers, *commands: Sequence[str]) -> None:
    """Run commands in the network namespace of all bridges."""
    for command in commands:
        there.user.run(there.user.in_netns(command))


def unmount_netns(there: UserContainers) -> None:
    """Unmount the network namespace of all bridges from where podman looks for it."""
    there.user.run(there.user.in_pause(["umount", "--lazy", there.user.netns_path()]))


def _inside(*lines: str) -> Callable[[UserContainers], None]:
    return lambda there: inside(there, *(line.split() for line in lines))


def _on_bridge(line: str) -> Callable[[UserContainers], None]:
    def strike(there: UserContainers) -> None:
        bridge = there.user.podman("network", "inspect", "n1", "--format={{.NetworkInterface}}")
        inside(there, line.format(bridge or "podman1").split())

    return strike


RELAYS = (
    UserFault("uplink killed", kill_uplink, _OUT | _INTERNAL | _BY_HOST),
    UserFault(
        "relay of web killed",
        partial(kill_relay, name="web"),
        frozenset(("web port", "web out", "web host.containers.internal")),
    ),
    UserFault(
        "relay of slirp killed",
        partial(kill_relay, name="slirp"),
        frozenset(("slirp port", "slirp out")),
        NEWER,
    ),
    UserFault("aardvark-dns killed", kill_name_server, frozenset(("web1 name",))),
    UserFault(
        "rootlessport of web1 killed",
        partial(kill_port, name="web1", kind="rootlessport"),
        frozenset(("web1 port",)),
    ),
    UserFault(
        "rootlessport's child of web1 killed",
        partial(kill_port, name="web1", kind="rootlessport-child"),
        frozenset(("web1 port",)),
    ),
)
"""A process that carries packets, or answers for names, has died."""

RULES = (
    UserFault("nft flush ruleset", _inside("nft flush ruleset"), _HAIRPIN | _ISOLATION, NEWER),
    UserFault(
        "nft flush table inet netavark",
        _inside("nft flush table inet netavark"),
        _HAIRPIN | _ISOLATION,
        NEWER,
    ),
    UserFault(
        "nft flush chain inet netavark FORWARD",
        _inside("nft flush chain inet netavark FORWARD"),
        _ISOLATION,
        NEWER,
    ),
    UserFault(
        "iptables flushed",
        _inside("iptables -F", "iptables -t nat -F"),
        _OUT | _INTERNAL | _HAIRPIN | _ISOLATION,
        ("bookworm",),
    ),
    UserFault("iptables -F", _inside("iptables -F"), _ISOLATION, ("bookworm",)),
)
"""Rules of the network namespace of all bridges."""

LINKS = (
    UserFault("netns unmounted", unmount_netns, frozenset()),
    UserFault(
        "bridge down",
        _on_bridge("ip link set {} down"),
        frozenset(("web1 out", "web2 out", "pod-web out", "web1 name", "web1 neighbour"))
        | _HAIRPIN
        | _INTERNAL,
    ),
    UserFault(
        "bridge without address",
        _on_bridge("ip address flush dev {}"),
        frozenset(("web1 out", "web2 out", "pod-web out", "web1 name")) | _HAIRPIN | _INTERNAL,
    ),
    UserFault(
        "no default route inside",
        _inside("ip route del default"),
        _OUT | _INTERNAL,
        by_slirp=_BY_HOST,
    ),
)
"""Links, addresses and routes there, and the namespace itself."""

FAULTS = (*RELAYS, *RULES, *LINKS)
