# SPDX-License-Identifier: Apache-2.0
"""Which bridges and addresses there have to be."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from podwatch.decide.wiring import wiring
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass, Endpoint, FirewallDriver, Network, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.wiring import Bridge, Place

SUBNETS = (ip_network("10.89.0.0/24"), ip_network("fd89::/64"))
GATEWAYS = (ip_interface("10.89.0.1/24"), ip_interface("fd89::1/64"))
APP = Network("n1", "podman1", SUBNETS)
ADDRESS = ip_address("10.89.0.2")
ON_APP = Endpoint("c1", "n1", "app", ((ADDRESS, SUBNETS[0]),))
SETUP = Setup(FirewallDriver.NFTABLES, {"n1": APP}, (ON_APP,))
FILE = NetworkFile(
    "app", ContainerClass.BRIDGE, "podman1", SUBNETS, asks_names=True, gateways=GATEWAYS, mtu=1400
)


def seen(file: NetworkFile | None = FILE) -> Snapshot:
    """A look that found this file of the network, and no other."""
    return Snapshot(SETUP, None, None, files={} if file is None else {file.name: file})


def test_a_bridge_has_the_addresses_of_its_networks_file() -> None:
    """The file tells gateways with their prefixes, MTU and whether names are asked for."""
    found = wiring(SETUP, seen())
    assert found.bridges == {
        "podman1": Bridge("app", "podman1", GATEWAYS, asks_names=True, mtu=1400)
    }
    assert found.places == (Place("c1", "app", "podman1", (ADDRESS,)),)


def test_no_bridge_is_expected_of_a_network_without_a_container() -> None:
    """netavark deletes the bridge after the last container has left."""
    assert wiring(replace(SETUP, endpoints=()), seen()).bridges == {}


def test_a_file_of_another_bridge_or_other_subnets_tells_nothing() -> None:
    """A network made anew under the same name is not the one that the containers are on."""
    for file in (
        replace(FILE, interface="podman7"),
        replace(FILE, subnets=(ip_network("10.99.0.0/24"),)),
    ):
        assert wiring(SETUP, seen(file)).bridges["podman1"].gateways == ()


def test_the_default_network_without_a_file_has_the_first_addresses() -> None:
    """podman gives its default network the first address of each subnet, and writes no file."""
    subnet = ip_network("10.88.0.0/16")
    network = Network("n0", "podman0", (subnet,))
    endpoint = Endpoint("c1", "n0", "podman", ((ip_address("10.88.0.5"), subnet),))
    setup = Setup(FirewallDriver.NFTABLES, {"n0": network}, (endpoint,))
    assert wiring(setup, seen(None)).bridges["podman0"].gateways == (ip_interface("10.88.0.1/16"),)


def test_without_a_file_nothing_is_guessed_of_another_network() -> None:
    """Its gateway may be any address: none is expected."""
    assert wiring(SETUP, seen(None)).bridges["podman1"].gateways == ()


def test_what_cni_answered_comes_before_a_file() -> None:
    """A setup that has the gateways itself needs no file for them."""
    mine = (ip_interface("10.89.0.254/24"),)
    setup = replace(SETUP, networks={"n1": replace(APP, gateways=mine)})
    for file in (None, FILE):
        assert wiring(setup, seen(file)).bridges["podman1"].gateways == mine


def test_an_administrators_bridge_is_unmanaged() -> None:
    """With mode=unmanaged Podman only puts containers on it."""
    unmanaged = replace(FILE, kind=ContainerClass.UNMANAGED)
    assert wiring(SETUP, seen(unmanaged)).bridges["podman1"].unmanaged


def test_an_internal_network_stays_so() -> None:
    """Either the network or the container's place on it may say so."""
    for setup in (
        replace(SETUP, networks={"n1": replace(APP, internal=True)}),
        replace(SETUP, endpoints=(replace(ON_APP, internal=True),)),
    ):
        assert wiring(setup, seen()).bridges["podman1"].internal


def test_a_container_on_no_known_bridge_has_no_place() -> None:
    """A state file whose network's own file is missing says no bridge."""
    assert wiring(replace(SETUP, networks={}), seen()).places == ()
