# SPDX-License-Identifier: Apache-2.0
"""What a reload of firewalld drops that it need not drop, and when nothing is said of it."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.reload_costs import (
    Costs,
    costs,
    covered,
    notes_of,
    reload_notes,
    trusted_subnets,
)
from podwatch.words.network import Container, ContainerState, Endpoint, FirewallDriver, Setup
from podwatch.words.snapshot import Firewalld, Permanent, Snapshot
from podwatch.words.verdict import WarningKind
from tests.unit.decide.one_network import NETWORK, SUBNET, endpoint

WEB = endpoint("a" * 64)
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (WEB,))
DROPS = {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "DROP"}
PASSES = {**DROPS, "FORWARD": "ACCEPT"}
TRUSTED = {str(SUBNET): "trusted"}
BEFORE = Permanent("2.3.1", by_nftables=True, policy=DROPS)
AFTER = Permanent("2.3.1", by_nftables=True, sources=TRUSTED, policy=PASSES)

DROPPED = "new connections to and from containers for about 100 ms"
LOST = (
    "what containers of podman send for longer, as their subnets are no permanent sources of zone "
    "trusted"
)


def told(permanent: Permanent | None, setup: Setup = SETUP) -> list[str]:
    """What is said of it."""
    return [notice.what for notice in reload_notes(setup, permanent)]


@pytest.mark.parametrize(
    ("permanent", "what"),
    [
        (AFTER, []),
        (BEFORE, [f"each reload of firewalld drops {DROPPED}, and {LOST}"]),
        (replace(AFTER, policy=DROPS), [f"each reload of firewalld drops {DROPPED}"]),
        (
            replace(AFTER, policy={**DROPS, "FORWARD": "REJECT"}),
            [f"each reload of firewalld drops {DROPPED}"],
        ),
        (replace(AFTER, sources={}), [f"each reload of firewalld drops {LOST}"]),
        (
            replace(AFTER, sources={str(SUBNET): "work"}),
            ["each reload of firewalld puts 10.88.0.0/16 into zone work"],
        ),
        (
            replace(BEFORE, sources={str(SUBNET): "work"}),
            [f"each reload of firewalld drops {DROPPED}; it puts 10.88.0.0/16 into zone work"],
        ),
        (Permanent("1.3.3", by_nftables=True, sources=TRUSTED), []),
        (Permanent("1.3.3", by_nftables=True), [f"each reload of firewalld drops {LOST}"]),
        (replace(BEFORE, by_nftables=False), []),
        (None, []),
    ],
    ids=[
        "all is set",
        "nothing is set",
        "no policy",
        "rejects",
        "no source",
        "another zone",
        "another zone, no policy",
        "1.3.3 cannot do more",
        "1.3.3 can do this",
        "backend iptables",
        "not known",
    ],
)
def test_what_a_reload_costs_is_told(permanent: Permanent | None, what: list[str]) -> None:
    """What can be set and is not; what nobody knows, and what no setting ends, is not told."""
    assert told(permanent) == what


@pytest.mark.parametrize(
    "setup",
    [
        replace(SETUP, endpoints=()),
        replace(SETUP, driver=FirewallDriver.FIREWALLD),
        replace(SETUP, driver=FirewallDriver.UNKNOWN),
        replace(SETUP, networks={NETWORK.id: replace(NETWORK, internal=True)}),
        replace(SETUP, endpoints=(replace(WEB, internal=True),)),
    ],
    ids=["no container", "driver firewalld", "driver unknown", "internal", "internal, by CNI"],
)
def test_who_loses_nothing_is_told_nothing(setup: Setup) -> None:
    """Internal networks send nothing out; with netavark's own zone there is no permanent one."""
    assert trusted_subnets(setup) == {}
    assert told(BEFORE, setup) == []


def test_subnets_are_those_of_networks_with_containers() -> None:
    """Each subnet with its network's name; with CNI the subnet of each address."""
    six = ip_network("fd00::/64")
    both = replace(NETWORK, subnets=(SUBNET, six))
    nameless = replace(WEB, network_name="")
    lone = Endpoint("c" * 64, "1", "lone", ((ip_address("10.9.0.2"), ip_network("10.9.0.0/24")),))

    assert trusted_subnets(None) == {}
    assert trusted_subnets(replace(SETUP, networks={NETWORK.id: both})) == {
        "10.88.0.0/16": "podman",
        "fd00::/64": "podman",
    }
    assert trusted_subnets(replace(SETUP, endpoints=(nameless,))) == {"10.88.0.0/16": "podman0"}
    assert trusted_subnets(Setup(FirewallDriver.CNI, {}, (WEB, lone))) == {
        "10.9.0.0/24": "lone",
        "10.88.0.0/16": "podman",
    }


@pytest.mark.parametrize(
    ("sources", "is_covered"),
    [
        ({"10.0.0.0/8": "trusted"}, True),
        ({"10.88.0.0/16": "trusted"}, True),
        ({"0.0.0.0/0": "trusted"}, True),
        ({"10.0.0.0/8": "work"}, False),
        ({"10.88.0.0/24": "trusted"}, False),
        ({"192.0.0.0/8": "trusted"}, False),
        ({"::/0": "trusted"}, False),
        ({"ipset:a": "trusted", "02:00:00:00:00:01": "trusted"}, False),
    ],
)
def test_more_than_the_subnet_is_as_good(sources: dict[str, str], *, is_covered: bool) -> None:
    """A source of zone trusted with all of it in it; a part of it, or another zone's, is not."""
    assert covered("10.88.0.0/16", sources) is is_covered
    found = costs(replace(AFTER, sources=sources), {"10.88.0.0/16": "podman"})
    assert found == Costs(drops=False, lacking={} if is_covered else {"10.88.0.0/16": "podman"})


def test_the_note_makes_no_state_degraded() -> None:
    """It is one note among the warnings, of a host on which all is well."""
    firewalld = Firewalld(running=True, sources=TRUSTED, permanent=BEFORE)
    with_note = judge(Snapshot(SETUP, None, firewalld))
    without = judge(Snapshot(SETUP, None, replace(firewalld, permanent=AFTER)))

    (note,) = set(with_note.warnings) - set(without.warnings)
    assert note.kind is WarningKind.RELOAD
    assert "podwatch explain firewalld" in note.advice
    assert (with_note.state, with_note.missing) == (without.state, without.missing)


def test_a_look_is_told_of_who_runs() -> None:
    """Explain says the same; of containers that have ended nothing is lost."""
    firewalld = Firewalld(running=True, permanent=BEFORE)
    snapshot = Snapshot(SETUP, None, firewalld)
    ended = Container(WEB.container_id, "web", ContainerState.ENDED)

    assert [note.what for note in notes_of(snapshot)] == told(BEFORE)
    assert notes_of(replace(snapshot, containers={ended.id: ended})) == []
    assert notes_of(replace(snapshot, firewalld=None)) == []
    assert notes_of(Snapshot(None, None, firewalld)) == []
