# SPDX-License-Identifier: Apache-2.0
"""The kernel's settings as a look finds them: which of them ever were as they have to be."""

from ipaddress import ip_address, ip_network

import pytest

from podwatch.adapters import sysctl
from podwatch.daemon import kernel_settings
from podwatch.daemon.kernel_settings import KernelSettings
from podwatch.drivers.sysctls import of_link
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup

SUBNET = ip_network("10.88.0.0/16")
NETWORK = Network("n" * 64, "podman0", (SUBNET,))
ENDPOINT = Endpoint("c" * 64, NETWORK.id, "podman", ((ip_address("10.88.0.2"), SUBNET),))
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))
FORWARD, LOCALNET = "net/ipv4/ip_forward", "net/ipv4/conf/podman0/route_localnet"


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the kernel's settings are, for the test to change."""
    there: dict[str, str] = {}
    monkeypatch.setattr(
        sysctl, "read", lambda paths: {path: there[path] for path in paths if path in there}
    )
    return there


def test_what_was_as_it_has_to_be_is_remembered(values: dict[str, str]) -> None:
    """Once seen so a setting counts as netavark's; one that never was so does not."""
    settings = KernelSettings()
    values |= {FORWARD: "1", LOCALNET: "0"}
    settings.read(SETUP)
    assert settings.values == {FORWARD: "1", LOCALNET: "0"}
    assert settings.seen == {FORWARD}
    values |= {FORWARD: "0", LOCALNET: "1"}
    settings.read(SETUP)
    assert settings.seen == {FORWARD, LOCALNET}


def test_what_netavark_says_it_set_was_seen(values: dict[str, str]) -> None:
    """Where its file has the value that is wanted, and not where it has another."""
    said = {LOCALNET: "1", FORWARD: "0"}
    settings = KernelSettings(configured=lambda _bridge: said)
    settings.read(SETUP)
    assert settings.seen == {LOCALNET}


def test_what_nobody_needs_any_more_is_forgotten(values: dict[str, str]) -> None:
    """What an earlier podwatch saw counts as long as some network needs the setting."""
    settings = KernelSettings()
    settings.remember([FORWARD, "net/ipv4/conf/gone/route_localnet"])
    settings.read(SETUP)
    assert settings.seen == {FORWARD}


def test_settings_are_others_when_one_changes(values: dict[str, str]) -> None:
    """Only those that were read count; without a setup there are none."""
    settings = KernelSettings()
    values[FORWARD] = "1"
    settings.read(SETUP)
    assert not settings.are_others()
    values["net/ipv4/conf/other/route_localnet"] = "0"
    assert not settings.are_others()
    values[FORWARD] = "0"
    assert settings.are_others()
    settings.read(None)
    assert settings.values == {}
    assert not settings.are_others()


def test_interfaces_beside_the_default_routes_are_read_too(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for Podman's bridges: those of internal networks forward nothing, and are meant to."""
    there = ("eth0", "eth1", "podman0", "podman7")
    monkeypatch.setattr(kernel_settings, "route_links", lambda: there)
    monkeypatch.setattr(kernel_settings, "default_links", lambda: ("eth0",))
    values |= {of_link(link): "1" for link in there}
    settings = KernelSettings(lambda: {"podman7"})
    settings.read(SETUP)
    assert settings.beside == ("eth1",)
    assert {of_link(link) for link in ("eth0", "eth1", "podman0")} <= settings.seen
    assert of_link("podman7") not in settings.values
    settings.read(Setup(FirewallDriver.UNKNOWN))
    assert not settings.beside, "where no container has a network nobody has to know"
