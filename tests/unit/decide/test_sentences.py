# SPDX-License-Identifier: Apache-2.0
"""What is said of a missing rule: whose it is, and what does not work without it."""

from dataclasses import replace

import pytest

from podwatch.decide.sentences import about_rule
from podwatch.words.network import Container
from podwatch.words.rules import Rule, RuleKind

WEB = "0123456789abcdef" * 4
OF_WEB = Rule("DNAT", ("text",), RuleKind.PORT_DNAT, "8080/tcp → 10.88.0.2:80", container_id=WEB)
OF_NETWORK = Rule("FORWARD", ("text",), RuleKind.FORWARD_OUT, "10.88.0.0/16", network_name="site")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (RuleKind.PORT_JUMP, "pod shop: {} is not forwarded (no jump from DNAT)"),
        (RuleKind.FORWARD_PORT, "pod shop: {} is not forwarded in firewalld's policy DNAT"),
        (RuleKind.PORT_MARK, "pod shop: {} has no masquerade mark"),
        (RuleKind.PORT_DNAT, "pod shop: {} has no DNAT rule"),
        (
            RuleKind.FORWARD_OUT,
            "pod shop ({}): what the containers send is not forwarded",
        ),
    ],
)
def test_a_rule_of_a_container(kind: RuleKind, sentence: str) -> None:
    """It is told with the container's name, or, where nobody knows that, with its id."""
    rule = replace(OF_WEB, kind=kind)
    known = {WEB: Container(WEB, "1234-infra", pod="shop", is_infra=True)}
    told = sentence.format(rule.subject)

    assert about_rule(rule, known, "text") == told
    assert about_rule(rule, {}, "text") == told.replace("pod shop", "0123456789ab")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (RuleKind.ISOLATION, "network site: 10.88.0.0/16 is not isolated in FORWARD"),
        (
            RuleKind.DNS_REDIRECT,
            "network site: DNS to 10.88.0.0/16 is not redirected to aardvark-dns",
        ),
        (
            RuleKind.FORWARD_OUT,
            "network site (10.88.0.0/16): what the containers send is not forwarded",
        ),
        (RuleKind.HOOK, "network site (10.88.0.0/16): the text"),
    ],
)
def test_a_rule_of_a_network(kind: RuleKind, sentence: str) -> None:
    """It is told with the network's name, and, where there is no sentence for it, as a text."""
    assert about_rule(replace(OF_NETWORK, kind=kind), {}, "the text") == sentence


@pytest.mark.parametrize(
    ("chain", "purpose"),
    [
        ("NETAVARK-ISOLATION-3", "strict isolation"),
        ("ip nat PREROUTING", "published ports seen from outside"),
        ("ip filter THEIRS", "all networks"),
    ],
)
def test_a_rule_that_all_networks_share(chain: str, purpose: str) -> None:
    """It is told with what its chain is for, as the driver or the hook says."""
    rule = Rule(chain, ("text",), RuleKind.HOST)
    assert about_rule(rule, {}, "the text") == f"chain {chain}: “the text” ({purpose})"
