# SPDX-License-Identifier: Apache-2.0
"""The hops that are firewalld's, one by one: which zone or policy stops what containers send."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.firewalld_hops import FirewalldHops, names_of
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld
from podwatch.words.way import Hop, Kernel, Mark, Policy

V4 = (ip_address("10.88.0.2"), ip_network("10.88.0.0/16"))
V6 = (ip_address("fd10::2"), ip_network("fd10::/64"))
NETWORK = Network("0" * 64, "podman0", (V4[1], V6[1]))
ENDPOINT = Endpoint("a" * 64, NETWORK.id, "podman", (V4, V6))
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))
BY_FIREWALLD = replace(SETUP, driver=FirewallDriver.FIREWALLD)
RUNNING = Firewalld(running=True, default_zone="public")
UPLINK = Kernel(routed={4: "eth0"})


@pytest.mark.parametrize(
    ("said", "to_a_port", "mark", "by_firewalld"),
    [
        (None, True, Mark.UNKNOWN, Mark.UNKNOWN),
        (ABSENT_FIREWALLD, True, None, Mark.BROKEN),
        (RUNNING, True, Mark.OPEN, Mark.OPEN),
        (replace(RUNNING, panic=True), False, Mark.BROKEN, Mark.BROKEN),
        (replace(RUNNING, reloading=True), False, Mark.BROKEN, Mark.BROKEN),
        (replace(RUNNING, strict_forward_ports=True), True, Mark.BROKEN, Mark.OPEN),
        (replace(RUNNING, strict_forward_ports=True), False, Mark.OPEN, Mark.OPEN),
    ],
)
def test_firewalld_as_a_whole(
    said: Firewalld | None,
    to_a_port: bool,  # noqa: FBT001
    mark: Mark | None,
    by_firewalld: Mark,
) -> None:
    """One that does not run stops nothing, unless it has the rules; strict it forwards its own."""
    for setup, wanted in ((SETUP, mark), (BY_FIREWALLD, by_firewalld)):
        hops = FirewalldHops(said, setup, Kernel()).gate(to_a_port=to_a_port)
        assert [hop.mark for hop in hops] == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("sources", "interfaces", "default_zone", "mark", "what"),
    [
        ({"10.88.0.0/16": "trusted"}, {}, "drop", Mark.OPEN, "is a source of zone trusted"),
        ({"10.88.0.0/16": "drop"}, {}, "home", Mark.BROKEN, "is in zone drop: what"),
        ({"10.88.0.0/16": "drop"}, {"eth0": "drop"}, "", Mark.NOTE, "is in zone drop, as eth0 is"),
        ({"10.88.0.0/16": "site"}, {}, "drop", Mark.NOTE, "is in zone site, whose rules apply"),
        ({}, {"podman0": "site"}, "drop", Mark.NOTE, "is a source of no zone, and so in zone site"),
        ({}, {"podman0": "work"}, "site", Mark.BROKEN, "is a source of no zone, and so in zone wo"),
        ({}, {"eth1": "site"}, "work", Mark.BROKEN, "is a source of no zone, and so in zone work:"),
        ({}, {}, "", Mark.BROKEN, "is a source of no zone, and so in zone :"),
        ({"10.88.0.2": "trusted"}, {}, "site", Mark.NOTE, "is a source of no zone, and so in zone"),
    ],
)
def test_what_containers_send_is_of_a_zone(
    sources: Mapping[str, str],
    interfaces: Mapping[str, str],
    default_zone: str,
    mark: Mark,
    what: str,
) -> None:
    """The zone of the subnet decides, else the bridge's, else the default one."""
    said = replace(RUNNING, sources=sources, interfaces=interfaces, default_zone=default_zone)
    (hop,) = FirewalldHops(said, SETUP, UPLINK).source(ENDPOINT, V4[0])

    assert (hop.place, hop.mark) == ("firewalld zone", mark)
    assert hop.what.startswith(f"10.88.0.0/16 {what}")
    advice = "firewall-cmd --zone=trusted --change-source=10.88.0.0/16"
    repair = advice if "10.88.0.0/16" in sources else "podwatch restore"
    assert hop.advice == ("" if mark is Mark.OPEN else repair)
    unread = replace(SETUP, networks={})
    assert list(FirewalldHops(said, unread, UPLINK).source(ENDPOINT, V4[0])) == []


