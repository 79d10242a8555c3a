# SPDX-License-Identifier: Apache-2.0
"""What is missing of bridges, addresses, routes and ports."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.links import damaged, missing_links, moved
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Around, Inner, Link, Links, Routed
from podwatch.words.network import (
    ContainerClass,
    Endpoint,
    FirewallDriver,
    Interface,
    Network,
    Setup,
)
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import MissingKind, State, WarningKind

SUBNETS = (ip_network("10.89.0.0/24"), ip_network("fd89::/64"))
V4, V6 = ip_interface("10.89.0.1/24"), ip_interface("fd89::1/64")
ADDRESS = ip_interface("10.89.0.2/24")
APP = Network("n1", "podman1", SUBNETS)
FILE = NetworkFile("app", ContainerClass.BRIDGE, "podman1", SUBNETS, gateways=(V4, V6))
SETUP = Setup(
    FirewallDriver.NONE,
    {"n1": APP},
    (Endpoint("c1", "n1", "app", ((ip_address("10.89.0.2"), SUBNETS[0]),)),),
)
BRIDGE = Link("podman1", 3, kind="bridge")
PORT = Link("veth0", 4, master="podman1", kind="veth", netns_id=0)
OTHER_PORT = replace(PORT, name="veth1", index=5, netns_id=1)
WHOLE = Links(
    {link.name: link for link in (BRIDGE, PORT, OTHER_PORT)},
    {"podman1": (V4, V6, ip_interface("fe80::1/64"))},
    {SUBNETS[0]: ("podman1",), SUBNETS[1]: ("podman1",)},
)


INSIDE = {0: (Inner("lo", 1, kind=""), Inner("eth0", 2, peer=4, addresses=(ADDRESS,)))}


def seen(links: Links | None = WHOLE, file: NetworkFile = FILE) -> Snapshot:
    """A look that found these links."""
    return Snapshot(SETUP, None, None, links=links, files={file.name: file})


def links_with(*changed: Link) -> Links:
    """The whole links with some that are otherwise."""
    return replace(WHOLE, by_name={**WHOLE.by_name, **{link.name: link for link in changed}})


def lost(links: Links, file: NetworkFile = FILE) -> list[tuple[str, str, str]]:
    """The kind, place and value of each loss."""
    return [loss.thing for loss in missing_links(SETUP, seen(links, file))]


def test_nothing_is_missing_of_a_whole_network() -> None:
    """A bridge with more addresses than Podman gave it lacks none."""
    assert lost(WHOLE) == []


def test_links_that_could_not_be_listed_are_not_lost() -> None:
    """Unknown is not lost."""
    assert list(missing_links(SETUP, seen(None))) == []
    assert list(moved(SETUP, seen(None))) == []
    assert damaged(SETUP, seen(None)) == frozenset()


def test_a_bridge_that_is_down() -> None:
    """It is the link that is lost; what is left of its routes is told when it is up."""
    links = replace(links_with(replace(BRIDGE, is_up=False)), routes={})
    assert lost(links) == [("link", "podman1", "")]


def test_an_address_of_either_family() -> None:
    """Each is a loss of its own, with the length of its prefix; what is there is none."""
    assert lost(replace(WHOLE, addresses={"podman1": (V4,)})) == [
        ("address", "podman1", "fd89::1/64")
    ]
    assert lost(replace(WHOLE, addresses={})) == [
        ("address", "podman1", "10.89.0.1/24"),
        ("address", "podman1", "fd89::1/64"),
    ]


def test_an_address_with_another_length_of_its_prefix_is_told_so() -> None:
    """10.89.0.1/32 reaches no container."""
    wrong = replace(WHOLE, addresses={"podman1": (ip_interface("10.89.0.1/32"), V6)})
    (loss,) = missing_links(SETUP, seen(wrong))
    assert loss.what == "network app: its bridge podman1 has 10.89.0.1/32, not 10.89.0.1/24"


def test_a_route_that_was_flushed() -> None:
    """The address is there, and nothing leads to its subnet."""
    routes = {SUBNETS[1]: ("podman1",)}
    assert lost(replace(WHOLE, routes=routes)) == [("route", "podman1", "10.89.0.1/24")]


def test_a_route_that_somebody_else_has_is_not_missing() -> None:
    """A VPN's route to the very subnet is somebody's will: it is told by where packets go."""
    assert lost(replace(WHOLE, routes={**WHOLE.routes, SUBNETS[0]: ("tun0",)})) == []


def test_a_bridge_in_a_vrf_has_routes_elsewhere() -> None:
    """The main table has none of its."""
    assert lost(replace(links_with(replace(BRIDGE, master="red")), routes={})) == []


def test_a_bridge_that_is_gone_lacks_its_addresses_too() -> None:
    """It is made anew unless something is special about it; its MTU goes with it."""
    gone = replace(WHOLE, by_name={}, addresses={})
    file = replace(FILE, mtu=1400)
    assert lost(gone, file) == [
        ("bridge", "podman1", "1400"),
        ("address", "podman1", "10.89.0.1/24"),
        ("address", "podman1", "fd89::1/64"),
    ]
    for special in (False, True):
        found = next(iter(missing_links(SETUP, seen(gone, replace(FILE, special=special)))))
        assert found.reloadable is not special


def test_a_bridge_under_another_name_is_told_and_not_made_again() -> None:
    """Two bridges with one address would be worse than one with a wrong name."""
    ports = {"br9": replace(BRIDGE, name="br9"), "veth0": replace(PORT, master="br9")}
    renamed = Links(ports, {"br9": (V4, V6)})
    assert list(missing_links(SETUP, replace(seen(renamed), namespaces=INSIDE))) == []
    (notice,) = moved(SETUP, seen(renamed))
    assert notice.kind is WarningKind.RENAMED
    assert notice.what == (
        "network app: its bridge podman1 is called br9 now, and rules name podman1"
    )
    assert damaged(SETUP, seen(renamed)) == {"app"}


def test_an_address_that_is_on_another_link_is_told() -> None:
    """To add it once more could part those who use it there."""
    there = replace(WHOLE, addresses={"podman1": (V6,), "eth9": (ip_interface("10.89.0.1/16"),)})
    assert lost(there) == []
    (notice,) = moved(SETUP, seen(there))
    assert (notice.kind, notice.advice) == (
        WarningKind.MOVED,
        "ip addr show dev eth9; ip addr add 10.89.0.1/24 dev podman1",
    )
    beside = replace(WHOLE, addresses={**WHOLE.addresses, "eth9": (V4,)})
    assert list(moved(SETUP, seen(beside))) == []


@pytest.mark.parametrize("link", [PORT, OTHER_PORT], ids=lambda link: link.name)
def test_a_containers_link_that_is_down(link: Link) -> None:
    """It is set up again; a port that is no container's is nobody's loss."""
    assert lost(links_with(replace(link, is_up=False))) == [("link", link.name, "")]
    for strange in (replace(link, netns_id=None), replace(link, kind="dummy")):
        assert lost(links_with(replace(strange, is_up=False))) == []
    elsewhere = replace(link, is_up=False, master="virbr0")
    assert lost(links_with(elsewhere)) == []


@pytest.mark.parametrize(
    ("master", "where"), [("", "on no bridge"), ("br9", "on br9")], ids=["none", "another"]
)
def test_a_containers_link_off_its_bridge(master: str, where: str) -> None:
    """Its other end has the container's address: so it belongs on that network's bridge."""
    off = links_with(replace(PORT, master=master))
    (loss,) = missing_links(SETUP, replace(seen(off), namespaces=INSIDE))
    assert loss.thing == ("master", "veth0", "podman1")
    assert loss.container_ids == ("c1",)
    assert loss.what == f"network app: veth0, the link of c1, is {where}, not on podman1"


def test_a_link_whose_container_is_not_known_is_left_alone() -> None:
    """Another address, another end, something else than a veth: it is not Podman's to say."""
    off = links_with(replace(PORT, master=""))
    (_, inner) = INSIDE[0]
    for other in (
        replace(inner, peer=5),
        replace(inner, kind="macvlan"),
        replace(inner, addresses=(ip_interface("10.89.0.99/24"),)),
    ):
        assert list(missing_links(SETUP, replace(seen(off), namespaces={0: (other,)}))) == []
    for namespaces in (None, {}, {7: (inner,)}):
        assert list(missing_links(SETUP, replace(seen(off), namespaces=namespaces))) == []


