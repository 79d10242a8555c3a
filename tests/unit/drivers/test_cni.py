# SPDX-License-Identifier: Apache-2.0
"""CNI's rules against what a Debian 12 host with CNI really had, and files that make no sense."""

import base64
import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.cni import PREFIXES, chain_name, expected_rules, traits
from podwatch.drivers.iptables_save import parse_save
from podwatch.formats.cni_results import parse_result, setup_of
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Endpoint, PortMapping
from podwatch.words.rules import Chain, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from podwatch.words.verdict import MissingKind, State

DATA = Path(__file__).parents[2] / "data" / "bookworm-cni-standard"
FILES = [path.read_text(encoding="utf-8") for path in sorted((DATA / "cni").iterdir())]
SETUP = setup_of(tuple(joined for text in FILES if (joined := parse_result(text)) is not None))
LISTINGS = {
    family: (DATA / name).read_text(encoding="utf-8")
    for family, name in (("ip", "iptables.save"), ("ip6", "ip6tables.save"))
}
WHOLE = parse_save(LISTINGS, prefixes=PREFIXES)


def spoilt(**changes: Any) -> str:
    """A file of the cache with some keys replaced."""
    return json.dumps({**json.loads(FILES[0]), **changes})


def test_a_real_host_has_exactly_what_is_expected() -> None:
    """On a Debian 12 host with every kind of container, expected equals installed, both ways."""
    installed = {(name, text) for name, chain in WHOLE.chains.items() for text in chain.rules}
    rules = expected_rules(SETUP, WHOLE)
    assert {(rule.chain, rule.text) for rule in rules} == installed
    assert len(rules) == len(installed) == 87
    verdict = judge(Snapshot(SETUP, WHOLE, ABSENT_FIREWALLD))
    assert (verdict.state, verdict.warnings) == (State.OK, ())


def test_each_address_is_a_trusted_source() -> None:
    """CNI trusts containers one by one, as the recorded firewalld shows."""
    sources = dict.fromkeys((DATA / "trusted-sources").read_text().split(), "trusted")
    verdict = judge(Snapshot(SETUP, WHOLE, Firewalld(running=True, sources=sources)))
    assert verdict.state is State.OK
    verdict = judge(Snapshot(SETUP, WHOLE, Firewalld(running=True)))
    assert {each.kind for each in verdict.missing} == {MissingKind.SOURCE}
    assert {each.detail for each in verdict.missing} == set(sources)


def test_a_lost_rule_names_its_container() -> None:
    """Most of CNI's rules belong to one container, and that one would be reloaded."""
    rule = next(each for each in expected_rules(SETUP, WHOLE) if each.container_id)
    chain = WHOLE.chains[rule.chain]
    left = Chain(chain.hook, tuple(text for text in chain.rules if text != rule.text))
    observed = replace(WHOLE, chains={**WHOLE.chains, rule.chain: left})
    (missing,) = judge(Snapshot(SETUP, observed, ABSENT_FIREWALLD)).missing
    assert missing.container_ids == (rule.container_id,)
    assert missing.what.startswith(rule.container_id[:12])


def test_an_internal_network_is_no_gateway_and_does_not_masquerade() -> None:
    """Podman's internal networks have all other rules; a gateway that hides nobody is routed."""
    config = json.loads(base64.b64decode(json.loads(FILES[0])["config"]))
    found = []
    for changes in ({"isGateway": False, "ipMasq": False}, {"ipMasq": False}, {}):
        config["plugins"][0].update({"isGateway": True, "ipMasq": True, **changes})
        joined = parse_result(spoilt(config=base64.b64encode(json.dumps(config).encode()).decode()))
        assert joined is not None
        kinds = {rule.kind for rule in expected_rules(setup_of((joined,)), WHOLE)}
        assert RuleKind.PORT_DNAT in kinds
        found.append((joined.network.internal, RuleKind.MASQUERADE in kinds))
    assert found == [(True, False), (False, False), (False, True)]


def test_macvlan_has_no_rules() -> None:
    """A network that is not a bridge leaves a file, and nothing in iptables."""
    assert sum(parse_result(text) is None for text in FILES) == 1


def test_chains_are_named_by_network_and_container() -> None:
    """The hash in a chain's name is that of the plugins."""
    key = "b25f8d7f"  # of a network's name and a container's id, cut to 28 characters
    named = chain_name("DN-", Endpoint(key, "podman", "podman", ()))
    assert named.startswith("CNI-DN-")
    assert len(named) == 28


def test_many_ports_are_split() -> None:
    """One multiport match has room for 15 ports; the rest are in a second rule."""
    endpoint = SETUP.endpoints[0]
    mappings = tuple(PortMapping(8000 + n, 80, "tcp") for n in range(16))
    setup = replace(SETUP, endpoints=(replace(endpoint, port_mappings=mappings),))
    jumps = [
        rule.text
        for rule in expected_rules(setup, WHOLE)
        if rule.kind is RuleKind.PORT_JUMP and rule.chain.startswith("ip ")
    ]
    assert [text.count(",") for text in jumps] == [14, 0]


