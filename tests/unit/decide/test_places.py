# SPDX-License-Identifier: Apache-2.0
"""Which containers have lost their link, or what is at its other end."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podwatch.decide.places import missing_places
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Inner, Link, Links
from podwatch.words.network import (
    Container,
    ContainerClass,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Interface,
    Network,
    Setup,
)
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind

V4, V6 = ip_interface("10.89.0.2/24"), ip_interface("fd89::2/64")
DB = ip_interface("10.89.0.3/24")
SUBNETS = (ip_network("10.89.0.0/24"), ip_network("fd89::/64"))
APP = Network("n1", "podman1", SUBNETS)
WEB_ON_APP = Endpoint("c1", "n1", "app", ((V4.ip, SUBNETS[0]), (V6.ip, SUBNETS[1])))
DB_ON_APP = Endpoint("c2", "n1", "app", ((DB.ip, SUBNETS[0]),))
SETUP = Setup(FirewallDriver.NFTABLES, {"n1": APP}, (WEB_ON_APP, DB_ON_APP))
BRIDGE = Link("podman1", 5, kind="bridge")
WEB_PORT = Link("veth0", 11, kind="veth", master="podman1", netns_id=1)
DB_PORT = Link("veth1", 12, kind="veth", master="podman1", netns_id=2)
LO = Inner("lo", 1, kind="")
WEB_ETH = Inner("eth0", 2, peer=11, addresses=(V4, V6))
DB_ETH = Inner("eth0", 2, peer=12, addresses=(DB,))
WHOLE = Snapshot(
    SETUP,
    None,
    None,
    containers={"c1": Container("c1", "web"), "c2": Container("c2", "db")},
    links=Links({link.name: link for link in (BRIDGE, WEB_PORT, DB_PORT)}),
    namespaces={1: (LO, WEB_ETH), 2: (LO, DB_ETH)},
)


def lost(snapshot: Snapshot, setup: Setup = SETUP) -> list[tuple[str, str, bool]]:
    """What is missing, of whom, and whether a reload would bring it back."""
    return [(loss.kind, loss.container, loss.reloadable) for loss in found(snapshot, setup)]


def found(snapshot: Snapshot, setup: Setup = SETUP) -> list[Missing]:
    """What is missing."""
    return list(missing_places(setup, snapshot))


def with_links(*links: Link) -> Snapshot:
    """The host with these links alone."""
    return replace(WHOLE, links=Links({link.name: link for link in links}))


def inside(*of_web: Inner) -> Snapshot:
    """The host where web's namespace has these interfaces, and loopback."""
    return replace(WHOLE, namespaces={1: (LO, *of_web), 2: (LO, DB_ETH)})


def test_nothing_is_lost_where_everybody_has_a_link() -> None:
    """Each container's address is in a namespace behind a port of its bridge."""
    assert lost(WHOLE) == []


def test_a_veth_that_is_gone() -> None:
    """Who has no link any more is named, with network and addresses, and a reload is for him."""
    (loss,) = found(
        replace(with_links(BRIDGE, DB_PORT), namespaces={2: (LO, DB_ETH)}),
    )
    assert (loss.kind, loss.container_ids, loss.reloadable) == (MissingKind.VETH, ("c1",), True)
    assert loss.what == (
        "web on network app: its link to podman1 is gone, and with it 10.89.0.2 and fd89::2"
    )


def test_an_interface_that_is_down_inside() -> None:
    """IPv6 addresses go with it: what is told is the interface, once."""
    down = replace(WEB_ETH, is_up=False, addresses=(V4,))
    assert lost(inside(down)) == [(MissingKind.INNER_LINK, "web", True)]


def test_all_addresses_gone_inside() -> None:
    """The interface is there, on the bridge, and in a namespace without anybody's address."""
    (loss,) = found(inside(replace(WEB_ETH, addresses=())))
    assert loss.kind == MissingKind.INNER_ADDRESS
    assert loss.what == "web on network app: its interface has lost 10.89.0.2 and fd89::2"
    assert loss.reloadable


@pytest.mark.parametrize(("left", "reloadable"), [(V4, False), (V6, True)], ids=["v6", "v4"])
def test_one_family_gone_inside(left: Interface, *, reloadable: bool) -> None:
    """IPv4 alone is put back: a container that switched IPv6 off would lose all by a reload."""
    snapshot = inside(replace(WEB_ETH, addresses=(left,)))
    assert lost(snapshot) == [(MissingKind.INNER_ADDRESS, "web", reloadable)]


