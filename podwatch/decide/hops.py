# SPDX-License-Identifier: Apache-2.0
"""Hops that are no firewall's: sockets, forwarding, process, the way on. Pure.

Each function tells one place a packet passes, from what the kernel shows and podman says.
"""

from collections.abc import Iterable, Iterator

from podwatch.drivers.sysctls import FORWARDING, Sysctl
from podwatch.words.links import Around
from podwatch.words.network import Address, Container, ContainerState, PortMapping
from podwatch.words.text import few
from podwatch.words.way import Hop, Kernel, Mark

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
        yield Hop("host address", what, Mark.CLOSED, _ELSEWHERE)


def no_address(host: Address, name: str) -> Hop:
    """A port on an address of the host of an IP version that its container has none of."""
    what = f"{name} has no IPv{host.version} address: nothing is forwarded"
    return Hop("port forward", what, Mark.CLOSED, _ELSEWHERE)


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


def inside(kernel: Kernel, known: Container | None, address: Address) -> Iterator[Hop]:
    """What the daemon cannot see: whether a container has a way to what is not its neighbour's."""
    if known is not None and known.id in kernel.routeless and address.version == 4:
        what = f"{known.title} has no default route for IPv4: its neighbours alone get an answer"
        yield Hop("route inside", what, Mark.NOTE, f"podman network reload {known.name}")


def route(kernel: Kernel, address: Address, around: Around) -> Hop:
    """Whether the host has a way for what is not its neighbour's: that is the host's own matter."""
    if address.version in kernel.routed:
        return Hop("route", f"the host has a default route for IPv{address.version}")
    if address.version == 6 and around.deaf and not around.has_default_v6:
        link = around.deaf[0]
        what = f"{link} takes no more router advertisements since IPv6 is forwarded, and has lost "
        advice = f"sysctl -w net.ipv6.conf.{link}.accept_ra=2"
        return Hop("route", f"{what}its default route", Mark.BROKEN, advice)
    what = f"no default route for IPv{address.version}: only neighbours are reached"
    return Hop("route", what, Mark.NOTE)


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
    kernel: Kernel, container_id: str, known: Container | None, mapping: PortMapping
) -> Iterator[Hop]:
    """Whether somebody in the container listens on the port, on an address others can reach.

    That is the container's own matter: Podman promises that packets get there. Nothing where nobody
    looked.
    """
    listens = kernel.listens.get(container_id)
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
        name = known.name if known else container_id[:12]
        what = f"nothing in it listens on {port} for others"
        yield Hop("container", what, Mark.NOTE, f"podman logs {name}")
    elif silent:
        what = f"of {port} nothing in it listens on {few(silent)}"
        yield Hop("container", what, Mark.NOTE)
    else:
        yield Hop("container", f"a process in it listens on {port}")
