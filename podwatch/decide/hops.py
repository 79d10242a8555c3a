# SPDX-License-Identifier: Apache-2.0
"""Hops that are no firewall's: sockets, forwarding, bridge, link, process, route. Pure.

Each function tells one place a packet passes, from what the kernel shows and podman says.
"""

from collections.abc import Iterator

from podwatch.drivers.sysctls import FORWARDING
from podwatch.words.network import Address, Container, ContainerState, Endpoint, PortMapping, Setup
from podwatch.words.text import listed
from podwatch.words.way import Hop, Kernel, Mark

_ELSEWHERE = "publish the port on another address"


def host_port(kernel: Kernel, mapping: PortMapping) -> Hop:
    """Who keeps a published port from being taken: conmon or rootlessport hold a socket.

    It listens, or, since Podman 6, is bound alone.
    """
    ports = range(mapping.host_port, mapping.host_port + mapping.count)
    owner = kernel.held.get((mapping.host_port, mapping.protocol))
    if any((port, mapping.protocol) not in kernel.held for port in ports):
        what = f"{mapping} is kept by no socket: another program can take it"
        return Hop("host port", what, Mark.NOTE)
    is_bound = (mapping.host_port, mapping.protocol) in kernel.bound
    kept = f"{mapping} is kept by a {'bound' if is_bound else 'listening'} socket"
    return Hop("host port", f"{kept} of {owner}" if owner else kept)


def host_address(mapping: PortMapping) -> Iterator[Hop]:
    """A host address that cannot lead into a container; nothing of any other.

    The kernel has route_localnet for IPv4 alone: what a DNAT sends on from ::1 is dropped.
    """
    host = mapping.host_ip
    if host is not None and host.version == 6 and host.is_loopback:
        what = "nothing is routed from ::1 out of the host: nobody answers there"
        yield Hop("host address", what, Mark.BROKEN, _ELSEWHERE)


def no_address(host: Address, name: str) -> Hop:
    """A port on an address of the host of an IP version that its container has none of."""
    what = f"{name} has no IPv{host.version} address: nothing is forwarded"
    return Hop("port forward", what, Mark.BROKEN, _ELSEWHERE)


def forwarding(kernel: Kernel, address: Address) -> Hop:
    """Whether the host forwards packets of this IP version at all."""
    name = FORWARDING[address.version].replace("/", ".")
    is_on = kernel.forwarding.get(address.version)
    if is_on is None:
        return Hop("forwarding", f"{name} could not be read", Mark.UNKNOWN)
    if is_on:
        return Hop("forwarding", f"{name} = 1")
    what = f"{name} = 0: the host forwards nothing"
    return Hop("forwarding", what, Mark.BROKEN, f"sysctl -w {name}=1")


def route(kernel: Kernel, address: Address) -> Hop:
    """Whether the host has a way for what is not its neighbour's."""
    if address.version in kernel.routed:
        return Hop("route", f"a default route for IPv{address.version}")
    what = f"no default route for IPv{address.version}: only neighbours are reached"
    return Hop("route", what, Mark.NOTE, "ip route add default via …")


def wire(
    kernel: Kernel, setup: Setup, endpoint: Endpoint, known: Container | None
) -> Iterator[Hop]:
    """The network's bridge, and the container's link on it."""
    network = setup.networks.get(endpoint.network_id)
    if network is None:
        yield Hop("bridge", "nothing says which it is", Mark.UNKNOWN)
        return
    name = known.title if known else endpoint.container_id[:12]
    reload = f"podman network reload {known.name if known else endpoint.container_id[:12]}"
    bridge = kernel.links.get(network.bridge)
    if bridge is None:
        yield Hop("bridge", f"{network.bridge} does not exist", Mark.BROKEN, reload)
        return
    if not bridge.is_up:
        advice = f"ip link set {network.bridge} up"
        yield Hop("bridge", f"{network.bridge} is down", Mark.BROKEN, advice)
    else:
        yield Hop("bridge", f"{network.bridge} is up")
    inside = kernel.inside.get(endpoint.container_id)
    if inside is None:
        return
    ends = [kernel.links[peer] for peer in inside.peers if peer in kernel.links]
    mine = [end for end in ends if end.master == network.bridge]
    if any(link.is_up for link in mine):
        yield Hop("link", f"{mine[0].name} joins {name} to {network.bridge}")
    elif mine:
        what = f"{mine[0].name}, {name}'s link to {network.bridge}, is down"
        yield Hop("link", what, Mark.BROKEN, f"ip link set {mine[0].name} up")
    else:
        what = f"{name} has no link on {network.bridge}"
        loose = [end.name for end in ends if not end.master]
        advice = f"ip link set {loose[0]} master {network.bridge}" if loose else reload
        yield Hop("link", what, Mark.BROKEN, advice)


def state(known: Container | None) -> Iterator[Hop]:
    """A container that is paused, or not running; nothing of any other."""
    if known is None:
        return
    if known.is_paused:
        advice = f"podman unpause {known.name}"
        yield Hop("container", f"{known.title} is paused", Mark.BROKEN, advice)
    elif known.is_dead:
        is_gone = known.state is ContainerState.GONE  # nothing is there that could be started
        names_it = "podwatch status: it names the files that are left of it"
        advice = names_it if is_gone else f"podman start {known.name}"
        yield Hop("container", f"{known.title} is not running", Mark.BROKEN, advice)


def process(
    kernel: Kernel, endpoint: Endpoint, known: Container | None, mapping: PortMapping
) -> Hop:
    """Whether somebody in the container listens on the port, on an address others can reach."""
    for hop in state(known):
        return hop
    inside = kernel.inside.get(endpoint.container_id)
    wanted = [
        (mapping.container_port + number, mapping.protocol) for number in range(mapping.count)
    ]
    last = "" if mapping.count == 1 else f"-{wanted[-1][0]}"
    port = f"{mapping.container_port}{last}/{mapping.protocol}"
    if inside is None:
        return Hop("container", f"who listens on {port} could not be seen", Mark.UNKNOWN)
    if mapping.protocol not in ("tcp", "udp"):
        return Hop("container", f"who listens on {port} could not be seen", Mark.NOTE)
    silent = [str(port[0]) for port in wanted if port not in inside.listens]
    if len(silent) == len(wanted):
        name = known.name if known else endpoint.container_id[:12]
        what = f"nothing in it listens on {port} for others"
        return Hop("container", what, Mark.BROKEN, f"podman logs {name}")
    if silent:
        what = f"of {port} nothing in it listens on {listed(silent)}"
        return Hop("container", what, Mark.NOTE)
    return Hop("container", f"a process in it listens on {port}")
