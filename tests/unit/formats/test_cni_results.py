# SPDX-License-Identifier: Apache-2.0
"""Reading what libcni cached: of bridges, and of a network that wants DHCP."""

import base64
import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from podwatch.formats.cni_results import Joined, parse_lease, parse_result, setup_of
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import BadFile, FirewallDriver, Isolation, PortMapping

CNI = Path(__file__).parents[2] / "data" / "bookworm-cni-standard" / "cni"
REAL = {path.name.partition("-")[0]: path.read_text(encoding="utf-8") for path in CNI.iterdir()}
BRIDGE = {"type": "bridge", "bridge": "cni-podman1", "isGateway": True, "ipMasq": True}
PORTMAP, FIREWALL = {"type": "portmap"}, {"type": "firewall"}
PORT = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}


def cached(*plugins: dict[str, Any], ports: Any = None, **changes: Any) -> Joined:
    """A file of the cache, of a network with these plugins, as it is read."""
    config = {"name": "n", "plugins": plugins}
    found = parse_result(
        json.dumps(
            {
                "kind": "cniCacheV1",
                "containerId": "c0ffee",
                "networkName": "n",
                "config": base64.b64encode(json.dumps(config).encode()).decode(),
                "capabilityArgs": {"portMappings": ports},
                "result": {"ips": [{"address": "10.89.0.2/24"}, {"address": "fd00::2/64"}]},
                **changes,
            }
        )
    )
    assert found is not None
    return found


def test_a_real_bridge_is_read() -> None:
    """As libcni of Debian 12 cached one of two families; a macvlan has no rules."""
    found = parse_result(REAL["dual"])
    assert found is not None
    assert (found.network.id, found.network.bridge) == ("dual", "cni-podman1")
    assert found.network.subnets == (ip_network("10.89.10.0/24"), ip_network("fd10:89:10::/64"))
    versions = [address.version for address, _ in found.endpoint.addresses]
    assert versions == [4, 6]
    assert (found.network.internal, found.network.masquerades) == (False, True)
    assert parse_result(REAL["lan"]) is None


def test_what_a_file_says_is_read() -> None:
    """Container, network, addresses, and what its plugins were told to do."""
    found = cached(BRIDGE, PORTMAP, FIREWALL, ports=[PORT, {**PORT, "hostIP": "192.0.2.1"}])
    v4, v6 = ip_network("10.89.0.0/24"), ip_network("fd00::/64")

    assert (found.network.id, found.network.bridge) == ("n", "cni-podman1")
    assert found.network.subnets == (v4, v6)
    assert found.network.isolation is Isolation.NEVER
    endpoint = found.endpoint
    assert (endpoint.container_id, endpoint.network_id, endpoint.network_name) == (
        "c0ffee",
        "n",
        "n",
    )
    assert endpoint.addresses == ((ip_address("10.89.0.2"), v4), (ip_address("fd00::2"), v6))
    assert endpoint.port_mappings == (
        PortMapping(8080, 80, "tcp"),
        PortMapping(8080, 80, "tcp", host_ip=ip_address("192.0.2.1")),
    )
    assert not endpoint.internal


@pytest.mark.parametrize(
    ("changes", "internal", "masquerades"),
    [
        ({}, False, True),
        ({"isGateway": False}, False, True),
        ({"ipMasq": False}, False, False),
        ({"isGateway": False, "ipMasq": None}, True, False),
    ],
)
def test_a_bridge_without_gateway_and_masquerading_is_internal(
    changes: dict[str, Any], *, internal: bool, masquerades: bool
) -> None:
    """Podman makes internal networks so; either of the two is a way out."""
    network = cached({**BRIDGE, **changes}, FIREWALL).network
    assert (network.internal, network.masquerades) == (internal, masquerades)


