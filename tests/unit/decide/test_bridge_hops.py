# SPDX-License-Identifier: Apache-2.0
"""The hops of bridges and links, one thing at a time: what stops a packet, and what does not."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from podwatch.decide.bridge_hops import BridgeHops
from podwatch.decide.explain import explain
from podwatch.decide.facts import facts
from podwatch.words.links import Links
from podwatch.words.network import ContainerClass, ContainerState
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import Hop, Kernel, Mark, Way, WayKind, Wire
from tests.unit.decide.whole_host import (
    BRIDGE,
    DB,
    FAULTS,
    FILE,
    GATEWAYS,
    LINKS,
    SETUP,
    VETH,
    WEB,
    WHOLE,
    of_link,
    of_web,
)

HERE = ip_address("10.89.0.2")
RELOAD = "podman network reload web"


def at_bridge(snapshot: Snapshot, version: int = 4) -> tuple[Hop, ...]:
    """What is told of web's bridge, for what it sends and is sent by this IP version."""
    return BridgeHops(snapshot, SETUP, facts(snapshot)).bridge(
        SETUP.endpoints[0], SETUP.endpoints[0].addresses[version == 6][0]
    )


@pytest.mark.parametrize(
    ("fault", "what", "advice"),
    [
        ("bridge gone", "podman1 does not exist", "podwatch restore"),
        ("bridge down", "podman1 is down", "ip link set podman1 up"),
        (
            "no address",
            "podman1 lacks the address 10.89.0.1/24",
            "ip addr add 10.89.0.1/24 brd + dev podman1",
        ),
        (
            "address moved",
            "podman1 lacks the address 10.89.0.1/24",
            "ip addr add 10.89.0.1/24 brd + dev podman1",
        ),
        ("no route", "no route leads to 10.89.0.0/24 on podman1", "podwatch restore"),
    ],
)
def test_a_bridge_that_is_not_whole(fault: str, what: str, advice: str) -> None:
    """It is there, up, has its address, and a route leads to it; the first that is not is told."""
    first, *_ = at_bridge(FAULTS[fault](WHOLE))
    assert first == Hop("bridge", what, Mark.BROKEN, advice)


def test_an_address_is_missed_by_its_own_family() -> None:
    """What IPv4 lacks stops no IPv6; each address is put back as netavark gave it."""
    without = FAULTS["no address"](WHOLE)
    assert at_bridge(without, 6) == (Hop("bridge", "podman1 is up, with fd89::1/64"),)
    only_v4 = replace(WHOLE, links=replace(LINKS, addresses={"podman1": GATEWAYS[:1]}))
    (hop,) = at_bridge(only_v4, 6)
    on = "sysctl -w net.ipv6.conf.podman1.disable_ipv6=0"
    assert hop.advice == f"{on}; ip addr add fd89::1/64 nodad dev podman1"
    assert at_bridge(only_v4) == (Hop("bridge", "podman1 is up, with 10.89.0.1/24"),)


def test_what_is_no_harm_to_a_bridge() -> None:
    """Another name, a VRF with routes of its own, an administrator's bridge without addresses."""
    renamed = {name: link for name, link in LINKS.by_name.items() if name != "podman1"}
    renamed["br9"] = replace(BRIDGE, name="br9")
    look = replace(WHOLE, links=Links(renamed, {"br9": GATEWAYS}, LINKS.routes))
    assert at_bridge(look) == (Hop("bridge", "podman1 is called br9 now", Mark.NOTE),)
    routes = tuple(replace(route, link="br9") for route in WHOLE.around.routes)
    by_its_name = replace(look, around=replace(look.around, routes=routes))
    assert [way.mark for way in explain(by_its_name) if way.kind is WayKind.NAMES] == [Mark.OPEN]
    in_vrf = replace(
        LINKS, by_name={**LINKS.by_name, "podman1": replace(BRIDGE, master="red")}, routes={}
    )
    assert at_bridge(replace(WHOLE, links=in_vrf))[0].mark is Mark.OPEN
    theirs = replace(FILE, kind=ContainerClass.UNMANAGED)
    bare = replace(FAULTS["no address"](WHOLE), files={"app": theirs})
    assert at_bridge(bare) == (Hop("bridge", "podman1 is up"),)


@pytest.mark.parametrize(
    ("wrong", "mark"), [("10.89.0.1/28", Mark.NOTE), ("10.89.0.1/32", Mark.BROKEN)]
)
def test_an_address_with_another_prefix_will_do_for_who_is_in_it(wrong: str, mark: Mark) -> None:
    """It is told in both cases, and how it gets the prefix that it had."""
    addresses = {"podman1": (ip_interface(wrong), GATEWAYS[1])}
    first, *_ = at_bridge(replace(WHOLE, links=replace(LINKS, addresses=addresses)))
    cure = f"ip addr del {wrong} dev podman1; ip addr add 10.89.0.1/24 brd + dev podman1"
    assert first == Hop("bridge", f"podman1 has {wrong}, not 10.89.0.1/24", mark, cure)


def test_without_a_link_local_address_ipv6_is_not_forwarded() -> None:
    """And all of IPv4 is."""
    running = replace(BRIDGE, is_running=True, mac="46:f2:e0:0b:99:66")
    lacking = replace(WHOLE, links=replace(LINKS, by_name={**LINKS.by_name, "podman1": running}))
    (hop,) = at_bridge(lacking, 6)
    assert (hop.mark, hop.advice) == (Mark.BROKEN, "podwatch restore")
    assert at_bridge(lacking) == (Hop("bridge", "podman1 is up, with 10.89.0.1/24"),)


