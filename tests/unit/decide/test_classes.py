# SPDX-License-Identifier: Apache-2.0
"""The class of a container, of its networks and of the namespace it is in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from podwatch.decide.classes import classify
from podwatch.formats.podman_json import parse_ps
from podwatch.words.network import Container, ContainerClass

HOST = "4026531840"
NETWORKS = {
    "apart": ContainerClass.INTERNAL,
    "attached": ContainerClass.UNMANAGED,
    "lan": ContainerClass.MACVLAN,
    "vlan": ContainerClass.IPVLAN,
}
BRIDGES = dict.fromkeys(("dual", "isolated"), ContainerClass.BRIDGE)

SAMPLE = [
    {"Id": "web", "Names": ["web"], "Networks": ["podman"], "Namespaces": {"Net": "10"}},
    {"Id": "guest", "Names": ["guest"], "Networks": [], "Namespaces": {"Net": "10"}},
    {
        "Id": "infra",
        "Names": ["94a1-infra"],
        "Networks": ["podman"],
        "IsInfra": True,
        "Pod": "p",
        "PodName": "shop",
        "Namespaces": {"Net": "11"},
    },
    {
        "Id": "till",
        "Names": ["till"],
        "Networks": [],
        "Pod": "p",
        "PodName": "shop",
        "Ports": [{"host_port": 8088, "container_port": 80, "protocol": "tcp", "range": 1}],
        "Namespaces": {"Net": "11"},
    },
    {"Id": "host", "Names": ["host"], "Networks": [], "Namespaces": {"Net": HOST}},
    {"Id": "alone", "Names": ["alone"], "Networks": [], "Namespaces": {"Net": "12"}},
    {"Id": "ended", "Names": ["ended"], "State": "exited", "Networks": [], "Namespaces": {}},
]


def test_podmans_listing_tells_each_class() -> None:
    """Those without a network of their own are told apart by the namespace, and whose it is."""
    found = classify(parse_ps(json.dumps(SAMPLE)), NETWORKS, HOST)

    assert {key: (each.kind.value, each.shares) for key, each in found.items()} == {
        "web": ("bridge", ""),
        "guest": ("shared", "web"),
        "infra": ("bridge", ""),
        "till": ("member", "pod shop"),
        "host": ("host", ""),
        "alone": ("none", ""),
        "ended": ("unknown", ""),
    }


@pytest.mark.parametrize(
    ("networks", "kind"),
    [
        (("podman",), "bridge"),
        (("lan", "podman"), "bridge"),
        (("apart",), "internal"),
        (("attached", "lan"), "unmanaged"),
        (("lan",), "macvlan"),
        (("vlan",), "ipvlan"),
        (("nobody's",), "unknown"),
        (("nobody's", "lan"), "macvlan"),
    ],
)
def test_networks_decide(networks: tuple[str, ...], kind: str) -> None:
    """On several networks the one that needs most of the host decides; podman needs no file."""
    container = Container("a", "web", networks=networks, netns="10")

    assert classify({"a": container}, NETWORKS, HOST)["a"].kind == kind


def test_who_shares_is_not_whose_it_is() -> None:
    """The owner of a network is the one that podman gave it to, whichever is listed first."""
    guest = Container("g", "guest", netns="10")
    owner = Container("o", "owner", networks=("podman",), netns="10")

    found = classify({"g": guest, "o": owner}, {}, HOST)
    assert (found["g"].kind, found["g"].shares) == (ContainerClass.SHARED, "owner")
    assert found["o"].kind is ContainerClass.BRIDGE


def test_of_several_in_one_namespace_the_oldest_is_the_owner() -> None:
    """Whether none of them has a network, or more than one: podman lists it first."""
    older, younger = Container("o", "older", netns="10"), Container("y", "younger", netns="10")
    guest = Container("g", "guest", netns="10")
    without = classify({"o": older, "y": younger}, {}, HOST)
    on = {key: replace(each, networks=("podman",)) for key, each in (("o", older), ("y", younger))}
    both = classify({**on, "g": guest}, {}, HOST)

    assert (without["o"].kind, without["y"].shares) == (ContainerClass.NONE, "older")
    assert both["g"].shares == "older"


def test_whose_pod_it_is() -> None:
    """A pod without a network is its infra container's, too; who is no member of it shares it."""
    infra = Container("i", "i-infra", pod="shop", pod_id="p", is_infra=True, netns="10")
    till = Container("t", "till", pod="shop", pod_id="p", netns="10")
    guest = Container("g", "guest", netns="10")
    found = classify({"t": till, "g": guest, "i": infra}, {}, HOST)

    assert {key: (each.kind, each.shares) for key, each in found.items()} == {
        "t": (ContainerClass.MEMBER, "pod shop"),
        "g": (ContainerClass.SHARED, "pod shop"),
        "i": (ContainerClass.NONE, ""),
    }


