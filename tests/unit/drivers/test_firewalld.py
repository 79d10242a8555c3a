# SPDX-License-Identifier: Apache-2.0
"""What netavark's firewalld driver puts into its policies, as netavark 1.14.0 was seen to."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.drivers.firewalld import (
    FROM_HOST,
    POLICIES,
    adding,
    expected_rules,
    masquerade,
    policy,
)
from podwatch.drivers.firewalld import observed as observed_in
from podwatch.words.network import Endpoint, FirewallDriver, PortMapping, Setup
from podwatch.words.rules import Chain, RuleKind, Ruleset
from podwatch.words.snapshot import Firewalld

V4 = (ip_address("10.89.10.2"), ip_network("10.89.10.0/24"))
V6 = (ip_address("fd10:89:10::2"), ip_network("fd10:89:10::/64"))
NEW = Ruleset(present=True, chains={name: Chain(name, ()) for name in POLICIES})
OLD_NAMES = ("netavark_policy", "netavark_portfwd")
OLD = Ruleset(present=True, chains={name: NEW.chains[name] for name in OLD_NAMES})

RICH = (
    'rule family="ipv{}" destination address="{}" forward-port port="{}" protocol="{}" '
    'to-port="{}" to-addr="{}"'
)
PORT = "forward-port port={}:proto={}:toport={}:toaddr={}"


def endpoint(*ports: PortMapping) -> Endpoint:
    """A container on a network with both families."""
    return Endpoint("aa" * 32, "n" * 64, "dual", (V4, V6), ports)


def forwards(one: Endpoint, observed: Ruleset) -> list[tuple[str, str]]:
    """(policy, rule) of everything that is forwarded or redirected to it."""
    setup = Setup(FirewallDriver.FIREWALLD, {}, (one,))
    kinds = (RuleKind.FORWARD_PORT, RuleKind.DNS_REDIRECT)
    rules = expected_rules(setup, observed)
    return [
        (each.chain.removeprefix("netavark_"), each.text) for each in rules if each.kind in kinds
    ]


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (
            PortMapping(8083, 80, "tcp"),
            [
                ("portfwd", PORT.format(8083, "tcp", 80, V4[0])),
                ("host_fwd", RICH.format(4, "127.0.0.1", 8083, "tcp", 80, V4[0])),
                ("portfwd", PORT.format(8083, "tcp", 80, V6[0])),
            ],
        ),
        (
            PortMapping(9200, 9300, "udp", 3),
            [
                ("portfwd", PORT.format("9200-9202", "udp", "9300-9302", V4[0])),
                ("host_fwd", RICH.format(4, "127.0.0.1", "9200-9202", "udp", "9300-9302", V4[0])),
                ("portfwd", PORT.format("9200-9202", "udp", "9300-9302", V6[0])),
            ],
        ),
        (
            PortMapping(8092, 80, "tcp", host_ip=ip_address("0.0.0.0")),  # noqa: S104
            [
                ("portfwd", PORT.format(8092, "tcp", 80, V4[0])),
                ("host_fwd", RICH.format(4, "127.0.0.1", 8092, "tcp", 80, V4[0])),
            ],
        ),
        (
            PortMapping(8093, 80, "tcp", host_ip=ip_address("::")),
            [("portfwd", PORT.format(8093, "tcp", 80, V6[0]))],
        ),
        (
            PortMapping(8084, 81, "tcp", host_ip=ip_address("192.0.2.1")),
            [("portfwd", RICH.format(4, "192.0.2.1", 8084, "tcp", 81, V4[0]))],
        ),
        (
            PortMapping(8094, 80, "tcp", host_ip=ip_address("2001:db8::1")),
            [("portfwd", RICH.format(6, "2001:db8::1", 8094, "tcp", 80, V6[0]))],
        ),
        (
            PortMapping(8091, 80, "tcp", host_ip=ip_address("127.0.0.1")),
            [("host_fwd", RICH.format(4, "127.0.0.1", 8091, "tcp", 80, V4[0]))],
        ),
        (
            PortMapping(8091, 80, "tcp", host_ip=ip_address("127.0.0.2")),
            [("portfwd", RICH.format(4, "127.0.0.2", 8091, "tcp", 80, V4[0]))],
        ),
        (PortMapping(8095, 80, "tcp", host_ip=ip_address("::1")), []),
    ],
    ids=str,
)
def test_what_is_forwarded(mapping: PortMapping, expected: list[tuple[str, str]]) -> None:
    """netavark 1.14 forwards this for a mapping."""
    assert forwards(endpoint(mapping), NEW) == expected


@pytest.mark.parametrize(("host_ip", "end"), [(None, " (127.0.0.1)"), ("127.0.0.1", "")])
def test_what_the_host_sends_to_itself_is_named(host_ip: str | None, end: str) -> None:
    """A rule for 127.0.0.1 says so where the port is open on every address: there are two then."""
    port = PortMapping(8083, 80, "tcp", host_ip=ip_address(host_ip) if host_ip else None)
    rules = expected_rules(Setup(FirewallDriver.FIREWALLD, {}, (endpoint(port),)), NEW)
    (subject,) = (rule.subject for rule in rules if rule.chain == FROM_HOST and rule.ways)

    assert subject == f"{port} → 10.89.10.2:80{end}"


@pytest.mark.parametrize(
    ("host_ip", "targets"),
    [
        (None, ["10.89.10.2", "fd10:89:10::2"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["0.0.0.0"]),  # noqa: S104
        ("::", ["::"]),
        ("::1", ["::1"]),
    ],
)
def test_what_was_forwarded_before(host_ip: str | None, targets: list[str]) -> None:
    """netavark 1.13 and older forward nothing of the host's, and an address of it to itself."""
    port = PortMapping(8083, 80, "tcp", host_ip=ip_address(host_ip) if host_ip else None)

    assert forwards(endpoint(port), OLD) == [
        ("portfwd", PORT.format(8083, "tcp", 80, target)) for target in targets
    ]