def test_an_administrator_may_choose_another_bridge_for_his_own() -> None:
    """With mode=unmanaged a link on no bridge is put on it; one that is on another is not."""
    file = replace(FILE, kind=ContainerClass.UNMANAGED)
    for master, kinds in (("", ["master"]), ("br9", [])):
        off = replace(seen(links_with(replace(PORT, master=master)), file), namespaces=INSIDE)
        assert [loss.kind for loss in missing_links(SETUP, off)] == kinds


def test_what_goes_with_a_bridge_follows_from_it() -> None:
    """Addresses of one that is down or gone, and ports of one that is gone."""
    down = replace(links_with(replace(BRIDGE, is_up=False)), addresses={"podman1": (V4,)})
    gone = Links({"veth0": replace(PORT, master="")})
    for links, follows in (
        (down, ["", "podman1"]),
        (gone, ["", "podman1", "podman1", "podman1"]),
        (replace(WHOLE, addresses={"podman1": (V4,)}), [""]),
        (links_with(replace(PORT, master="")), [""]),
    ):
        found = missing_links(SETUP, replace(seen(links), namespaces=INSIDE))
        assert [loss.follows for loss in found] == follows


def test_a_link_is_told_with_its_container() -> None:
    """Where its other end says whose it is."""
    links = links_with(replace(PORT, is_up=False), replace(OTHER_PORT, is_up=False))
    mine, other = missing_links(SETUP, replace(seen(links), namespaces=INSIDE))
    assert (mine.what, mine.container) == ("network app: veth0, the link of c1, is down", "c1")
    assert (other.what, other.container) == (
        "network app: veth1, the link of a container, is down",
        "",
    )


