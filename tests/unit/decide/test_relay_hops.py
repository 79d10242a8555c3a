# SPDX-License-Identifier: Apache-2.0
"""A user's ways: what carries the packets between the host and a container, hop by hop."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.decide.ways import with_ways
from podwatch.words.links import Links
from podwatch.words.netns import Netns
from podwatch.words.network import Container, ContainerState, PortMapping
from podwatch.words.relays import Relays
from podwatch.words.rules import RuleKind
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State
from podwatch.words.way import Hop, Mark, WayKind
from tests.unit.decide.user_host import (
    ALONE,
    CONTAINERS,
    HEALTHY,
    NETNS,
    OF_ALONE,
    OF_OLD,
    OLD,
    PORTS_OF_OLD,
    PORTS_OF_WEB,
    RUNNING,
    UP,
    USER,
    broken,
    hops,
    marks,
    ways,
    without,
)
from tests.unit.decide.whole_host import DB, LINKS, WEB
from tests.unit.decide.whole_host import without as without_rules

RESTORE = "podwatch restore"


def with_containers(**changed: Container) -> Snapshot:
    """The host where these containers, by their names, are others."""
    others = {container.id: container for container in changed.values()}
    return replace(USER, containers={**USER.containers, **others})


def test_every_way_of_a_whole_host_is_open() -> None:
    """Each container's ports, its way out, and the way to the host; nothing is missing."""
    assert marks(USER) == {Mark.OPEN}
    assert {way.kind for way in explain(USER)} == set(WayKind)
    assert judge(USER).state is State.OK


def test_what_comes_to_a_port_passes_no_rule() -> None:
    """rootlessport speaks to the container from inside; so no rule that is lost keeps it away."""
    (first, second) = ways(USER, WayKind.IN, "web")
    relay = Hop("relay", "rootlessport (pid 31) listens on 8080/tcp")
    assert first.hops == second.hops == (relay,)
    flushed = without_rules(RuleKind.PORT_DNAT, RuleKind.PORT_JUMP, RuleKind.FORWARD_OUT)(USER)
    assert {way.mark for way in ways(flushed, WayKind.IN)} == {Mark.OPEN}


def test_a_port_without_its_rootlessport_is_closed() -> None:
    """Of that container alone, by either address; what was seen of it says whether it helps."""
    told = "web: rootlessport does not run: nobody listens on 8080/tcp"
    assert set(broken(without(PORTS_OF_WEB)).values()) == {(told, RESTORE)}
    titles = {way.title for way in ways(USER, WayKind.IN, "web")}
    assert broken(without(PORTS_OF_WEB)).keys() == titles
    unknown = replace(without(PORTS_OF_WEB), relays=Relays((UP,), {}, NETNS, frozenset()))
    (port,) = hops(unknown, "relay", WayKind.IN, "web")
    assert port.advice == "podman restart web"


def test_half_a_rootlessport_is_broken() -> None:
    """It listens, and sends on nothing."""
    half = replace(PORTS_OF_WEB, child=0)
    halved = replace(USER, relays=Relays((UP, half), HEALTHY, NETNS))
    (port,) = hops(halved, "relay", WayKind.IN, "web")
    assert (port.mark, port.advice) == (Mark.BROKEN, RESTORE)
    assert "(pid 31) has lost its second half" in port.what


def test_a_container_that_lost_its_address_is_not_reached() -> None:
    """rootlessport runs, and there is nobody to speak to."""
    lost = replace(USER, namespaces={0: (), 1: (USER.namespaces or {})[1]})
    assert not hops(lost, "inside", WayKind.IN), "what is not known of a namespace is not lost"
    gone = replace(USER, links=Links({}, LINKS.addresses, LINKS.routes), namespaces={})
    told = {hop.what for hop in hops(gone, "inside", WayKind.IN, "web")}
    assert told == {"web has lost 10.89.0.2", "web has lost fd89::2"}
    (advice,) = {hop.advice for hop in hops(gone, "inside", WayKind.IN, "web")}
    assert advice == "podwatch restore"


def test_without_the_uplink_nothing_leads_out() -> None:
    """Neither to others nor to the host; from one container to the next, all the same."""
    told = "pasta of the user's network does not run: db, web reach nothing outside"
    closed = broken(without(UP))
    assert set(closed.values()) == {(told, RESTORE)}
    out = ways(USER, WayKind.OUT, "web") + ways(USER, WayKind.OUT, "db")
    assert closed.keys() == {way.title for way in (*out, *ways(USER, WayKind.HOST))}
    never = broken(without(UP, healthy=False))
    assert {advice for _, advice in never.values()} == {"podman network reload db"}


def test_an_uplink_that_nobody_could_look_for_is_unknown() -> None:
    """A namespace that is there and cannot be entered has lost nothing, as far as is known."""
    refused = replace(
        USER,
        netns=Netns(NETNS, 0, 7, has_file=True),
        relays=Relays(RUNNING, HEALTHY, ""),
        rules=None,
        links=None,
        namespaces=None,
        names=None,
        routed={},
    )
    (uplink,) = hops(refused, "uplink", WayKind.OUT) | hops(refused, "uplink", WayKind.HOST)
    assert uplink.mark is Mark.UNKNOWN
    assert judge(refused).missing == ()
    assert broken(refused) == {}
    assert State.LOST not in (
        judge(refused).state,
        with_ways(judge(refused), explain(refused)).state,
    )


