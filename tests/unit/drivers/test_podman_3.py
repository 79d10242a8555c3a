# SPDX-License-Identifier: Apache-2.0
"""Podman 3, which no Debian of the lab has: its own words, as v3.4.7 writes them.

pkg/domain/entities/container_ps.go, ocicni's PortMapping, libpod/network/cni, and the cache of
libcni 0.8 with a result of CNI 0.4.0.
"""

import base64
import json
from typing import Any

import pytest

from podwatch.decide.classes import classify
from podwatch.decide.judge import judge
from podwatch.drivers.cni import chain_name, expected_rules
from podwatch.formats.cni_results import parse_lease, parse_result, setup_of
from podwatch.formats.containers_conf import (
    ContainersConf,
    choose_backend,
    parse_containers_conf,
)
from podwatch.formats.network_files import cni_file
from podwatch.formats.podman_json import parse_ps
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.dhcp import Backend
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import ContainerState
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State

WEB = "ab" * 32
HOST = "4026531992"

PODMAN = {
    "cniVersion": "0.4.0",
    "name": "podman",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni-podman0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "routes": [{"dst": "0.0.0.0/0"}],
                "ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall"},
        {"type": "tuning"},
    ],
}

INTERNAL = {
    "args": {"podman_labels": {"of": "shop"}},
    "cniVersion": "0.4.0",
    "name": "apart",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni-podman1",
            "isGateway": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24"}]]},
            "capabilities": {"ips": True},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall", "backend": ""},
        {"type": "tuning", "capabilities": {"mac": True}},
    ],
}

LAN = {
    "cniVersion": "0.4.0",
    "name": "lan",
    "plugins": [
        {
            "type": "macvlan",
            "master": "eth0",
            "ipam": {"type": "dhcp"},
            "capabilities": {"ips": True, "mac": True},
        }
    ],
}


def listed(**fields: Any) -> dict[str, Any]:
    """One container of `podman ps --all --pod --ns --format json`."""
    return {
        "AutoRemove": False,
        "Command": ["nginx"],
        "CreatedAt": "2 hours ago",
        "Exited": False,
        "ExitedAt": -62135596800,
        "ExitCode": 0,
        "Id": WEB,
        "Image": "docker.io/library/nginx:latest",
        "ImageID": "1" * 64,
        "IsInfra": False,
        "Labels": None,
        "Mounts": [],
        "Names": ["web"],
        "Namespaces": {"Mnt": "4026532801", "Net": "4026532722"},
        "Networks": ["podman"],
        "Pid": 4051,
        "Pod": "",
        "PodName": "",
        "Ports": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
            {"hostPort": 9000, "containerPort": 9000, "protocol": "tcp", "hostIP": "192.0.2.1"},
            {"hostPort": 9001, "containerPort": 9001, "protocol": "tcp", "hostIP": "192.0.2.1"},
        ],
        "Size": None,
        "StartedAt": 1637000000,
        "State": "running",
        "Status": "Up 2 hours ago",
        "Created": 1637000000,
        **fields,
    }


def cached(**changes: Any) -> str:
    """One file of /var/lib/cni/results."""
    return json.dumps(
        {
            "kind": "cniCacheV1",
            "containerId": WEB,
            "config": base64.b64encode(json.dumps(PODMAN).encode()).decode(),
            "ifName": "eth0",
            "networkName": "podman",
            "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAME", "web"]],
            "capabilityArgs": {
                "portMappings": [
                    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
                    {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
                ]
            },
            "result": {
                "cniVersion": "0.4.0",
                "dns": {},
                "interfaces": [
                    {"mac": "5e:00:00:00:00:01", "name": "cni-podman0"},
                    {"mac": "9a:00:00:00:00:02", "name": "veth1"},
                    {"mac": "AA:00:00:00:00:03", "name": "eth0", "sandbox": "/run/netns/cni-1"},
                ],
                "ips": [
                    {
                        "address": "10.88.0.2/16",
                        "gateway": "10.88.0.1",
                        "interface": 2,
                        "version": "4",
                    }
                ],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
            **changes,
        }
    )


def test_its_containers_are_read() -> None:
    """Names, networks, process and namespace; ports in its words offend nobody."""
    (web,) = parse_ps(json.dumps([listed()])).values()

    assert (web.id, web.name, web.state) == (WEB, "web", ContainerState.UP)
    assert (web.networks, web.pid, web.netns) == (("podman",), 4051, "4026532722")