def test_two_isolated_ports_do_not_reach_each_other() -> None:
    """A single one reaches all others."""
    one, other = replace(PORT, isolated=True), replace(OTHER_PORT, isolated=True)
    assert lost(links_with(one)) == []
    assert lost(links_with(one, other)) == [("isolated", "veth0", ""), ("isolated", "veth1", "")]


def test_ports_may_be_isolated_on_purpose() -> None:
    """CNI's plugin can have it so, and the administrator on a bridge of his own."""
    links = links_with(replace(PORT, isolated=True), replace(OTHER_PORT, isolated=True))
    by_cni = replace(SETUP, driver=FirewallDriver.CNI)
    assert list(missing_links(by_cni, seen(links))) == []
    assert lost(links, replace(FILE, kind=ContainerClass.UNMANAGED)) == []


def test_nothing_is_missing_of_an_administrators_bridge() -> None:
    """With mode=unmanaged its addresses, and whether it is up, are his."""
    file = replace(FILE, kind=ContainerClass.UNMANAGED)
    down = replace(links_with(replace(BRIDGE, is_up=False)), addresses={})
    assert lost(down, file) == []
    assert list(moved(SETUP, seen(Links({}, {"br9": (V4,)}), file))) == []


def test_what_has_another_kind_under_the_bridges_name_gets_no_address() -> None:
    """Somebody made a link of his own of that name."""
    strange = replace(links_with(replace(BRIDGE, kind="dummy")), addresses={}, routes={})
    assert lost(strange) == []


def test_where_packets_go_is_not_told_again_of_a_damaged_bridge() -> None:
    """The lost address is the reason, and podwatch puts it back."""
    routed = Around(routes=(Routed("n1", ip_address("10.89.0.2"), ""),))
    whole = replace(seen(), around=routed)
    lacking = replace(whole, links=replace(WHOLE, addresses={"podman1": (V6,)}))
    assert [notice.kind for notice in judge(whole).warnings] == [WarningKind.ROUTE]
    verdict = judge(lacking)
    assert (verdict.warnings, verdict.state) == ((), State.LOST)
    assert [loss.kind for loss in verdict.missing] == [MissingKind.ADDRESS]


def test_a_bridge_without_a_link_local_address_forwards_no_ipv6() -> None:
    """The kernel asks for neighbours from that one: it is put back as the kernel had given it."""
    running = replace(BRIDGE, is_running=True, mac="46:f2:e0:0b:99:66")

    def found(link: Link, *addresses: Interface) -> list[tuple[str, str, str]]:
        return lost(replace(links_with(link), addresses={"podman1": addresses}))

    local = "fe80::44f2:e0ff:fe0b:9966/64"
    assert found(running, V4, V6) == [(MissingKind.ADDRESS, "podman1", local)]
    assert found(running, V4, V6, ip_interface("fe80::7/64")) == []
    assert found(replace(running, is_running=False), V4, V6) == [], "it gets it by itself"
    assert found(running, V4) == [(MissingKind.ADDRESS, "podman1", str(V6))]
