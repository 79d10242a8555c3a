# SPDX-License-Identifier: Apache-2.0
"""What a missing rule means, in words a person understands. Pure."""

from collections.abc import Mapping

from podwatch.drivers.driver import purpose_of
from podwatch.words.network import Container, title_of
from podwatch.words.rules import Rule, RuleKind

_OF_A_SUBNET = {
    RuleKind.DNS_ACCEPT: "DNS from the containers is not accepted",
    RuleKind.FORWARD_REPLIES: "replies to the containers are not forwarded",
    RuleKind.FORWARD_OUT: "what the containers send is not forwarded",
    RuleKind.SUBNET_JUMP: "what the containers send is not masqueraded (no jump to the chain)",
    RuleKind.SUBNET_LOCAL: "containers do not see each other's own addresses (no accept rule)",
    RuleKind.MASQUERADE: "what the containers send is not masqueraded (no masquerade rule)",
}


def about_rule(rule: Rule, containers: Mapping[str, Container], text: str) -> str:
    """The sentence for a rule that is missing: whose, and what does not work without it.

    `text` is how the rule is spelled here.
    """
    if rule.container_id:
        name = title_of(containers, rule.container_id)
        if rule.kind is RuleKind.PORT_JUMP:
            return f"{name}: {rule.subject} is not forwarded (no jump from {rule.chain})"
        if rule.kind is RuleKind.FORWARD_PORT:
            return f"{name}: {rule.subject} is not forwarded in firewalld's policy {rule.chain}"
        if rule.kind is RuleKind.PORT_MARK:
            return f"{name}: {rule.subject} has no masquerade mark"
        if rule.kind in _OF_A_SUBNET:  # CNI installs these for each container
            return f"{name} ({rule.subject}): {_OF_A_SUBNET[rule.kind]}"
        return f"{name}: {rule.subject} has no DNAT rule"
    if rule.kind is RuleKind.HOST:
        purpose = purpose_of(rule.chain) or "all networks"
        return f"chain {rule.chain}: “{text}” ({purpose})"
    network = f"network {rule.network_name}"
    if rule.kind is RuleKind.ISOLATION:
        return f"{network}: {rule.subject} is not isolated in {rule.chain}"
    if rule.kind is RuleKind.DNS_REDIRECT:
        return f"{network}: DNS to {rule.subject} is not redirected to aardvark-dns"
    return f"{network} ({rule.subject}): {_OF_A_SUBNET.get(rule.kind, text)}"
