# SPDX-License-Identifier: Apache-2.0
"""What stands in the way: of containers' packets, chains of others; of a reload, its gates."""

from collections.abc import Collection, Iterable, Mapping

from podwatch.adapters import aardvark, links, podman_networks
from podwatch.adapters.kernel import default_link
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import chain_exists
from podwatch.adapters.unixsocket import is_listening, path_exists
from podwatch.decide import reload_gates
from podwatch.drivers import forwarding
from podwatch.drivers.proc_net import parse_chains
from podwatch.words.errors import Unreadable
from podwatch.words.gates import Gates
from podwatch.words.network import ContainerClass, Setup
from podwatch.words.way import BaseChain

_MOST_TABLES = 16
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


def is_there(chain: BaseChain) -> bool:
    """Whether a chain is still in the kernel; it is where the kernel does not tell."""
    family, _, table = chain.table.partition(" ")
    try:
        return chain_exists(family, table, chain.name)
    except Unreadable:
        return True


def shut_gates(setup: Setup | None) -> Mapping[str, str]:
    """The networks whose containers must not be reloaded now, by name, each with the reason.

    Raises Unreadable where that cannot be told: then nobody is to be reloaded.
    """
    server = aardvark.read_server()
    ports = () if setup is None else [each.dns_port for each in setup.endpoints]
    gates = Gates(
        links.read(),
        podman_networks.read_files(),
        server,
        frozenset(ports) or frozenset({53}),
        frozenset() if server is None or server.is_alive else aardvark.read_bound(),
        default_link(),
        _without_lease(),
    )
    return reload_gates.shut(gates)


def keep_macs(setup: Setup | None) -> None:
    """Have Podman's bridges keep their MACs while their containers come and go.

    netavark before 1.9 gives a bridge none: it is another one after the reload of one container,
    and the others' packets get lost until they ask for it again (netavark PR 844; seen: 1.4, 13 s).
    Raises PodwatchError where that cannot be done.
    """
    files = podman_networks.read_files().values()
    bridges = {each.bridge for each in setup.networks.values()} if setup else set()
    bridges |= {each.interface for each in files if each.kind in _MANAGED}
    theirs = {each.interface for each in files if each.kind is ContainerClass.UNMANAGED}
    found = links.read().by_name
    for name in sorted((bridges - theirs) & found.keys()):
        if found[name].kind == "bridge":
            links.keep_mac(found[name])


def _without_lease() -> tuple[str, ...]:
    """The networks on which a container would get no lease now, as nobody listens for it."""
    networks, proxy = podman_networks.read_proxy()
    if networks and path_exists(proxy.path) and is_listening(proxy.path):
        return ()
    return networks
