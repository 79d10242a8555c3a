# SPDX-License-Identifier: Apache-2.0
"""The gates of a reload: which bridges keep their MACs, and who would get no lease."""

import os
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon.gates import keep_macs, shut_gates
from podwatch.daemon.installed import Installed
from podwatch.words.dhcp import PROXIES, Backend, Proxy
from podwatch.words.errors import LinksUnreadable
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Link, Links
from podwatch.words.network import (
    Address,
    ContainerClass,
    Endpoint,
    FirewallDriver,
    Network,
    Setup,
)

SETUP = Setup(FirewallDriver.NFTABLES, {"a": Network("a", "podman7", ())})
LINKS = Links(
    {
        name: Link(name, number, kind=kind)
        for number, (name, kind) in enumerate(
            [
                ("br-lan", "bridge"),
                ("eth0", ""),
                ("podman0", "bridge"),
                ("podman1", "bridge"),
                ("podman2", "veth"),
                ("podman7", "bridge"),
            ]
        )
    }
)


class FakeNetworks:
    """The files of a Podman's networks; stands in for adapters.podman_networks.PodmanNetworks."""

    def __init__(self, *files: NetworkFile, leased: tuple[str, ...] = (), path: str = "") -> None:
        self.files, self.leased = files, leased
        known = PROXIES[Backend.NETAVARK]
        self.proxy = Proxy(known.socket, known.service, path, known.package)

    def read_files(self) -> Mapping[str, NetworkFile]:
        """Each network by its name."""
        return {file.name: file for file in self.files}

    def read_proxy(self) -> tuple[tuple[str, ...], Proxy]:
        """Who wants a lease, and from whom."""
        return self.leased, self.proxy


def installed(networks: FakeNetworks, nowhere: Path) -> Installed:
    """A Podman with these networks, that never served a name."""
    files: Any = networks
    unused: Any = None
    return Installed(Paths(aardvark=nowhere / "dns"), unused, unused, files, unused)


def kept(networks: FakeNetworks, nowhere: Path, setup: Setup | None = SETUP) -> list[str]:
    """The links that are given the MAC they have, in order."""
    found: list[str] = []
    podman = installed(networks, nowhere)
    keep_macs(setup, podman, read=lambda: LINKS, keep=lambda link: found.append(link.name))
    return found


def test_every_bridge_of_podmans_keeps_its_mac(tmp_path: Path) -> None:
    """Those set up, and those of networks with a file; what is there and is a bridge."""
    networks = FakeNetworks(
        NetworkFile("one", ContainerClass.BRIDGE, "podman1"),
        NetworkFile("inner", ContainerClass.INTERNAL, "podman0"),
        NetworkFile("odd", ContainerClass.BRIDGE, "podman2"),
        NetworkFile("away", ContainerClass.BRIDGE, "podman9"),
        NetworkFile("wide", ContainerClass.MACVLAN, "eth0"),
    )
    assert kept(networks, tmp_path) == ["podman0", "podman1", "podman7"]
    assert kept(networks, tmp_path, None) == ["podman0", "podman1"]