def test_where_the_host_sends_to() -> None:
    """By another interface, or by none, nothing gets to the container; what opens it is said."""
    for link, goes in (("tun0", "goes to tun0"), ("", "goes nowhere")):
        routes = tuple(replace(route, link=link) for route in WHOLE.around.routes)
        look = replace(WHOLE, around=replace(WHOLE.around, routes=routes))
        *_, hop = at_bridge(look)
        assert hop.what == f"what is sent to 10.89.0.2 {goes}, and not to podman1"
        cure = "ip rule add to 10.89.0.0/24 lookup main priority 1"
        assert (hop.mark, hop.advice) == (Mark.BROKEN, cure)
    answers = tuple(replace(r, link="tun0", is_answer=True) for r in WHOLE.around.routes)
    look = replace(WHOLE, around=replace(WHOLE.around, routes=answers))
    assert {hop.mark for hop in at_bridge(look)} == {Mark.OPEN}


def test_what_is_not_known_of_a_bridge() -> None:
    """Links that could not be listed, and a network of which nothing says which bridge it has."""
    (hop,) = at_bridge(replace(WHOLE, links=None))
    assert (hop.mark, hop.advice) == (Mark.UNKNOWN, "ip link")
    setup = replace(SETUP, networks={})
    (hop,) = BridgeHops(WHOLE, setup, facts(WHOLE)).bridge(
        SETUP.endpoints[0], SETUP.endpoints[0].addresses[0][0]
    )
    assert hop == Hop("bridge", "nothing says which it is", Mark.UNKNOWN)


def at_link(*wires: Wire, snapshot: Snapshot = WHOLE) -> list[Hop]:
    """What is told of web's link, where these lead to its address."""
    hops = BridgeHops(snapshot, SETUP, Kernel(wires={HERE: wires}))
    return list(hops.link("podman1", HERE, snapshot.containers.get(WEB)))


@pytest.mark.parametrize(
    ("wires", "what", "advice"),
    [
        (
            [],
            "web has lost 10.89.0.2, or its link to podman1: no namespace has the address",
            RELOAD,
        ),
        ([Wire(None)], "web's link does not lead to podman1", RELOAD),
        (
            [Wire(replace(VETH, is_up=False))],
            "veth0, web's link to podman1, is down",
            "ip link set veth0 up",
        ),
        (
            [Wire(replace(VETH, master=""))],
            "veth0, web's link, is not on podman1",
            "ip link set veth0 master podman1",
        ),
        (
            [Wire(replace(VETH, master="br1"))],
            "veth0, web's link, is on br1, and not on podman1",
            "ip link set veth0 master podman1",
        ),
        ([Wire(VETH, is_up_inside=False)], "web's link is down inside of it", RELOAD),
    ],
    ids=["gone", "no veth", "down", "loose", "elsewhere", "down inside"],
)
def test_a_link_that_does_not_join(wires: list[Wire], what: str, advice: str) -> None:
    """A container joins its network by a link that is up at both ends, on its bridge."""
    assert at_link(*wires) == [Hop("link", what, Mark.BROKEN, advice)]
    assert at_link(*wires, Wire(VETH)) == [Hop("link", "veth0 joins web to podman1")]


def test_a_link_as_far_as_it_is_known() -> None:
    """Nothing is told of who may be about to start, of a bridge that is gone, of what is unread."""
    for state in (ContainerState.CREATED, ContainerState.PRESUMED, ContainerState.UNLISTED):
        assert at_link(snapshot=of_web(state)(WHOLE)) == []
    assert at_link(snapshot=replace(WHOLE, containers={})) == []
    assert at_link(snapshot=of_link("podman1")(WHOLE)) == []
    assert at_link(snapshot=replace(WHOLE, links=None)) == []
    unread = BridgeHops(WHOLE, SETUP, Kernel(wires=None))
    assert list(unread.link("podman1", HERE, WHOLE.containers[WEB])) == []


def neighbours(snapshot: Snapshot) -> list[Way]:
    """The ways between containers of one network."""
    return [way for way in explain(snapshot) if way.kind is WayKind.NEIGHBOURS]


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        ("bridge down", "bridge"),
        ("link off", "link"),
        ("link gone", "link"),
        ("isolated", "bridge"),
        ("parted", "other firewalls"),
    ],
)
def test_what_parts_neighbours(fault: str, place: str) -> None:
    """Their bridge, the link of one of them, ports that are isolated, a chain the bridge asks."""
    (way,) = neighbours(FAULTS[fault](WHOLE))
    assert way.first_broken is not None
    assert way.first_broken.place == place
    assert way.first_broken.advice


@pytest.mark.parametrize("fault", ["no address", "table gone", "dropped", "no names"])
def test_what_does_not_part_neighbours(fault: str) -> None:
    """They need no address of the bridge's and no rule of the host's: only their bridge."""
    (way,) = neighbours(FAULTS[fault](WHOLE))
    assert way.mark is Mark.OPEN
    assert way.title == "db, web with each other on app"
    assert dict(way.among) == {WEB: "web", DB: "db"}


def test_who_is_alone_has_no_neighbours() -> None:
    """One port that is isolated parts nobody; nor does who does not run count."""
    assert neighbours(of_web(ContainerState.ENDED)(WHOLE)) == []
    (way,) = neighbours(of_link("veth0", isolated=True)(WHOLE))
    assert way.mark is Mark.OPEN


def test_an_ipv6_address_that_is_gone_inside_is_put_back_with_care() -> None:
    """Where the container has switched IPv6 off, a reload would cost it IPv4 as well."""
    here = ip_address("fd89::2")
    hops = BridgeHops(WHOLE, SETUP, Kernel(wires={}))
    (hop,) = hops.link("podman1", here, WHOLE.containers.get(WEB))
    assert hop.mark is Mark.BROKEN
    assert "disable_ipv6; only if that is 0: " in hop.advice