def test_an_address_that_the_container_moved_is_no_loss() -> None:
    """A container may make a bridge of its own, and give that its address."""
    bare = replace(WEB_ETH, addresses=())
    own = Inner("br0", 3, kind="bridge", addresses=(V4, V6))
    assert lost(inside(bare, own)) == []


def test_a_veth_off_its_bridge_is_another_kind_of_loss() -> None:
    """Netlink puts it back: nobody is reloaded for it, nor for one that is down on the host."""
    off = replace(WEB_PORT, master="")
    wrong = replace(WEB_PORT, master="podman7")
    for port in (off, wrong, replace(WEB_PORT, is_up=False, has_carrier=False)):
        assert lost(with_links(BRIDGE, DB_PORT, port)) == []


def test_a_bridge_that_is_gone_is_another_kind_of_loss() -> None:
    """Who was on it is not told one by one."""
    assert lost(replace(with_links(), namespaces={})) == []


@pytest.mark.parametrize("master", ["podman1", ""])
def test_what_the_kernel_does_not_tell_is_not_lost(master: str) -> None:
    """Behind a port of the bridge, or a veth without one, there may be whom nobody sees."""
    untold = replace(WEB_PORT, master=master)
    snapshot = replace(with_links(BRIDGE, DB_PORT, untold), namespaces={2: (LO, DB_ETH)})
    assert lost(snapshot) == []
    assert lost(replace(snapshot, namespaces={1: (), 2: (LO, DB_ETH)})) == []


def test_a_foreign_namespace_that_cannot_be_seen_hides_nobody() -> None:
    """What is on another bridge says nothing of this one."""
    other = Link("lxc0", 31, kind="veth", master="lxcbr0", netns_id=7)
    snapshot = replace(with_links(BRIDGE, DB_PORT, other), namespaces={2: (LO, DB_ETH)})
    assert lost(snapshot) == [(MissingKind.VETH, "web", True)]


def test_nothing_is_lost_where_nothing_is_seen() -> None:
    """Without the kernel's word nobody has lost anything."""
    assert lost(replace(WHOLE, links=None)) == []
    assert lost(replace(WHOLE, namespaces=None)) == []


def test_the_same_address_in_another_network_is_not_its_own() -> None:
    """Of two namespaces with one address the one on the bridge counts."""
    other = Link("vethx", 31, kind="veth", master="br9", netns_id=9)
    down = replace(WEB_ETH, is_up=False, peer=31)
    snapshot = with_links(BRIDGE, other, DB_PORT, WEB_PORT)
    with_other = {9: (LO, down), 1: (LO, WEB_ETH), 2: (LO, DB_ETH)}
    assert lost(replace(snapshot, namespaces=with_other)) == []


def test_a_container_on_two_networks_loses_one_link() -> None:
    """The link that is left hides nothing: each place is judged by itself."""
    back = Network("n2", "podman2", (ip_network("10.90.0.0/24"),))
    address = ip_interface("10.90.0.2/24")
    on_back = Endpoint("c1", "n2", "back", ((address.ip, back.subnets[0]),))
    setup = replace(SETUP, networks={"n1": APP, "n2": back}, endpoints=(WEB_ON_APP, on_back))
    links = (BRIDGE, WEB_PORT, Link("podman2", 6, kind="bridge"))
    port = Link("veth2", 13, kind="veth", master="podman2", netns_id=1)
    eth1 = Inner("eth1", 3, peer=13, addresses=(address,))
    whole = replace(with_links(*links, port), namespaces={1: (LO, WEB_ETH, eth1)})
    assert lost(whole, setup) == []
    (loss,) = found(replace(with_links(*links), namespaces={1: (LO, WEB_ETH)}), setup)
    assert (loss.kind, loss.network) == (MissingKind.VETH, "back")


INNER_NET = NetworkFile("in", ContainerClass.INTERNAL, "podman3", (ip_network("10.93.0.0/24"),))
ON_INNER = replace(
    WHOLE,
    files={"in": INNER_NET},
    held={"in": {"c3": (ip_address("10.93.0.2"),)}},
    containers={"c3": Container("c3", "secret", networks=("in",))},
    links=Links({"podman3": Link("podman3", 7, kind="bridge")}),
)
EMPTY = Setup(FirewallDriver.NFTABLES)


@pytest.mark.parametrize("kind", [ContainerClass.INTERNAL, ContainerClass.UNMANAGED])
def test_a_network_without_state_has_its_places_from_podmans_database(
    kind: ContainerClass,
) -> None:
    """An internal network's container is known, and missed, without any state on the host."""
    snapshot = replace(ON_INNER, files={"in": replace(INNER_NET, kind=kind)})
    assert lost(snapshot, EMPTY) == [(MissingKind.VETH, "secret", True)]


