# SPDX-License-Identifier: Apache-2.0
"""Who is held back from a reload: paused containers, and those that would get no lease."""

import pytest

from podwatch.decide.held import held_back, told
from podwatch.words.network import Container

CONTAINERS = {
    each.id: each
    for each in (
        Container("web", "web", networks=("podman",)),
        Container("mixed", "mixed", networks=("lan", "podman")),
        Container("static", "static", networks=("podman", "lan2")),
        Container("paused", "paused", networks=("podman",), paused=True),
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
    """A paused one, and one with a leg where the DHCP proxy is down; the others are reloaded."""
    assert set(held_back(ids, CONTAINERS, no_lease)) == held


def test_the_reason_is_told() -> None:
    """Each is named as a person knows it, with the network or what to do."""
    said = told(held_back(("i", "paused"), CONTAINERS, ("lan",)), CONTAINERS)

    assert said == (
        "held back: pod shop (on network lan too, whose DHCP proxy does not listen: a reload would "
        "take it off all its networks); paused (paused: podman unpause)"
    )
