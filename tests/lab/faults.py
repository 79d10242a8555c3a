# SPDX-License-Identifier: Apache-2.0
"""Ways to take containers off the network, for the tests and for the demonstration."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.host import Host


@dataclass(frozen=True)
class Fault:
    """One way: its name as a person types it, and the shell script that does it on a host."""

    name: str
    script: str

    def __str__(self) -> str:
        return self.name

    def strike(self, host: Host) -> None:
        """Do it."""
        host.shell(self.script)


_FIRST_DNAT = (
    "nft -a list chain inet netavark NETAVARK-HOSTPORT-DNAT | sed -n 's/.*dport.*# handle //p'"
)

DEMONSTRATED = (
    Fault("firewall-cmd --reload", "firewall-cmd --reload"),
    Fault("systemctl restart firewalld", "systemctl restart firewalld"),
    Fault("nft flush ruleset", "nft flush ruleset"),
    Fault("nft delete table inet netavark", "nft delete table inet netavark"),
    Fault("nft flush chain inet netavark FORWARD", "nft flush chain inet netavark FORWARD"),
    Fault(
        "one rule deleted",
        f"nft delete rule inet netavark NETAVARK-HOSTPORT-DNAT handle $({_FIRST_DNAT} | head -n 1)",
    ),
)

BY_FIREWALLD = (
    Fault("firewall-cmd --complete-reload", "firewall-cmd --complete-reload"),
    Fault("firewalld stopped, started", "systemctl stop firewalld; systemctl start firewalld"),
    Fault(
        "firewalld killed, started",
        "systemctl kill -s KILL firewalld; "
        "timeout 10 sh -c 'while systemctl is-active -q firewalld; do sleep 0.05; done'; "
        "systemctl reset-failed firewalld; systemctl start firewalld",
    ),
)

ALL = (
    *DEMONSTRATED,
    *BY_FIREWALLD,
    Fault("systemctl restart nftables", "systemctl restart nftables"),
    Fault("nft flush table inet netavark", "nft flush table inet netavark"),
    Fault("the table made dormant", "nft 'add table inet netavark { flags dormant; }'"),
)

IPTABLES = (
    *DEMONSTRATED[:2],
    *BY_FIREWALLD,
    Fault("iptables -F", "iptables -F"),
    Fault("iptables -F; iptables -X", "iptables -F; iptables -X || true"),
    Fault("iptables -t nat -F", "iptables -t nat -F"),
    Fault(
        "iptables -t nat -F; iptables -t nat -X",
        "iptables -t nat -F; iptables -t nat -X || true",
    ),
    Fault("ip6tables -F", "ip6tables -F"),
    Fault(
        "ip6tables -t nat -F; ip6tables -t nat -X",
        "ip6tables -t nat -F; ip6tables -t nat -X || true",
    ),
    Fault("nft flush table ip nat", "nft flush table ip nat"),
    Fault("nft delete table ip filter", "nft delete table ip filter"),
)
"""Where the rules are iptables'. Where podwatch is quicker, `-X` finds its chains in use again.

`nft flush ruleset` is another matter: see the test of it.
"""


@contextmanager
def podman_is(host: Host, script: str) -> Iterator[None]:
    """For the block podman is a shell script."""
    host.run(["mv", "/usr/bin/podman", "/usr/bin/podman.real"])
    host.write("/usr/bin/podman", f"#!/bin/sh\n{script}\n", 0o755)
    try:
        yield
    finally:
        host.run(["mv", "/usr/bin/podman.real", "/usr/bin/podman"])


PODMANS = {
    "exits 1": "exit 1",
    "exits 125": "echo 'Error: no such container' >&2; exit 125",
    "dies of a signal": "kill -SEGV $$",
    "prints garbage": "head -c 100000 /dev/urandom",
    "prints other JSON": """echo '[null, 3, {"Id": ["a"]}, {"Id": "--all"}, {"Id": "x\\u0000"}]'""",
    "prints nothing": "exit 0",
    "is not a program": "\0",
}
"""Ways for podman to be broken, each as such a script."""
