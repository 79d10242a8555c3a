# SPDX-License-Identifier: Apache-2.0
"""When the host's links are listed."""

from collections.abc import Collection
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from podwatch.daemon.wires import Wires
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Link, Links
from podwatch.words.network import Endpoint, FirewallDriver, Interface, Setup
from podwatch.words.snapshot import Part, Unknown

HOST = Links({"podman0": Link("podman0", 3)})


class Kernel:
    """It lists HOST, or refuses, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = False
        self.addresses: dict[str, tuple[Interface, ...]] = {}

    def read(self) -> Links:
        """The links."""
        self.asked += 1
        if self.refuses:
            raise LinksUnreadable("cannot list links: no answer in time")
        return replace(HOST, addresses=self.addresses)


class Told:
    """A watch that was told of so many changes."""

    def __init__(self, told: list[int]) -> None:
        self._told = told
        self.followed: list[tuple[Links, set[str], bool]] = []

    def changes(self) -> int:
        """So many."""
        return self._told[0]

    def follow(self, links: Links, bridges: Collection[str], *, awaits: bool) -> None:
        """Keep what is followed."""
        self.followed.append((links, set(bridges), awaits))


def test_links_are_listed_again_only_after_the_kernel_told_of_a_change() -> None:
    """Two looks between which nothing was told list them once; a message makes another listing."""
    kernel, told, unknown = Kernel(), [7], list[Unknown]()
    wires = Wires(Told(told), kernel.read)
    assert [wires.read(unknown), wires.read(unknown)] == [HOST, HOST]
    assert kernel.asked == 1
    told[0] = 8
    wires.read(unknown)
    assert (kernel.asked, unknown) == (2, [])


def test_where_nobody_listens_each_look_lists_the_links() -> None:
    """Without a watch nothing says that they are the same."""
    kernel = Kernel()
    wires = Wires(read=kernel.read)
    wires.read([])
    wires.read([])
    assert kernel.asked == 2


def test_a_kernel_that_does_not_tell_makes_the_links_unknown() -> None:
    """What was listed before is not taken for what is there now, and is listed anew later."""
    kernel, unknown = Kernel(), list[Unknown]()
    told = [1]
    wires = Wires(Told(told), kernel.read)
    wires.read(unknown)
    kernel.refuses, told[0] = True, 2
    assert wires.read(unknown) is None
    assert [(part.part, part.why) for part in unknown] == [
        (Part.LINKS, "cannot list links: no answer in time")
    ]
    kernel.refuses, told[0] = False, 1
    assert wires.read([]) == HOST
    assert kernel.asked == 3


def test_what_was_read_last_is_what_is_followed() -> None:
    """Nothing is followed before it was read."""
    watch = Told([1])
    wires = Wires(watch, Kernel().read)
    wires.follow({"podman0"}, awaits=False)
    wires.read([])
    wires.follow({"podman0"}, awaits=True)
    assert watch.followed == [(HOST, {"podman0"}, True)]
    Wires(None, Kernel().read).follow({"podman0"}, awaits=True)


def test_a_bridge_that_is_gone_keeps_its_mac_in_mind() -> None:
    """It is made again with the one that its neighbours know."""
    there = [Links({"podman0": Link("podman0", 3, kind="bridge", mac="02::1")}), Links()]
    wires = Wires(None, lambda: there.pop(0))
    wires.read([])
    wires.read([])
    assert wires.macs == {"podman0": "02::1"}


def test_an_address_of_a_container_on_the_host_is_news() -> None:
    """That it came and that it went; other addresses are none, and without a change no question."""
    kernel, told = Kernel(), [7]
    wires = Wires(Told(told), kernel.read)
    place = (ip_address("10.88.0.2"), ip_network("10.88.0.0/16"))
    setup = Setup(FirewallDriver.NFTABLES, endpoints=(Endpoint("a", "n", "n", (place,)),))
    assert not wires.are_others(setup), "nothing was read before"
    wires.read([])

    def is_news(*addresses: str) -> bool:
        kernel.addresses = {"lo": tuple(map(ip_interface, addresses))}
        told[0] += 1
        return wires.are_others(setup)

    assert not is_news("192.0.2.1/24")
    assert is_news("192.0.2.1/24", "10.88.0.2/32")
    asked = kernel.asked
    assert not wires.are_others(setup)
    assert kernel.asked == asked
    assert is_news("192.0.2.1/24")
    assert not wires.are_others(None)
    kernel.refuses = True
    assert not is_news("10.88.0.2/32")
