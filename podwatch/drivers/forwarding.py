# SPDX-License-Identifier: Apache-2.0
"""Somebody else's chain that drops forwarded packets, whatever netavark accepts in its own.

In nftables a packet has to pass every base chain of a hook: Docker and ufw set the policy of
iptables' FORWARD chain to drop, and every rule of netavark's in place, a published port gets no
answer. netavark's iptables driver and CNI put their rules into that very chain, but accept in it
only what containers send and what answers them: a new connection to a port falls to the policy.

To be silent is better than to cry wolf: any rule that may let a network through is taken for one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network

from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.way import BaseChain

TABLES = {"ip filter": "iptables", "ip6 filter": "ip6tables"}
"""iptables' tables that filter, and the command that writes them."""

_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_IN_IPTABLES = (FirewallDriver.IPTABLES, FirewallDriver.CNI)
_FIREWALLD = "firewalld"

# As nft prints rules, and as iptables-save does.
_DROPS_ALL = re.compile(
    r'(?:counter )?(?:log (?:prefix "[^"]*" )?)?(?:drop|reject|xt target "REJECT")'
    r'|(?:-m comment --comment (?:"[^"]*"|\S+) )?-j (?:DROP|REJECT)'
)
_ACCEPTS_ALL = re.compile(
    r"(?:ct state \S*new\S* )?(?:counter )?accept"
    r"|(?:-m (?:conntrack --ctstate|state --state) \S*NEW\S* )?-j ACCEPT"
)
_ACCEPTS = re.compile(r"\baccept\b|-j ACCEPT\b")
_GOES_ON = re.compile(r"\b(?:jump|goto|queue)\b|-[jg] (?!DROP|REJECT|RETURN|LOG)")
_JUMP = re.compile(r"\b(?:jump|goto) ([^\s,;}]+)|(?:^| )-[jg] (\S+)")
_INTERFACE = re.compile(r'"([^"]*)"|-[io] (\S+)')
_SUBNET = re.compile(r"[0-9a-f.:]+/\d+")


def is_of_others(chain: BaseChain, own: Iterable[str]) -> bool:
    """Whether forwarded IP packets pass a chain that is neither firewalld's nor in `own` tables.

    firewalld accepts what is in its zone trusted, and what it forwards ports for.
    """
    family, _, name = chain.table.partition(" ")
    is_ours = chain.table in own or name.startswith(_FIREWALLD)
    return chain.hook == "forward" and family in _FAMILIES and not is_ours


def drops(chain: BaseChain) -> bool:
    """Whether a chain drops what no rule before its end names."""
    for rule in chain.rules:
        if _ACCEPTS_ALL.match(rule):
            return False
        if _DROPS_ALL.match(rule):
            return True
    return chain.policy == "drop"


def reached(chains: Mapping[str, Sequence[str]], first: str) -> tuple[str, ...]:
    """The rules of a chain and of all that it may jump to, of a table's chains by name.

    None behind one that drops everything: no packet gets there.
    """
    names = [first]
    found: list[str] = []
    for name in names:
        for rule in chains.get(name, ()):
            found.append(rule)
            if name == first and _DROPS_ALL.match(rule):
                break
            targets = [one or other for one, other in _JUMP.findall(rule)]
            names += [each for each in dict.fromkeys(targets) if each not in names]
    return tuple(found)


def shut_out(setup: Setup, chains: Iterable[BaseChain]) -> Iterator[tuple[BaseChain, str, Network]]:
    """(chain, name, network) of each network that nothing lets through a chain that drops.

    Where netavark or CNI themselves accept what containers send in that chain, only networks with
    published ports count.
    """
    names = {each.network_id: each.network_name for each in setup.endpoints}
    publish = {each.network_id for each in setup.endpoints if _publishes(each)}
    for chain in chains:
        versions = _FAMILIES[chain.table.partition(" ")[0]]
        answers_only = _answers_only(setup.driver, chain)
        for network_id, name in names.items():
            network = setup.networks.get(network_id)
            if network is None or network.internal or (answers_only and network_id not in publish):
                continue
            if not any(each.version in versions for each in network.subnets):
                continue
            if not any(_may_let_through(rule, network) for rule in chain.around):
                yield chain, name or network.bridge, network


def _publishes(endpoint: Endpoint) -> bool:
    return any(
        each.host_ip is None or not each.host_ip.is_loopback
        for each in endpoint.port_mappings or ()
    )


def _may_let_through(rule: str, network: Network) -> bool:
    accepts = bool(_ACCEPTS.search(rule))
    if not accepts and not _GOES_ON.search(rule):
        return False
    lowered = rule.lower()
    if "dnat" in lowered and accepts:
        return True  # whatever was sent to a published port
    if "established" in lowered and "new" not in lowered:
        return False
    if accepts and (" @" in rule or "--match-set" in rule):
        return True  # a set, of which only its author knows what is in it
    return _names(rule, network)


def _names(rule: str, network: Network) -> bool:
    for quoted, plain in _INTERFACE.findall(rule):
        name = quoted or plain
        if name == network.bridge or (
            name[-1:] in ("*", "+") and network.bridge.startswith(name[:-1])
        ):
            return True
    for text in _SUBNET.findall(rule):
        try:
            around = ip_network(text, strict=False)
        except ValueError:
            continue
        for subnet in network.subnets:
            if (
                around.version == subnet.version
                and around.prefixlen <= subnet.prefixlen
                and subnet.network_address in around
            ):
                return True
    return False


def _answers_only(driver: FirewallDriver, chain: BaseChain) -> bool:
    """Whether the driver's own rules in this chain let through what containers send."""
    return driver in _IN_IPTABLES and chain.table in TABLES


def remedy(chain: BaseChain, bridge: str, driver: FirewallDriver) -> str:
    """What lets a network through, in the words of whoever made the chain drop."""
    rules = " ".join(chain.rules)
    early = next((each for each in chain.rules[:-1] if _DROPS_ALL.match(each)), "")
    if early:
        return f"delete “{early}” from it, unless it is meant so"
    if "ufw" in rules:
        return f"ufw route allow in on {bridge}; ufw route allow out on {bridge}"
    if chain.table in TABLES:
        name = "DOCKER-USER" if "DOCKER-USER" in rules else chain.name
        insert = f"{TABLES[chain.table]} -I {name}"
        if _answers_only(driver, chain):  # by a bridge's name it would go past the isolation
            return f"{insert} -m conntrack --ctstate DNAT -j ACCEPT"
        return f"{insert} -i {bridge} -j ACCEPT; {insert} -o {bridge} -j ACCEPT"
    rule = f"nft insert rule {chain.table} {chain.name}"
    return f"{rule} iifname {bridge} accept; {rule} oifname {bridge} accept"