def test_a_pod_on_the_hosts_network() -> None:
    """Members and infra container of such a pod are on the host's network."""
    infra = Container("i", "i-infra", pod="shop", pod_id="p", is_infra=True, netns=HOST)
    till = Container("t", "till", pod="shop", pod_id="p", netns=HOST)

    found = classify({"i": infra, "t": till}, {}, HOST)
    assert {each.kind for each in found.values()} == {ContainerClass.HOST}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("pasta", "pasta"),
        ("pasta:-T,5000", "pasta"),
        ("slirp4netns", "slirp4netns"),
        ("slirp4netns:port_handler=slirp4netns", "slirp4netns"),
        ("none", "none"),
        ("ns:/run/netns/x", "none"),
        ("", "none"),
    ],
)
def test_a_container_alone_is_what_podman_calls_its_network(mode: str, kind: str) -> None:
    """Whatever options it was given; what podman does not say of it is none."""
    alone = Container("a", "alone", netns="10", mode=mode)
    assert classify({"a": alone}, {}, HOST)["a"].kind == kind


def test_who_shares_a_relay_of_another_has_none() -> None:
    """A pod's infra container has the pasta; its member and a guest are told by their owner."""
    infra = Container(
        "i", "i-infra", pod="shop", pod_id="p", is_infra=True, netns="10", mode="pasta"
    )
    till = Container("t", "till", pod="shop", pod_id="p", netns="10", mode="container:i")
    guest = Container("g", "guest", netns="10", mode="container:i")
    found = classify({"t": till, "g": guest, "i": infra}, {}, HOST)

    assert {key: each.kind for key, each in found.items()} == {
        "i": ContainerClass.PASTA,
        "t": ContainerClass.MEMBER,
        "g": ContainerClass.SHARED,
    }


def test_on_a_bridge_the_mode_says_nothing() -> None:
    """Networks do, and a container on the host's network needs no relay, whatever it says."""
    bridged = Container("b", "web", networks=("podman",), netns="10", mode="bridge")
    on_host = Container("h", "host", netns=HOST, mode="pasta")
    found = classify({"b": bridged, "h": on_host}, {}, HOST)
    assert found["b"].kind is ContainerClass.BRIDGE
    assert found["h"].kind is ContainerClass.HOST


@pytest.mark.parametrize(
    "suite", ["trixie", "forky", "experimental", "bookworm-netavark", "bookworm-cni"]
)
def test_a_real_hosts_containers(suite: str) -> None:
    """The standard set, as podman 4 to 6 list it: each container is of the class it was made."""
    data = Path(__file__).parents[2] / "data" / f"{suite}-standard" / "ps.json"
    listed = parse_ps(data.read_text())
    (host_netns,) = (each.netns for each in listed.values() if each.name == "host-web")
    found = classify(listed, {"lan": ContainerClass.MACVLAN, **BRIDGES}, host_netns)

    kinds = {each.name: each.kind.value for each in found.values() if not each.is_infra}
    assert kinds == {
        "web-a": "bridge",
        "web-b": "bridge",
        "dual-web": "bridge",
        "dual-udp": "bridge",
        "isolated-web": "bridge",
        "pod-web": "member",
        "macvlan-web": "macvlan",
        "none-web": "none",
        "host-web": "host",
    }
