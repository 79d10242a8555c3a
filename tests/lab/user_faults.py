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

_BRIDGED = ("web1", "web2", "pod-web", "north", "south")
_OUT = frozenset(f"{name} out" for name in _BRIDGED)
_INTERNAL = frozenset(("web1 host.containers.internal",))
_BY_HOST = frozenset(("web1 hairpin by host",))
_HAIRPIN = frozenset(("web1 hairpin by gateway", "web1 hairpin by host"))
_ISOLATION = frozenset(("north isolation", "south isolation"))


@dataclass(frozen=True)
class UserFault:
    """One way: its name, what does it, what podwatch calls it in part, the ways it closes.

    On Debian 12 it may be another: there rules are iptables', and slirp4netns is every uplink.
    """

    name: str
    strike: Callable[[UserContainers], object]
    named: str
    closes: frozenset[str]
    on_bookworm: "UserFault | None" = None
    mends: Callable[[UserContainers], object] | None = None
    """What a person does about it, where podwatch only tells of it."""

    def __str__(self) -> str:
        return self.name

    def on(self, suite: str) -> "UserFault":
        """The one for hosts of this suite."""
        return self.on_bookworm if suite == "bookworm" and self.on_bookworm else self


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


def _iptables(name: str, named: str, closes: frozenset[str], *lines: str) -> UserFault:
    return UserFault(name, _inside(*lines), named, closes)


RELAYS = (
    UserFault(
        "uplink killed",
        kill_uplink,
        "of the user's network does not run: north, ",
        _OUT | _INTERNAL | _BY_HOST,
    ),
    UserFault(
        "relay of web killed",
        partial(kill_relay, name="web"),
        "web: its ",
        frozenset(("web port", "web out", "web host.containers.internal")),
    ),
    UserFault(
        "relay of slirp killed",
        partial(kill_relay, name="slirp"),
        "slirp: its slirp4netns does not run",
        frozenset(("slirp port", "slirp out")),
    ),
    UserFault(
        "aardvark-dns killed",
        kill_name_server,
        "aardvark-dns does not run: names of networks n1, ",
        frozenset(("web1 name",)),
    ),
    UserFault(
        "rootlessport of web1 killed",
        partial(kill_port, name="web1", kind="rootlessport"),
        "web1: rootlessport does not run: nobody listens on ",
        frozenset(("web1 port",)),
    ),
    UserFault(
        "child of rootlessport of web1 killed",
        partial(kill_port, name="web1", kind="rootlessport-child"),
        "web1: rootlessport (pid ",
        frozenset(("web1 port",)),
    ),
)
"""A process that carries packets, or answers for names, has died."""

RULES = (
    UserFault(
        "all rules flushed",
        _inside("nft flush ruleset"),
        "table inet netavark is gone",
        _HAIRPIN | _ISOLATION,
        _iptables(
            "all rules flushed",
            "-j NETAVARK_ISOLATION_1",
            _OUT | _INTERNAL | _HAIRPIN | _ISOLATION,
            "iptables -F",
            "iptables -t nat -F",
        ),
    ),
    UserFault(
        "each chain flushed",
        _inside("nft flush table inet netavark"),
        "jump NETAVARK-ISOLATION-1",
        _HAIRPIN | _ISOLATION,
        _iptables(
            "each chain flushed",
            "is not masqueraded",
            _OUT | _INTERNAL | _HAIRPIN,
            "iptables -t nat -F",
        ),
    ),
    UserFault(
        "one chain flushed",
        _inside("nft flush chain inet netavark FORWARD"),
        "jump NETAVARK-ISOLATION-1",
        _ISOLATION,
        _iptables(
            "one chain flushed", "-j NETAVARK_ISOLATION_1", _ISOLATION, "iptables -F FORWARD"
        ),
    ),
)
"""Rules of the network namespace of all bridges."""

_OF_BRIDGE = frozenset(("web1 out", "web2 out", "pod-web out", "web1 name"))
LINKS = (
    UserFault(
        "netns unmounted",
        unmount_netns,
        "nothing is mounted on the file of the user's network namespace",
        frozenset(),
    ),
    UserFault(
        "bridge down",
        _on_bridge("ip link set {} down"),
        "network n1: its bridge podman1 is down",
        _OF_BRIDGE | _HAIRPIN | _INTERNAL | {"web1 neighbour"},
    ),
    UserFault(
        "bridge without address",
        _on_bridge("ip address del 10.89.0.1/24 dev {}"),
        "network n1: its bridge podman1 lacks the address 10.89.0.1/24",
        _OF_BRIDGE | _HAIRPIN | _INTERNAL,
    ),
    UserFault(
        "no default route inside",
        _inside("ip route del default"),
        "has no default route",
        _OUT | _INTERNAL,
        UserFault(  # what slirp4netns has set up was lost by nobody's fault but a person's
            "no default route inside",
            _inside("ip route del default"),
            "has no default route",
            _OUT | _INTERNAL | _BY_HOST,
            mends=_inside("ip route add default via 10.0.2.2"),
        ),
    ),
)
"""Links, addresses and routes there, and the namespace itself."""

FAULTS = (*RELAYS, *RULES, *LINKS)
