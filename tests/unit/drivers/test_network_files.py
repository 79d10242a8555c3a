# SPDX-License-Identifier: Apache-2.0
"""The class of a network, out of netavark's and CNI's files."""

import json
from pathlib import Path
from typing import Any

import pytest

from podwatch.drivers.network_files import cni_kind, netavark_kind
from podwatch.words.errors import StateUnreadable

DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ({"driver": "bridge"}, "bridge"),
        ({"driver": "bridge", "internal": True}, "internal"),
        ({"driver": "bridge", "options": {"mode": "managed"}}, "bridge"),
        ({"driver": "bridge", "options": {"mode": "unmanaged"}}, "unmanaged"),
        ({"driver": "macvlan", "internal": True, "options": {"mode": "bridge"}}, "macvlan"),
        ({"driver": "ipvlan"}, "ipvlan"),
        ({"driver": "of-a-plugin"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_netavark(network: dict[str, Any], kind: str) -> None:
    """Driver, internal and options.mode of a network's file decide."""
    assert netavark_kind(json.dumps({"name": "net", **network})) == ("net", kind)


def test_a_real_hosts_networks() -> None:
    """The standard set's networks, as podman prints them and writes them."""
    networks = json.loads((DATA / "trixie-standard" / "networks.json").read_text())
    found = dict(netavark_kind(json.dumps(each)) for each in networks)

    assert (found["dual"], found["isolated"], found["lan"]) == ("bridge", "bridge", "macvlan")


@pytest.mark.parametrize(
    ("plugins", "kind"),
    [
        ([{"type": "bridge", "isGateway": True, "ipMasq": True}, {"type": "portmap"}], "bridge"),
        ([{"type": "bridge", "isGateway": False, "ipMasq": False}], "internal"),
        ([{"type": "tuning"}, {"type": "macvlan", "master": "eth0"}], "macvlan"),
        ([{"type": "ipvlan"}], "ipvlan"),
        ([{"type": "portmap"}, 7], "unknown"),
    ],
)
def test_cni(plugins: list[Any], kind: str) -> None:
    """The first plugin that makes an interface decides; a file of one plugin is a list of one."""
    assert cni_kind(json.dumps({"name": "net", "plugins": plugins})) == ("net", kind)
    if len(plugins) == 1:
        assert cni_kind(json.dumps({"name": "net", **plugins[0]})) == ("net", kind)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 7}', "[" * 100_000])
def test_what_is_no_network(text: str) -> None:
    """Anything but an object with a name raises."""
    for parse in (netavark_kind, cni_kind):
        with pytest.raises(StateUnreadable):
            parse(text)