def test_a_bridge_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Podman only attaches to it, whatever else names it."""
    networks = FakeNetworks(
        NetworkFile("lan", ContainerClass.UNMANAGED, "br-lan"),
        NetworkFile("also", ContainerClass.BRIDGE, "br-lan"),
        NetworkFile("mine", ContainerClass.UNMANAGED, "podman7"),
    )
    assert kept(networks, tmp_path) == []


def test_links_that_cannot_be_read_keep_nothing(tmp_path: Path) -> None:
    """The caller hears of it: then nobody is to be reloaded."""

    def unreadable() -> Links:
        raise LinksUnreadable("the kernel does not tell")

    with pytest.raises(LinksUnreadable):
        keep_macs(SETUP, installed(FakeNetworks(), tmp_path), read=unreadable)


HERE = ip_address("127.0.0.1")
"""An address that every host has."""


def names_shut(
    nowhere: Path, setup: Setup | None, *taken: int, pid: str = "", asked: int = 1
) -> list[str]:
    """Whose gates are shut, where aardvark-dns serves the network `app` and these ports are taken.

    `pid` is what its pid file says; process 7 is the one that serves. Who has the ports is asked
    `asked` times.
    """
    directory, proc, questions = nowhere / "dns", nowhere / "proc", 0
    (proc / "7").mkdir(parents=True, exist_ok=True)
    (proc / "7" / "comm").write_text("aardvark-dns\n")
    (proc / "7" / "cmdline").write_bytes(f"aardvark-dns\0--config\0{directory}\0run\0".encode())
    (proc / "7" / "status").write_text(f"Uid:\t{os.geteuid()}\t0\t0\t0\nNSpid:\t7\n")
    directory.mkdir(exist_ok=True)
    (directory / "app").write_text(f"{HERE}\n8eb3 {HERE} web\n")
    (directory / "aardvark.pid").write_text(pid)

    def bound() -> frozenset[tuple[Address, int]]:
        nonlocal questions
        questions += 1
        return frozenset((HERE, port) for port in taken)

    podman = installed(FakeNetworks(), nowhere)
    found = shut_gates(setup, podman, proc=proc, bound=bound)
    assert questions == asked
    return list(found)


def test_a_taken_port_of_dns_shuts_the_networks_that_need_it(tmp_path: Path) -> None:
    """It is the port of those that are set up, or 53: a server that starts would fail there."""
    served = Endpoint("b" * 64, "a", "app", (), dns_port=1053)
    at_1053 = Setup(FirewallDriver.NFTABLES, {}, (served,))
    nobody = Setup(FirewallDriver.NFTABLES)

    assert names_shut(tmp_path, at_1053, 1053) == ["app"]
    assert names_shut(tmp_path, at_1053, 53, 1054) == []
    for setup in (None, nobody):
        assert names_shut(tmp_path, setup, 53) == ["app"]
        assert names_shut(tmp_path, setup, 54, 1053) == []


def test_who_has_the_ports_is_asked_only_where_a_server_would_start(tmp_path: Path) -> None:
    """A server that netavark will find has them itself; without its files there is none at all."""
    assert names_shut(tmp_path, SETUP, 53, pid="7", asked=0) == []
    assert names_shut(tmp_path, SETUP, 53, pid="8") == ["app"]

    def asked() -> frozenset[tuple[Address, int]]:
        raise AssertionError("nobody has to know")

    podman = installed(FakeNetworks(), tmp_path / "elsewhere")
    assert shut_gates(SETUP, podman, bound=asked) == {}


def leased(nowhere: Path, path: Path) -> list[str]:
    """Whose gates are shut, where one network wants leases and the proxy's socket is this one."""
    file = NetworkFile("lan", ContainerClass.MACVLAN, "lo")
    return list(
        shut_gates(SETUP, installed(FakeNetworks(file, leased=("lan",), path=str(path)), nowhere))
    )


def test_a_network_is_shut_unless_its_proxy_listens(tmp_path: Path) -> None:
    """A container on it would get no lease: without a socket, a listener, or a way to him."""
    path = tmp_path / "socket"
    assert leased(tmp_path, path) == ["lan"]
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.bind(str(path))
        assert leased(tmp_path, path) == ["lan"]
        proxy.listen()
        assert leased(tmp_path, path) == []
        path.unlink()
        assert leased(tmp_path, path) == ["lan"]


def test_without_leases_nobody_has_to_listen(tmp_path: Path) -> None:
    """Where no network wants one, the proxy's socket is not looked for."""
    networks = FakeNetworks(NetworkFile("lan", ContainerClass.MACVLAN, "lo"))
    assert shut_gates(SETUP, installed(networks, tmp_path)) == {}
