# SPDX-License-Identifier: Apache-2.0
"""Leases and who holds them, out of netavark's file and podman's answer."""

import json

import pytest

from podwatch.formats.dhcp import holders, parse_leases, parse_network_inspect
from podwatch.words.dhcp import Holder, Lease
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, ContainerState

LEASE = {
    "C6:15:17:a4:ec:e5": [
        {"t1": 60, "t2": 105, "lease_time": 120, "yiaddr": "192.0.2.70", "srv_id": "192.0.2.2"}
    ]
}


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


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"mac": []}', '{"mac": [1]}', '{"mac": {"0": {}}}', "null"]
)
def test_a_lease_file_that_makes_no_sense(text: str) -> None:
    """What is not a lease file is an error, never an empty one: that would mean reloads."""
    with pytest.raises(StateUnreadable):
        parse_leases(text)


def test_the_mac_of_an_error_is_quoted_short() -> None:
    """An error stays readable whatever is in the file."""
    with pytest.raises(StateUnreadable, match=f"^'{'x' * 40}' has no list"):
        parse_leases(json.dumps({"x" * 41: []}))


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1), (0, 0), (-5, 0), (True, 0), ("60", 0), (None, 0), (1.5, 0)]
)
def test_a_time_is_a_number_of_seconds(value: object, number: int) -> None:
    """What is none is 0: not known. Of several leases of one MAC the first counts."""
    text = json.dumps({"aa": [{"lease_time": value, "t1": value, "yiaddr": value}, {"t1": 9}]})
    assert parse_leases(text) == {"aa": Lease("60" if value == "60" else "", number, number)}


@pytest.mark.parametrize(
    ("subnets", "address"),
    [
        ([{"ipnet": "192.0.2.70/24"}, {"ipnet": "fd00::2/64"}], "192.0.2.70"),
        ([7, {"ipnet": ""}, {}, {"ipnet": "fd00::2/64"}], "fd00::2"),
        ([], ""),
        (None, ""),
        ("192.0.2.70/24", ""),
    ],
)
def test_the_first_address_of_an_interface_counts(subnets: object, address: str) -> None:
    """What is no subnet is passed over."""
    interface = {"mac_address": "AA:01", "subnets": subnets}
    text = json.dumps([{"containers": {"abc": {"interfaces": {"eth0": interface}}}}])
    assert parse_network_inspect(text) == {"abc": ("aa:01", address)}


@pytest.mark.parametrize(
    "containers",
    [None, [], {"a": 7}, {"a": {}}, {"a": {"interfaces": []}}, {"a": {"interfaces": {"eth0": 7}}}],
)
def test_a_container_without_an_interface_is_left_out(containers: object) -> None:
    """Whatever stands in its place."""
    assert parse_network_inspect(json.dumps([{"containers": containers}])) == {}


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
    places = {"lan": {"a": ("mac", "192.0.2.70", 5.0)}, "dmz": {}}
    containers = {
        "a": Container("a", "one", networks=("podman", "lan")),
        "b": Container("b", "two", ContainerState.PAUSED, networks=("lan",)),
        "c": Container("c", "three", ContainerState.PRESUMED, networks=("lan",)),
        "d": Container("d", "four", networks=("podman",)),
        "e": Container("e", "again", networks=("lan", "dmz")),
    }

    assert holders(containers, places) == (
        Holder("e", "again", "dmz"),
        Holder("e", "again", "lan"),
        Holder("a", "one", "lan", "mac", "192.0.2.70", 5.0),
        Holder("b", "two", "lan", paused=True),
    )
