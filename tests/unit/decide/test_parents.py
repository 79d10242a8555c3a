# SPDX-License-Identifier: Apache-2.0
"""The parents of macvlan and ipvlan networks: told where they are down, gone or renamed."""

from dataclasses import replace

import pytest

from podwatch.decide.judge import judge
from podwatch.decide.parents import parents, without_parent
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Link, Links
from podwatch.words.network import Container, ContainerClass, ContainerState, FirewallDriver, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State, WarningKind

LAN = NetworkFile("lan", ContainerClass.MACVLAN, "eth1")
ETH1 = Link("eth1", 3)
WHOLE = Snapshot(
    Setup(FirewallDriver.NFTABLES),
    None,
    None,
    containers={"c1": Container("c1", "tv", networks=("lan",))},
    links=Links({"eth1": ETH1}),
    indexes={"eth1": 3},
    files={"lan": LAN},
)


def told(snapshot: Snapshot) -> list[tuple[WarningKind, str, str]]:
    """What is told: its kind, the sentence, and the advice."""
    return [(notice.kind, notice.what, notice.advice) for notice in without_parent(snapshot)]


def test_a_parent_that_is_up_is_not_told_of() -> None:
    """Nothing is wrong, and the host is well."""
    assert told(WHOLE) == []
    assert [file.interface for file, _ in parents(WHOLE)] == ["eth1"]


@pytest.mark.parametrize("kind", [ContainerClass.MACVLAN, ContainerClass.IPVLAN])
def test_a_parent_that_is_down(kind: ContainerClass) -> None:
    """Its containers are named, and what sets it up; the state is lost."""
    down = replace(
        WHOLE,
        links=Links({"eth1": replace(ETH1, is_up=False)}),
        files={"lan": replace(LAN, kind=kind)},
    )
    assert told(down) == [
        (
            WarningKind.PARENT,
            "network lan: its parent eth1 is down, which cuts off tv",
            "ip link set eth1 up",
        )
    ]
    assert judge(down).state is State.LOST


def test_a_parent_that_is_gone() -> None:
    """Nobody is to be reloaded before it is back."""
    gone = replace(WHOLE, links=Links({"eth7": Link("eth7", 9)}))
    ((kind, what, advice),) = told(gone)
    assert kind is WarningKind.PARENT
    assert what == "network lan: its parent eth1 is not there, which cuts off tv"
    assert "bring eth1 back" in advice
    assert judge(gone).missing == ()


def test_a_parent_that_was_renamed() -> None:
    """The ways are open, but podman finds it no more: degraded, with the way back."""
    renamed = replace(WHOLE, links=Links({"lan0": Link("lan0", 3)}))
    ((kind, what, advice),) = told(renamed)
    assert kind is WarningKind.RENAMED
    assert "its parent eth1 is called lan0 now: tv go on" in what
    assert advice == "ip link set lan0 down; ip link set lan0 name eth1 up"
    assert judge(renamed).state is State.DEGRADED


def test_a_link_that_was_never_seen_was_not_renamed() -> None:
    """Without an index of it nothing can be said of its name."""
    unseen = replace(WHOLE, links=Links({"lan0": Link("lan0", 3)}), indexes={})
    assert [kind for kind, _, _ in told(unseen)] == [WarningKind.PARENT]


def test_a_parent_that_nobody_needs_is_not_told_of() -> None:
    """Without a container that runs on it; nor one whose file names no parent, nor a bridge."""
    gone = replace(WHOLE, links=Links({}))
    ended = Container("c1", "tv", ContainerState.ENDED, networks=("lan",))
    elsewhere = Container("c1", "tv", networks=("other",))
    assert told(replace(gone, containers={"c1": ended})) == []
    assert told(replace(gone, containers={"c1": elsewhere})) == []
    assert told(replace(gone, files={"lan": replace(LAN, interface="")})) == []
    assert told(replace(gone, files={"lan": replace(LAN, kind=ContainerClass.BRIDGE)})) == []
    assert told(replace(gone, links=None)) == []


def test_of_many_some_are_named() -> None:
    """Five by name, and how many more there are."""
    many = {f"c{n}": Container(f"c{n}", f"tv{n}", networks=("lan",)) for n in range(7)}
    ((_, what, _),) = told(replace(WHOLE, containers=many, links=Links({})))
    assert "cuts off tv0, tv1, tv2, tv3, tv4 and 2 more" in what
