# SPDX-License-Identifier: Apache-2.0
"""A stage with a neighbour beside it, servers in its containers, and podwatch's guard on it.

The guard is held by the suite's own libnftables and filled from what netavark's state says.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_network

from podwatch.drivers.guard import made_anew
from podwatch.words.guard import Held
from tests.integration.differential.asking import Ask, World
from tests.integration.differential.configurations import Box, Port
from tests.integration.differential.stage import Stage
from tests.integration.firewall_stage import until

GUARD = "podwatch-guard-test"
HOST, CLIENT = "host", "client"
HOST_ADDRESSES = ("192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9")
"""The first of each family is the host's own, the other that of `OUTBOUND`."""
CLIENT_ADDRESSES = ("192.0.2.2", "2001:db8::2")
LOCAL = ("127.0.0.1", "::1")
PROTOCOLS = ("tcp", "udp", "sctp")
OUTSIDE = 7000
DIRECT = 80
OTHERS = 9999
"""A port of the host that somebody else's rules forward to a container."""

_HOLDER = """
import json, sys, nftables
nft = nftables.Nftables()
for line in sys.stdin:
    print(json.dumps(nft.cmd(json.loads(line))), flush=True)
"""
_NEIGHBOUR = """
ip netns add client
ip link add eth0 type veth peer name eth0 netns client
for address in 192.0.2.1/24 192.0.2.9/24; do ip address add $address dev eth0; done
ip address add 2001:db8::1/64 dev eth0 nodad
ip address add 2001:db8::9/64 dev eth0 nodad preferred_lft 0
ip link set eth0 up
ip -n client address add 192.0.2.2/24 dev eth0
ip -n client address add 2001:db8::2/64 dev eth0 nodad
ip -n client link set eth0 up
ip -n client link set lo up
ip -n client route add 10.0.0.0/8 via 192.0.2.1
ip -n client route add fd00::/8 via 2001:db8::1
ip route add default via 192.0.2.2
ip route add default via 2001:db8::2
"""
_THEIRS = f"""
table inet theirs {{
 chain prerouting {{
  type nat hook prerouting priority -150
  tcp dport {OTHERS} dnat ip to 10.88.0.10:80
  tcp dport {OTHERS} dnat ip6 to [fd10:2::a]:9100
 }}
}}
"""
_TELL_EVERYBODY = "cd /proc/sys/net; echo 0 >ipv4/icmp_ratemask; echo >ipv6/icmp/ratemask"
"""Everybody who is refused hears of it, however many are."""


class Guarded:
    """What is asked, and who holds the guard. `boxes` are set up already."""

    def __init__(self, stage: Stage, world: World, boxes: Sequence[Box]) -> None:
        """Give the stage a neighbour, and everybody a server."""
        self.stage, self.world, self.boxes = stage, world, boxes
        stage.run("sh", "-euc", _NEIGHBOUR)
        stage.nft("-f", "-", text=_THEIRS)
        world.enter(HOST, stage.network())
        for name in (CLIENT, *(box.name for box in boxes)):
            world.enter(name, stage.network(name))
            until(partial(self._is_settled, name), f"the addresses of {name}")
            stage.run("ip", "netns", "exec", name, "sh", "-euc", _TELL_EVERYBODY)
        stage.run("sh", "-euc", _TELL_EVERYBODY)
        for address in CLIENT_ADDRESSES:
            for protocol in PROTOCOLS:
                world.serve(CLIENT, address, [OUTSIDE], protocol)
        for box in boxes:
            for address in addresses_of(box):
                for protocol in PROTOCOLS:
                    world.serve(box.name, address, _served(box, protocol), protocol)

    def _is_settled(self, name: str) -> bool:
        return not self.stage.run("ip", "-n", name, "-6", "address", "show", "tentative")

    @contextmanager
    def guard(self, held: Held) -> Iterator[None]:
        """Hold the guard for the time of the block; nobody else's command can take it away."""
        command = [*self.stage.enter, "python3", "-I", "-c", _HOLDER]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            print(json.dumps(made_anew(GUARD, held)), file=holder.stdin, flush=True)
            code, _, error = json.loads(holder.stdout.readline())
            assert code == 0, error
            yield
            holder.stdin.close()

    def asks(self) -> list[Ask]:
        """Every way of a packet that there is between those on the stage."""
        own = {box.name: {":" in address for address in addresses_of(box)} for box in self.boxes}
        return [
            ask
            for ask in dict.fromkeys(self._asks())
            if ask.who not in own or (":" in ask.address) in own[ask.who]
        ]

    def _asks(self) -> Iterator[Ask]:
        everybody = (CLIENT, HOST, *(box.name for box in self.boxes))
        for box in self.boxes:
            for port in box.ports:
                yield from self._asks_of(port)
            for address in addresses_of(box):
                yield from (Ask(who, address, DIRECT) for who in everybody if who != box.name)
            for address in CLIENT_ADDRESSES:
                yield from (Ask(box.name, address, OUTSIDE, protocol) for protocol in PROTOCOLS)
            for gateway in gateways_of(box) if any(net.dns for net in box.networks) else ():
                name = f"{box.name}.dns.podman"
                yield from (
                    Ask(box.name, gateway, 53, protocol, name) for protocol in PROTOCOLS[:2]
                )
        for address in HOST_ADDRESSES:
            yield from (Ask(who, address, OTHERS) for who in everybody)

    def _asks_of(self, port: Port) -> Iterator[Ask]:
        last = port.host + max(port.count, 1) - 1
        for address in HOST_ADDRESSES:
            for number in {port.host, last, min(last + 1, 65535)}:
                yield Ask(CLIENT, address, number, port.protocol)
        gateways = [gateway for box in self.boxes for gateway in gateways_of(box)]
        for address in (*HOST_ADDRESSES, *LOCAL, *gateways):
            yield Ask(HOST, address, port.host, port.protocol)
        for box in self.boxes:
            for address in (*HOST_ADDRESSES[::2], *gateways_of(box), gateways[0]):
                yield Ask(box.name, address, port.host, port.protocol)


def addresses_of(box: Box) -> list[str]:
    """The addresses of a container."""
    return [str(ip_network(subnet)[box.place]) for net in box.networks for subnet in net.subnets]


def gateways_of(box: Box) -> list[str]:
    """The addresses of its networks' bridges."""
    return [str(ip_network(subnet)[1]) for net in box.networks for subnet in net.subnets]


def _served(box: Box, protocol: str) -> list[int]:
    ports = {DIRECT} if protocol == "tcp" else set()
    for mapping in box.ports:
        if mapping.protocol == protocol:
            ports.update(range(mapping.container, mapping.container + max(mapping.count, 1)))
    return sorted(ports)
