# SPDX-License-Identifier: Apache-2.0
"""Networks, leases and holders, out of the files of podman, netavark and CNI."""

import json

import pytest

from podwatch.formats.dhcp import (
    cni_network,
    holders,
    netavark_network,
    parse_backend,
    parse_leases,
    parse_network_inspect,
)
from podwatch.words.dhcp import Holder, Lease
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container

LEASE = {
    "C6:15:17:a4:ec:e5": [
        {"t1": 60, "t2": 105, "lease_time": 120, "yiaddr": "192.0.2.70", "srv_id": "192.0.2.2"}
    ]
}


@pytest.mark.parametrize("driver", ["macvlan", "bridge"])
def test_netavark_networks(driver: str) -> None:
    """A network of any driver whose ipam driver is dhcp wants DHCP; no other does."""
    network = {"name": "lan", "driver": driver, "ipam_options": {"driver": "dhcp"}}

    assert netavark_network(json.dumps(network)) == "lan"
    assert netavark_network(json.dumps({**network, "ipam_options": {"driver": "none"}})) == ""
    assert netavark_network(json.dumps({"name": "lan"})) == ""


@pytest.mark.parametrize("name", ["../x", "", "a b", "-x", 7, "x" * 201])
def test_hostile_names(name: object) -> None:
    """A name that podman would not take is refused: it becomes a part of a unit's name."""
    with pytest.raises(StateUnreadable):
        netavark_network(json.dumps({"name": name, "ipam_options": {"driver": "dhcp"}}))


def test_cni_networks() -> None:
    """A list of plugins wants DHCP if one of them does; a single plugin's file counts as one."""
    macvlan = {"type": "macvlan", "ipam": {"type": "dhcp"}}
    tuning = {"type": "tuning"}

    assert cni_network(json.dumps({"name": "lan", "plugins": [tuning, macvlan]})) == "lan"
    assert cni_network(json.dumps({"name": "lan", "plugins": [tuning]})) == ""
    assert cni_network(json.dumps({"name": "lan", **macvlan})) == "lan"


def test_backend() -> None:
    """The backend and the networks' directory of a containers.conf; what is not set is empty."""
    text = '[network]\nnetwork_backend = "cni"\nnetwork_config_dir = "/srv/nets"\n'

    assert parse_backend(text) == ("cni", "/srv/nets")
    assert parse_backend("[containers]\npids_limit = 0\n") == ("", "")
    with pytest.raises(StateUnreadable):
        parse_backend("= broken")


@pytest.mark.parametrize("nul", [0, 1, 5000])
def test_leases_after_nul_bytes(nul: int) -> None:
    """The proxy leaves NUL bytes in front of what it writes; MACs come in lower case."""
    assert parse_leases("\0" * nul + json.dumps(LEASE)) == {
        "c6:15:17:a4:ec:e5": Lease("192.0.2.70", 120, 60)
    }


@pytest.mark.parametrize("text", ["", "\0\0", "{}", "\0{}"])
def test_an_empty_lease_file(text: str) -> None:
    """A proxy that has just started knows no lease."""
    assert parse_leases(text) == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"mac": []}', '{"mac": [1]}', '{"mac": {}}', "null"])
def test_a_lease_file_that_makes_no_sense(text: str) -> None:
    """What is not a lease file is an error, never an empty one: that would mean reloads."""
    with pytest.raises(StateUnreadable):
        parse_leases(text)


def test_network_inspect() -> None:
    """Containers with MAC and first address; networks without any, and other fields, are fine."""
    container = {
        "name": "web",
        "interfaces": {
            "eth0": {"subnets": [{"ipnet": "192.0.2.70/24"}], "mac_address": "C6:15:17:A4:EC:E5"}
        },
    }
    text = json.dumps(
        [{"name": "lan", "containers": {"abc": container}}, {"name": "other", "containers": None}]
    )

    assert parse_network_inspect(text) == {"abc": ("c6:15:17:a4:ec:e5", "192.0.2.70")}
    for wrong in ("", "{}", "[1]", '[{"name": "of Podman 4"}]'):
        with pytest.raises(StateUnreadable):
            parse_network_inspect(wrong)


def test_holders() -> None:
    """Containers that are up on such a network hold a lease; a starting or ended one does not."""
    places = {"lan": {"a": ("mac", "192.0.2.70", 5.0)}}
    containers = {
        "a": Container("a", "one", networks=("podman", "lan")),
        "b": Container("b", "two", networks=("lan",), paused=True),
        "c": Container("c", "three", networks=("lan",), up=False),
        "d": Container("d", "four", networks=("podman",)),
    }

    assert holders(containers, places) == (
        Holder("a", "one", "lan", "mac", "192.0.2.70", 5.0),
        Holder("b", "two", "lan", paused=True),
    )
