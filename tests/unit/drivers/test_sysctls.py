# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's settings netavark's networks need."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.drivers.sysctls import (
    Sysctl,
    closed,
    lost,
    of_new_bridge,
    parse_configured,
    wanted,
)
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup

V4 = (ip_address("10.89.0.2"), ip_network("10.89.0.0/24"))
V6 = (ip_address("fd00::2"), ip_network("fd00::/64"))
NET = Network("n" * 64, "podman1.5", (V4[1], V6[1]))
PLACE = Endpoint("c" * 64, NET.id, "site", (V4, V6))
SETUP = Setup(FirewallDriver.NFTABLES, {NET.id: NET}, (PLACE,))


def paths(setup: Setup) -> list[str]:
    """What is wanted, by path."""
    return [each.path for each in wanted(setup)]


def test_forwarding_of_each_family_and_the_bridges_own() -> None:
    """A network with both families needs both kinds of forwarding, and its bridge three settings.

    None of them counts before it was seen: netavark 1.16 writes them when it makes the bridge.
    """
    assert list(wanted(SETUP)) == [
        Sysctl("net/ipv4/ip_forward", "1", always=False),
        Sysctl("net/ipv6/conf/all/forwarding", "1", always=False),
        Sysctl("net/ipv4/conf/podman1.5/forwarding", "1", "site", always=False),
        Sysctl("net/ipv4/conf/podman1.5/route_localnet", "1", "site", always=False),
        Sysctl("net/ipv4/conf/podman1.5/rp_filter", "2", "site", always=False),
    ]


def test_a_family_that_no_container_has_needs_nothing() -> None:
    """Without an IPv6 address on any network IPv6 need not be forwarded."""
    setup = replace(SETUP, endpoints=(replace(PLACE, addresses=(V4,)),))
    assert "net/ipv6/conf/all/forwarding" not in paths(setup)


def test_an_internal_network_needs_nothing() -> None:
    """Nothing is forwarded into or out of an internal network, as its container or its file says.

    Of one without a file the bridge is not known.
    """
    assert paths(replace(SETUP, endpoints=(replace(PLACE, internal=True),))) == []
    for networks in ({NET.id: replace(NET, internal=True)}, {}):
        assert paths(replace(SETUP, networks=networks)) == [IP, V6_ALL]


def test_whose_a_setting_is() -> None:
    """A bridge's belongs to its network, which is called as the bridge where it has no name."""
    nameless = replace(SETUP, endpoints=(replace(PLACE, network_name=""),))

    assert [str(sysctl) for sysctl in wanted(nameless)][1:3] == [
        "net.ipv6.conf.all.forwarding",
        "network podman1.5: net.ipv4.conf.podman1/5.forwarding",
    ]


@pytest.mark.parametrize("driver", [FirewallDriver.NONE, FirewallDriver.UNKNOWN])
def test_without_a_driver_nothing_is_expected(driver: FirewallDriver) -> None:
    """Where netavark was told to leave the host alone nothing is expected of the kernel."""
    assert paths(replace(SETUP, driver=driver)) == []


def test_of_cni_forwarding_alone_is_known() -> None:
    """CNI's plugins set forwarding with each container; what they set beside it is not known."""
    found = list(wanted(replace(SETUP, driver=FirewallDriver.CNI)))
    assert found == [
        Sysctl("net/ipv4/ip_forward", "1"),
        Sysctl("net/ipv6/conf/all/forwarding", "1"),
        Sysctl("net/ipv4/conf/podman1.5/forwarding", "1", "site", always=False),
    ]


def test_a_name_is_what_sysctl_takes() -> None:
    """A dot in a bridge's name is written as a slash."""
    assert [each.name for each in wanted(SETUP)][3] == "net.ipv4.conf.podman1/5.route_localnet"


IP, BRIDGE = "net/ipv4/ip_forward", "net/ipv4/conf/podman1.5/forwarding"
RP_FILTER = "net/ipv4/conf/podman1.5/rp_filter"
UPLINK, V6_ALL = "net/ipv4/conf/eth0/forwarding", "net/ipv6/conf/all/forwarding"
ALL = list(wanted(SETUP, ["eth0"]))


