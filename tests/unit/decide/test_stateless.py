# SPDX-License-Identifier: Apache-2.0
"""A part of netavark's state that somebody removed makes what it stands for unknown."""

from dataclasses import replace

import pytest

from podwatch.decide.judge import judge
from podwatch.words.network import Container, ContainerClass, FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Part, Snapshot
from podwatch.words.verdict import State
from tests.unit.decide.one_network import NETWORK, STATE_DIR, endpoint

WEB = Container("a" * 64, "web", networks=("podman",), kind=ContainerClass.BRIDGE)
STATE = Setup(
    FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (endpoint(WEB.id),), state_dir=STATE_DIR
)
WHOLE = Snapshot(
    STATE,
    Ruleset(present=False),
    ABSENT_FIREWALLD,
    {WEB.id: WEB},
    listed=frozenset({WEB.id}),
)
PORTS_GONE = replace(WHOLE, setup=replace(STATE, endpoints=()))
NETWORKS_GONE = replace(WHOLE, setup=replace(STATE, networks={}))


def told(snapshot: Snapshot) -> list[tuple[Part, str]]:
    """The parts that are unknown, by name."""
    return [(unknown.part, unknown.what) for unknown in judge(snapshot).unknown]


def test_nothing_is_unknown_where_state_and_podman_agree() -> None:
    """A container with state, on a network with state."""
    assert told(WHOLE) == []


def test_a_container_without_state_is_unknown() -> None:
    """Nothing is missing, and yet the host is not well: what has to be there is not known."""
    assert told(PORTS_GONE) == [(Part.CONTAINER, "web")]
    assert judge(PORTS_GONE).unknown[0].why.endswith(f" has no state of it in {STATE_DIR}/ports")
    assert judge(PORTS_GONE).state is State.UNKNOWN


def test_a_network_without_state_is_unknown() -> None:
    """A container has state, and its network has none."""
    assert told(NETWORKS_GONE) == [(Part.CONTAINER, "network podman")]
    (unknown,) = judge(NETWORKS_GONE).unknown
    assert unknown.why == f"it is in use, and there is no {STATE_DIR}/networks/{NETWORK.id}"


@pytest.mark.parametrize(
    "snapshot",
    [
        replace(PORTS_GONE, busy="podman is changing a network"),
        replace(PORTS_GONE, listed=frozenset()),
        replace(PORTS_GONE, setup=replace(STATE, driver=FirewallDriver.NONE, endpoints=())),
        replace(PORTS_GONE, setup=Setup(FirewallDriver.CNI)),
        replace(PORTS_GONE, containers={WEB.id: replace(WEB, kind=ContainerClass.MACVLAN)}),
        replace(PORTS_GONE, containers={WEB.id: replace(WEB, kind=ContainerClass.INTERNAL)}),
    ],
    ids=["busy", "not listed since", "driver none", "CNI", "macvlan", "internal"],
)
def test_what_has_no_state_by_nature_is_not_unknown(snapshot: Snapshot) -> None:
    """Amid a change, before podman was asked anew, and where netavark keeps none."""
    assert told(snapshot) == []
