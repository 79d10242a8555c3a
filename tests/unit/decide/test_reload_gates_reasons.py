# SPDX-License-Identifier: Apache-2.0
"""The gates of a reload, one condition at a time."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from podwatch.decide.reload_gates import shut
from podwatch.words.gates import Gates, NetworkFile
from podwatch.words.names import Served
from podwatch.words.network import Address, ContainerClass
from tests.unit.decide.test_reload_gates import ALL, APP, DEAD, NETWORKS, SERVER, V4, V6, without

NOT_THERE = "is not there, on which aardvark-dns has to listen"
HERE, THERE = ip_address("10.89.50.1"), ip_address("10.89.50.9")


def named(served: tuple[Address, ...], gates: Gates = ALL) -> str:
    """Why who is on the network app must not be reloaded, where aardvark-dns has these of it."""
    server = replace(DEAD, served=(Served("app", "/run/app", served),))
    return shut(replace(gates, server=server)).get("app", "")


def test_where_nothing_is_served_the_pid_file_does_not_matter() -> None:
    """netavark tells aardvark-dns nothing then, whoever has the number."""
    assert shut(replace(ALL, server=replace(DEAD, name="postgres", served=()))) == {}


def test_two_reasons_are_named_and_the_others_counted() -> None:
    """What has to be mended first is what a person can read."""
    gone = without("10.89.50.1", "fd50::1", "10.89.51.1")
    found = shut(replace(ALL, links=gone))["app"]

    assert found.count(NOT_THERE) == 2
    assert found.endswith("; and 1 more")
    assert "more" not in shut(replace(ALL, links=without("10.89.50.1", "fd50::1")))["app"]


def test_who_will_ask_names_is_held_back_before_there_is_a_file() -> None:
    """A network that asks for names, and that aardvark-dns has no file of yet."""
    fresh = NetworkFile("fresh", ContainerClass.BRIDGE, "podman3", asks_names=True)
    gates = replace(ALL, networks={**NETWORKS, "fresh": fresh}, links=without("fd50::1"))

    assert shut(gates).keys() == {"app", "site", "fresh"}
    one = replace(SERVER, served=(SERVER.served[0],))
    assert shut(replace(gates, server=one, networks={"fresh": fresh})).keys() == {"app", "fresh"}


def test_a_network_without_a_file_may_be_in_use() -> None:
    """Where podman's file of a network is gone, nothing says that aardvark-dns can do without."""
    networks = {name: network for name, network in NETWORKS.items() if name != "app"}
    found = shut(replace(ALL, networks=networks, links=without("fd50::1")))

    assert (
        found["app"] == f"fd50::1 of network app {NOT_THERE}: if the network is gone, rm /run/app"
    )


@pytest.mark.parametrize(
    ("served", "taken", "port", "is_open"),
    [
        ((V4,), V4, 53, False),
        ((V4,), V4, 5353, True),
        ((V4,), ip_address("127.0.0.53"), 53, True),
        ((V4,), IPv4Address(0), 53, False),
        ((V4,), IPv4Address(0), 5353, True),
        ((V4,), ip_address("::"), 53, False),
        ((V6,), IPv4Address(0), 53, True),
        ((V6,), ip_address("::"), 53, False),
        ((V6,), ip_address("::"), 5353, True),
    ],
)
def test_which_sockets_take_the_port(
    served: tuple[Address, ...],
    taken: Address,
    port: int,
    is_open: bool,  # noqa: FBT001
) -> None:
    """One on the address itself, or on all addresses of its family; on :: of both."""
    found = named(served, replace(ALL, bound=frozenset({(taken, port)})))

    what = f"aardvark-dns does not run, and port 53 of {served[0]} is taken"
    assert found == ("" if is_open else f"{what}: ss -lnup 'sport = :53'")


def test_the_lowest_port_that_is_taken_is_named() -> None:
    """Of those that Podman's networks have their name server on."""
    bound = frozenset({(V4, 1053), (V4, 53)})
    gates = replace(ALL, bound=bound, dns_ports=frozenset({1053, 53}))

    assert "port 53 of" in named((V4,), gates)
    assert "port 1053 of" in named((V4,), replace(gates, bound=frozenset({(V4, 1053)})))


@pytest.mark.parametrize(
    ("network", "address", "advice"),
    [
        (APP, THERE, "ip addr add 10.89.50.9/24 dev podman1 brd +"),
        (APP, ip_address("fd50::9"), "ip addr add fd50::9/64 dev podman1 nodad"),
        (APP, ip_address("192.0.2.1"), "ip addr add 192.0.2.1/32 dev podman1 brd +"),
        (APP, ip_address("2001:db8::1"), "ip addr add 2001:db8::1/128 dev podman1 nodad"),
        (replace(APP, interface=""), THERE, "if the network is gone, rm /run/app"),
        (
            replace(APP, interface="podman9"),
            THERE,
            "as there is no bridge podman9: restart its containers, or if it has none, rm /run/app",
        ),
    ],
    ids=["v4", "v6", "v4 of no subnet", "v6 of no subnet", "no bridge named", "no bridge"],
)
def test_how_an_address_comes_back(network: NetworkFile, address: Address, advice: str) -> None:
    """The command has the prefix of the subnet, or that of the address alone."""
    gates = replace(ALL, networks={"app": network})

    assert named((HERE,), gates) == ""
    assert named((address,), gates).endswith(advice)


def test_the_parent_that_is_not_there_is_named() -> None:
    """With what brings it back; that of the default route has no name."""
    lan = NETWORKS["lan"]
    gone = replace(ALL, networks={"lan": replace(lan, interface="eth9")})
    by_route = replace(ALL, networks={"lan": replace(lan, interface="")}, default_link="")
    vlan = replace(lan, kind=ContainerClass.IPVLAN, interface="eth9")

    assert shut(gone)["lan"] == (
        "on network lan, whose parent eth9 is not there: a reload would cost it its interface; "
        "bring eth9 back (ip link), or name another one in the network"
    )
    assert shut(by_route)["lan"] == (
        "on network lan, whose parent is the interface of the default route, and there is none "
        "(ip route)"
    )
    assert shut(replace(ALL, networks={"vlan": vlan})).keys() == {"vlan"}
