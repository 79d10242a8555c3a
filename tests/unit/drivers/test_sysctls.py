# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's settings netavark's networks need."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.drivers.sysctls import Sysctl, wanted
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
    """A network with both families needs both kinds of forwarding, and its bridge two settings."""
    assert list(wanted(SETUP)) == [
        Sysctl("net/ipv4/ip_forward", "1"),
        Sysctl("net/ipv6/conf/all/forwarding", "1"),
        Sysctl("net/ipv4/conf/podman1.5/route_localnet", "1", "site", always=False),
        Sysctl("net/ipv4/conf/podman1.5/rp_filter", "2", "site", always=False),
    ]


def test_a_family_that_no_container_has_needs_nothing() -> None:
    """Without an IPv6 address on any network IPv6 need not be forwarded."""
    setup = replace(SETUP, endpoints=(replace(PLACE, addresses=(V4,)),))
    assert "net/ipv6/conf/all/forwarding" not in paths(setup)


def test_an_internal_network_needs_nothing() -> None:
    """Nothing is forwarded into or out of an internal network."""
    assert paths(replace(SETUP, endpoints=(replace(PLACE, internal=True),))) == []


@pytest.mark.parametrize("driver", [FirewallDriver.NONE, FirewallDriver.UNKNOWN])
def test_without_a_driver_nothing_is_expected(driver: FirewallDriver) -> None:
    """Where netavark was told to leave the host alone nothing is expected of the kernel."""
    assert paths(replace(SETUP, driver=driver)) == []


def test_of_cni_forwarding_alone_is_known() -> None:
    """CNI's plugins set forwarding; what they set beside it is not known."""
    setup = replace(SETUP, driver=FirewallDriver.CNI)
    assert paths(setup) == ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]


def test_a_name_is_what_sysctl_takes() -> None:
    """A dot in a bridge's name is written as a slash."""
    assert [each.name for each in wanted(SETUP)][2] == "net.ipv4.conf.podman1/5.route_localnet"