def test_the_firewall_plugin_without_firewalld() -> None:
    """Containers that were let through by iptables are expected to be, once that was seen."""
    address = SETUP.endpoints[0].addresses[0][0]
    accept = f"-s {address}/32 -j ACCEPT"
    seen = Ruleset(present=True, chains={"ip filter CNI-FORWARD": Chain("", (accept,))})
    texts = [rule.text for rule in expected_rules(SETUP, seen) if "CNI-FORWARD" in rule.chain]
    assert accept in texts
    assert f"-d {address}/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" in texts
    assert not any("CNI-FORWARD" in rule.chain for rule in expected_rules(SETUP, WHOLE))


def test_a_later_container_is_let_through_behind_an_earlier_one() -> None:
    """The firewall plugin appends two rules for each: none has to stand before another's."""
    accepts = tuple(
        f"-s {address}/32 -j ACCEPT"
        for endpoint in SETUP.endpoints
        for address, _ in endpoint.addresses
        if address.version == 4
    )
    assert len(accepts) > 1
    seen = Ruleset(present=True, chains={"ip filter CNI-FORWARD": Chain("", accepts)})
    chains: dict[str, Chain] = {}
    for rule in expected_rules(SETUP, seen):
        before = chains.get(rule.chain, Chain("", ())).rules
        chains[rule.chain] = Chain("", (*before, rule.text))

    verdict = judge(Snapshot(SETUP, Ruleset(present=True, chains=chains), ABSENT_FIREWALLD))
    assert [each for each in verdict.missing if "CNI-FORWARD" in each.chain] == []


@pytest.mark.parametrize(
    ("rule", "is_let_through"),
    [
        ("-s 10.88.0.2/32 -j ACCEPT", True),
        ("-d 10.88.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", False),
        ("-s 10.88.0.2/32 -j DROP", False),
        ("-m comment --comment 10.88.0.2/32 -j CNI-ADMIN", False),
    ],
)
def test_who_was_let_through(rule: str, *, is_let_through: bool) -> None:
    """Only the rule that accepts what a container sends tells of it, in the plugin's own chain."""
    for family in ("ip", "ip6"):
        seen = {f"{family} filter CNI-FORWARD": Chain("", (rule,))}
        told = {"10.88.0.2/32"} if is_let_through else set()
        assert traits(Ruleset(present=True, chains=seen)) == told
    elsewhere = Ruleset(present=True, chains={"ip filter FORWARD": Chain("", (rule,))})
    assert traits(elsewhere) == set()


@pytest.mark.parametrize(
    ("host_ip", "matches"),
    [
        (None, {"ip": ["-p"], "ip6": ["-p"]}),
        ("192.0.2.1", {"ip": ["-d 192.0.2.1/32 -p"], "ip6": []}),
        ("0.0.0.0", {"ip": ["-d 0.0.0.0/32 -p", "-p"], "ip6": []}),  # noqa: S104
        ("::", {"ip": [], "ip6": ["-d ::/128 -p", "-p"]}),
    ],
)
def test_a_port_on_an_address_of_the_host(
    host_ip: str | None, matches: dict[str, list[str]]
) -> None:
    """It is forwarded in its own IP version alone; a wildcard is written in two ways."""
    both = next(each for each in SETUP.endpoints if len(each.addresses) == 2)
    port = PortMapping(8080, 80, "tcp", host_ip=ip_address(host_ip) if host_ip else None)
    setup = replace(SETUP, endpoints=(replace(both, port_mappings=(port,)),))
    rules = [rule for rule in expected_rules(setup, WHOLE) if rule.kind is RuleKind.PORT_DNAT]

    found = {
        family: [
            text.partition(" tcp -m")[0]
            for rule in rules
            if rule.chain.startswith(f"{family} ")
            for text in rule.texts
        ]
        for family in matches
    }
    assert found == matches


def test_a_container_without_ports_has_none_of_their_rules() -> None:
    """The portmap plugin is not asked for it, and makes no chain."""
    setup = replace(
        SETUP, endpoints=tuple(replace(each, port_mappings=None) for each in SETUP.endpoints)
    )
    assert not [rule for rule in expected_rules(setup, WHOLE) if "HOSTPORT" in rule.chain]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        spoilt(config="!"),
        spoilt(config=base64.b64encode(b"[]").decode()),
        spoilt(result={"ips": [{"address": "nonsense"}]}),
        spoilt(capabilityArgs={"portMappings": [{"hostPort": "x"}]}),
    ],
)
def test_a_damaged_file_is_an_error(text: str) -> None:
    """What is not a file of libcni's cache is an error, never a container without rules."""
    with pytest.raises(StateUnreadable):
        parse_result(text)
