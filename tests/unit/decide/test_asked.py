# SPDX-License-Identifier: Apache-2.0
"""Which ways are asked for, and what is said where there are none."""

from dataclasses import replace

import pytest

from podwatch.decide.asked import chosen
from podwatch.decide.explain import explain
from podwatch.words.errors import PodwatchError
from podwatch.words.network import Container, ContainerClass, ContainerState
from podwatch.words.rules import RuleKind
from podwatch.words.way import Mark, Way, WayKind
from tests.unit.decide.open_host import HEALTHY, KERNEL, WEB, ruleset


def test_a_target_is_a_container_or_a_port() -> None:
    """By name, by the beginning of the id, by port, with or without protocol, within a range."""
    ways = explain(HEALTHY, KERNEL)

    assert len(chosen(ways, "web", {})) == len(chosen(ways, WEB[:12], {})) == 7
    assert len(chosen(ways, "8080", {})) == len(chosen(ways, "9001/tcp", {})) == 2


def test_a_container_has_the_isolation_of_its_networks() -> None:
    """One that is broken is told of the container, and of no port nor other network."""
    gone = replace(HEALTHY, rules=ruleset(RuleKind.ISOLATION))
    ways = explain(gone, KERNEL)
    other = Way(WayKind.ISOLATION, "isolation of other", "", "", "other", ())

    (way,) = (way for way in chosen([*ways, other], "web", {}) if way.kind is WayKind.ISOLATION)
    assert (way.title, way.mark) == ("isolation of podman", Mark.BROKEN)
    assert WayKind.ISOLATION not in {way.kind for way in chosen(ways, "8080", {})}


@pytest.mark.parametrize(
    ("target", "what", "hint"),
    [
        ("8080/udp", "8080/udp: no container publishes it", "published: 8080/tcp, "),
        ("9003", "9003: no container publishes it", "published: 8080/tcp, "),
        ("nobody", "nobody: there is no such container", "with rules: web"),
        ("aa", "aa: there is no such container", "with rules: web"),
        ("lan-web", "lan-web has no rules to explain: macvlan lan", ""),
        ("host-web", "host-web has no rules to explain: the host's network", ""),
        ("e" * 12, "e+ has no rules to explain: on the network of web", "podwatch explain web"),
        ("old", "old is not running", "podman start old"),
        ("new", "new is not running", "podman start new"),
    ],
)
def test_a_target_without_ways_says_why(target: str, what: str, hint: str) -> None:
    """No such container or port, a class without rules, another's network, not running."""
    listed = [
        Container("c" * 64, "lan-web", networks=("lan",), kind=ContainerClass.MACVLAN),
        Container("d" * 64, "host-web", kind=ContainerClass.HOST),
        Container("e" * 64, "sidecar", kind=ContainerClass.SHARED, shares="web"),
        Container("f" * 64, "old", ContainerState.ENDED),
        Container("9" * 64, "new", ContainerState.CREATED, kind=ContainerClass.BRIDGE),
    ]
    with pytest.raises(PodwatchError, match=what) as caught:
        chosen(explain(HEALTHY, KERNEL), target, {container.id: container for container in listed})

    assert caught.value.hint.startswith(hint)


def test_a_member_of_a_pod_has_the_ways_of_its_infra_container() -> None:
    """By name or id it is explained as its pod, and told to share that network; no other is."""
    member, stranger = "c" * 64, "d" * 64
    containers = {
        WEB: Container(WEB, "1234-infra", pod="shop", is_infra=True),
        member: Container(member, "till", pod="shop"),
        stranger: Container(stranger, "alone"),
    }
    ways = explain(replace(HEALTHY, containers=containers), KERNEL)

    for target in ("till", member[:12]):
        mine = chosen(ways, target, {})
        assert [way.hops for way in mine] == [way.hops for way in chosen(ways, "shop", {})]
        assert all(way.title.endswith(", the network of till") for way in mine[:-1])
    assert not any("till" in way.title for way in chosen(ways, "shop", {}))
    with pytest.raises(PodwatchError, match="alone"):
        chosen(ways, "alone", {})
    assert chosen(ways, "1234-infra", containers) == chosen(ways, "shop", containers)


def test_a_target_may_be_a_network() -> None:
    """All ways of it, where no container is called so."""
    ways = explain(HEALTHY, KERNEL)

    assert chosen(ways, "podman", {}) == [way for way in ways if way.network == "podman"]


def test_names_that_are_told_are_few() -> None:
    """Who asks for what is not there gets no list of hundreds."""
    ways = [Way(WayKind.OUT, "out", f"c{each}", f"{each:064}", "podman", ()) for each in range(99)]

    with pytest.raises(PodwatchError) as caught:
        chosen(ways, "nobody", {})
    assert caught.value.hint.endswith(" c39 and 59 more")
