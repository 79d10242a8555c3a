# SPDX-License-Identifier: Apache-2.0
"""What stands in the way: of containers' packets, chains of others; of a reload, its gates."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from podwatch.adapters import aardvark, kernel, links
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import chain_exists
from podwatch.adapters.unixsocket import is_listening, path_exists
from podwatch.daemon.installed import Installed
from podwatch.decide import reload_gates
from podwatch.drivers import forwarding
from podwatch.drivers.forwarding import parse_chains
from podwatch.words.errors import Unreadable
from podwatch.words.gates import Gates
from podwatch.words.links import Around, Routed
from podwatch.words.network import Address, ContainerClass, Network, Setup
from podwatch.words.way import BaseChain

_MOST_TABLES = 16
_MOST_NETWORKS = 100
_MANAGED = (ContainerClass.BRIDGE, ContainerClass.INTERNAL)


async def drops_of_others(
    nft: Nftables, own: Iterable[str], hooks: Collection[str] = forwarding.HOOKS
) -> tuple[BaseChain, ...]:
    """Chains at these hooks that drop, in tables that are neither `own` nor firewalld's.

    Only a table with such a chain is listed as a whole: what it holds is not ours to pay for.
    Raises RulesUnreadable.
    """
    own = frozenset(own)
    heads = parse_chains(await nft.list_chains())
    passed = [each for each in heads if forwarding.is_of_others(each, own, hooks)]
    tables: dict[str, None] = {}
    for head in passed[:_MOST_TABLES]:
        family, _, name = head.table.partition(" ")
        for chain in parse_chains(await nft.list_chain(family, name, head.name)):
            if forwarding.drops(chain):
                tables[head.table] = None
    found: list[BaseChain] = []
    for table in tables:
        family, _, name = table.partition(" ")
        found += parse_chains(await nft.list_table(family, name))
    return tuple(
        each
        for each in found
        if forwarding.is_of_others(each, own, hooks) and forwarding.drops(each)
    )


def around(setup: Setup, installed: Installed, *, drops: bool) -> Around:
    """What the host's network is like around Podman's; whom a chain that `drops` parts as well.

    Raises Unreadable where the kernel does not tell.
    """
    versions = kernel.bridged() if drops else frozenset()
    deaf = kernel.deaf_to_routers()
    return Around(
        tuple(_routes(setup)),
        versions,
        tuple(_internal(installed)) if versions else (),
        deaf,
        not deaf or kernel.has_default_v6(),
        aardvark.read_names(installed.paths.aardvark) if drops else None,
    )


def _routes(setup: Setup) -> Iterator[Routed]:
    """Which way packets to a container of each network go, and the answers of one with ports."""
    gateways = kernel.gateways()
    asked: list[tuple[Routed, tuple[Address, Address | None, str]]] = []
    for network_id, network in list(setup.networks.items())[:_MOST_NETWORKS]:
        if kernel.has_master(network.bridge):
            continue  # a VRF, which has tables of its own
        mine = [each for each in setup.endpoints if each.network_id == network_id]
        if network.internal or any(each.internal for each in mine):
            continue  # with CNI such a bridge has no address, and the host no route to it
        for version in (4, 6):
            on = [
                (address, each)
                for each in mine
                for address, _ in each.addresses
                if address.version == version
            ]
            for address, _ in on[:1]:
                asked.append((Routed(network_id, address, ""), (address, None, "")))
            public = [address for address, each in on if forwarding.publishes(each)]
            for uplink, gateway in gateways.items() if public and version == 4 else ():
                routed = Routed(network_id, public[0], "", is_answer=True, uplink=uplink)
                asked.append((routed, (gateway, public[0], network.bridge)))
    found = links.ways(question for _, question in asked)
    for (routed, _), link in zip(asked, found, strict=True):
        if link is not None:
            yield replace(routed, link=link)


def _internal(installed: Installed) -> Iterator[Network]:
    there = links.read().by_name
    for each in installed.networks.read_files().values():
        if each.kind is ContainerClass.INTERNAL and each.interface in there:
            yield Network(each.name, each.interface, each.subnets, internal=True)


def is_there(chain: BaseChain) -> bool:
    """Whether a chain is still in the kernel; it is where the kernel does not tell."""
    family, _, table = chain.table.partition(" ")
    try:
        return chain_exists(family, table, chain.name)
    except Unreadable:
        return True


def shut_gates(setup: Setup | None, installed: Installed) -> Mapping[str, str]:
    """The networks whose containers must not be reloaded now, by name, each with the reason.

    Raises Unreadable where that cannot be told: then nobody is to be reloaded.
    """
    server = aardvark.read_server(installed.paths.aardvark)
    ports = () if setup is None else [each.dns_port for each in setup.endpoints]
    gates = Gates(
        links.read(),
        installed.networks.read_files(),
        server,
        frozenset(ports) or frozenset({53}),
        frozenset() if server is None or server.is_alive else aardvark.read_bound(),
        kernel.default_link(),
        _without_lease(installed),
    )
    return reload_gates.shut(gates)


def keep_macs(setup: Setup | None, installed: Installed) -> None:
    """Have Podman's bridges keep their MACs while their containers come and go.

    netavark before 1.9 gives a bridge none: it is another one after the reload of one container,
    and the others' packets get lost until they ask for it again (netavark PR 844; seen: 1.4, 13 s).
    Raises PodwatchError where that cannot be done.
    """
    files = installed.networks.read_files().values()
    bridges = {each.bridge for each in setup.networks.values()} if setup else set()
    bridges |= {each.interface for each in files if each.kind in _MANAGED}
    theirs = {each.interface for each in files if each.kind is ContainerClass.UNMANAGED}
    found = links.read().by_name
    for name in sorted((bridges - theirs) & found.keys()):
        if found[name].kind == "bridge":
            links.keep_mac(found[name])


def _without_lease(installed: Installed) -> tuple[str, ...]:
    """The networks on which a container would get no lease now, as nobody listens for it."""
    networks, proxy = installed.networks.read_proxy()
    if networks and path_exists(proxy.path) and is_listening(proxy.path):
        return ()
    return networks
