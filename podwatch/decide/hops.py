# SPDX-License-Identifier: Apache-2.0
"""Hops that are no firewall's: sockets, forwarding, bridge, link, process, route. Pure.

Each function tells one place a packet passes, from what the kernel shows and podman says.
"""

from collections.abc import Iterable, Iterator, Sequence

from podwatch.drivers.sysctls import FORWARDING, Sysctl
from podwatch.words.network import Address, Container, ContainerState, Endpoint, PortMapping, Setup
from podwatch.words.text import listed
from podwatch.words.way import Hop, Kernel, Mark, Wire

_ELSEWHERE = "publish the port on another address"


def host_port(kernel: Kernel, mapping: PortMapping) -> Iterator[Hop]:
    """Who keeps a published port from being taken: conmon or rootlessport hold a socket.

    It listens, or, since Podman 6, is bound alone. Nothing where nobody looked.
    """
    if kernel.held is None:
        return
    ports = range(mapping.host_port, mapping.host_port + mapping.count)
    owner = kernel.held.get((mapping.host_port, mapping.protocol))
    if any((port, mapping.protocol) not in kernel.held for port in ports):
        what = f"{mapping} is kept by no socket: another program can take it"
        yield Hop("host port", what, Mark.NOTE)
        return
    is_bound = (mapping.host_port, mapping.protocol) in kernel.bound
    kept = f"{mapping} is kept by a {'bound' if is_bound else 'listening'} socket"
    yield Hop("host port", f"{kept} of {owner}" if owner else kept)


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


def forwarding(kernel: Kernel, address: Address, links: Iterable[str]) -> Hop:
    """Whether packets of this IP version are forwarded that come in by these interfaces.

    For IPv4 each interface has a setting of its own, and the one for all sets them when it is
    written; for IPv6 that for all decides (see drivers.sysctls.wanted).
    """
    whole = FORWARDING[address.version]
    paths = [f"net/ipv4/conf/{link}/forwarding" for link in links] if address.version == 4 else []
    told = {path: kernel.forwarding[path] for path in paths if path in kernel.forwarding}
    if not told and whole in kernel.forwarding:
        told = {whole: kernel.forwarding[whole]}
    if not told:
        return Hop("forwarding", f"{_name(whole)} could not be read", Mark.UNKNOWN)
    off = [path for path, is_on in told.items() if not is_on]
    if not off:
        return Hop("forwarding", f"{_name(whole if whole in told else paths[-1])} = 1")
    if not kernel.forwarding.get(whole, True):
        off = [whole]
    what = f"{_name(off[0])} = 0: the host forwards nothing"
    if off[0] != whole:
        what += f" that comes in by {off[0].split('/')[3]}"
    return Hop("forwarding", what, Mark.BROKEN, f"sysctl -w {_name(off[0])}=1")


def _name(path: str) -> str:
    return Sysctl(path, "").name


def route(kernel: Kernel, address: Address) -> Hop:
    """Whether the host has a way for what is not its neighbour's: that is the host's own matter."""
    if address.version in kernel.routed:
        return Hop("route", f"a default route for IPv{address.version}")
    what = f"no default route for IPv{address.version}: only neighbours are reached"
    return Hop("route", what, Mark.NOTE)


def wire(
    kernel: Kernel, setup: Setup, endpoint: Endpoint, address: Address, known: Container | None
) -> Iterator[Hop]:
    """The network's bridge, and the container's link on it."""
    network = setup.networks.get(endpoint.network_id)
    if network is None:
        yield Hop("bridge", "nothing says which it is", Mark.UNKNOWN)
        return
    if kernel.links is None:
        yield Hop("bridge", "the host's links could not be listed", Mark.UNKNOWN, "ip link")
        return
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
    # Of a container that podman does not call up it is not known that it has its link yet.
    if kernel.wires is not None and known is not None and known.is_up:
        wires = kernel.wires.get(address, ())
        yield _link(wires, network.bridge, address, known.title, reload)


def _link(wires: Sequence[Wire], bridge: str, address: Address, name: str, reload: str) -> Hop:
    """How an address is joined to its bridge. Who else has the same address does no harm."""
    joined = next((wire.end for wire in wires if wire.end and wire.joins(bridge)), None)
    if joined is not None:
        return Hop("link", f"{joined.name} joins {name} to {bridge}")
    wire = next(iter(wires), None)
    if wire is None:
        what = f"{name} has lost {address}, or its link to {bridge}: no namespace has the address"
        return Hop("link", what, Mark.BROKEN, reload)
    if wire.end is None:
        what = f"{name}'s link does not lead to {bridge}"
        return Hop("link", what, Mark.BROKEN, reload)
    if not wire.end.is_up:
        what = f"{wire.end.name}, {name}'s link to {bridge}, is down"
        return Hop("link", what, Mark.BROKEN, f"ip link set {wire.end.name} up")
    if wire.end.master != bridge:
        where = f"is on {wire.end.master}, and not on" if wire.end.master else "is not on"
        what = f"{wire.end.name}, {name}'s link, {where} {bridge}"
        advice = f"ip link set {wire.end.name} master {bridge}"
        return Hop("link", what, Mark.BROKEN, advice)
    return Hop("link", f"{name}'s link is down inside of it", Mark.BROKEN, reload)


def state(known: Container | None) -> Iterator[Hop]:
    """A container that is paused, or not running: it answers nobody, and that is no fault."""
    if known is None:
        return
    if known.is_paused:
        advice = f"podman unpause {known.name}"
        yield Hop("container", f"{known.title} is paused", Mark.CLOSED, advice)
    elif known.is_dead:
        is_gone = known.state is ContainerState.GONE  # nothing is there that could be started
        names_it = "podwatch status: it names the files that are left of it"
        advice = names_it if is_gone else f"podman start {known.name}"
        yield Hop("container", f"{known.title} is not running", Mark.CLOSED, advice)
    elif not known.is_running:
        yield Hop("container", f"{known.title} has just ended", Mark.CLOSED)


def process(
    kernel: Kernel, endpoint: Endpoint, known: Container | None, mapping: PortMapping
) -> Iterator[Hop]:
    """Whether somebody in the container listens on the port, on an address others can reach.

    That is the container's own matter: Podman promises that packets get there. Nothing where nobody
    looked.
    """
    listens = kernel.listens.get(endpoint.container_id)
    if listens is None:
        return
    wanted = [
        (mapping.container_port + number, mapping.protocol) for number in range(mapping.count)
    ]
    last = "" if mapping.count == 1 else f"-{wanted[-1][0]}"
    port = f"{mapping.container_port}{last}/{mapping.protocol}"
    if mapping.protocol not in ("tcp", "udp"):
        yield Hop("container", f"who listens on {port} could not be seen", Mark.NOTE)
        return
    silent = [str(port[0]) for port in wanted if port not in listens]
    if len(silent) == len(wanted):
        name = known.name if known else endpoint.container_id[:12]
        what = f"nothing in it listens on {port} for others"
        yield Hop("container", what, Mark.NOTE, f"podman logs {name}")
    elif silent:
        what = f"of {port} nothing in it listens on {listed(silent)}"
        yield Hop("container", what, Mark.NOTE)
    else:
        yield Hop("container", f"a process in it listens on {port}")
