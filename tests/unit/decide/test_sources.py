# SPDX-License-Identifier: Apache-2.0
"""The subnets that firewalld has to trust, by driver, and what is odd about firewalld."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.sources import firewalld_warnings, missing_sources, trusted_sources
from podwatch.drivers import firewalld as policies
from podwatch.words.network import Endpoint, FirewallDriver, Setup
from podwatch.words.rules import Chain
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from podwatch.words.verdict import MissingKind
from tests.unit.decide.one_network import HERE, NETWORK, SUBNET, endpoint

NFT, CNI, BY_FIREWALLD = FirewallDriver.NFTABLES, FirewallDriver.CNI, FirewallDriver.FIREWALLD
WEB = endpoint("a" * 64)
SIX = ip_network("fd00::/64")
INTERNAL = replace(NETWORK, internal=True)


def setup_of(driver: FirewallDriver, *endpoints: Endpoint, internal: bool = False) -> Setup:
    """A setup of Podman's first network and containers on it."""
    return Setup(driver, {NETWORK.id: INTERNAL if internal else NETWORK}, endpoints)


@pytest.mark.parametrize(
    ("setup", "sources"),
    [
        (setup_of(NFT, WEB), [("podman", "10.88.0.0/16")]),
        (setup_of(NFT, WEB, internal=True), [("podman", "10.88.0.0/16")]),
        (setup_of(BY_FIREWALLD, WEB), [("podman", "10.88.0.0/16")]),
        (setup_of(BY_FIREWALLD, WEB, internal=True), []),
        (setup_of(NFT, replace(WEB, network_name="")), [("podman0", "10.88.0.0/16")]),
        (setup_of(NFT), []),
        (Setup(NFT, {}, (WEB,)), []),
        (setup_of(CNI, WEB), [("podman", "10.88.0.2/32")]),
        (setup_of(CNI, replace(WEB, internal=True)), []),
        (
            setup_of(CNI, replace(WEB, addresses=((HERE, SUBNET), (ip_address("fd00::2"), SIX)))),
            [("podman", "10.88.0.2/32"), ("podman", "fd00::2/128")],
        ),
    ],
    ids=[
        "nftables",
        "nftables, internal",
        "firewalld",
        "firewalld, internal",
        "no name",
        "no container",
        "no state",
        "CNI",
        "CNI, internal",
        "CNI, two addresses",
    ],
)
def test_what_has_to_be_trusted(setup: Setup, sources: list[tuple[str, str]]) -> None:
    """Whole subnets of networks with containers; of CNI each container's own addresses."""
    assert [(name, subnet) for _, name, subnet in trusted_sources(setup)] == sources


def missing(setup: Setup, firewalld: Firewalld | None) -> list[tuple[str, str, tuple[str, ...]]]:
    """(kind, sentence, containers) of each subnet that is missing."""
    found = missing_sources(setup, Snapshot(setup, None, firewalld))
    return [(loss.kind, loss.what, loss.container_ids) for loss in found]


def test_a_source_is_missing_where_firewalld_runs_and_does_not_have_it() -> None:
    """With the containers of its network, and no others."""
    elsewhere = replace(WEB, container_id="b" * 64, network_id="1" * 64, network_name="back")
    setup = setup_of(NFT, WEB, elsewhere)
    what = "network podman: 10.88.0.0/16 is not a source of firewalld's zone trusted"

    assert missing(setup, Firewalld(running=True)) == [(MissingKind.SOURCE, what, ("a" * 64,))]
    there = Firewalld(running=True, sources={"10.88.0.0/16": "dmz"})
    assert missing(setup, there) == []
    assert missing(setup, None) == missing(setup, Firewalld(running=False)) == []
    assert missing(replace(setup, driver=FirewallDriver.NONE), Firewalld(running=True)) == []


def test_with_netavarks_policy_its_zone_may_be_gone_too() -> None:
    """Then only a reload makes it; where the policy is there, the source alone is put back."""
    setup = setup_of(BY_FIREWALLD, WEB)
    there = Firewalld(running=True, policies={policies.WAY_OUT: Chain("", ())})

    assert [kind for kind, *_ in missing(setup, there)] == [MissingKind.SOURCE]
    assert [kind for kind, *_ in missing(setup, Firewalld(running=True))] == [MissingKind.FORWARD]
    assert missing(setup, there)[0][1].endswith("zone netavark_zone")


@pytest.mark.parametrize(
    ("setup", "firewalld", "said"),
    [
        (setup_of(NFT, WEB), ABSENT_FIREWALLD, []),
        (setup_of(BY_FIREWALLD, WEB), ABSENT_FIREWALLD, ["firewalld does not run"]),
        (setup_of(BY_FIREWALLD), ABSENT_FIREWALLD, []),
        (setup_of(NFT, WEB), Firewalld(running=True), []),
        (setup_of(NFT, WEB), Firewalld(running=True, in_kernel=False), ["firewalld runs, but its"]),
        (
            setup_of(NFT, WEB),
            Firewalld(running=True, sources={"10.88.0.0/16": "dmz"}),
            ["network podman: 10.88.0.0/16 is in firewalld's zone dmz, not trusted"],
        ),
        (
            setup_of(NFT, WEB),
            Firewalld(running=True, sources={"10.88.0.0/16": "trusted"}),
            [],
        ),
    ],
)
def test_what_is_odd_about_firewalld(setup: Setup, firewalld: Firewalld, said: list[str]) -> None:
    """That it is stopped, where ports are forwarded by it; its table gone; another zone."""
    found = [notice.what for notice in firewalld_warnings(setup, firewalld)]

    assert len(found) == len(said)
    assert all(what.startswith(begin) for what, begin in zip(found, said, strict=True))
