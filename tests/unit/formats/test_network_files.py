# SPDX-License-Identifier: Apache-2.0
"""Networks, out of netavark's and CNI's files."""

import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from podwatch.formats.network_files import cni_file, netavark_file
from podwatch.words.errors import StateUnreadable
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass

DATA = Path(__file__).parents[2] / "data"


def kind_of(parse: Callable[[str], NetworkFile], text: str) -> tuple[str, ContainerClass]:
    """The name of a network, and its class."""
    found = parse(text)
    return found.name, found.kind


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ({"driver": "bridge"}, "bridge"),
        ({"driver": "bridge", "internal": True}, "internal"),
        ({"driver": "bridge", "internal": False, "options": "unmanaged"}, "bridge"),
        ({"driver": "bridge", "internal": True, "options": {"mode": "unmanaged"}}, "unmanaged"),
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
    assert kind_of(netavark_file, json.dumps({"name": "net", **network})) == ("net", kind)


def test_a_real_hosts_networks() -> None:
    """The standard set's networks, as podman prints them and writes them."""
    networks = json.loads((DATA / "trixie-standard" / "networks.json").read_text())
    found = dict(kind_of(netavark_file, json.dumps(each)) for each in networks)

    assert (found["dual"], found["isolated"], found["lan"]) == ("bridge", "bridge", "macvlan")


@pytest.mark.parametrize(
    ("plugins", "kind"),
    [
        ([{"type": "bridge", "isGateway": True, "ipMasq": True}, {"type": "portmap"}], "bridge"),
        ([{"type": "bridge", "isGateway": False, "ipMasq": False}], "internal"),
        ([{"type": "bridge", "isGateway": True}], "bridge"),
        ([{"type": "bridge", "ipMasq": True}], "bridge"),
        ([{"type": "tuning"}, {"type": "macvlan", "master": "eth0"}], "macvlan"),
        ([{"type": "ipvlan"}], "ipvlan"),
        ([{"type": "portmap"}, 7], "unknown"),
    ],
)
def test_cni(plugins: list[Any], kind: str) -> None:
    """The first plugin that makes an interface decides; a file of one plugin is a list of one."""
    assert kind_of(cni_file, json.dumps({"name": "net", "plugins": plugins})) == ("net", kind)
    if len(plugins) == 1:
        assert kind_of(cni_file, json.dumps({"name": "net", **plugins[0]})) == ("net", kind)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 7}', "[" * 100_000])
def test_what_is_no_network(text: str) -> None:
    """Anything but an object with a name raises."""
    for parse in (netavark_file, cni_file):
        with pytest.raises(StateUnreadable):
            parse(text)


def test_what_a_reload_stands_on() -> None:
    """Bridge, subnets and names of a network; a macvlan's parent, CNI's too."""
    networks = json.loads((DATA / "trixie-standard" / "networks.json").read_text())
    found = {each.name: each for each in (netavark_file(json.dumps(net)) for net in networks)}
    lan = {"name": "lan", "plugins": [{"type": "macvlan", "master": "eth1"}]}

    assert found["podman"].asks_names is False
    assert found["dual"].asks_names is True
    assert found["dual"].interface.startswith("podman")
    assert {each.version for each in found["dual"].subnets} == {4, 6}
    assert cni_file(json.dumps(lan)).interface == "eth1"
    assert cni_file('{"name": "n", "type": "bridge", "bridge": "cni0"}').interface == "cni0"
    assert cni_file('{"name": "n", "type": "macvlan"}').interface == ""
    bare = netavark_file('{"name": "n\\n", "driver": "bridge", "network_interface": null}')
    assert (bare.name, bare.interface, bare.asks_names) == ("n\ufffd", "", False)


def test_subnets_that_make_no_sense_are_left_out() -> None:
    """What a file says beside its name need not be there, nor make sense."""
    subnets = [{"subnet": "10.89.0.0/24"}, {"subnet": "x"}, {}, 7]
    text = json.dumps({"name": "n", "driver": "bridge", "subnets": subnets})
    assert netavark_file(text).subnets == (ip_network("10.89.0.0/24"),)
    assert netavark_file('{"name": "n", "subnets": 7}').subnets == ()


@pytest.mark.parametrize("driver", ["macvlan", "bridge"])
def test_a_network_of_netavarks_wants_dhcp_by_its_ipam_driver(driver: str) -> None:
    """Whatever makes the network; no other ipam driver does."""
    network = {"name": "lan", "driver": driver, "ipam_options": {"driver": "dhcp"}}

    assert netavark_file(json.dumps(network)).wants_dhcp
    assert not netavark_file(json.dumps({**network, "ipam_options": {"driver": "none"}})).wants_dhcp
    assert not netavark_file(json.dumps({**network, "ipam_options": "dhcp"})).wants_dhcp
    assert not netavark_file(json.dumps({"name": "lan"})).wants_dhcp


def test_a_network_of_cnis_wants_dhcp_if_one_of_its_plugins_does() -> None:
    """A file of a single plugin counts as a list of one."""
    macvlan = {"type": "macvlan", "ipam": {"type": "dhcp"}}
    tuning = {"type": "tuning"}

    assert cni_file(json.dumps({"name": "lan", "plugins": [tuning, macvlan]})).wants_dhcp
    assert cni_file(json.dumps({"name": "lan", **macvlan})).wants_dhcp
    other = cni_file(json.dumps({"name": "lan", "plugins": [tuning, {"ipam": {"type": "dhcp"}}]}))
    assert (other.kind, other.wants_dhcp) == (ContainerClass.UNKNOWN, True)
    assert not cni_file(json.dumps({"name": "lan", "plugins": [tuning, 7]})).wants_dhcp
    assert not cni_file(json.dumps({"name": "lan", "plugins": [{"type": "dhcp"}]})).wants_dhcp


@pytest.mark.parametrize("name", ["../x", "", "a b", "-x", "x" * 201])
def test_no_network_of_a_hostile_name_wants_dhcp(name: str) -> None:
    """A name that podman would not take never becomes a part of a unit's name."""
    text = json.dumps({"name": name, "ipam_options": {"driver": "dhcp"}})
    assert not netavark_file(text).wants_dhcp
    assert not cni_file(json.dumps({"name": name, "ipam": {"type": "dhcp"}})).wants_dhcp
    assert netavark_file(text.replace(json.dumps(name), json.dumps("x" * 200))).wants_dhcp


def test_a_bridges_addresses_and_what_is_special_about_it() -> None:
    """Gateways have the length of their subnet; one that makes no sense is left out."""
    network = {
        "name": "n",
        "driver": "bridge",
        "network_interface": "podman1",
        "subnets": [
            {"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"},
            {"subnet": "fd89::/64", "gateway": "fd89::1"},
            {"subnet": "10.90.0.0/24"},
            {"subnet": "10.91.0.0/24", "gateway": "nonsense"},
        ],
        "options": {"mtu": "1400"},
    }
    found = netavark_file(json.dumps(network))
    assert [str(gateway) for gateway in found.gateways] == ["10.89.0.1/24", "fd89::1/64"]
    assert (found.special, found.mtu) == (False, 1400)
    for options in ({"vrf": "red"}, {"vlan": "7"}):
        assert netavark_file(json.dumps({**network, "options": options})).special
    assert netavark_file(json.dumps({**network, "options": {"mtu": "many"}})).mtu == 0
