# SPDX-License-Identifier: Apache-2.0
"""podman's answers, where netavark keeps no state: what is set up, or that it cannot be known."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from podwatch.drivers.iptables import expected_rules
from podwatch.formats.podman_setup import parse_setup, with_dns_port
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, Isolation, PortMapping, Setup
from podwatch.words.rules import RuleKind, Ruleset

DATA = Path(__file__).parents[2] / "data" / "bookworm-netavark-standard"


def loaded(name: str) -> Any:
    """One recorded answer of podman 4.3."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def answer(networks: Any = None, containers: Any = None, details: Any = None) -> str:
    """The stream podwatch reads, with parts replaced."""
    parts = (
        networks if networks is not None else loaded("networks.json"),
        containers if containers is not None else loaded("ps.json"),
        details if details is not None else loaded("inspect.json"),
    )
    return "\n".join(json.dumps(part) for part in parts)


def test_a_real_host_is_understood() -> None:
    """Each bridge container once, a pod by its infra container, macvlan not at all."""
    setup, containers = parse_setup(answer())
    names = sorted(containers[each.container_id].title for each in setup.endpoints)
    assert names == ["921c06661c7e-infra", "dual-udp", "dual-web", "isolated-web", "web-a", "web-b"]
    assert {each.bridge for each in setup.networks.values()} == {"podman0", "podman1", "podman2"}
    isolated = next(each for each in setup.networks.values() if each.bridge == "podman2")
    assert isolated.isolation is Isolation.NORMAL
    others = [network for network in setup.networks.values() if network is not isolated]
    assert {network.isolation for network in others} == {Isolation.NEVER}
    assert not any(network.internal for network in setup.networks.values())
    named = {containers[each.container_id].name: each for each in setup.endpoints}
    dual = named["dual-web"]
    assert [str(address) for address, _ in dual.addresses] == ["10.89.10.2", "fd10:89:10::2"]
    assert [str(each) for each in dual.port_mappings or ()] == [
        "8083/tcp",
        "9000-9002/tcp",
        "192.0.2.1:8084/tcp",
    ]


NETWORK = {
    "name": "n",
    "id": "f00d",
    "driver": "bridge",
    "network_interface": "podman1",
    "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}, {"subnet": "fd00::/64"}],
}
ON_IT = {"n": {"IPAddress": "10.89.0.2", "GlobalIPv6Address": ""}}


def one(
    *,
    listed: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    places: Any = ON_IT,
    details: list[dict[str, Any]] | None = None,
) -> Setup:
    """The setup of a host with one container, whose answers are changed in places."""
    container = {"Id": "c0ffee", "Names": ["web"], "State": "running", "Networks": ["n"]}
    inspected = {
        "Id": "c0ffee",
        "State": {"Status": "running"},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": places},
    }
    setup, _ = parse_setup(
        answer(
            [NETWORK | (network or {})],
            [container | (listed or {})],
            [inspected] if details is None else details,
        )
    )
    return setup


@pytest.mark.parametrize(
    ("listed", "mappings"),
    [
        ([], None),
        (None, None),
        ([{}], (PortMapping(8080, 80, "tcp"),)),
        ([{"range": 0, "protocol": "", "host_ip": ""}], (PortMapping(8080, 80, "tcp"),)),
        ([{"range": -2}], (PortMapping(8080, 80, "tcp"),)),
        ([{"range": 2, "protocol": "sctp"}], (PortMapping(8080, 80, "sctp", 2),)),
        (
            [{"protocol": "tcp,udp", "host_ip": "192.0.2.1"}],
            tuple(
                PortMapping(8080, 80, name, 1, ip_address("192.0.2.1")) for name in ("tcp", "udp")
            ),
        ),
    ],
    ids=["none", "null", "bare", "empty", "negative", "range", "both"],
)
def test_ports_are_those_that_podman_lists(
    listed: list[dict[str, Any]] | None, mappings: tuple[PortMapping, ...] | None
) -> None:
    """What podman leaves out is one port of TCP at every address; none at all is None."""
    ports = listed and [{"host_port": 8080, "container_port": 80} | port for port in listed]
    (endpoint,) = one(listed={"Ports": ports}).endpoints
    assert endpoint.port_mappings == mappings