def test_pasta_takes_any_address_and_slirp4netns_its_own() -> None:
    """A masquerade that is lost keeps back what goes out by slirp4netns alone."""
    lost = without_rules(RuleKind.MASQUERADE)(USER)
    (by_pasta,) = {hop.mark for hop in hops(lost, "masquerade", WayKind.OUT)}
    assert by_pasta is Mark.NOTE
    assert {way.mark for way in ways(lost, WayKind.OUT, "web")} == {Mark.OPEN}
    slirp = replace(OF_OLD, file=NETNS)
    by_slirp = replace(lost, relays=Relays((slirp, *RUNNING[1:]), HEALTHY, NETNS))
    (mark,) = {hop.mark for hop in hops(by_slirp, "masquerade", WayKind.OUT)}
    assert mark is Mark.BROKEN


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        ({4: "eth0", 6: "eth0"}, {4: "w", 6: "w"}, {4: Mark.OPEN, 6: Mark.OPEN}),
        ({6: "eth0"}, {4: "w", 6: "w"}, {4: Mark.BROKEN, 6: Mark.OPEN}),
        ({4: "eth0"}, {4: "w", 6: "w"}, {4: Mark.OPEN, 6: Mark.NOTE}),
        ({}, {}, {4: Mark.NOTE, 6: Mark.NOTE}),
        ({4: "eth0", 6: "eth0"}, {}, {4: Mark.NOTE, 6: Mark.NOTE}),
        ({}, None, {4: Mark.NOTE, 6: Mark.NOTE}),
    ],
)
def test_a_route_that_the_host_has_and_the_user_has_not_is_lost(
    inside: dict[int, str], outside: dict[int, str] | None, expected: dict[int, Mark]
) -> None:
    """For IPv4, which everybody needs; a host without one has no way either."""
    around = None
    if outside is not None and USER.outside is not None:
        around = replace(USER.outside, routed=outside)
    seen = replace(USER, routed=inside, outside=around)
    found = {
        6 if "::" in way.title else 4: next(hop.mark for hop in way.hops if hop.place == "route")
        for way in ways(seen, WayKind.OUT, "web")
    }
    assert found == expected


def test_a_route_that_could_not_be_read_is_unknown() -> None:
    """It is no reason to start pasta anew."""
    unread = replace(USER, links=None, routed={})
    assert {hop.mark for hop in hops(unread, "route", WayKind.OUT)} == {Mark.UNKNOWN}


def test_the_way_to_the_host_goes_by_its_address() -> None:
    """host.containers.internal is the address that pasta took over."""
    assert USER.outside is not None
    moved = replace(USER, outside=replace(USER.outside, addresses=frozenset()))
    assert broken(moved) == {}, "a host without an address is between two networks, perhaps"
    moved = replace(
        moved, outside=replace(USER.outside, addresses=frozenset({ip_address("192.0.2.8")}))
    )
    (told,) = broken(moved).values()
    assert told == (
        "pasta (pid 21) has 192.0.2.7, which the host has no more",
        "restore.host_address = true: see podwatch.conf(5)",
    )
    assert broken(moved).keys() == {way.title for way in ways(USER, WayKind.HOST)}


def test_a_network_whose_containers_do_not_run_has_no_way_to_the_host() -> None:
    """Of those that run each is named."""
    (way,) = ways(USER, WayKind.HOST)
    assert way.title == "db, web on app to host.containers.internal"
    assert (way.network, way.among) == ("app", {WEB: "web", DB: "db"})
    ended = with_containers(web=replace(CONTAINERS[WEB], state=ContainerState.ENDED))
    assert [way.among for way in ways(ended, WayKind.HOST)] == [{DB: "db"}]


def test_a_container_with_a_relay_of_its_own_has_ways_of_its_own() -> None:
    """pasta listens itself; beside slirp4netns, rootlessport does."""
    (by_pasta,) = ways(USER, WayKind.IN, "alone")
    assert by_pasta.hops == (Hop("relay", "pasta (pid 22) connects alone with the host"),)
    assert (by_pasta.title, by_pasta.port) == ("8081/tcp → alone", (8081, "tcp"))
    (by_slirp,) = ways(USER, WayKind.IN, "old")
    assert [hop.what for hop in by_slirp.hops] == [
        "rootlessport (pid 33) listens on 8082/tcp",
        "slirp4netns (pid 23) connects old with the host",
    ]
    assert {way.network for way in ways(USER, WayKind.OUT, "old")} == {"slirp4netns"}


