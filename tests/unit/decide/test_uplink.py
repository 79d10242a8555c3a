# SPDX-License-Identifier: Apache-2.0
"""What pasta took over from the host when it started, and whether it is still so."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podwatch.decide.uplink import lost_relays, with_old_address
from podwatch.words.links import Links
from podwatch.words.network import ContainerState, Setup
from podwatch.words.outside import Outside
from podwatch.words.relays import UPLINK, Relays
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind
from tests.unit.decide.user_host import (
    ADDRESS,
    ALONE,
    CONTAINERS,
    HEALTHY,
    NETNS,
    OF_ALONE,
    OF_OLD,
    RUNNING,
    UP,
    USER,
)
from tests.unit.decide.whole_host import DB, SETUP, WEB

NEW = ip_address("192.0.2.8")
MOVED = Outside({4: "wlan0"}, frozenset({NEW}))
BY_SLIRP = Relays((replace(OF_OLD, file=NETNS), *RUNNING[1:]), HEALTHY, NETNS)


def lost(seen: Snapshot, setup: Setup = SETUP) -> Sequence[Missing]:
    """What is lost of relays, and of what they took over."""
    return list(lost_relays(setup, seen))


def old(seen: Snapshot, setup: Setup = SETUP) -> Sequence[Missing]:
    """What is lost by another address of the host."""
    return list(with_old_address(setup, seen))


def test_what_is_as_it_was_is_not_lost() -> None:
    """A route inside as outside, and an address that the host still has."""
    assert lost(USER) == old(USER) == []


def test_a_relay_that_ended_is_lost_first() -> None:
    """One that does not run has taken over nothing."""
    running = tuple(relay for relay in RUNNING if relay is not UP)
    (loss,) = lost(replace(USER, relays=Relays(running, HEALTHY, NETNS), routed={}))
    assert (loss.kind, loss.value) == (MissingKind.UPLINK, "")


def test_a_network_without_a_route_is_connected_anew() -> None:
    """It is one loss, of all containers on bridges, with the place that a repair goes by."""
    (loss,) = lost(replace(USER, routed={6: "eth0"}))
    assert (loss.kind, loss.place, loss.value) == (MissingKind.UPLINK, str(UPLINK), "route")
    assert loss.container_ids == (WEB, DB)
    assert loss.what.endswith("and the host has one: db, web reach nothing outside")


ONLY_V6 = replace(
    SETUP,
    networks={
        key: replace(network, subnets=(ip_network("fd89::/64"),))
        for key, network in SETUP.networks.items()
    },
)


@pytest.mark.parametrize(
    ("seen", "setup"),
    [
        (replace(USER, outside=None), SETUP),
        (replace(USER, outside=Outside({6: "wlan0"})), SETUP),
        (replace(USER, relays=None), SETUP),
        (replace(USER, relays=BY_SLIRP), SETUP),
        (replace(USER, links=None), SETUP),
        (USER, replace(SETUP, endpoints=())),
        (USER, ONLY_V6),
    ],
    ids=["root", "offline", "unread", "slirp4netns", "not looked into", "empty", "IPv6 alone"],
)
def test_a_route_is_missed_only_where_pasta_could_have_one(seen: Snapshot, setup: Setup) -> None:
    """slirp4netns has its own; what nobody needs or could look at is not lost."""
    assert lost(replace(seen, routed={}), setup) == []


def test_a_container_without_a_route_is_connected_anew() -> None:
    """Where the host has one by now, and what started its pasta is known."""
    routeless = replace(USER, relays=Relays(RUNNING, HEALTHY, NETNS, routeless=frozenset({ALONE})))
    (loss,) = lost(routeless)
    assert (loss.kind, loss.value, loss.container_ids) == (MissingKind.RELAY, "route", (ALONE,))
    assert loss.what.startswith("alone has no default route: its pasta took over none")
    assert loss.reloadable


@pytest.mark.parametrize("why", ["offline", "root", "ended", "no pasta", "unknown", "removed"])
def test_a_container_without_a_route_is_left_otherwise(why: str) -> None:
    """The host has none either, the container or its pasta ended, or nobody knows how it began."""
    relays = Relays(RUNNING, HEALTHY, NETNS, routeless=frozenset({ALONE}))
    seen = replace(USER, relays=relays)
    if why in ("offline", "root"):
        seen = replace(seen, outside=None if why == "root" else Outside())
    elif why == "ended":
        alone = replace(CONTAINERS[ALONE], state=ContainerState.JUST_ENDED)
        seen = replace(seen, containers={**CONTAINERS, ALONE: alone})
    elif why == "removed":
        seen = replace(seen, containers={})
    elif why == "no pasta":
        running = tuple(relay for relay in RUNNING if relay is not OF_ALONE)
        seen = replace(seen, relays=replace(relays, running=running))
    else:
        seen = replace(seen, relays=replace(relays, healthy={}))
    assert [loss for loss in lost(seen) if loss.value == "route"] == []


def test_another_address_of_the_host_is_told() -> None:
    """With both, and what it breaks."""
    (loss,) = old(replace(USER, outside=MOVED))
    assert (loss.kind, loss.place, loss.value) == (MissingKind.HOST_ADDRESS, "uplink:", "address")
    assert loss.container_ids == (WEB, DB)
    assert loss.what == (
        "pasta of the user's network took over 192.0.2.7, and the host has 192.0.2.8 now: "
        "host.containers.internal leads nowhere"
    )


def test_one_address_in_common_is_enough() -> None:
    """A host may have several, and so has pasta then."""
    both = replace(MOVED, addresses=frozenset({NEW, ADDRESS}))
    assert old(replace(USER, outside=both)) == []
    assert USER.links is not None
    more = {**USER.links.addresses, "eth0": (ip_interface("192.0.2.7/24"), ip_interface(f"{NEW}"))}
    links = Links(USER.links.by_name, more, USER.links.routes)
    assert old(replace(USER, outside=MOVED, links=links)) == []


@pytest.mark.parametrize(
    "seen",
    [
        replace(USER, outside=None),
        replace(USER, outside=replace(MOVED, routed={})),
        replace(USER, outside=replace(MOVED, addresses=frozenset())),
        replace(USER, outside=MOVED, links=None),
        replace(USER, outside=MOVED, routed={}),
        replace(USER, outside=MOVED, relays=BY_SLIRP),
        replace(USER, outside=MOVED, relays=None),
    ],
    ids=["root", "offline", "no address", "unread", "no route", "slirp4netns", "no relays"],
)
def test_what_may_be_between_two_networks_is_left(seen: Snapshot) -> None:
    """As what is not known; slirp4netns looks at no address of the host's."""
    assert old(seen) == []


def test_addresses_for_ipv6_are_no_matter() -> None:
    """host.containers.internal is one for IPv4."""
    other = Outside({4: "wlan0"}, frozenset({ADDRESS, ip_address("2001:db8::8")}))
    assert old(replace(USER, outside=other)) == []