@pytest.mark.parametrize(
    ("listed", "isolation"),
    [
        ({"isolate": "strict"}, Isolation.STRICT),
        ({"isolate": "true"}, Isolation.NORMAL),
        ({"isolate": "false"}, Isolation.NEVER),
        ({}, Isolation.NEVER),
        (None, Isolation.NEVER),
    ],
)
def test_isolation_is_an_option(listed: dict[str, str] | None, isolation: Isolation) -> None:
    """Of a network without options, too."""
    assert one(network={"options": listed}).networks["f00d"].isolation is isolation


def test_a_name_server_is_at_each_gateway() -> None:
    """A subnet without a gateway has none."""
    (endpoint,) = one().endpoints
    assert endpoint.dns_servers == (ip_address("10.89.0.1"),)
    assert endpoint.addresses == ((ip_address("10.89.0.2"), ip_network("10.89.0.0/24")),)


def test_an_id_that_is_no_text_is_empty() -> None:
    """Nothing is made up of it."""
    (endpoint,) = one(network={"id": 7}).endpoints
    assert endpoint.network_id == ""


@pytest.mark.parametrize("places", [{}, None, {"n": {}}], ids=["none", "null", "no address"])
def test_a_container_without_an_address_has_no_place(places: Any) -> None:
    """Nor is its network one that rules are made for, whether it has subnets or not."""
    for subnets in (NETWORK["subnets"], [], None):
        setup = one(places=places, network={"subnets": subnets})
        assert (setup.endpoints, setup.networks) == ((), {})


@pytest.mark.parametrize(
    "listed",
    [{"State": "exited"}, {"Networks": []}, {"Networks": None}],
    ids=["ended", "on no network", "null"],
)
def test_a_container_without_a_network_need_not_be_told_of(listed: dict[str, Any]) -> None:
    """It has no place that could be missing; one that runs on a network must be inspected."""
    assert one(listed=listed, details=[]).endpoints == ()
    with pytest.raises(StateUnreadable, match="did not tell of container c0ffee"):
        one(details=[])


def test_dns_on_another_port_is_redirected() -> None:
    """Every gateway of a container's networks, for the families the container has; else none."""
    setup, _ = parse_setup(answer())
    assert with_dns_port(setup, 53) == setup != with_dns_port(setup, 54)
    rules = {
        port: [
            (each.chain, each.text)
            for each in expected_rules(with_dns_port(setup, port), Ruleset(present=True))
            if each.kind is RuleKind.DNS_REDIRECT
        ]
        for port in (53, 1053)
    }
    assert rules[53] == []
    text = "-d {}/{} -p udp -m udp --dport 53 -j DNAT --to-destination {}:1053"
    assert sorted(rules[1053]) == sorted(
        (f"{family} nat NETAVARK-HOSTPORT-DNAT", text.format(*parts))
        for family, *parts in (
            ("ip", "10.88.0.1", 32, "10.88.0.1"),
            ("ip", "10.89.10.1", 32, "10.89.10.1"),
            ("ip", "10.89.20.1", 32, "10.89.20.1"),
            ("ip6", "fd10:89:10::1", 128, "[fd10:89:10::1]"),
        )
    )


PORT = {"host_port": 8080, "container_port": 80, "protocol": "tcp", "range": 1}


def told(
    inspected: dict[str, Any], *, state: str = "running", networks: tuple[str, ...] = ()
) -> Container:
    """The one container of a user's, of which podman tells this when it is asked for it alone."""
    listed = {"Id": "c0ffee", "Names": ["web"], "State": state, "Networks": list(networks)}
    whole = {
        "Id": "c0ffee",
        "State": {"Status": state},
        "HostConfig": {"NetworkMode": "pasta"},
        "NetworkSettings": {"Networks": {}},
    }
    _, containers = parse_setup(
        answer([NETWORK], [{**listed, "Ports": [PORT]}], [{**whole, **inspected}])
    )
    return containers["c0ffee"]