@pytest.mark.parametrize(
    ("gone", "container", "kinds"),
    [
        (OF_ALONE, "alone", {WayKind.IN, WayKind.OUT}),
        (OF_OLD, "old", {WayKind.IN, WayKind.OUT}),
        (PORTS_OF_OLD, "old", {WayKind.IN}),
    ],
)
def test_without_its_own_relay_a_container_is_alone(
    gone: object, container: str, kinds: set[WayKind]
) -> None:
    """Nothing goes in or out; without rootlessport nothing goes in. Nobody else is concerned."""
    running = tuple(relay for relay in RUNNING if relay is not gone)
    lost = replace(USER, relays=Relays(running, HEALTHY, NETNS))
    found = {(way.container, way.kind) for way in explain(lost) if way.mark is Mark.BROKEN}
    assert found == {(container, kind) for kind in kinds}
    assert {advice for _, advice in broken(lost).values()} == {RESTORE}


def test_a_pasta_that_took_over_no_route_leads_nowhere() -> None:
    """What the state calls lost, its way says; a container that wants none is none of them."""
    routeless = replace(USER, relays=replace(USER.relays or Relays(), routeless=frozenset({ALONE})))
    (loss,) = judge(routeless).missing
    assert loss.container == "alone"
    (told,) = broken(routeless).values()
    assert told == ("alone has no default route for IPv4, and the host has one", RESTORE)
    assert broken(routeless).keys() == {"alone out by pasta"}
    assert USER.outside is not None
    without_any = replace(routeless, outside=replace(USER.outside, routed={}))
    assert (broken(without_any), judge(without_any).missing) == ({}, ())


def test_a_pasta_that_ended_is_all_that_is_missed() -> None:
    """The next one takes over the route of then."""
    running = tuple(relay for relay in RUNNING if relay is not OF_ALONE)
    seen = replace(USER, relays=Relays(running, HEALTHY, NETNS, routeless=frozenset({ALONE})))
    assert not hops(seen, "route", WayKind.OUT, "alone")
    assert broken(seen).keys() == {"8081/tcp → alone", "alone out by pasta"}


@pytest.mark.parametrize("has_route", [True, False])
def test_a_route_that_a_router_told_of_is_lost_as_roots_is(
    has_route: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """slirp4netns tells of one, and who forwards takes no more such: the state says so, too."""
    around = replace(USER.around, deaf=("tap0",), has_default_v6=has_route)
    routed = {4: "tap0", 6: "tap0"} if has_route else {4: "tap0"}
    seen = replace(USER, around=around, routed=routed)
    of_v6 = [way for way in ways(seen, WayKind.OUT, "web") if "::" in way.title]
    (route,) = (hop for way in of_v6 for hop in way.hops if hop.place == "route")
    if has_route:
        assert route == Hop("route", "the user's network has a default route for IPv6")
    else:
        assert route.mark is Mark.BROKEN
        assert route.advice.endswith("sysctl -w net.ipv6.conf.tap0.accept_ra=2")


def test_a_route_that_podwatch_cannot_bring_back_is_a_note() -> None:
    """Of a pasta that it knows nothing of it says no more than that."""
    relays = Relays(RUNNING, {}, NETNS, routeless=frozenset({ALONE}))
    seen = replace(USER, relays=relays)
    (route,) = hops(seen, "route", WayKind.OUT, "alone")
    assert (route.mark, route.advice) == (Mark.NOTE, "podman restart alone")
    assert judge(seen).missing == ()


def test_who_does_not_run_has_no_ways_of_his_own() -> None:
    """Nor is the relay of one that ended missed; one that is paused has closed ways."""
    ended = with_containers(alone=replace(CONTAINERS[ALONE], state=ContainerState.ENDED))
    assert ways(ended, WayKind.OUT, "alone") == []
    paused = with_containers(alone=replace(CONTAINERS[ALONE], state=ContainerState.PAUSED))
    assert {way.mark for way in ways(paused, WayKind.OUT, "alone")} == {Mark.CLOSED}


def test_a_pods_members_go_the_ways_of_its_infra_container() -> None:
    """By its pasta; who is no member does not."""
    infra = replace(CONTAINERS[ALONE], name="f52-infra", pod="shop", is_infra=True)
    till = Container("f" * 64, "till", pod="shop", mode=f"container:{ALONE}", ports=infra.ports)
    found = ways(with_containers(alone=infra, till=till), WayKind.IN, "pod shop")
    assert [way.members for way in found] == [{till.id: "till"}]
    assert [way.members for way in ways(USER, WayKind.IN, "alone")] == [{}]


def test_a_range_of_ports_is_one_way() -> None:
    """That serves all of them."""
    ranged = replace(CONTAINERS[OLD], ports=(PortMapping(9000, 9000, "udp", 3),))
    (way,) = ways(with_containers(old=ranged), WayKind.IN, "old")
    assert (way.port, way.count) == ((9000, "udp"), 3)


def test_on_roots_host_no_relay_is_looked_for() -> None:
    """There the packets pass the host's own rules."""
    root = replace(USER, relays=None, netns=None, outside=None)
    assert not hops(root, "relay", WayKind.IN)
    assert ways(root, WayKind.HOST) == []
    assert hops(root, "port forward", WayKind.IN, "web")
