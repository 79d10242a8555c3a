# SPDX-License-Identifier: Apache-2.0
"""What happens to the host during a soak: things that lose rules, and things that must not count.

Each event is a shell script with a name. Those that are `quiet` lose nothing for good: podwatch
must neither count an incident nor repair anything.
"""

from dataclasses import dataclass

from tests.lab.containers import IMAGE
from tests.lab.faults import ALL


@dataclass(frozen=True)
class Event:
    """One thing that happens; `weight` is how often, beside the others."""

    name: str
    script: str
    quiet: bool
    weight: int = 1


# netavark that is flushed amid its work leaves its state behind, which podwatch tells.
_AS_ADVISED = (
    "cd /run/containers/networks/firewall/ports; for file in *; do "
    'podman container exists "${file##*_}" || rm -f "$file"; done; '
    "podwatch restore --stale >/dev/null"
)
_OF_A_CHAIN = "nft -a list chain inet netavark {} | sed -n 's/.*# handle \\([0-9]*\\)$/\\1/p'"

LOSSES = (
    *(Event(fault.name, fault.script, quiet=False, weight=2) for fault in ALL),
    *(
        Event(
            f"a random rule of {chain} deleted",
            "nft delete rule inet netavark "
            f"{chain} handle $({_OF_A_CHAIN.format(chain)} | sed 1d | shuf -n 1)",
            quiet=False,
        )
        for chain in ("FORWARD", "POSTROUTING", "INPUT", "NETAVARK-HOSTPORT-DNAT")
    ),
    Event(
        "forwarding set back",
        "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
        quiet=False,
    ),
    Event(
        "lost three times in a row",
        "for n in 1 2 3; do nft delete table inet netavark || true; sleep 0.05; done",
        quiet=False,
    ),
    Event(
        "flushed while a container starts",
        f"podman run -d --rm --name passer-by -p 8999:80 {IMAGE} /busybox sleep 60 >/dev/null & "
        "sleep 0.2; nft flush ruleset; wait; podman rm -f -t 0 passer-by >/dev/null; "
        + _AS_ADVISED,
        quiet=False,
    ),
    Event(
        "the bus killed, firewalld restarted",
        "systemctl kill -s KILL dbus; sleep 0.5; systemctl restart firewalld",
        quiet=False,
    ),
)

QUIETS = (
    Event("a container restarted", "podman restart -t 0 web-a >/dev/null", quiet=True, weight=2),
    Event(
        "a container stopped, started",
        "podman stop -t 0 web-b >/dev/null; podman start web-b >/dev/null",
        quiet=True,
    ),
    Event(
        "containers came and went",
        f"for n in 1 2 3; do podman run -d --name passer-by-$n -p 899$n:80 {IMAGE} /busybox sleep "
        "60 >/dev/null; done; podman rm -f -t 0 passer-by-1 passer-by-2 passer-by-3 >/dev/null",
        quiet=True,
        weight=2,
    ),
    Event(
        "a network came and went",
        f"podman network create soaked >/dev/null; podman run --rm --network soaked {IMAGE} "
        "/busybox true; podman network rm soaked >/dev/null",
        quiet=True,
    ),
    Event("podwatch reloaded", "systemctl reload podwatch", quiet=True, weight=2),
    Event(
        "rules of others",
        "nft add table inet theirs; nft add chain inet theirs c; "
        "nft add rule inet theirs c accept; nft delete table inet theirs",
        quiet=True,
    ),
    Event("asked by hand", "podwatch check >/dev/null; podwatch status >/dev/null", quiet=True),
)