def test_without_a_way_out_no_zone_is_the_uplinks() -> None:
    """Where no interface leads out, none is in the zone of what containers send."""
    said = replace(RUNNING, sources={"10.88.0.0/16": "drop"}, interfaces={"eth0": "drop"})
    (hop,) = FirewalldHops(said, SETUP, Kernel()).source(ENDPOINT, V4[0])
    assert hop.mark is Mark.BROKEN


def test_a_firewalld_that_says_nothing_has_no_zones() -> None:
    """It stops, or could not be asked: of its zones and policies nothing is told."""
    kernel = replace(UPLINK, policies=(Policy("site", ("ANY",), ("ANY",), "DROP"),))
    for said in (None, replace(RUNNING, running=False)):
        hops = FirewalldHops(said, SETUP, kernel)
        assert list(hops.source(ENDPOINT, V4[0])) == []
        assert list(hops.policies(ENDPOINT, V4[0])) == []


@pytest.mark.parametrize(("place", "mark"), [(V4, Mark.BROKEN), (V6, Mark.NOTE)])
def test_netavarks_own_zone_masquerades(place: tuple[object, object], mark: Mark) -> None:
    """With its firewalld driver an IPv4 subnet of another zone is not masqueraded."""
    address, subnet = place
    said = replace(RUNNING, sources={str(subnet): "site"})
    hops = FirewalldHops(said, BY_FIREWALLD, UPLINK)
    (hop,) = (hop for own, _ in (V4, V6) if own == address for hop in hops.source(ENDPOINT, own))

    assert hop.mark is mark
    assert hop.advice == f"firewall-cmd --zone=netavark_zone --change-source={subnet}"


@pytest.mark.parametrize(
    ("sources", "interfaces", "default_zone", "is_closed"),
    [
        ({"10.88.0.0/16": "inner"}, {"eth0": "outer"}, "public", True),
        ({"10.88.0.2": "inner"}, {"eth0": "outer"}, "public", True),
        ({}, {"podman0": "inner", "eth0": "outer"}, "public", True),
        ({}, {"eth0": "outer"}, "inner", True),
        ({"10.88.0.0/16": "inner"}, {}, "outer", True),
        ({"10.88.0.0/16": "other"}, {"podman0": "inner", "eth0": "outer"}, "public", False),
        ({"10.88.0.0/16": "inner"}, {"eth1": "outer"}, "public", False),
    ],
)
def test_a_policy_between_the_zones_of_both_ends(
    sources: Mapping[str, str],
    interfaces: Mapping[str, str],
    default_zone: str,
    *,
    is_closed: bool,
) -> None:
    """It counts from the zone of what containers send to that of the uplink."""
    policies = tuple(
        Policy(name, ("inner",), ("outer",), target)
        for name, target in (("open", "ACCEPT"), ("shut", "REJECT"))
    )
    said = replace(RUNNING, sources=sources, interfaces=interfaces, default_zone=default_zone)
    kernel = replace(UPLINK, policies=policies)

    hops = list(FirewalldHops(said, SETUP, kernel).policies(ENDPOINT, V4[0]))
    what = "shut (inner → outer) has the target REJECT: what no rule of it accepts ends there"
    advice = "firewall-cmd --permanent --policy=shut --set-target=CONTINUE; firewall-cmd --reload"
    assert hops == [Hop("firewalld policy", what, Mark.BROKEN, advice)] * is_closed
    unrouted = FirewalldHops(said, SETUP, replace(kernel, routed={6: "eth0"}))
    assert list(unrouted.policies(ENDPOINT, V4[0])) == []


def test_the_bridge_of_a_network_without_a_file_is_in_no_zone() -> None:
    """What its containers send is of the default zone, as far as anybody knows."""
    policies = (Policy("shut", ("inner",), ("outer",), "DROP"),)
    said = replace(RUNNING, interfaces={"eth0": "outer"}, default_zone="inner")
    hops = FirewalldHops(said, replace(SETUP, networks={}), replace(UPLINK, policies=policies))
    assert [hop.mark for hop in hops.policies(ENDPOINT, V4[0])] == [Mark.BROKEN]


def test_an_address_goes_by_three_names() -> None:
    """Its own subnet, not that of the container's other address, itself, and itself as a subnet."""
    assert names_of(ENDPOINT, V4[0]) == {"10.88.0.0/16", "10.88.0.2", "10.88.0.2/32"}
    assert names_of(ENDPOINT, V6[0]) == {"fd10::/64", "fd10::2", "fd10::2/128"}
