# SPDX-License-Identifier: Apache-2.0
"""The gates of a reload: what has to be there so that it costs no container its network."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from podwatch.adapters import aardvark, kernel, links
from podwatch.adapters.unixsocket import is_listening, path_exists
from podwatch.daemon.installed import Installed
from podwatch.decide import reload_gates
from podwatch.words.gates import Gates
from podwatch.words.links import Link, Links
from podwatch.words.names import Place
from podwatch.words.network import ContainerClass, Setup

_MANAGED = (ContainerClass.BRIDGE, ContainerClass.INTERNAL)


def shut_gates(
    setup: Setup | None,
    installed: Installed,
    *,
    proc: Path = aardvark.PROC,
    bound: Callable[[], Collection[Place]] = aardvark.read_sockets,
) -> Mapping[str, str]:
    """The networks whose containers must not be reloaded now, by name, each with the reason.

    Raises Unreadable where that cannot be told: then nobody is to be reloaded.
    """
    rootless = installed.paths.rootless
    if rootless is not None and (why := installed.forbids(rootless)):
        names = {endpoint.network_name for endpoint in setup.endpoints} if setup else set()
        return dict.fromkeys({*names, *installed.networks.read_files()}, why)
    server = aardvark.Aardvark(installed.paths.aardvark, proc, sockets=dict).read(scan=True)
    ports = () if setup is None else [endpoint.dns_port for endpoint in setup.endpoints]
    gates = Gates(
        links.read(),
        installed.networks.read_files(),
        server,
        frozenset(ports) or frozenset({53}),
        frozenset() if server is None or server.is_alive else frozenset(bound()),
        kernel.default_link(),
        _without_lease(installed),
    )
    return reload_gates.shut(gates)


def keep_macs(
    setup: Setup | None,
    installed: Installed,
    *,
    read: Callable[[], Links] = links.read,
    keep: Callable[[Link], None] = links.keep_mac,
) -> None:
    """Have Podman's bridges keep their MACs while their containers come and go.

    netavark before 1.9 gives a bridge none: its MAC changes with the reload of one container,
    and the others' packets get lost until they ask for it again (netavark PR 844; seen: 1.4, 13 s).
    Raises PodwatchError where that cannot be done.
    """
    files = installed.networks.read_files().values()
    bridges = {network.bridge for network in setup.networks.values()} if setup else set()
    bridges |= {file.interface for file in files if file.kind in _MANAGED}
    theirs = {file.interface for file in files if file.kind is ContainerClass.UNMANAGED}
    found = read().by_name
    for name in sorted((bridges - theirs) & found.keys()):
        if found[name].kind == "bridge":
            keep(found[name])


def _without_lease(installed: Installed) -> tuple[str, ...]:
    """The networks on which a container would get no lease now, as nobody listens for it."""
    networks, proxy = installed.networks.read_proxy()
    if networks and path_exists(proxy.path) and is_listening(proxy.path):
        return ()
    return networks
