# SPDX-License-Identifier: Apache-2.0
"""What can happen to the network under the rules: to links, addresses, routes, the name server and
the inside of a container. As data: what does it, what it closes, how it is named and healed.

The scripts are about the network ``dual`` of the standard containers, which has both address
families and names; some about ``inner``, which `inner_network` adds and which has no way out.
"""

from dataclasses import dataclass
from enum import Enum

from tests.lab.containers import web
from tests.lab.host import Host

GATEWAY, GATEWAY_V6 = "10.89.10.1", "fd10:89:10::1"
"""Of the network ``dual``."""
AARDVARK = "/run/containers/networks/aardvark-dns"

_WORDS = f"""
bridge_of() {{ podman network inspect --format '{{{{.NetworkInterface}}}}' "$1"; }}
veth_of() {{
    index=$(podman exec "$1" /busybox cat /sys/class/net/eth0/iflink)
    grep -lx "$index" /sys/class/net/*/ifindex | cut -d / -f 5
}}
inside() {{
    pid=$(podman inspect --format '{{{{.State.Pid}}}}' "$1"); shift; nsenter -t "$pid" -n ip "$@"
}}
aardvark() {{ cat {AARDVARK}/aardvark.pid; }}
bridge=$(bridge_of dual)
"""


class Means(Enum):
    """What heals a fault, from the least disruptive on."""

    NETLINK = "netlink"
    NAMES = "the name server"
    RELOAD = "a reload"
    NONE = "told"


@dataclass(frozen=True)
class NetworkFault:
    """One fault of the network under the rules.

    `closes` has the kinds of ways (``reality.Way``) that are closed while nothing heals it, and
    `named` what podwatch says of it. `mends` undoes by hand what podwatch does not, which fails if
    the fault went further than it should. It strikes containers of `network` alone.
    """

    name: str
    strikes: str
    closes: str
    named: tuple[str, ...]
    healed_by: Means
    mends: str = ""
    network: str = "dual"
    silent: bool = False

    def __str__(self) -> str:
        return self.name

    def strike(self, host: Host) -> None:
        """Do it."""
        host.shell(script(self.strikes))

    def mend(self, host: Host) -> None:
        """Undo it by hand."""
        host.shell(script(self.mends))


def script(*lines: str) -> str:
    """Lines for the shell, with the words by which they find links, processes and insides."""
    return "\n".join((_WORDS, *lines))


ALL_WAYS = "in out neighbour name"

LINKS = (
    NetworkFault("bridge down", "ip link set $bridge down", ALL_WAYS, ("is down",), Means.NETLINK),
    NetworkFault(
        "bridge down and up",
        "ip link set $bridge down; ip link set $bridge up",
        "in out name",
        (GATEWAY_V6,),
        Means.NETLINK,
    ),
    NetworkFault(
        "addresses flushed",
        "ip addr flush dev $bridge",
        "in out name",
        (GATEWAY, GATEWAY_V6),
        Means.NETLINK,
    ),
    NetworkFault(
        "IPv4 address deleted",
        f"ip addr del {GATEWAY}/24 dev $bridge",
        "in out name",
        (GATEWAY,),
        Means.NETLINK,
    ),
    NetworkFault(
        "IPv6 address deleted",
        f"ip addr del {GATEWAY_V6}/64 dev $bridge",
        "in out name",
        (GATEWAY_V6,),
        Means.NETLINK,
    ),
    NetworkFault(
        "prefix /32",
        f"ip addr del {GATEWAY}/24 dev $bridge; ip addr add {GATEWAY}/32 dev $bridge",
        "in out name",
        (GATEWAY,),
        Means.NETLINK,
    ),
    NetworkFault(
        "routes flushed",
        "ip route flush dev $bridge",
        "in out name",
        ("10.89.10.0/24",),
        Means.NETLINK,
    ),
    NetworkFault(
        "IPv6 route deleted",
        "ip -6 route del fd10:89:10::/64 dev $bridge",
        "in out name",
        ("fd10:89:10::/64",),
        Means.NETLINK,
    ),
    NetworkFault(
        "link-local address deleted",
        "ip -6 addr flush dev $bridge scope link; ip -6 neigh flush dev $bridge",
        "in out",
        ("has no link-local address",),
        Means.NETLINK,
    ),
    NetworkFault(
        "IPv6 off and on",
        "sysctl -qw net.ipv6.conf.$bridge.disable_ipv6=1; "
        "sysctl -qw net.ipv6.conf.$bridge.disable_ipv6=0",
        "in out name",
        (GATEWAY_V6,),
        Means.NETLINK,
    ),
    NetworkFault(
        "veth off its bridge",
        "ip link set $(veth_of dual-web) nomaster",
        ALL_WAYS,
        ("dual-web",),
        Means.NETLINK,
    ),
    NetworkFault(
        "veth on another bridge",
        "ip link set $(veth_of dual-web) master $(bridge_of isolated)",
        ALL_WAYS,
        ("dual-web",),
        Means.NETLINK,
    ),
    NetworkFault(
        "veth down",
        "ip link set $(veth_of dual-web) down",
        ALL_WAYS,
        ("is down",),
        Means.NETLINK,
    ),
    NetworkFault(
        "ports isolated",
        "for one in dual-web dual-udp; do bridge link set dev $(veth_of $one) isolated on; done",
        "neighbour",
        ("isolated",),
        Means.NETLINK,
    ),
    NetworkFault(
        "internal bridge flushed",
        "ip addr flush dev $(bridge_of inner)",
        "name",
        ("10.89.60.1",),
        Means.NETLINK,
        network="inner",
    ),
    NetworkFault(
        "internal bridge down",
        "ip link set $(bridge_of inner) down",
        "neighbour name",
        ("is down",),
        Means.NETLINK,
        network="inner",
    ),
)