@pytest.mark.parametrize(
    ("word", "pid", "state"),
    [
        ("configured", 0, ContainerState.CREATED),
        ("created", 4051, ContainerState.PRESUMED),
        ("running", 4051, ContainerState.UP),
        ("paused", 4051, ContainerState.PAUSED),
        ("stopping", 4051, ContainerState.PRESUMED),
        ("stopped", 0, ContainerState.ENDED),
        ("exited", 0, ContainerState.ENDED),
        ("removing", 0, ContainerState.ENDED),
    ],
)
def test_its_states_are_told_apart(word: str, pid: int, state: ContainerState) -> None:
    """Its “created” has network and process; what has neither yet is “configured”."""
    ended = word in ("stopped", "exited")
    (web,) = parse_ps(json.dumps([listed(State=word, Pid=pid, Exited=ended)])).values()

    assert web.state is state


def test_its_containers_have_classes() -> None:
    """Networks in CNI's files and namespaces tell the classes as with later Podmans."""
    containers = [
        listed(),
        listed(Id="b", Names=["apart-web"], Networks=["apart"]),
        listed(Id="c", Names=["lan-web"], Networks=["lan"]),
        listed(Id="d", Names=["host-web"], Networks=[], Namespaces={"Net": HOST}),
        listed(Id="e", Names=["guest"], Networks=[]),
    ]
    files = [cni_file(json.dumps(each)) for each in (PODMAN, INTERNAL, LAN)]
    networks = {each.name: each.kind for each in files}
    found = classify(parse_ps(json.dumps(containers)), networks, HOST)

    assert {each.name: each.kind.value for each in found.values()} == {
        "web": "bridge",
        "apart-web": "internal",
        "lan-web": "macvlan",
        "host-web": "host",
        "guest": "shared",
    }


def test_what_it_set_up_is_in_the_cache() -> None:
    """A result of CNI 0.4.0, which names the version of each address, makes the usual rules."""
    joined = parse_result(cached())
    assert joined is not None
    setup = setup_of((joined,))
    (endpoint,) = setup.endpoints

    assert [str(address) for address, _ in endpoint.addresses] == ["10.88.0.2"]
    assert [str(each) for each in endpoint.port_mappings or ()] == ["8080/tcp", "192.0.2.1:53/udp"]
    assert joined.network.bridge == "cni-podman0"
    texts = [rule.text for rule in expected_rules(setup, Ruleset(present=True, chains={}))]
    assert "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.88.0.2:80" in texts
    assert any(text.endswith(f"-j {chain_name('', endpoint)}") for text in texts)
    lost = judge(Snapshot(setup, Ruleset(present=False, chains={}), ABSENT_FIREWALLD))
    assert lost.state is State.LOST


def test_a_macvlan_of_its_is_in_the_cache_too() -> None:
    """A network with DHCP has no rules, and its lease is known by the inner MAC address."""
    config = base64.b64encode(json.dumps(LAN).encode()).decode()
    text = cached(config=config, networkName="lan", capabilityArgs={})

    assert parse_result(text) is None
    assert parse_lease(text) == (WEB, "lan", "aa:00:00:00:00:03", "10.88.0.2")
    assert cni_file(json.dumps(LAN)).wants_dhcp
    assert not cni_file(json.dumps(PODMAN)).wants_dhcp


@pytest.mark.parametrize(
    ("named", "netavark", "cni", "backend"),
    [
        ("", False, True, Backend.CNI),
        ("", True, True, Backend.NETAVARK),
        ("", False, False, Backend.NETAVARK),
        ("netavark", False, True, Backend.NETAVARK),
        ("cni", True, False, Backend.CNI),
    ],
)
def test_its_backend_is_cni(
    named: str,
    netavark: bool,  # noqa: FBT001
    cni: bool,  # noqa: FBT001
    backend: Backend,
) -> None:
    """Podman 3 names no backend: without netavark, and with a network of CNI, it is CNI."""
    text = '[network]\ncni_plugin_dirs = ["/usr/libexec/cni"]\ndefault_network = "podman"\n'

    assert parse_containers_conf(text) == ContainersConf()
    assert choose_backend(named, netavark=netavark, cni=cni) is backend


def test_its_listing_of_networks_is_not_netavarks() -> None:
    """Its `podman network ls` has CNI's plugins: nothing of netavark's is made out of it."""
    plugin = {"Network": {"type": "bridge", "ipam": {}, "dns": {}}, "Bytes": "e30="}
    network = {
        "Name": "podman",
        "CNIVersion": "0.4.0",
        "DisableCheck": False,
        "Plugins": [plugin],
        "Bytes": "e30=",
        "Labels": None,
    }
    with pytest.raises(StateUnreadable, match="Podman 3"):
        parse_setup(f"{json.dumps([network])}\n{json.dumps([listed()])}\n")
