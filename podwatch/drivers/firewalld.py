# SPDX-License-Identifier: Apache-2.0
"""netavark's firewalld driver: what has to be in the policies that netavark makes in firewalld.

A policy is a chain here, called by its name, and its rules are in firewall-cmd's own words. Zone
and policies are permanent; what is in them is of the runtime, and lost when firewalld reloads.
Facts: netavark src/firewall/firewalld.rs, and a host with netavark 1.14.0 and firewalld 2.3.1.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from podwatch.drivers.about import About
from podwatch.words.network import Address, Endpoint, PortMapping, Setup
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset
from podwatch.words.snapshot import Firewalld

ZONE = "netavark_zone"
FORWARDS = "netavark_portfwd"
WAY_OUT = "netavark_policy"
FROM_HOST = "netavark_host_fwd"
HAIRPIN = "netavark_zone_acc"
POLICIES = (WAY_OUT, FORWARDS, FROM_HOST, HAIRPIN)

ABOUT = About(place="what netavark put into firewalld", zone=ZONE, in_firewalld=True)

_SINCE_1_14 = frozenset({FROM_HOST, HAIRPIN})
_LOCALHOST = IPv4Address("127.0.0.1")
_LOCALHOST_V6 = IPv6Address("::1")
_MASQUERADE = {4: "masquerade", 6: 'rule family="ipv6" masquerade'}


def policy(
    name: str,
    forward_ports: Iterable[tuple[str, str, str, str]],
    rich_rules: Iterable[str],
    *,
    masquerades: bool,
) -> Chain:
    """A policy as observed; `forward_ports` are (port, protocol, port inside, address)."""
    rules = [_forward_port(*forward) for forward in forward_ports]
    return Chain(name, (*rules, *rich_rules, *([_MASQUERADE[4]] if masquerades else [])))


def observed(said: Firewalld) -> Ruleset:
    """The policies as firewalld has them. Its traits are the names of those that were there."""
    return Ruleset(present=True, chains=said.policies, traits=said.policies_before)


def expected_rules(setup: Setup, observed: Ruleset) -> list[Rule]:
    """The policies, and what has to be in them, while a container runs that has a way out.

    The policies that are there, or were at an earlier look, tell the version: netavark before 1.14
    has neither of two, and forwards nothing that the host sends to itself.
    Of an internal network with DNS netavark after 2.1 keeps state, for the nftables driver: this
    one makes nothing for it (src/firewall/firewalld.rs, setup_network, setup_port_forward).
    """
    endpoints = [endpoint for endpoint in setup.endpoints if not endpoint.internal]
    if not endpoints:
        return []
    newer = bool(_SINCE_1_14 & (observed.traits | observed.chains.keys()))
    names = [name for name in POLICIES if newer or name not in _SINCE_1_14]
    rules = [Rule(name, (name,), RuleKind.HOOK, f"firewalld's policy {name}") for name in names]
    rules += [masquerade(name, 4) for name in names if name in (WAY_OUT, HAIRPIN)]
    for endpoint in endpoints:
        for address, _ in endpoint.addresses:
            for mapping in endpoint.port_mappings or ():
                rules += _forwards(endpoint, address, mapping, newer=newer)
    redirects = {
        (endpoint.network_id, server): _redirect(endpoint, server)
        for endpoint in endpoints
        if endpoint.dns_port != 53
        for server in endpoint.dns_servers
    }
    return [*rules, *redirects.values()]


def masquerade(name: str, version: int) -> Rule:
    """What hides addresses in a policy: netavark asks for that of IPv4 only, and only at first."""
    return Rule(name, (_MASQUERADE[version],), RuleKind.MASQUERADE, reloadable=False)


def adding(rule: Rule) -> str:
    """The command that adds a masquerade rule to its policy, at runtime."""
    rich = rule.text.startswith("rule ")
    what = f"--add-rich-rule='{rule.text}'" if rich else f"--add-{rule.text}"
    return f"firewall-cmd --policy={rule.chain} {what}"


def _forwards(
    endpoint: Endpoint, address: Address, mapping: PortMapping, *, newer: bool
) -> Iterator[Rule]:
    """The rules of one mapping. There is none for ::1: netavark leaves it out.

    Before 1.14 that for an address of the host leads back to this address (setup_port_forward), and
    is no way into the container.
    """
    host, way = mapping.host_ip, mapping.way_to(address)
    if host is not None and host.version != address.version:
        return
    port, inside = (
        str(first) if mapping.count == 1 else f"{first}-{first + mapping.count - 1}"
        for first in (mapping.host_port, mapping.container_port)
    )

    def rule(name: str, text: str, subject: str = way, *, leads: bool = True) -> Rule:
        return Rule(
            name,
            (text,),
            RuleKind.FORWARD_PORT,
            subject,
            network_id=endpoint.network_id,
            network_name=endpoint.network_name,
            container_id=endpoint.container_id,
            ways=(way,) if leads else (),
        )

    one = None if host is None or host.is_unspecified else host
    if host is not None and not newer:
        text = _forward_port(port, mapping.protocol, inside, str(host))
        yield rule(FORWARDS, text, leads=False)
    elif one is None:
        yield rule(FORWARDS, _forward_port(port, mapping.protocol, inside, str(address)))
    elif one not in (_LOCALHOST, _LOCALHOST_V6):
        yield rule(FORWARDS, _rich_rule(one, port, mapping.protocol, inside, address))
    if newer and address.version == 4 and one in (None, _LOCALHOST):
        text = _rich_rule(_LOCALHOST, port, mapping.protocol, inside, address)
        yield rule(FROM_HOST, text, f"{way} ({_LOCALHOST})" if one is None else way)


def _redirect(endpoint: Endpoint, server: Address) -> Rule:
    return Rule(
        FORWARDS,
        (_rich_rule(server, "53", "udp", str(endpoint.dns_port), server),),
        RuleKind.DNS_REDIRECT,
        str(server),
        network_id=endpoint.network_id,
        network_name=endpoint.network_name,
    )


def _forward_port(port: str, protocol: str, inside: str, address: str) -> str:
    return f"forward-port port={port}:proto={protocol}:toport={inside}:toaddr={address}"


def _rich_rule(host: Address, port: str, protocol: str, inside: str, address: Address) -> str:
    return (
        f'rule family="ipv{host.version}" destination address="{host}" forward-port '
        f'port="{port}" protocol="{protocol}" to-port="{inside}" to-addr="{address}"'
    )
