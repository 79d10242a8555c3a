# SPDX-License-Identifier: Apache-2.0
"""Changes of links against the real kernel: heard by the watch, made by the orders."""

import asyncio
import subprocess
from ipaddress import ip_interface, ip_network

import pytest

from podwatch.adapters import links
from podwatch.adapters.links import Orders
from podwatch.adapters.links_watch import LinkChange, LinkWatch
from podwatch.adapters.process import Processes
from podwatch.words.cause import Writer
from podwatch.words.errors import RestoreFailed
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

MAX_TRIES = 500
V4, V6 = ip_interface("10.89.0.1/24"), ip_interface("fd89::1/64")


def ip(line: str) -> None:
    """Run the real ip."""
    subprocess.run(["ip", *line.split()], check=True, capture_output=True, text=True)


def network() -> None:
    """A bridge with a port, as netavark makes them, and a link of somebody else's."""
    ip("link add podman1 type bridge")
    ip(f"addr add {V4} dev podman1")
    ip(f"addr add {V6} dev podman1 nodad")
    ip("link set podman1 up")
    ip("link add veth0 type veth peer name inside0")
    ip("link set veth0 master podman1 up")
    ip("link set inside0 up")
    ip("link add foreign0 type veth peer name foreign1")


class Heard:
    """What a watch rang for."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Writer | None]] = []
        self.overruns = 0

    def change(self, told: str, asker: Writer | None, change: LinkChange) -> None:
        """A change; it is of the kind that the words say."""
        is_gone = told.split()[1:] == ["was", "deleted"]
        assert (change is LinkChange.GONE) == is_gone
        assert (change is LinkChange.LOST) == (told.endswith("deleted") and not is_gone)
        assert (change is LinkChange.CAME) == told.endswith("added")
        self.told.append((told, asker))

    def overrun(self) -> None:
        """Lost messages."""
        self.overruns += 1


FAULTS = [
    ("link set podman1 down", "podman1 was set down"),
    ("addr flush dev podman1", "an address or route of podman1 was deleted"),
    ("route flush dev podman1", "an address or route of podman1 was deleted"),
    ("link set veth0 nomaster", "veth0 was taken off its bridge"),
    ("link set veth0 down", "veth0 was set down"),
    ("link set inside0 down", "veth0 lost its carrier"),
    ("link del veth0", "veth0 was deleted"),
    ("link del podman1", "podman1 was deleted"),
    ("link set veth0 type bridge_slave isolated on", "veth0 was isolated on its bridge"),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[fault for fault, _ in FAULTS])
@in_private_network
def test_a_change_of_a_link_that_is_followed_rings(fault: str, told: str) -> None:
    """Each fault of a bridge or its port is told in words."""
    network()

    async def body() -> None:
        heard = Heard()
        watch = LinkWatch(heard.change, heard.overrun, identify=Processes().asker)
        watch.attach(asyncio.get_running_loop())
        watch.follow(links.read(), {"podman1"}, awaits=False)
        watch.changes()
        assert heard.told == []
        ip(fault)
        for _ in range(MAX_TRIES):  # the kernel tells of a carrier up to a second later
            watch.changes()
            if told in [what for what, _ in heard.told]:
                break
            await asyncio.sleep(0.01)
        assert told in [what for what, _ in heard.told]
        watch.close()

    asyncio.run(body())


@in_private_network
def test_the_kernel_names_who_deletes_an_ipv4_address_alone() -> None:
    """Who deletes one of IPv6 it tells nobody."""
    network()

    async def body() -> None:
        heard = Heard()
        asker = Writer("ip", 7)
        watch = LinkWatch(heard.change, heard.overrun, identify=lambda _: asker)
        watch.attach(asyncio.get_running_loop())
        for address, named in (("10.77.0.1/24", {asker, None}), ("fd77::1/64", {None})):
            ip(f"addr add {address} dev podman1 nodad")
            heard.told.clear()
            watch.follow(links.read(), {"podman1"}, awaits=False)
            ip(f"addr del {address} dev podman1")
            watch.changes()
            assert {who for _, who in heard.told} == named
        watch.close()

    asyncio.run(body())


@in_private_network
def test_a_link_local_address_counts_of_a_bridge_alone() -> None:
    """Each link has one, and each port of a container's loses its own when it stops."""
    network()
    for name in ("podman1", "veth0", "foreign0"):
        ip(f"link set {name} up")
        ip(f"addr add fe80::7/64 dev {name} nodad")

    async def body() -> None:
        heard, routes = Heard(), [0]
        watch = LinkWatch(heard.change, heard.overrun, lambda: routes.append(1))
        watch.attach(asyncio.get_running_loop())
        watch.follow(links.read(), {"podman1"}, awaits=False)
        for name in ("veth0", "foreign0"):
            ip(f"addr del fe80::7/64 dev {name}")
        watch.changes()
        assert (heard.told, routes) == ([], [0])
        ip("addr del fe80::7/64 dev podman1")
        watch.changes()
        assert [what for what, _ in heard.told] == ["an address or route of podman1 was deleted"]
        watch.close()

    asyncio.run(body())


