# SPDX-License-Identifier: Apache-2.0
"""The gates of a reload: what has to be there, or it would cost a container its network. Pure.

netavark takes the container off its networks first. Then it tells aardvark-dns by the pid in its
file, whoever has that number by now, or starts one where that is no process. One that starts wants
all addresses of all networks it has a file of, and refuses for a single one that is not there
(aardvark-dns 1.12 and later); then netavark fails, and the container is left without a network
(netavark src/dns/aardvark.rs and seen: 1.14, 1.17). The same happens where a macvlan's parent is
not there.

Each reason says what to repair, since only what is told can be.
"""

from collections.abc import Iterator, Mapping

from podwatch.words.gates import ON_A_PARENT, Gates
from podwatch.words.names import NameServer, Served
from podwatch.words.network import Address, ContainerClass
from podwatch.words.text import listed


def shut(gates: Gates) -> Mapping[str, str]:
    """The networks whose containers must not be reloaded now, by name, each with the reason."""
    found = {
        name: f"on network {name} too, whose DHCP proxy does not listen: a reload would take it "
        "off all its networks"
        for name in gates.no_lease
    }
    for name, network in gates.networks.items():
        if network.kind in ON_A_PARENT and (why := _no_parent(gates, network.interface)):
            found[name] = f"on network {name}, {why}"
    if gates.server is not None and gates.server.served:
        reasons = listed(list(_about_names(gates, gates.server)), 2)
        asking = {served.network for served in gates.server.served}
        asking |= {name for name, network in gates.networks.items() if network.asks_names}
        if reasons:
            found |= dict.fromkeys(sorted(asking - found.keys()), reasons)
    return found


def no_start(gates: Gates) -> list[str]:
    """What forbids to start aardvark-dns now, where it does not run; nothing where it may be.

    It would fail, and its pid file name nobody (aardvark-dns 1.12 and later).
    """
    server = gates.server
    if server is None:
        return []
    taken = next((wanted for wanted in _wanted(gates, server) if _is_bound(gates, *wanted)), None)
    found = [] if taken is None else [_port_taken(*taken)]
    here = gates.links.own
    for served in server.served:
        missing = (address for address in served.addresses if address not in here)
        found += [_missing(gates, served, address) for address in missing]
    return found


def _port_taken(address: Address, port: int) -> str:
    return (
        f"aardvark-dns does not run, and port {port} of {address} is taken: "
        f"ss -lnup 'sport = :{port}'"
    )


def _no_parent(gates: Gates, parent: str) -> str:
    if parent in gates.links.by_name:
        return ""
    if parent:
        return (
            f"whose parent {parent} is not there: a reload would cost it its interface; "
            f"bring {parent} back (ip link), or name another one in the network"
        )
    if gates.default_link:
        return ""
    return "whose parent is the interface of the default route, and there is none (ip route)"


def _about_names(gates: Gates, server: NameServer) -> Iterator[str]:
    """What would keep netavark from telling aardvark-dns, or from starting it."""
    here = gates.links.own
    if not server.is_alive:
        yield from _no_start(gates, server)
    for served in server.served:
        if not server.is_alive or _is_in_use(gates, served):
            missing = (address for address in served.addresses if address not in here)
            yield from (_missing(gates, served, address) for address in missing)


def _is_in_use(gates: Gates, served: Served) -> bool:
    """Whether a running server can miss an address of it: its bridge is there, and netavark's."""
    network = gates.networks.get(served.network)
    if network is None:
        return True
    return network.kind is not ContainerClass.UNMANAGED and network.interface in gates.links.by_name


def _no_start(gates: Gates, server: NameServer) -> Iterator[str]:
    """What is in the way of starting aardvark-dns besides missing addresses."""
    taken = next((wanted for wanted in _wanted(gates, server) if _is_bound(gates, *wanted)), None)
    if taken is not None and server.running:
        pid = server.running[0]
        yield (
            f"aardvark-dns runs as {pid}, and {server.pid_file} does not say so: "
            f"printf {pid} > {server.pid_file}"
        )
    elif server.name:
        yield (
            f"{server.pid_file} names {server.name} (pid {server.named}), which a reload would "
            f"send SIGHUP: rm {server.pid_file}"
        )
    elif taken is not None:
        yield _port_taken(*taken)


def _wanted(gates: Gates, server: NameServer) -> Iterator[tuple[Address, int]]:
    for served in server.served:
        for address in served.addresses:
            for port in sorted(gates.dns_ports):
                yield address, port


def _is_bound(gates: Gates, address: Address, port: int) -> bool:
    """Whether the port is taken there; by one on [::] it is, for all that can be seen, for IPv4."""
    return (address, port) in gates.bound or any(
        taken.is_unspecified and taken.version >= address.version and at == port
        for taken, at in gates.bound
    )


def _missing(gates: Gates, served: Served, address: Address) -> str:
    network = gates.networks.get(served.network)
    what = (
        f"{address} of network {served.network} is not there, on which aardvark-dns has to listen"
    )
    if network is None or not network.interface:
        return f"{what}: if the network is gone, rm {served.path}"
    bridge = network.interface
    link = gates.links.by_name.get(bridge)
    if network.kind is ContainerClass.UNMANAGED:
        return f"{what}: add it to {bridge}, or give the network another gateway"
    if link is None:
        return (
            f"{what}, as there is no bridge {bridge}: restart its containers, or if it has none, "
            f"rm {served.path}"
        )
    lengths = (subnet.prefixlen for subnet in network.subnets if address in subnet)
    length = next(lengths, address.max_prefixlen)
    up = "" if link.is_up else f"ip link set {bridge} up; "
    nodad = " nodad" if address.version == 6 else " brd +"
    return f"{what}: {up}ip addr add {address}/{length} dev {bridge}{nodad}"