@pytest.mark.parametrize(
    ("ports", "plugins"),
    [([PORT], [FIREWALL]), ([], [PORTMAP]), (None, [PORTMAP])],
    ids=["no plugin", "none", "null"],
)
def test_ports_need_a_plugin(ports: Any, plugins: list[dict[str, Any]]) -> None:
    """Nobody forwards them without; and where there are none, there are none."""
    assert cached(BRIDGE, *plugins, ports=ports).endpoint.port_mappings is None
    assert cached(BRIDGE, PORTMAP, capabilityArgs=None).endpoint.port_mappings is None


def test_plugins_have_their_defaults() -> None:
    """The bridge's name is cni0; only one firewall plugin isolates, and without it is no accept."""
    bare = cached({"type": "bridge"}, result={})
    assert bare.network.bridge == "cni0"
    assert (bare.network.subnets, bare.endpoint.addresses, bare.endpoint.internal) == ((), (), True)
    isolated = cached(BRIDGE, {**FIREWALL, "ingressPolicy": "same-bridge"})
    assert isolated.network.isolation is Isolation.NORMAL
    assert (
        cached(BRIDGE, {**FIREWALL, "ingressPolicy": "open"}).network.isolation is Isolation.NEVER
    )


def test_a_network_may_have_one_plugin_and_no_list() -> None:
    """That is how CNI wrote its configurations before it chained plugins."""
    config = base64.b64encode(json.dumps(BRIDGE).encode()).decode()
    assert cached(config=config).network.bridge == "cni-podman1"


def test_the_files_make_up_one_setup() -> None:
    """Each network once, each container's place, and the files that could not be read."""
    places = (cached(BRIDGE), cached(BRIDGE, containerId="beef"))
    bad = BadFile("/var/lib/cni/results/x", "empty")
    setup = setup_of(places, (bad,))
    assert (setup.driver, set(setup.networks), setup.bad_files) == (
        FirewallDriver.CNI,
        {"n"},
        (bad,),
    )
    assert [endpoint.container_id for endpoint in setup.endpoints] == ["c0ffee", "beef"]


LEASED: dict[str, Any] = {
    "kind": "cniCacheV1",
    "containerId": "abc",
    "networkName": "lan",
    "result": {
        "interfaces": [
            {"name": "eth0", "mac": "AA:00:00:00:00:01", "sandbox": "/run/netns/x"},
            {"name": "veth0", "mac": "AA:00:00:00:00:02"},
            "eth1",
        ],
        "ips": ["10.0.0.1/24", {"address": "192.0.2.70/24"}, {"address": "192.0.2.71/24"}],
    },
}


def test_a_leased_address_is_read() -> None:
    """Container, network, MAC inside the sandbox and first address of a result that CNI cached."""
    assert parse_lease(json.dumps(LEASED)) == ("abc", "lan", "aa:00:00:00:00:01", "192.0.2.70")


def test_a_real_lease_is_read() -> None:
    """As libcni of Debian 12 cached one of a macvlan."""
    key, network, mac, address = parse_lease(REAL["lan"])
    assert (len(key), network, len(mac), ip_address(address).version) == (64, "lan", 17, 4)


@pytest.mark.parametrize("result", [{}, {"interfaces": None, "ips": None}], ids=["none", "null"])
def test_a_network_without_a_lease_has_none(result: dict[str, Any]) -> None:
    """Neither MAC nor address; what is no text is empty, too."""
    assert parse_lease(json.dumps({**LEASED, "result": result})) == ("abc", "lan", "", "")
    odd = {**LEASED, "result": result, "containerId": 7, "networkName": None}
    assert parse_lease(json.dumps(odd)) == ("", "", "", "")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({**LEASED, "kind": "cniCacheV2"}),
        json.dumps({**LEASED, "result": []}),
    ],
    ids=["empty", "list", "nothing", "deep", "kind", "result"],
)
def test_what_is_no_file_of_the_cache_is_an_error(wrong: str) -> None:
    """A text that cannot be read, or of another kind; never half a lease."""
    with pytest.raises(StateUnreadable):
        parse_lease(wrong)
    with pytest.raises(StateUnreadable, match="libcni"):
        parse_result(wrong)
