# SPDX-License-Identifier: Apache-2.0
"""What others do to containers' packets apart from rules: routes, routers, bridges."""

from ipaddress import ip_network

import pytest

from podwatch.decide.judge import judge
from podwatch.words.links import Around, Routed
from podwatch.words.network import Network
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State, WarningKind
from podwatch.words.way import BaseChain
from tests.unit.decide.test_judge import SETUP, WEB, snapshot

NETWORK = SETUP.networks[WEB.network_id]
ADDRESS = WEB.addresses[0][0]
CLOSED = BaseChain("ip filter", "FORWARD", "forward", "drop")
INN = Network("inn", "podman9", (ip_network("10.89.9.0/24"),), internal=True)


def around(*routes: Routed) -> Snapshot:
    """A whole host, and these routes."""
    return snapshot(around=Around(routes))


def routed(link: str, *, answer: bool = False) -> Routed:
    """Which way packets to the container go, or those that it answers."""
    return Routed(NETWORK.id, ADDRESS, link, is_answer=answer, uplink="eth0" if answer else "")


def test_packets_that_go_where_they_have_to_are_no_news() -> None:
    """To the bridge there, and by the uplink back."""
    found = judge(around(routed(NETWORK.bridge), routed("eth0", answer=True)))
    assert (found.state, found.warnings) == (State.OK, ())


@pytest.mark.parametrize(("link", "told"), [("tun0", "goes to tun0"), ("", "goes nowhere")])
def test_a_route_that_takes_what_is_sent_to_a_container(link: str, told: str) -> None:
    """The way is closed, whoever's will it is: lost, and told with what opens it."""
    found = judge(around(routed(link)))

    assert (found.state, found.missing) == (State.LOST, ())
    (notice,) = found.warnings
    assert notice.kind is WarningKind.ROUTE
    assert told in notice.what
    assert notice.advice == f"ip rule add to {NETWORK.subnets[0]} lookup main priority 1"


def test_a_rule_that_takes_the_answers() -> None:
    """A VPN for containers may be meant so: told, and no more."""
    found = judge(around(routed("tun0", answer=True)))

    assert found.state is State.DEGRADED
    (notice,) = found.warnings
    assert notice.kind is WarningKind.DETOUR
    assert "neighbours on eth0 goes to tun0" in notice.what


@pytest.mark.parametrize(("has_default", "state"), [(True, "degraded"), (False, "lost")])
def test_a_host_that_hears_its_router_no_more(
    has_default: bool,  # noqa: FBT001
    state: str,
) -> None:
    """accept_ra=1 means no while IPv6 is forwarded: told before the route is gone, and after."""
    found = judge(snapshot(around=Around(deaf=("eth0",), has_default_v6=has_default)))

    assert found.state.value == state
    (notice,) = found.warnings
    assert notice.advice == "sysctl -w net.ipv6.conf.eth0.accept_ra=2"


@pytest.mark.parametrize(
    ("bridged", "rules", "count"),
    [
        ({4}, (), 1),
        ({6}, (), 0),
        (set(), (), 0),
        ({4}, ('iifname "podman9" accept',), 0),
        ({4}, ("ct state established,related accept",), 1),
    ],
    ids=["handed over", "of IPv6 alone", "not handed over", "let through", "answers alone"],
)
def test_containers_that_are_kept_from_each_other(
    bridged: set[int], rules: tuple[str, ...], count: int
) -> None:
    """A chain that drops parts an internal network only where bridges hand their packets to it."""
    chain = BaseChain(CLOSED.table, CLOSED.name, CLOSED.hook, CLOSED.policy, rules, rules)
    seen = snapshot(drops=(chain,), around=Around(bridged=frozenset(bridged), internal=(INN,)))
    told = [each for each in judge(seen).warnings if "do not reach each other" in each.what]

    assert len(told) == count
    assert all(each.what.startswith("network inn (podman9)") for each in told)
