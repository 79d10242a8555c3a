# SPDX-License-Identifier: Apache-2.0
"""Of which packets the kernel is asked which way they go, and what is made of its answers."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters import kernel, links
from podwatch.adapters.paths import Paths
from podwatch.daemon.installed import Installed
from podwatch.daemon.routes import routed
from podwatch.words.links import Routed
from podwatch.words.network import Address, Endpoint, FirewallDriver, Network, PortMapping, Setup


def endpoint(key: str, *addresses: str, network: str = "n", **more: Any) -> Endpoint:
    """A container's place on a network; `more` are its fields."""
    subnets = {4: ip_network("10.88.0.0/16"), 6: ip_network("fd88::/64")}
    pairs = [(ip_address(text), subnets[ip_address(text).version]) for text in addresses]
    return Endpoint(key, network, network, tuple(pairs), **more)


def bridge(key: str, **more: Any) -> Network:
    """A network whose bridge has its name."""
    return Network(key, f"br-{key}", (ip_network("10.88.0.0/16"),), **more)


def found_of(setup: Setup, installed: Installed | None = None) -> tuple[Routed, ...]:
    """Which way packets go, as it is asked for."""
    return tuple(routed(setup, installed or Installed.at(Paths(), None)))


PORTS = (PortMapping(8080, 80, "tcp"),)
"""What makes a container one that others reach."""