@pytest.mark.parametrize(("port", "count"), [(53, 0), (54, 1)])
def test_dns_is_redirected_from_another_port_than_53_alone(port: int, count: int) -> None:
    """Where aardvark-dns listens on port 53 itself nothing is, whatever the container publishes."""
    one = replace(endpoint(), dns_port=port, dns_servers=(ip_address("10.89.10.1"),))

    assert len(forwards(replace(one, port_mappings=None), NEW)) == count


def test_dns_on_another_port_is_redirected() -> None:
    """To the network's own servers, udp alone, once for all of its containers."""
    one = replace(endpoint(), dns_port=1153, dns_servers=(ip_address("10.89.10.1"),))

    assert forwards(one, NEW) == [
        ("portfwd", RICH.format(4, "10.89.10.1", 53, "udp", 1153, "10.89.10.1"))
    ]
    two = Setup(FirewallDriver.FIREWALLD, {}, (one, replace(one, container_id="bb" * 32)))
    assert expected_rules(two, NEW) == expected_rules(replace(two, endpoints=(one,)), NEW)


def test_nothing_is_expected_without_a_way_out() -> None:
    """An internal network has no port; without any container there need not be a policy."""
    port = PortMapping(8083, 80, "tcp")
    assert forwards(replace(endpoint(port), internal=True), NEW) == []
    assert expected_rules(Setup(FirewallDriver.FIREWALLD), NEW) == []
    named = replace(
        endpoint(), internal=True, dns_port=1153, dns_servers=(ip_address("10.89.10.1"),)
    )
    assert expected_rules(Setup(FirewallDriver.FIREWALLD, {}, (named,)), NEW) == []


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((), {"netavark_policy", "netavark_portfwd"}),
        (OLD_NAMES, {"netavark_policy", "netavark_portfwd"}),
        ((FROM_HOST,), set(POLICIES)),
        (POLICIES, set(POLICIES)),
    ],
)
def test_the_policies_tell_the_version(there: tuple[str, ...], expected: set[str]) -> None:
    """netavark 1.14 makes four policies, older ones make two."""
    setup = Setup(FirewallDriver.FIREWALLD, {}, (endpoint(),))
    rules = expected_rules(
        setup, Ruleset(present=True, chains={name: NEW.chains[name] for name in there})
    )
    assert {each.chain for each in rules if each.kind is RuleKind.HOOK} == expected


def test_a_policy_is_a_chain_of_what_is_in_it() -> None:
    """Forward ports, rich rules and the masquerade are texts as firewall-cmd takes them."""
    rich = RICH.format(4, "192.0.2.1", 8084, "tcp", 81, "10.89.10.2")
    forward = ("8081", "tcp", "80", "10.88.0.2")

    chain = policy("one", [forward], [rich], masquerades=True)

    assert chain == Chain("one", (PORT.format(*forward), rich, "masquerade"))
    assert policy("one", [], [], masquerades=False) == Chain("one", ())


def test_what_was_there_tells_the_version() -> None:
    """Policies of 1.14 that are gone by now are missed, as they were there at an earlier look."""
    said = Firewalld(
        running=True, policies=OLD.chains, policies_before=frozenset({"netavark_zone_acc"})
    )
    rules = expected_rules(Setup(FirewallDriver.FIREWALLD, {}, (endpoint(),)), observed_in(said))
    assert {rule.chain for rule in rules if rule.kind is RuleKind.HOOK} == set(POLICIES)


@pytest.mark.parametrize(
    ("version", "option"),
    [(4, "--add-masquerade"), (6, "--add-rich-rule='rule family=\"ipv6\" masquerade'")],
)
def test_how_a_masquerade_is_added(version: int, option: str) -> None:
    """That of IPv6 is a rich rule; no reload brings back either."""
    rule = masquerade("netavark_policy", version)
    assert adding(rule) == f"firewall-cmd --policy=netavark_policy {option}"
    assert not rule.reloadable
