# SPDX-License-Identifier: Apache-2.0
"""In which order links are put right, and what is said of it."""

import subprocess

import pytest

from podwatch.adapters import links, sysctl
from podwatch.daemon.wiring_repair import mend
from podwatch.drivers.sysctls import of_new_bridge
from podwatch.words.errors import RestoreFailed
from podwatch.words.verdict import Missing, MissingKind
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

MAC = "02:00:00:00:00:08"


def loss(kind: MissingKind, place: str, value: str = "", *, reloadable: bool = True) -> Missing:
    """Something that is missing of this link."""
    return Missing(kind, "what", "detail", place=place, value=value, reloadable=reloadable)


@in_private_network
def test_a_whole_bridge_is_made_in_the_order_of_need() -> None:
    """However the losses are listed: the bridge first, then ports and addresses."""
    subprocess.run("ip link add veth0 type veth peer name x0".split(), check=True)
    losses = (
        loss(MissingKind.ADDRESS, "podman1", "10.89.0.1/24"),
        loss(MissingKind.MASTER, "veth0", "podman1"),
        loss(MissingKind.LINK, "veth0"),
        loss(MissingKind.BRIDGE, "podman1", "1400"),
    )
    settings = of_new_bridge("podman1", internal=True, seen=())
    done = mend(losses, {"podman1": MAC}, lambda _: settings)
    assert done == (
        "bridge podman1 made anew; veth0 set up; veth0 put on podman1; "
        "10.89.0.1/24 added to podman1"
    )
    found = links.read()
    assert found.by_name["podman1"].mac == MAC
    assert sysctl.read(settings) == settings
    assert settings["net/ipv6/conf/podman1/accept_ra"] == "0"
    assert found.by_name["veth0"].master == "podman1"
    assert "10.89.0.1/24" in map(str, found.addresses["podman1"])


@in_private_network
def test_what_fails_keeps_nothing_else_from_being_put_right() -> None:
    """The first failure is told when all was tried."""
    subprocess.run("ip link add podman2 type bridge".split(), check=True)
    losses = (
        loss(MissingKind.BRIDGE, "podman1", reloadable=False),
        loss(MissingKind.LINK, "nobody0"),
        loss(MissingKind.LINK, "podman2"),
        loss(MissingKind.ADDRESS, "podman2", "10.90.0.1/24"),
        loss(MissingKind.ROUTE, "podman2", "10.90.0.1/24"),
        loss(MissingKind.ISOLATED, "podman2"),
    )
    with pytest.raises(RestoreFailed, match="podman1 is in a VRF or has a VLAN"):
        mend(losses, {}, lambda _: {})
    assert links.read().by_name["podman2"].is_up
