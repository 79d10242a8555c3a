# SPDX-License-Identifier: Apache-2.0
"""Which packets are taken away from containers, by what, and what brings them back."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.decide.routes import from_names, inward, outward, way_back
from podwatch.words.links import Link, Links, Routed
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State, WarningKind
from podwatch.words.way import Mark, WayKind
from tests.unit.decide.test_judge import SETUP, WEB
from tests.unit.decide.whole_host import BRIDGE, DNS, GATEWAYS, LINKS, NET, WHOLE, of_addresses
from tests.unit.decide.whole_host import SETUP as TWO

ADDRESS = WEB.addresses[0][0]
FOUR, SIX = (address for address, _ in TWO.endpoints[0].addresses)


def test_what_takes_packets_away_is_named_where_a_route_does() -> None:
    """A rule for routing cannot be seen: one before it has the main table looked up."""
    network = replace(SETUP.networks[WEB.network_id], subnets=(ip_network("10.89.3.0/24"),))
    there = Links({}, {}, {ip_network("10.89.3.0/24"): ("podman1",)})
    less = replace(there, routes={**there.routes, ip_network("10.89.3.0/25"): ("tun0",)})
    rule = "ip rule add to 10.89.3.0/24 lookup main priority 1"
    assert way_back(ADDRESS, network, there) == way_back(ADDRESS, network, None) == rule
    assert way_back(ADDRESS, network, less).endswith(
        "if nobody needs it: ip route del 10.89.3.0/25"
    )
    six = replace(network, subnets=(ip_network("fd89:3::/64"),))
    assert way_back(ip_address("fd89:3::2"), six, there).startswith(
        "ip -6 rule add to fd89:3::/64 "
    )
    assert way_back(ADDRESS, six, there) == "ip route get 10.89.3.2; ip rule"


def held(where: str, *addresses: str) -> Snapshot:
    """A link of the whole host has these addresses, too."""
    own = tuple(map(ip_interface, addresses))
    both = {"podman1": GATEWAYS}
    return of_addresses({**both, where: (*both.get(where, ()), *own)})(WHOLE)


def routed(*routes: Routed) -> Snapshot:
    """A whole host, and these routes."""
    around = replace(WHOLE.around, routes=(*WHOLE.around.routes, *routes))
    return replace(WHOLE, around=around)


def broken(snapshot: Snapshot) -> dict[WayKind, set[str]]:
    """By the kind of way, where those stop that are broken."""
    found: dict[WayKind, set[str]] = {}
    for way in explain(snapshot):
        if way.first_broken is not None:
            found.setdefault(way.kind, set()).add(way.first_broken.place)
    return found


@pytest.mark.parametrize(("link", "address"), [("lo", f"{FOUR}/32"), ("podman1", f"{FOUR}/24")])
def test_an_address_that_is_the_hosts_as_well(link: str, address: str) -> None:
    """The host takes what is sent to the container: lost, with the link and how to end it."""
    look = held(link, address)
    (one,) = inward(TWO, look)
    assert one.what == (
        f"what is sent to {FOUR} goes to the host itself, as {link} has {address}, "
        "and not to podman1"
    )
    verdict = judge(look)
    (notice,) = verdict.warnings
    assert (notice.kind, notice.advice) == (WarningKind.ROUTE, f"ip addr del {address} dev {link}")
    assert verdict.state is State.LOST
    assert broken(look) == {WayKind.IN: {"route in"}, WayKind.OUT: {"route in"}}


def test_what_the_host_takes_of_both_versions_takes_the_names() -> None:
    """By the other version a container hears aardvark-dns still; its neighbours by both."""
    (way,) = (
        way
        for way in explain(held("lo", f"{FOUR}/32", f"{SIX}/128"))
        if way.kind is WayKind.NAMES and way.mark is Mark.BROKEN
    )
    assert way.title == "names of web on app"
    assert way.first_broken is not None
    assert way.first_broken.advice == f"ip addr del {FOUR}/32 dev lo"


def test_an_address_that_takes_nothing() -> None:
    """In a VRF, or while another host on the link has it: the containers' packets are theirs."""
    look = held("eth1", f"{FOUR}/24")
    assert look.links is not None
    apart = {
        **LINKS.by_name,
        "vrf1": Link("vrf1", 8, kind="vrf"),
        "eth1": Link("eth1", 9, master="vrf1"),
    }
    unused = frozenset({FOUR})
    for links in (replace(look.links, by_name=apart), replace(look.links, unused=unused)):
        assert list(inward(TWO, replace(look, links=links))) == []
    inside = replace(look.links, by_name={**apart, "podman1": replace(BRIDGE, master="vrf1")})
    assert len(list(inward(TWO, replace(look, links=inside)))) == 1
    assert list(inward(TWO, replace(look, links=None))) == []


def test_what_containers_send_goes_nowhere() -> None:
    """Ports and ways out are broken, each address told once; names and neighbours are not."""
    out = Routed(NET, FOUR, "", is_answer=True, uplink="eth0")
    look = routed(out, replace(out, uplink="eth1"))
    (one,) = outward(TWO, look)
    assert one.advice == "ip rule add from 10.89.0.0/24 lookup main priority 1"
    assert broken(look) == {WayKind.IN: {"route out"}, WayKind.OUT: {"route out"}}
    assert [notice.kind for notice in judge(look).warnings] == [WarningKind.ROUTE]
    both = routed(out, Routed(NET, FOUR, ""))
    assert list(outward(TWO, both)) == [], "nothing gets to it, which is told"
    assert list(outward(TWO, routed(replace(out, link="tun0")))) == []


@pytest.mark.parametrize("link", ["", "tun0"])
def test_what_aardvark_dns_answers_goes_astray(link: str) -> None:
    """Its containers have no names, and all else; from who is not the host nothing is sent."""
    answers = [Routed(NET, to, link, source=by) for to, by in ((FOUR, DNS[0]), (SIX, DNS[1]))]
    assert broken(routed(*answers)) == {WayKind.NAMES: {"route in"}}
    assert broken(routed(*answers[:1])) == {}, "by the other version it is heard"
    assert broken(routed(*(replace(one, link="podman1") for one in answers))) == {}
    away = replace(routed(*answers), links=replace(LINKS, addresses={}))
    assert list(from_names(TWO, away)) == []
