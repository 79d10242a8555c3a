# SPDX-License-Identifier: Apache-2.0
"""Established connections through a published port, while the only table with NAT is gone.

The kernel takes its NAT hooks away with their last user, and those of conntrack too. A packet of an
established connection then comes to the host itself, and is answered with a reset.
"""

import asyncio
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from podwatch.daemon.guard_table import GuardTable
from podwatch.drivers.guard import anchor, guard
from podwatch.words.guard import Held
from podwatch.words.network import Endpoint, FirewallDriver, Network, PortMapping, Setup
from tests.integration.namespace import in_private_network
from tests.lab.client import socket_in

pytestmark = pytest.mark.integration

COUNT = 20
SOON_S = 10.0
HOST, CLIENT, CONTAINER, PORT = "192.0.2.1", "192.0.2.2", "10.88.0.2", 8081
SUBNET = ip_network("10.88.0.0/16")
NETAVARKS = f"""
table inet netavark {{
 chain PREROUTING {{
  type nat hook prerouting priority dstnat; policy accept;
  tcp dport {PORT} dnat ip to {CONTAINER}:80
 }}
 chain POSTROUTING {{
  type nat hook postrouting priority srcnat; policy accept;
  ip saddr {SUBNET} ip daddr != {SUBNET} masquerade
 }}
}}
"""
LINKS = """
ip link set lo up
ip link add to-client type veth peer name eth0 netns $1
ip link add podman0 type veth peer name eth0 netns $2
ip address add 192.0.2.1/24 dev to-client
ip address add 10.88.0.1/16 dev podman0
ip link set to-client up
ip link set podman0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
nsenter -t $1 --net ip address add 192.0.2.2/24 dev eth0
nsenter -t $1 --net ip link set eth0 up
nsenter -t $2 --net ip address add 10.88.0.2/16 dev eth0
nsenter -t $2 --net ip link set eth0 up
nsenter -t $2 --net ip route add default via 10.88.0.1
"""


def full() -> Held:
    """A guard that forwards the port, too."""
    network = Network("a" * 64, "podman0", (SUBNET,))
    address = (ip_address(CONTAINER), SUBNET)
    ports = (PortMapping(PORT, 80, "tcp"),)
    endpoint = Endpoint("b" * 64, network.id, "podman", (address,), ports)
    return guard(Setup(FirewallDriver.NFTABLES, {network.id: network}, (endpoint,)), marks=False)


@contextmanager
def namespace() -> Iterator[tuple[int, int]]:
    """A network namespace: who lives in it, and a descriptor of it."""
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "sh",
        "-c",
        "echo; exec sleep infinity",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        descriptor = os.open(Path(f"/proc/{holder.pid}/ns/net"), os.O_RDONLY | os.O_CLOEXEC)
        yield holder.pid, descriptor
        os.close(descriptor)
        holder.kill()


def nft(script: str) -> None:
    """Commit a script."""
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)


def lives(connection: socket.socket, server: socket.socket) -> bool:
    """Whether what is said is heard, and its answer too: otherwise it is reset."""
    try:
        connection.sendall(b"x")
        heard, _, _ = select.select([connection, server], [], [], SOON_S)
        if heard == [server]:
            server.sendall(server.recv(1))
        return connection.recv(1) == b"x"
    except (ConnectionResetError, BrokenPipeError):
        return False


@pytest.mark.parametrize(
    ("held", "alive"),
    [(None, 0), (anchor(), COUNT), (full(), COUNT)],
    ids=["nothing else", "anchor", "guard"],
)
@in_private_network
def test_established_connections_outlive_the_only_nat_with_the_anchor(
    held: Held | None, alive: int
) -> None:
    """While netavark's table is gone, and after it: all go on; with nothing else all are reset."""
    with namespace() as (client, outside), namespace() as (container, inside):
        subprocess.run(["sh", "-euc", LINKS, "sh", str(client), str(container)], check=True)
        nft(NETAVARKS)
        table = GuardTable()
        if held is not None:
            asyncio.run(table.hold(held, ()))
        listener = socket_in(inside, socket.SOCK_STREAM, CONTAINER)
        listener.bind((CONTAINER, 80))
        listener.listen(COUNT)
        pairs = []
        for _ in range(COUNT):
            connection = socket_in(outside, socket.SOCK_STREAM, HOST)
            connection.settimeout(SOON_S)
            connection.connect((HOST, PORT))
            server, (seen, _port) = listener.accept()
            server.settimeout(SOON_S)
            assert seen == CLIENT
            pairs.append((connection, server))
        assert all(lives(*pair) for pair in pairs)

        nft("delete table inet netavark")
        # One that says nothing keeps its state: it is asked once the table is back.
        talking, silent = pairs[::2], pairs[1::2]
        assert sum(lives(*pair) for pair in talking) == alive // 2
        nft(NETAVARKS)
        assert sum(lives(*pair) for pair in talking) == alive // 2
        assert held is None or all(lives(*pair) for pair in silent)
        table.let_go()