@pytest.mark.parametrize(
    ("off", "seen", "is_lost", "is_closed"),
    [
        ((), (), [], []),
        ((IP, BRIDGE, UPLINK), (IP, BRIDGE, UPLINK), [IP], []),
        ((BRIDGE,), (IP, BRIDGE, UPLINK), [BRIDGE], []),
        ((UPLINK,), (IP, BRIDGE, UPLINK), [UPLINK], []),
        ((UPLINK,), (IP, BRIDGE), [], [UPLINK]),
        ((IP, BRIDGE, UPLINK), (), [], [IP]),
        ((IP,), (), [], []),
        ((IP, UPLINK), (), [], [IP]),
        ((IP, BRIDGE), (BRIDGE,), [BRIDGE], [IP]),
        ((V6_ALL,), (), [], [V6_ALL]),
        ((V6_ALL,), (V6_ALL,), [V6_ALL], []),
        ((IP, UPLINK), (IP,), [IP], []),
        ((IP, RP_FILTER), (IP, RP_FILTER), [IP, RP_FILTER], []),
        ((IP, V6_ALL), (), [], [V6_ALL]),
        ((IP, V6_ALL), (IP, V6_ALL), [IP, V6_ALL], []),
    ],
    ids=[
        "all on",
        "off as a whole, which once was on",
        "a bridge's",
        "the uplink's",
        "an uplink's that never was on",
        "a host that never forwarded",
        "off as a whole, and on for each link",
        "on for the bridge alone",
        "of a bridge that once was on",
        "IPv6 never on",
        "IPv6 off",
        "an uplink's beside all that once was on",
        "of a bridge, and no forwarding",
        "IPv6 never on beside one that closes nothing",
        "both IP versions off",
    ],
)
def test_what_is_put_back_and_what_is_told(
    off: tuple[str, ...], seen: tuple[str, ...], is_lost: list[str], is_closed: list[str]
) -> None:
    """What was on is put back; what never was is told, since it may be meant so."""
    values = {each.path: "0" if each.path in off else each.value for each in ALL}

    assert [each.path for each in lost(ALL, values, seen)] == is_lost
    assert [each.path for each in closed(ALL, values, seen)] == is_closed


def test_what_cni_sets_is_lost_whether_it_was_seen_or_not() -> None:
    """CNI writes forwarding with each container: there it is never meant to be off."""
    of_cni = list(wanted(replace(SETUP, driver=FirewallDriver.CNI)))
    off = {IP: "0", V6_ALL: "0"}

    assert [each.path for each in lost(of_cni, off, ())] == [IP, V6_ALL]
    assert list(closed(of_cni, {**off, BRIDGE: "0"}, ())) == []


def test_other_settings_are_no_closed_ways() -> None:
    """route_localnet that was never set, as with netavark 1.4 and no port, stops nothing."""
    path = "net/ipv4/conf/podman1.5/route_localnet"
    assert list(closed(ALL, {path: "0"}, ())) == []
    assert list(lost(ALL, {path: "0"}, ())) == []


def test_an_uplink_of_no_container_needs_nothing() -> None:
    """Where no container has an IPv4 address no interface has to forward IPv4."""
    setup = replace(SETUP, endpoints=(replace(PLACE, addresses=(V6,)),))
    assert UPLINK not in [each.path for each in wanted(setup, ["eth0"])]


def test_what_netavark_writes_for_systemd() -> None:
    """Its file (1.17, seen) says what it set; comments and what makes no sense are left out."""
    text = (
        "# autogenerated by netavark\nnet/ipv4/ip_forward = 1\n"
        "\tnet/ipv4/conf/podman0/rp_filter\t=\t2\nwhat?\n"
        "# net/ipv4/ip_forward = 0\nnet/ipv4/\x1bip_forward = 0\n"
    )
    assert parse_configured(text) == {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/podman0/rp_filter": "2",
    }


def test_a_bridge_that_is_made_anew_takes_no_routers_word() -> None:
    """Nor does that of an internal network forward; the rest is what was seen before."""
    base = "net/ipv{}/conf/podman1/{}".format
    always = {base(6, "accept_ra"): "0", base(6, "accept_dad"): "0"}
    assert of_new_bridge("podman1", internal=False, seen=()) == always
    seen = {base(4, "rp_filter"), base(4, "forwarding"), "net/ipv4/ip_forward"}
    assert of_new_bridge("podman1", internal=False, seen=seen) == {
        **always,
        base(4, "rp_filter"): "2",
        base(4, "forwarding"): "1",
    }
    assert of_new_bridge("podman1", internal=True, seen=seen) == {
        **always,
        base(4, "forwarding"): "0",
        base(6, "forwarding"): "0",
    }
