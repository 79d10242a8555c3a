# SPDX-License-Identifier: Apache-2.0
"""Who holds addresses, and whose network namespace is looked into."""

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from podwatch.daemon.containers import Containers
from podwatch.daemon.inside import Inside
from podwatch.words.errors import LinksUnreadable
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Inner, Link, Links
from podwatch.words.network import Container, ContainerClass, ContainerState
from podwatch.words.snapshot import Part, Unknown
from tests.unit.formats import bolt

ME = os.getpid()
"""A process that lives."""

ADDRESS = ip_address("10.93.0.2")
LAN = NetworkFile("lan", ContainerClass.MACVLAN, "eth1")
INNER = NetworkFile("in", ContainerClass.INTERNAL, "podman3")


class Host:
    """A host of these containers; the kernel numbers each namespace as its inode, plus 100."""

    stamp = 1
    asks_podman = False

    def __init__(self, path: Path, *listed: Container) -> None:
        self.listed = {container.id: container for container in listed}
        self.asked: list[set[int]] = []
        self.wanted: list[set[int]] = []
        self.refuses = False
        self.now = 1000.0
        self.inside = Inside(Links, self.look, lambda: self.now, numbers=self.number)
        installed: Any = SimpleNamespace(
            podman=SimpleNamespace(runtime_stamp=lambda: 1),
            networks=SimpleNamespace(read_files=lambda: {"lan": LAN, "in": INNER}),
            paths=SimpleNamespace(addresses=path),
        )
        expected: Any = self
        self.containers = Containers(expected, installed, lambda: 1, inside=self.inside)
        asyncio.run(self.containers.ask())

    async def list_containers(self) -> dict[str, Container]:
        """podman's list."""
        return self.listed

    def number(self, inodes: Collection[int]) -> dict[int, int]:
        """The numbers of namespaces."""
        if self.refuses:
            raise LinksUnreadable("no")
        self.wanted.append(set(inodes))
        return {inode: inode + 100 for inode in inodes}

    def look(self, numbers: Iterable[int]) -> Mapping[int, tuple[Inner, ...]]:
        """What is in them."""
        self.asked.append(set(numbers))
        return dict.fromkeys(numbers, ())


def up(key: str, *networks: str, pid: int = ME, netns: str = "7") -> Container:
    """A container that is up."""
    return Container(key, key, networks=networks, pid=pid, netns=netns)


def test_who_holds_an_address_has_a_process(tmp_path: Path) -> None:
    """Neither who has ended for podman, nor whose process is gone, nor who is not listed."""
    path = tmp_path / "ipam.db"
    holders = {key: [str(ADDRESS)] for key in ("alive", "dead", "ended", "strange")}
    path.write_bytes(bolt.database({"in": holders, "none": {}}))
    ended = Container("ended", "ended", ContainerState.ENDED, pid=ME)
    host = Host(path, up("alive"), up("dead", pid=0), ended)
    unknown: list[Unknown] = []

    assert host.containers.held(unknown) == {"in": {"alive": (ADDRESS,)}, "none": {}}
    assert unknown == []


def test_a_database_that_makes_no_sense_is_unknown(tmp_path: Path) -> None:
    """It makes the links unknown, and nothing else; one that is not there makes nothing so."""
    path = tmp_path / "ipam.db"
    host = Host(path, up("alive"))
    unknown: list[Unknown] = []
    assert (host.containers.held(unknown), unknown) == ({}, [])
    path.write_bytes(b"?")
    assert host.containers.held(unknown) == {}
    assert [(one.part, one.what) for one in unknown] == [(Part.LINKS, "podman's addresses")]


def test_only_who_is_on_top_of_a_parent_is_numbered(tmp_path: Path) -> None:
    """Those behind a veth have a number; of one whose process is gone the inode says nothing."""
    host = Host(
        tmp_path / "none",
        up("tv", "lan", netns="7"),
        up("web", "in", netns="8"),
        up("both", "in", "lan", netns="9"),
        up("dead", "lan", pid=0, netns="10"),
        up("odd", "lan", netns=""),
    )
    assert host.containers.numbers([]) == {"tv": 107, "both": 109}
    assert host.wanted == [{7, 9}]


def test_without_such_a_network_nobody_is_asked(tmp_path: Path) -> None:
    """A host without macvlan costs nothing."""
    host = Host(tmp_path / "none", up("web", "in"))
    assert host.containers.numbers([]) == {}
    assert host.wanted == []


def test_a_kernel_that_does_not_number_is_told(tmp_path: Path) -> None:
    """It is unknown what is in such a namespace."""
    host = Host(tmp_path / "none", up("tv", "lan"))
    host.refuses = True
    unknown: list[Unknown] = []
    assert host.containers.numbers(unknown) == {}
    assert [one.part for one in unknown] == [Part.LINKS]


def test_what_is_on_top_of_a_parent_is_looked_at_again_when_that_changes(tmp_path: Path) -> None:
    """It was deleted and made anew, or set down and up: what was seen before says nothing."""
    host = Host(tmp_path / "none", up("tv", "lan"))
    numbers = host.containers.numbers([])
    eth1 = Link("eth1", 3)

    def look(link: Link) -> list[set[int]]:
        links = Links({link.name: link, "eth0": Link("eth0", 2)})
        host.asked.clear()
        found = host.containers.namespaces(links, numbers, [], kept_s=60.0)
        assert found == {107: ()}
        return list(host.asked)

    assert look(eth1) == [{107}]
    host.now += 10  # it is not young any more
    assert look(eth1) == [{107}]
    assert look(eth1) == []
    assert look(Link("eth1", 9)) == [{107}]


def test_where_no_link_is_known_nothing_is_looked_into(tmp_path: Path) -> None:
    """Without the host's links nothing says what is in a namespace."""
    host = Host(tmp_path / "none", up("tv", "lan"))
    assert host.containers.namespaces(None, {"tv": 107}, [], kept_s=60.0) is None
    assert host.asked == []