@pytest.mark.parametrize(
    ("endpoints", "asked"),
    [
        ([endpoint("a", "10.88.0.2")], ["10.88.0.2"]),
        ([endpoint("a", "10.88.0.2"), endpoint("b", "10.88.0.3")], ["10.88.0.2"]),
        ([endpoint("a", "10.88.0.2", "fd88::2")], ["10.88.0.2", "fd88::2"]),
        (
            [endpoint("a", "10.88.0.2"), endpoint("b", "10.88.0.3", port_mappings=PORTS)],
            ["10.88.0.2", "192.0.2.1 from 10.88.0.3 by br-n", "192.0.2.9 from 10.88.0.3 by br-n"],
        ),
        ([endpoint("a", "fd88::2", port_mappings=PORTS)], ["fd88::2"]),
        ([endpoint("a", "10.88.0.2", network="other")], []),
        ([endpoint("a", "10.88.0.2"), endpoint("b", "10.88.0.3", internal=True)], []),
    ],
    ids=[
        *("one", "the first of two", "both families", "the answers of one with ports"),
        *("ports of IPv6 alone", "another network", "internal with CNI"),
    ],
)
def test_which_ways_are_asked_for(
    endpoints: list[Endpoint], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To one container of each network and family; the answers by every uplink with a gateway."""
    questions: list[str] = []

    def ways(many: Iterable[tuple[Address, Address | None, str]]) -> list[str | None]:
        before = len(questions)
        for to, source, link in many:
            questions.append(f"{to} from {source} by {link}" if source else str(to))
        return [None] * (len(questions) - before)

    uplinks = {"eth0": ip_address("192.0.2.1"), "eth1": ip_address("192.0.2.9")}
    monkeypatch.setattr(kernel, "gateways", lambda: uplinks)
    monkeypatch.setattr(links, "ways", ways)
    networks = {"n": bridge("n")}
    setup = Setup(FirewallDriver.NFTABLES, networks, tuple(endpoints))
    found = found_of(setup)
    assert questions == asked
    assert found == (), "of what the kernel has no answer for nothing is said"


def test_the_way_of_an_answer_is_known_from_that_of_a_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is of the uplink by which it would leave; to where there is no way the link is empty."""
    monkeypatch.setattr(kernel, "gateways", lambda: {"eth0": ip_address("192.0.2.1")})
    monkeypatch.setattr(links, "ways", lambda many: ["", "eth1"][: len(list(many))])
    setup = Setup(
        FirewallDriver.NFTABLES,
        {"n": bridge("n")},
        (endpoint("a", "10.88.0.2", port_mappings=PORTS),),
    )
    to, back = found_of(setup)
    assert (to.is_answer, to.uplink, to.link) == (False, "", "")
    assert (back.is_answer, back.uplink, back.link) == (True, "eth0", "eth1")


def test_where_the_first_goes_astray_each_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule may be for one container alone: of the others nothing is said that is not so."""
    away = {ip_address("10.88.0.2"): "", ip_address("10.88.0.3"): "br-n"}
    monkeypatch.setattr(kernel, "gateways", dict)
    monkeypatch.setattr(links, "ways", lambda many: [away[to] for to, _, _ in many])
    others: set[str] = set()
    monkeypatch.setattr(links, "has_rules", lambda: "rules" in others)
    monkeypatch.setattr(
        kernel, "has_routes_within", lambda subnets: bool(subnets) and "routes" in others
    )
    on = (endpoint("a", "10.88.0.2"), endpoint("b", "10.88.0.3"))

    def found() -> list[tuple[str, str]]:
        setup = Setup(FirewallDriver.NFTABLES, {"n": bridge("n")}, on)
        routes = found_of(setup)
        return [(str(route.address), route.link) for route in routes]

    assert found() == [("10.88.0.2", ""), ("10.88.0.3", "br-n")]
    away[ip_address("10.88.0.2")] = "br-n"
    assert found() == [("10.88.0.2", "br-n")]
    away[ip_address("10.88.0.3")] = "tun0"
    assert found() == [("10.88.0.2", "br-n")], "nothing says that it may be"
    others.add("rules")
    assert found() == [("10.88.0.2", "br-n"), ("10.88.0.3", "tun0")]
    others = {"routes"}
    assert found() == [("10.88.0.2", "br-n"), ("10.88.0.3", "tun0")]


@pytest.mark.parametrize(
    ("network", "master", "asked"),
    [
        (bridge("n"), False, True),
        (bridge("n"), True, False),
        (bridge("n", internal=True), False, False),
    ],
    ids=["a bridge", "in a VRF", "internal"],
)
def test_where_a_network_leads_nowhere_nothing_is_asked(
    network: Network, monkeypatch: pytest.MonkeyPatch, *, master: bool, asked: bool
) -> None:
    """A VRF has tables of its own, an internal network has no way out; others have their answer."""
    monkeypatch.setattr(kernel, "has_master", lambda _bridge: master)
    monkeypatch.setattr(links, "ways", lambda many: ["br-x" for _ in many])
    setup = Setup(FirewallDriver.NFTABLES, {"n": network}, (endpoint("a", "10.88.0.2"),))
    found = found_of(setup)
    assert [(way.network_id, way.link) for way in found] == [("n", "br-x")] * asked


_Question = tuple[Address, Address | None, str]
GATEWAY, GATEWAY_V6 = ip_address("192.0.2.1"), ip_address("fe80::1")


def asked_of(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str | None], *, rules: bool = True
) -> list[str]:
    """The questions of a host with a gateway of each IP version, as they come to be asked."""
    asked: list[str] = []

    def ways(many: Iterable[_Question]) -> list[str | None]:
        told = [f"{to} from {source} by {link}" for to, source, link in many]
        asked.extend(told)
        return [answer(one) for one in told]

    monkeypatch.setattr(links, "ways", ways)
    monkeypatch.setattr(links, "has_rules", lambda: rules)
    monkeypatch.setattr(kernel, "gateways", lambda: {"eth0": GATEWAY})
    monkeypatch.setattr(kernel, "gateways_v6", lambda: {"eth0": GATEWAY_V6})
    return asked


TWO = Setup(
    FirewallDriver.NFTABLES,
    {"n": bridge("n")},
    (endpoint("a", "10.88.0.2", "fd88::2", port_mappings=PORTS), endpoint("b", "10.88.0.3")),
)


def test_where_others_have_rules_what_each_sends_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of both IP versions, and past a gateway that is known on its link alone."""
    asked = asked_of(monkeypatch, lambda _: None)
    assert found_of(TWO) == ()
    assert asked == [
        "10.88.0.2 from None by ",
        "10.88.0.3 from None by ",
        "192.0.2.1 from 10.88.0.2 by br-n",
        "192.0.2.1 from 10.88.0.3 by br-n",
        "fd88::2 from None by ",
        "2000:: from fd88::2 by br-n",
    ]


def test_an_answer_by_another_link_matters_to_who_has_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A VPN for what a container asks for itself takes nothing away from it."""
    asked_of(monkeypatch, lambda one: "tun0" if "by br-n" in one else "br-n")
    answers = [str(one.address) for one in found_of(TWO) if one.is_answer]
    assert answers == ["10.88.0.2", "fd88::2"]


@pytest.mark.parametrize(
    ("own", "forwards", "again", "told"),
    [
        ("eth0", True, "", ["10.88.0.2", "10.88.0.3"]),
        ("", True, "", []),
        (None, True, "", []),
        ("eth0", False, "", []),
        ("eth0", True, "eth0", []),
    ],
    ids=["theirs alone", "the host's, too", "gone", "not forwarded", "only for a moment"],
)
def test_what_goes_nowhere_is_told_where_the_host_has_a_way(
    own: str | None,
    again: str,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    forwards: bool,
) -> None:
    """An uplink that is down takes the host's packets, too; one that comes up is asked again."""
    asked: list[str] = []

    def answer(one: str) -> str | None:
        times = asked.count(one)
        if "by br-n" in one:
            return ("" if times == 1 else again) if one.startswith("192") else "eth0"
        return own if one.startswith("192") else "br-n"

    asked = asked_of(monkeypatch, answer)
    monkeypatch.setattr(kernel, "forwards", lambda _: forwards)
    nowhere = [str(one.address) for one in found_of(TWO) if one.is_answer and not one.link]
    assert nowhere == told


@pytest.mark.parametrize("driver", [FirewallDriver.NFTABLES, FirewallDriver.CNI])
@pytest.mark.parametrize("internal", [False, True], ids=["a way out", "internal"])
@pytest.mark.parametrize("rules", [False, True], ids=["alone", "rules of others"])
def test_what_aardvark_dns_answers_is_asked_for(
    driver: FirewallDriver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    internal: bool,
    rules: bool,
) -> None:
    """From its own address where others have rules; CNI has none, an internal network no way."""
    file = {
        "name": "n",
        "driver": "bridge",
        "network_interface": "br-n",
        "internal": internal,
        "dns_enabled": True,
        "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
    }
    (tmp_path / "n.json").write_text(json.dumps(file))
    installed = Installed.at(replace(Paths(), netavark_networks=tmp_path), None)
    asked = asked_of(monkeypatch, lambda _: None, rules=rules)
    mine = (endpoint("a", "10.88.0.2", internal=internal),)
    assert found_of(Setup(driver, {"n": bridge("n")}, mine), installed) == ()
    wanted = ["10.88.0.2 from None by "]
    if rules:
        wanted.append("192.0.2.1 from 10.88.0.2 by br-n")
    if rules and driver is FirewallDriver.NFTABLES:
        wanted.append("10.88.0.2 from 10.88.0.1 by ")
    assert asked == ([] if internal else wanted)