PLACES = (
    NetworkFault(
        "veth deleted", "ip link del $(veth_of dual-web)", ALL_WAYS, ("dual-web",), Means.RELOAD
    ),
    NetworkFault("bridge deleted", "ip link del $bridge", ALL_WAYS, ("is gone",), Means.NETLINK),
    NetworkFault(
        "address inside deleted",
        "inside dual-web addr del $(inside dual-web -o -4 addr show dev eth0 | "
        "awk '{print $4}') dev eth0",
        ALL_WAYS,
        ("dual-web",),
        Means.RELOAD,
        silent=True,
    ),
    NetworkFault(
        "link inside down",
        "inside dual-web link set eth0 down",
        ALL_WAYS,
        ("dual-web",),
        Means.RELOAD,
    ),
)

_NAME_SERVER = (
    NetworkFault("killed", "kill -KILL $(aardvark)", "name", ("aardvark-dns",), Means.NAMES),
    NetworkFault("terminated", "kill -TERM $(aardvark)", "name", ("aardvark-dns",), Means.NAMES),
    NetworkFault(
        "its unit stopped",
        "systemctl stop $(grep -Eo '[^/]+[.](scope|service)$' /proc/$(aardvark)/cgroup | head -n1)",
        "name",
        ("aardvark-dns",),
        Means.NAMES,
    ),
    NetworkFault("pid file gone", f"rm {AARDVARK}/aardvark.pid", "", ("pid",), Means.NAMES),
    NetworkFault(
        "pid file of somebody else",
        "systemd-run -q --unit stranger sleep 600; "
        f"systemctl show -P MainPID stranger | tr -d '\\n' >{AARDVARK}/aardvark.pid",
        "",
        ("pid",),
        Means.NAMES,
        mends="systemctl is-active -q stranger; systemctl stop stranger",
    ),
)

HEALED = (*LINKS, *PLACES, *_NAME_SERVER)

TOLD = (
    NetworkFault(
        "line of garbage",
        f"cp {AARDVARK}/dual /tmp/dual; sed -i '1c garbage' {AARDVARK}/dual; kill -HUP $(aardvark)",
        "name",
        ("dual",),
        Means.NONE,
        mends=f"cp /tmp/dual {AARDVARK}/dual; kill -HUP $(aardvark)",
    ),
    NetworkFault(
        "entry missing",
        f"cp {AARDVARK}/dual /tmp/dual; sed -i '/ dual-web,/d' {AARDVARK}/dual; "
        "kill -HUP $(aardvark)",
        "name",
        ("dual-web",),
        Means.NONE,
        mends=f"cp /tmp/dual {AARDVARK}/dual; kill -HUP $(aardvark)",
    ),
    NetworkFault(
        "foreign route",
        "ip route add 10.89.10.0/25 via 192.0.2.2",
        "in out name",
        ("10.89.10.",),
        Means.NONE,
        mends="ip route del 10.89.10.0/25 via 192.0.2.2",
    ),
    NetworkFault(
        "foreign rule",
        "ip rule add to 10.89.10.0/24 unreachable",
        "in out name",
        ("10.89.10.",),
        Means.NONE,
        mends="ip rule del to 10.89.10.0/24 unreachable",
    ),
    NetworkFault(
        "bridge renamed",
        "ip link set $bridge name renamed0; ip link set renamed0 up",
        "",
        (),
        Means.NONE,
        mends="ip link set renamed0 name $bridge; ip link set $bridge up",
    ),
)

HARMLESS = tuple(
    NetworkFault(name, strikes, "", (), Means.NONE, mends)
    for name, strikes, mends in (
        ("port blocking", "bridge link set dev $(veth_of dual-web) state 4", ":"),
        (
            "spanning tree on",
            "ip link set $bridge type bridge stp_state 1",
            "ip link set $bridge type bridge stp_state 0",
        ),
        ("neighbours flushed", "ip neigh flush dev $bridge", ":"),
        ("MTU 1300", "ip link set $bridge mtu 1300", "ip link set $bridge mtu 1500"),
        (
            "gateway's address on another link",
            f"ip link add second0 type bridge; ip addr add {GATEWAY}/32 dev second0",
            "ip link del second0",
        ),
    )
)
"""What looks like a fault and closes no way."""


def inner_network(host: Host) -> None:
    """An internal network with two containers, which firewalld lets reach each other."""
    host.podman("network", "create", "--internal", "--subnet=10.89.60.0/24", "inner")
    # Where bridges hand their packets to the firewall it would reject what Podman trusts not.
    host.shell("firewall-cmd --quiet --zone=trusted --add-source=10.89.60.0/24", check=False)
    for name in ("inner-web", "inner-db"):
        web(host, name, networks=["inner"])
