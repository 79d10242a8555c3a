# SPDX-License-Identifier: Apache-2.0
"""podman's answers, where netavark keeps no state: what is set up, or that it cannot be known."""

import json
from pathlib import Path
from typing import Any

import pytest

from podwatch.drivers.iptables import expected_rules
from podwatch.formats.podman_setup import parse_setup, with_dns_port
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Isolation
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
    named = {containers[each.container_id].name: each for each in setup.endpoints}
    dual = named["dual-web"]
    assert [str(address) for address, _ in dual.addresses] == ["10.89.10.2", "fd10:89:10::2"]
    assert [str(each) for each in dual.port_mappings or ()] == [
        "8083/tcp",
        "9000-9002/tcp",
        "192.0.2.1:8084/tcp",
    ]


def test_dns_on_another_port_is_redirected() -> None:
    """Every gateway of a container's networks, for the families the container has; else none."""
    setup, _ = parse_setup(answer())
    assert with_dns_port(setup, 53) == setup
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
