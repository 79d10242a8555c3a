# SPDX-License-Identifier: Apache-2.0
"""Who is held back from a reload: paused containers, and those that on networks that are shut."""

from dataclasses import replace

import pytest

from podwatch.decide.held_back import held_back, sentence
from podwatch.words.network import Container, ContainerState
from podwatch.words.verdict import Missing, MissingKind

CONTAINERS = {
    each.id: each
    for each in (
        Container("web", "web", networks=("podman",)),
        Container("mixed", "mixed", networks=("lan", "podman")),
        Container("static", "static", networks=("podman", "lan2")),
        Container("paused", "paused", ContainerState.PAUSED, networks=("podman",)),
        Container("i", "i-infra", networks=("podman", "lan"), pod="shop", is_infra=True),
    )
}


@pytest.mark.parametrize(
    ("ids", "no_lease", "held"),
    [
        (("web", "mixed", "static"), (), set()),
        (("web", "mixed", "static", "i"), ("lan",), {"mixed", "i"}),
        (("web",), ("lan",), set()),
        (("web", "paused", "mixed"), ("lan",), {"paused", "mixed"}),
        (("nobody's", "web"), ("lan",), set()),
    ],
)
def test_who_is_held_back(ids: tuple[str, ...], no_lease: tuple[str, ...], held: set[str]) -> None:
    """A paused one, and one with a leg on a network that is shut; the others are reloaded."""
    assert set(held_back(ids, CONTAINERS, dict.fromkeys(no_lease, "shut"))) == held


def test_the_reason_is_told() -> None:
    """Each is named as a person knows it, with the reason; who have the same, together."""
    shut = {"lan": "on network lan, which is shut"}
    said = sentence(held_back(("i", "paused", "mixed"), CONTAINERS, shut), CONTAINERS)

    assert said == (
        "held back: pod shop, mixed (on network lan, which is shut); paused (paused: podman "
        "unpause)"
    )


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (1, "c0"),
        (5, "c0, c1, c2, c3, c4"),
        (6, "c0, c1, c2, c3, c4 and 1 more"),
        (8, "c0, c1, c2, c3, c4 and 3 more"),
    ],
)
def test_five_are_named_and_the_rest_is_counted(number: int, names: str) -> None:
    """Of those who have the same reason."""
    containers = {f"c{n}": Container(f"c{n}", f"c{n}") for n in range(number)}

    assert sentence(dict.fromkeys(containers, "shut"), containers) == f"held back: {names} (shut)"


def test_the_first_of_several_networks_is_the_reason() -> None:
    """A paused one is paused, whatever its networks are like."""
    container = Container("c", "c", networks=("podman", "one", "two"))
    shut = {"two": "because of two", "one": "because of one"}

    assert held_back(["c"], {"c": container}, shut) == {"c": "because of one"}
    paused = {"c": replace(container, state=ContainerState.PAUSED)}
    assert held_back(["c"], paused, shut) == {"c": "paused: podman unpause"}


def test_who_may_have_switched_ipv6_off_is_held_back() -> None:
    """netavark would fail to give him that address, and leave his interface down."""
    v6 = Missing(
        MissingKind.INNER_ADDRESS,
        "web has lost fd10::2",
        "fd10::2",
        container_ids=("web",),
        reloadable=False,
        value="fd10::2",
    )
    held = held_back(("web", "mixed"), CONTAINERS, {}, [v6])
    assert held == {
        "web": "without fd10::2, maybe on purpose: podman exec web cat "
        "/proc/sys/net/ipv6/conf/all/disable_ipv6; only if that is 0: podman network reload web"
    }
    others = [
        replace(v6, reloadable=True),
        replace(v6, kind=MissingKind.VETH),
        replace(v6, container_ids=("static",)),
    ]
    assert held_back(("web", "mixed"), CONTAINERS, {}, others) == {}
    paused = held_back(("paused",), CONTAINERS, {}, [replace(v6, container_ids=("paused",))])
    assert paused == {"paused": "paused: podman unpause"}
