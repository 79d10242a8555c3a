# SPDX-License-Identifier: Apache-2.0
"""What shuts a reload: the name server, the addresses it listens on, the parent of a macvlan."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

import pytest

from podwatch.decide.reload_gates import shut
from podwatch.words.gates import Gates, NetworkFile
from podwatch.words.links import Link, Links
from podwatch.words.names import NameServer, Served
from podwatch.words.network import Address, ContainerClass

V4, V6 = ip_address("10.89.50.1"), ip_address("fd50::1")
APP = NetworkFile(
    "app",
    ContainerClass.BRIDGE,
    "podman1",
    (ip_network("10.89.50.0/24"), ip_network("fd50::/64")),
    asks_names=True,
)
SITE = NetworkFile(
    "site", ContainerClass.BRIDGE, "podman2", (ip_network("10.89.51.0/24"),), asks_names=True
)
PLAIN = NetworkFile("plain", ContainerClass.BRIDGE, "podman3", (ip_network("10.89.52.0/24"),))
LAN = NetworkFile("lan", ContainerClass.MACVLAN, "eth1")
SERVER = NameServer(
    "/run/aardvark.pid",
    247,
    "aardvark-dns",
    (247,),
    (
        Served("app", "/run/app", (V4, V6)),
        Served("site", "/run/site", (ip_address("10.89.51.1"),)),
    ),
)
DEAD = replace(SERVER, name="", running=())
LINKS = Links(
    {name: Link(name, at) for at, name in enumerate(("eth1", "podman1", "podman2", "podman3"))},
    {
        "podman1": (ip_interface("10.89.50.1/24"), ip_interface("fd50::1/64")),
        "podman2": (ip_interface("10.89.51.1/24"),),
    },
)
NETWORKS = {each.name: each for each in (APP, SITE, PLAIN, LAN)}
ALL = Gates(LINKS, NETWORKS, SERVER, default_link="eth0")
NAMES = {"app", "site"}


def without(*addresses: str) -> Links:
    """The host's links with these addresses taken off."""
    kept = {
        name: tuple(each for each in found if str(each.ip) not in addresses)
        for name, found in LINKS.addresses.items()
    }
    return replace(LINKS, addresses=kept)


@pytest.mark.parametrize(
    "gates",
    [
        ALL,
        replace(ALL, server=DEAD),
        replace(ALL, server=replace(DEAD, named=0)),
        replace(ALL, server=None, links=without("10.89.50.1", "fd50::1")),
        replace(ALL, server=replace(DEAD, served=()), links=without("10.89.50.1")),
        replace(ALL, server=replace(DEAD, running=(9,)), bound=frozenset({(V4, 5353)})),
        replace(ALL, bound=frozenset({(V4, 53)})),
    ],
    ids=[
        "all there",
        "aardvark-dns dead and startable",
        "never started",
        "no files of names",
        "files of names without networks",
        "another one, of another host",
        "its own sockets",
    ],
)
def test_it_is_open(gates: Gates) -> None:
    """Where aardvark-dns lives, or can be started, everybody may be reloaded."""
    assert shut(gates) == {}


@pytest.mark.parametrize("server", [SERVER, DEAD], ids=["alive", "dead"])
def test_an_address_that_is_not_there_holds_back_all_that_ask_names(server: NameServer) -> None:
    """Whoever asks aardvark-dns is held back, and the command that mends it told; nobody else."""
    found = shut(replace(ALL, server=server, links=without("fd50::1")))

    assert found.keys() == NAMES
    assert set(found.values()) == {
        "fd50::1 of network app is not there, on which aardvark-dns has to listen: "
        "ip addr add fd50::1/64 dev podman1 nodad"
    }


def test_of_a_bridge_that_is_down_the_link_comes_first() -> None:
    """An IPv6 address on a link that is down cannot be listened on."""
    down = {**LINKS.by_name, "podman1": Link("podman1", 2, is_up=False)}
    found = shut(replace(ALL, links=replace(without("10.89.50.1"), by_name=down)))

    assert found["app"].endswith(
        "ip link set podman1 up; ip addr add 10.89.50.1/24 dev podman1 brd +"
    )


@pytest.mark.parametrize(
    ("networks", "bridges", "advice"),
    [
        ({"site": SITE}, ("podman2",), "if the network is gone, rm /run/app"),
        ({"app": APP}, ("podman2",), "restart its containers, or if it has none, rm /run/app"),
        (
            {"app": replace(APP, kind=ContainerClass.UNMANAGED)},
            ("podman1",),
            "add it to podman1, or give the network another gateway",
        ),
    ],
    ids=["stale file", "no bridge", "unmanaged"],
)
def test_what_is_out_of_use_hinders_a_start_alone(
    networks: dict[str, NetworkFile], bridges: tuple[str, ...], advice: str
) -> None:
    """A running aardvark-dns misses nothing of a network without bridge; one that starts does."""
    links = replace(
        without("10.89.50.1", "fd50::1"), by_name={each: Link(each, 1) for each in bridges}
    )
    gates = replace(ALL, networks=networks, links=links)

    if "app" in networks:
        assert shut(gates) == {}
    assert shut(replace(gates, server=DEAD))["app"].endswith(advice)


def test_a_pid_that_is_somebody_elses() -> None:
    """A reload would send SIGHUP to whoever has the number now."""
    found = shut(replace(ALL, server=replace(DEAD, name="postgres")))

    assert found.keys() == NAMES
    assert "names postgres (pid 247)" in found["app"]
    assert found["app"].endswith("rm /run/aardvark.pid")


@pytest.mark.parametrize("name", ["", "postgres"])
def test_one_that_the_pid_file_does_not_name(name: str) -> None:
    """A second one could not listen: the living pid belongs into the file."""
    server = replace(DEAD, name=name, running=(8106,))
    found = shut(replace(ALL, server=server, bound=frozenset({(V4, 53)})))

    assert found["app"].endswith("printf 8106 > /run/aardvark.pid")


@pytest.mark.parametrize("taken", [V4, IPv4Address(0), IPv6Address(0)], ids=str)
def test_a_port_that_is_taken(taken: Address) -> None:
    """Where another program listens on its port, aardvark-dns cannot start."""
    found = shut(replace(ALL, server=DEAD, bound=frozenset({(taken, 53)})))

    assert found.keys() == NAMES
    assert "port 53 of 10.89.50.1 is taken" in found["app"]


@pytest.mark.parametrize(
    ("parent", "default_link", "held"),
    [("eth1", "", ()), ("eth9", "eth0", ("lan",)), ("", "eth0", ()), ("", "", ("lan",))],
)
def test_a_parent_that_is_not_there(parent: str, default_link: str, held: tuple[str, ...]) -> None:
    """It holds back who is on that network, and nobody else."""
    networks = {**NETWORKS, "lan": replace(LAN, interface=parent)}
    found = shut(replace(ALL, networks=networks, default_link=default_link))

    assert tuple(found) == held


def test_no_lease_and_no_names_are_told_each() -> None:
    """A network without a lease keeps its own reason beside those that lack an address."""
    found = shut(replace(ALL, links=without("fd50::1"), no_lease=("lan",)))

    assert found.keys() == NAMES | {"lan"}
    assert "DHCP proxy" in found["lan"]