@in_private_network
def test_links_of_others_are_counted_and_do_not_ring() -> None:
    """The next look lists the links anew; nobody is woken for them."""
    network()

    async def body() -> None:
        heard = Heard()
        watch = LinkWatch(heard.change, heard.overrun)
        assert watch.changes() is None
        watch.attach(asyncio.get_running_loop())
        watch.follow(links.read(), {"podman1"}, awaits=False)
        before = watch.changes()
        for line in (
            "link set foreign0 up",
            "addr add 10.1.0.1/24 dev foreign0",
            "link del foreign0",
        ):
            ip(line)
        assert before is not None
        assert (watch.changes() or 0) > before
        assert (heard.told, heard.overruns) == ([], 0)
        watch.close()

    asyncio.run(body())


@in_private_network
def test_routes_of_others_are_told_apart() -> None:
    """A route, an address or a rule of others may take containers' packets away."""
    network()
    ip("link set foreign0 up")

    async def body() -> None:
        heard, routes = Heard(), [0]

        def on_route() -> None:
            routes[0] += 1

        watch = LinkWatch(heard.change, heard.overrun, on_route)
        watch.attach(asyncio.get_running_loop())
        watch.follow(links.read(), {"podman1"}, awaits=False)
        for line in (
            "addr add 10.1.0.1/24 dev foreign0",
            "route add 10.89.0.0/25 via 10.1.0.2",
            "rule add to 10.89.0.0/24 unreachable",
            "-6 rule add to fd89::/64 unreachable",
        ):
            before = routes[0]
            ip(line)
            watch.changes()
            assert routes[0] > before, line
        assert heard.told == []
        watch.close()

    asyncio.run(body())


@in_private_network
def test_a_port_isolated_by_bridge_rings() -> None:
    """bridge(8) makes the kernel tell of it in the words of bridges alone."""
    network()

    async def body() -> None:
        heard = Heard()
        watch = LinkWatch(heard.change, heard.overrun)
        watch.attach(asyncio.get_running_loop())
        watch.follow(links.read(), {"podman1"}, awaits=False)
        subprocess.run("bridge link set dev veth0 isolated on".split(), check=True)
        watch.changes()
        assert [told for told, _ in heard.told] == ["veth0 was isolated on its bridge"]
        watch.close()

    asyncio.run(body())


@in_private_network
def test_a_bridge_that_comes_back_rings() -> None:
    """One that is expected and not there is followed by its name."""

    async def body() -> None:
        heard = Heard()
        watch = LinkWatch(heard.change, heard.overrun)
        watch.attach(asyncio.get_running_loop())
        watch.follow(links.read(), {"podman1"}, awaits=False)
        ip("link add podman1 type bridge")
        ip("link add podman2 type bridge")
        watch.changes()
        assert {told for told, _ in heard.told} == {"podman1 was made"}
        watch.close()

    asyncio.run(body())


@in_private_network
def test_an_address_that_comes_is_news_while_one_is_awaited() -> None:
    """Where nothing is missing it is none."""
    network()

    async def body() -> None:
        heard = Heard()
        watch = LinkWatch(heard.change, heard.overrun)
        watch.attach(asyncio.get_running_loop())
        for awaits, told in ((False, 0), (True, 1)):
            watch.follow(links.read(), {"podman1"}, awaits=awaits)
            ip(f"addr add 10.77.{told}.1/32 dev podman1")
            watch.changes()
            assert len(heard.told) == told
        watch.close()

    asyncio.run(body())


@in_private_network
def test_what_was_deleted_is_made_again() -> None:
    """Bridge with its MAC, addresses, route and port are as before; each order is no harm twice."""
    network()
    before = links.read()
    ip("link del podman1")
    with Orders() as orders:
        for _ in range(2):
            orders.make_bridge("podman1", before.by_name["podman1"].mac)
            orders.set_up("podman1")
            orders.add_address("podman1", V4)
            orders.add_address("podman1", V6)
            orders.join("veth0", "podman1")
        ip("route flush dev podman1")
        ip("-6 route flush dev podman1")
        orders.add_route("podman1", V4)
        orders.add_route("podman1", V6)
        found = links.read()
        assert found.by_name["podman1"].mac == before.by_name["podman1"].mac
        assert {V4, V6} <= set(found.addresses["podman1"])
        assert found.routes[ip_network("10.89.0.0/24")] == ("podman1",)
        assert found.routes[ip_network("fd89::/64")] == ("podman1",)
        assert found.by_name["veth0"].master == "podman1"
        ip("link set veth0 down")
        ip("link set veth0 type bridge_slave isolated on")
        assert links.read().by_name["veth0"].isolated
        orders.unisolate("veth0")
        orders.set_up("veth0")
        assert not links.read().by_name["veth0"].isolated
        assert links.read().by_name["veth0"].is_up


@in_private_network
def test_an_ipv6_address_of_another_length_is_replaced() -> None:
    """The kernel refuses to have one twice: the other goes before."""
    network()
    ip(f"addr del {V6} dev podman1")
    ip("addr add fd89::1/128 dev podman1")
    with Orders() as orders:
        orders.add_address("podman1", V6)
    found = links.read().addresses["podman1"]
    assert V6 in found
    assert ip_interface("fd89::1/128") not in found


@in_private_network
def test_what_cannot_be_done_says_how_a_person_would() -> None:
    """A link that is gone, or an address that the kernel refuses."""
    network()
    with Orders() as orders:
        with pytest.raises(RestoreFailed, match="no link nobody0"):
            orders.set_up("nobody0")
        with pytest.raises(RestoreFailed, match="cannot put foreign0 on veth0") as raised:
            orders.join("foreign0", "veth0")
    assert raised.value.hint == "ip link set foreign0 master veth0"
