# SPDX-License-Identifier: Apache-2.0
"""Which bridges, addresses and places there have to be for the containers that run. Pure.

A bridge is expected while a container is on it. Its addresses are those of the network's file, or
of what CNI answered; of the default network, which may have no file, the first of each subnet
(podman's libnetwork/util, GetDefaultNetwork).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_interface

from podwatch.words.gates import NetworkFile
from podwatch.words.network import Address, ContainerClass, Endpoint, Interface, Network, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.wiring import Bridge, Place, Wiring

DEFAULT_NETWORK = "podman"
"""The name of the default network unless containers.conf has another (default_network)."""

_WITHOUT_STATE = (ContainerClass.INTERNAL, ContainerClass.UNMANAGED)
"""Networks without rules on the host (netavark src/firewall, 1.9 to 2.1)."""


def wiring(setup: Setup, snapshot: Snapshot) -> Wiring:
    """What has to be there; `setup` is that of the containers that run."""
    bridges: dict[str, Bridge] = {}
    places = []
    for endpoint in setup.endpoints:
        network = setup.networks.get(endpoint.network_id)
        if network is None or not network.bridge:
            continue
        if network.bridge not in bridges:
            file = snapshot.files.get(endpoint.network_name)
            bridges[network.bridge] = _bridge(endpoint, network, file)
        addresses = tuple(address for address, _ in endpoint.addresses)
        name = bridges[network.bridge].network
        places.append(Place(endpoint.container_id, name, network.bridge, addresses))
    for file, holders in _without_state(snapshot):
        bridges.setdefault(file.interface, _of_file(file))
        known = {place.container_id for place in places if place.bridge == file.interface}
        places += [
            Place(key, file.name, file.interface, addresses)
            for key, addresses in holders.items()
            if key not in known
        ]
    return Wiring(bridges, tuple(places))


def _without_state(
    snapshot: Snapshot,
) -> Iterator[tuple[NetworkFile, Mapping[str, tuple[Address, ...]]]]:
    """The networks of which netavark keeps no state, and who is on them as podman says.

    It gives them addresses before they have a link, and takes those back after it is gone. Of a
    network that a container has left since podman listed it, it holds no address.
    """
    for name, holders in snapshot.held.items():
        file = snapshot.files.get(name)
        if file is None or file.kind not in _WITHOUT_STATE or not file.interface:
            continue
        found = {
            key: addresses
            for key, addresses in holders.items()
            if (known := snapshot.containers.get(key)) and name in known.networks
        }
        if found:
            yield file, found


def _of_file(file: NetworkFile) -> Bridge:
    return Bridge(
        file.name,
        file.interface,
        file.gateways,
        unmanaged=file.kind is ContainerClass.UNMANAGED,
        internal=file.kind is ContainerClass.INTERNAL,
        asks_names=file.asks_names,
        special=file.special,
        mtu=file.mtu,
    )


def _bridge(endpoint: Endpoint, network: Network, file: NetworkFile | None) -> Bridge:
    """A network's bridge; a file that tells of another bridge or other subnets is newer than it."""
    if file is not None and (
        file.interface != network.bridge or not set(network.subnets) <= set(file.subnets)
    ):
        file = None
    name = endpoint.network_name or network.bridge
    internal = network.internal or endpoint.internal
    if file is None:
        return Bridge(name, network.bridge, _without_file(endpoint, network), internal=internal)
    return replace(
        _of_file(file),
        network=name,
        gateways=network.gateways or file.gateways,
        internal=internal,
    )


def _without_file(endpoint: Endpoint, network: Network) -> tuple[Interface, ...]:
    """The addresses of a bridge whose network has no file: none where nothing tells of them."""
    if network.gateways or endpoint.network_name != DEFAULT_NETWORK:
        return network.gateways
    return tuple(
        ip_interface((subnet.network_address + 1, subnet.prefixlen)) for subnet in network.subnets
    )