def test_who_has_left_such_a_network_is_not_missed() -> None:
    """Neither who holds no address any more, nor who holds one and is not on it for podman."""
    assert lost(replace(ON_INNER, held={"in": {}}), EMPTY) == []
    elsewhere = {"c3": Container("c3", "secret", networks=("other",))}
    assert lost(replace(ON_INNER, containers=elsewhere), EMPTY) == []
    assert lost(replace(ON_INNER, containers={}), EMPTY) == []


def test_who_has_state_is_not_missed_twice() -> None:
    """A bridge network's holders are known by their state alone."""
    file = replace(INNER_NET, kind=ContainerClass.BRIDGE)
    assert lost(replace(ON_INNER, files={"in": file}), EMPTY) == []


LAN = NetworkFile("lan", ContainerClass.MACVLAN, "eth1")
ETH1 = Link("eth1", 3)
MACVLAN = Inner("eth0", 2, kind="macvlan", peer=3)
ON_LAN = replace(
    WHOLE,
    files={"lan": LAN},
    containers={"c4": Container("c4", "tv", networks=("lan",))},
    links=Links({"eth1": ETH1}),
    numbers={"c4": 9},
    namespaces={9: (LO, MACVLAN)},
)


@pytest.mark.parametrize("kind", [ContainerClass.MACVLAN, ContainerClass.IPVLAN])
def test_an_interface_on_a_parent(kind: ContainerClass) -> None:
    """It is there, or gone with a parent that is back by now, or down inside."""
    there = replace(MACVLAN, kind=kind.value)
    snapshot = replace(ON_LAN, files={"lan": replace(LAN, kind=kind)})
    assert lost(replace(snapshot, namespaces={9: (LO, there)}), EMPTY) == []
    assert lost(replace(snapshot, namespaces={9: (LO,)}), EMPTY) == [(MissingKind.VETH, "tv", True)]
    down = replace(there, is_up=False)
    assert lost(replace(snapshot, namespaces={9: (LO, down)}), EMPTY) == [
        (MissingKind.INNER_LINK, "tv", True)
    ]


def test_nobody_is_to_be_reloaded_without_the_parent() -> None:
    """While it is not there, or down, the interface is no loss of its own."""
    gone = replace(ON_LAN, namespaces={9: (LO,)})
    assert lost(replace(gone, links=Links({"lo": Link("lo", 1)})), EMPTY) == []
    assert lost(replace(gone, links=Links({"eth1": replace(ETH1, is_up=False)})), EMPTY) == []


def test_who_cannot_be_seen_has_lost_no_interface() -> None:
    """Nor who is not up, nor whom the census does not know."""
    gone = replace(ON_LAN, namespaces={9: (LO,)})
    assert lost(replace(gone, namespaces={9: ()}), EMPTY) == []
    assert lost(replace(gone, namespaces={}), EMPTY) == []
    assert lost(replace(gone, containers={}), EMPTY) == []
    ended = {"c4": Container("c4", "tv", ContainerState.ENDED, networks=("lan",))}
    assert lost(replace(gone, containers=ended), EMPTY) == []


def test_one_of_two_interfaces_on_parents() -> None:
    """A container on two such networks has two: one alone is a loss, whichever it is of."""
    both = {"c4": Container("c4", "tv", networks=("lan", "wan"))}
    files = {"lan": LAN, "wan": NetworkFile("wan", ContainerClass.MACVLAN, "")}
    snapshot = replace(ON_LAN, containers=both, files=files)
    assert lost(snapshot, EMPTY) == [(MissingKind.VETH, "tv", True)]
    second = replace(MACVLAN, name="eth1", index=3)
    assert lost(replace(snapshot, namespaces={9: (MACVLAN, second)}), EMPTY) == []


def test_a_place_without_an_address_is_not_judged() -> None:
    """Nothing says which interface would be his: as with DHCP, before there is a lease."""
    setup = replace(SETUP, endpoints=(replace(WEB_ON_APP, addresses=()),))
    assert lost(replace(with_links(BRIDGE), namespaces={}), setup) == []


def test_an_address_that_is_gone_beside_one_that_was_moved() -> None:
    """No veth has what is left of the addresses: what is lost is told all the same."""
    own = Inner("br0", 3, is_up=False, kind="bridge", addresses=(V4,))
    snapshot = inside(replace(WEB_ETH, addresses=()), own)
    assert lost(snapshot) == [(MissingKind.INNER_ADDRESS, "web", False)]