def test_a_container_alone_is_told_with_its_place() -> None:
    """Its network's mode, the file of its namespace, its conmon, and what it publishes."""
    found = told(
        {
            "State": {"Status": "running", "ConmonPid": 275},
            "HostConfig": {"NetworkMode": "slirp4netns:mtu=1500"},
            "NetworkSettings": {"SandboxKey": "/run/user/1000/netns/netns-1", "Networks": None},
        }
    )
    assert (found.mode, found.conmon) == ("slirp4netns:mtu=1500", 275)
    assert found.sandbox == "/run/user/1000/netns/netns-1"
    assert found.ports == (PortMapping(8080, 80, "tcp"),)


@pytest.mark.parametrize("conmon", [None, "275", -1, 0])
def test_a_conmon_that_is_none_is_zero(conmon: Any) -> None:
    """As podman says it of a container that ended."""
    assert told({"State": {"Status": "exited", "ConmonPid": conmon}}).conmon == 0


def test_what_podman_leaves_out_is_empty() -> None:
    """An older one tells of no sandbox; a mode that is no text is none."""
    found = told({"HostConfig": {"NetworkMode": None}, "NetworkSettings": {"SandboxKey": 7}})
    assert (found.mode, found.sandbox, found.conmon) == ("", "", 0)


def test_who_was_not_told_of_alone_has_what_is_listed() -> None:
    """A container that podman did not inspect has ports, and no place."""
    listed = {"Id": "c0ffee", "Names": ["web"], "State": "running", "Ports": [PORT]}
    _, containers = parse_setup(answer([NETWORK], [listed], []))
    found = containers["c0ffee"]
    assert (found.mode, found.sandbox, found.conmon) == ("", "", 0)
    assert found.ports == (PortMapping(8080, 80, "tcp"),)


def test_a_place_that_cannot_be_shown_makes_the_answer_unknown() -> None:
    """A path and a mode are printed, and compared: nothing is cut out of them."""
    with pytest.raises(StateUnreadable, match="cannot be shown"):
        told({"HostConfig": {"NetworkMode": "pasta\x1b[2J"}})


def test_a_real_container_is_told_with_its_place() -> None:
    """As podman 4.3 tells it: on a bridge, in a pod, alone."""
    _, containers = parse_setup(answer())
    named = {each.name: each for each in containers.values()}
    assert named["web-a"].mode == "bridge"
    assert named["host-web"].mode == "host"
    assert named["pod-web"].mode == f"container:{named['921c06661c7e-infra'].id}"
    assert [str(each) for each in named["dual-web"].ports] == [
        "8083/tcp",
        "9000-9002/tcp",
        "192.0.2.1:8084/tcp",
    ]


def test_nothing_runs() -> None:
    """A host without a container has an empty setup, however podman says so."""
    for nothing in ("[]", "null"):
        setup, containers = parse_setup(f"{json.dumps(loaded('networks.json'))}\n{nothing}\n")
        assert (setup.endpoints, setup.networks, containers) == ((), {}, {})


def test_a_container_that_ended_has_no_place() -> None:
    """What podman calls exited is not set up, whatever addresses it still shows."""
    details = loaded("inspect.json")
    for each in details:
        each["State"]["Status"] = "exited"
    assert parse_setup(answer(details=details))[0].endpoints == ()


def test_networks_without_rules_have_no_place() -> None:
    """Internal and unmanaged networks get no rules from these netavarks."""
    networks = loaded("networks.json")
    for each in networks:
        if each["name"] == "podman":
            each["internal"] = True
        else:
            each["options"] = {"mode": "unmanaged"}
    assert parse_setup(answer(networks=networks))[0].endpoints == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[] {}",
        "[] [] [",
        "[] [] [7]",
        "[] [7]",
        '[] [] [{"Id": "a"}]',
        '[] [] [{"Id": 7}]',
        "[] [7] []",
        answer(networks=[]),
        answer(details=[]),
        answer(details=loaded("inspect.json")[1:]),
        answer(networks=[{**each, "subnets": []} for each in loaded("networks.json")]),
    ],
)
def test_what_makes_no_sense_is_unknown(text: str) -> None:
    """Half an answer is no answer: an error, never an empty host."""
    with pytest.raises(StateUnreadable):
        parse_setup(text)
