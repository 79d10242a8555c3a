# SPDX-License-Identifier: Apache-2.0
"""Somebody else's chain that drops what containers need, whatever netavark accepts in its own.

In nftables a packet has to pass every base chain of a hook: Docker and ufw set the policy of
iptables' FORWARD chain to drop, and every rule of netavark's in place, a published port gets no
answer. netavark's iptables driver and CNI put their rules into that very chain, but accept in it
only what containers send and what answers them: a new connection to a port falls to the policy.
What containers ask aardvark-dns comes to the host itself, and has to pass the hook input likewise.

To be silent is better than to cry wolf: any rule that may let a network through is taken for one.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from podwatch.words.names import Askers
from podwatch.words.network import Endpoint, Network, Setup, Subnet
from podwatch.words.way import BaseChain

TABLES = {"ip filter": "iptables", "ip6 filter": "ip6tables"}
"""iptables' tables that filter, and the command that writes them."""

HOOKS = ("forward", "input")
"""What is forwarded, and what is sent to the host itself."""

_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
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
_ADDRESS = re.compile(r"[0-9a-f.:]+(?:/\d+)?")
_TOWARDS = re.compile(r"\bdaddr\b|\boif(?:name)?\b|(?:^| )-[do] ")
_FROM_SIDE = re.compile(r"\bsaddr\b|\biif(?:name)?\b|(?:^| )-[si] ")
_ONE_ADDRESS = re.compile(
    r"(?:[sd]addr|-[sd]) (\d+\.\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f:]*)(?:/32|/128)?(?= |$)"
)
_COMMENT = re.compile(r'\bcomment (?:"[^"]*"|\S+)')

# Of rules that packets to the host pass: what may accept them, and what they have to be.
_PASSES = re.compile(r"\baccept\b|-j ACCEPT\b|\bqueue\b|NFQUEUE|vmap @")
_UNSURE = re.compile(r" @|--match-set|!| \. |\bqueue\b|NFQUEUE")
_ANSWERS = re.compile(r"(?i)established|related")
_BEGINS = re.compile(r"(?i)\bnew\b|\bdnat\b")
_NO_UDP = re.compile(
    r"(?i)^(?!.*\budp\b).*\b(?:tcp|icmp|icmpv6|ipv6-icmp|igmp|multicast|broadcast)\b"
)
_FROM_INTERFACE = re.compile(r"\biif(?:name)?\b|(?:^| )-i ")
_FROM = re.compile(r"\bsaddr (\{[^}]*\}|\S+)|(?:^| )-s (\S+)")
_TO_PORTS = re.compile(r"\bdports? ((?:vmap )?\{[^}]*\}|\S+)")
_RANGE = re.compile(r"(\d+)(?:[-:](\d+))?")
_HANDLE = re.compile(r" # handle \d+$")


def is_of_others(chain: BaseChain, own: Iterable[str], hooks: Iterable[str] = HOOKS) -> bool:
    """Whether IP packets pass a chain at one of the hooks that is neither firewalld's nor `own`.

    firewalld accepts what is in its zone trusted, and what it forwards ports for.
    """
    family, _, name = chain.table.partition(" ")
    is_ours = chain.table in own or name.startswith(_FIREWALLD)
    return chain.hook in hooks and family in _FAMILIES and not is_ours


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
            names += [target for target in dict.fromkeys(targets) if target not in names]
    return tuple(found)


def parse_chains(listing: str) -> Iterator[BaseChain]:
    """The base chains in what `nft list chains` or `nft list table` prints, with handles or not."""
    table = name = hook = policy = ""
    rules: list[str] = []
    found: list[BaseChain] = []
    chains: dict[str, list[str]] = {}
    for line in listing.splitlines():
        text = _HANDLE.sub("", line).strip()
        words = text.split()
        if text.startswith("table "):
            table = " ".join(words[1:3])
        elif text.startswith("chain "):
            name, hook, policy, rules = words[1], "", "", []
            chains[name] = rules
        elif text.startswith("type ") and " hook " in text:
            hook = words[words.index("hook") + 1]
            policy = text.partition("policy ")[2].rstrip(";") or "accept"
        elif text == "}":
            if name and hook:
                found.append(BaseChain(table, name, hook, policy, tuple(rules)))
            elif not name:
                yield from (replace(base, around=reached(chains, base.name)) for base in found)
                found, chains = [], {}
            name = ""
        elif name:
            rules.append(text)


def shut_out(
    setup: Setup, chains: Iterable[BaseChain], own: Collection[str]
) -> Iterator[tuple[BaseChain, str, Network]]:
    """(chain, name, network) of each network that nothing lets through a chain that drops.

    `own` are the tables of the driver. Where its rules in that chain accept what containers send,
    only networks with published ports count.
    """
    names = {endpoint.network_id: endpoint.network_name for endpoint in setup.endpoints}
    publish = {endpoint.network_id for endpoint in setup.endpoints if publishes(endpoint)}
    for chain in chains:
        if chain.hook != "forward":
            continue
        versions = _FAMILIES[chain.table.partition(" ")[0]]
        for network_id, name in names.items():
            network = setup.networks.get(network_id)
            if network is None or network.internal:
                continue
            if not any(subnet.version in versions for subnet in network.subnets):
                continue
            if any(
                stops(chain, network, own, inward=inward)
                for inward in ((True, False) if network_id in publish else (False,))
            ):
                yield chain, name or network.bridge, network


def concerns(chain: BaseChain, version: int) -> bool:
    """Whether packets of an IP version pass a chain."""
    return version in _FAMILIES.get(chain.table.partition(" ")[0], ())


def stops(chain: BaseChain, network: Network, own: Collection[str], *, inward: bool) -> bool:
    """Whether a chain that drops lets nothing of a network pass: to its ports, or out of it.

    Where the driver's rules are in that chain, they accept what containers send.
    """
    if not inward and _answers_only(own, chain):
        return False
    lets = _lets_in if inward else _may_let_through
    return not any(lets(rule, network) for rule in chain.around)


def parted(
    networks: Iterable[Network], chains: Iterable[BaseChain], bridged: Collection[int]
) -> Iterator[tuple[BaseChain, Network]]:
    """(chain, network) of each network whose containers such a chain keeps from each other.

    A bridge hands packets of the versions `bridged` to the hook forward (Linux br_netfilter).
    """
    for chain in chains:
        versions = set(_FAMILIES[chain.table.partition(" ")[0]]).intersection(bridged)
        for network in networks if chain.hook == "forward" else ():
            if any(subnet.version in versions for subnet in network.subnets) and not any(
                _may_let_through(rule, network) for rule in chain.around
            ):
                yield chain, network


def unheard(
    askers: Iterable[Askers], chains: Iterable[BaseChain]
) -> Iterator[tuple[BaseChain, Askers]]:
    """Each network whose questions to aardvark-dns nothing lets through a chain that drops."""
    for chain in chains:
        versions = _FAMILIES[chain.table.partition(" ")[0]]
        for one in askers if chain.hook == "input" else ():
            is_concerned = any(server.version in versions for server in one.servers)
            if is_concerned and not any(_may_ask(rule, one) for rule in chain.around):
                yield chain, one


def _may_ask(rule: str, askers: Askers) -> bool:
    """Whether a rule may accept a question: it does unless it says that it is of something else."""
    rule = _COMMENT.sub("", rule)
    if not _PASSES.search(rule):
        return False
    if _UNSURE.search(rule):
        return True
    if (_ANSWERS.search(rule) and not _BEGINS.search(rule)) or _NO_UDP.search(rule):
        return False
    if _FROM_INTERFACE.search(rule) and not _names_bridge(rule, askers.network):
        return False
    told = " ".join(one or other for one, other in _FROM.findall(rule))
    if told and "-" not in told and not _hold(_ADDRESS.findall(told), askers.network.subnets):
        return False
    ranges = [range_ for told in _TO_PORTS.findall(rule) for range_ in _RANGE.findall(told)]
    port = askers.port
    return not ranges or any(int(first) <= port <= int(last or first) for first, last in ranges)


def publishes(endpoint: Endpoint) -> bool:
    """Whether one of its ports is for others than the host itself."""
    return any(
        mapping.host_ip is None or not mapping.host_ip.is_loopback
        for mapping in endpoint.port_mappings or ()
    )


def _lets_in(rule: str, network: Network) -> bool:
    """Whether a rule may let new connections to ports through: none that says whom they are from.

    One that names the bridge or subnet as where packets come from is about what containers send.
    """
    if not _may_let_through(rule, network):
        return False
    bare = _COMMENT.sub("", rule)
    return "dnat" in bare.lower() or bool(_TOWARDS.search(bare)) or not _FROM_SIDE.search(bare)


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
    if _names_bridge(rule, network) or _hold(_SUBNET.findall(rule), network.subnets):
        return True
    one = _ONE_ADDRESS.search(rule)
    try:
        return one is not None and any(ip_address(one[1]) in subnet for subnet in network.subnets)
    except ValueError:
        return False


def _names_bridge(rule: str, network: Network) -> bool:
    for quoted, plain in _INTERFACE.findall(rule):
        name = quoted or plain
        if name == network.bridge or (
            name[-1:] in ("*", "+") and network.bridge.startswith(name[:-1])
        ):
            return True
    return False


def _hold(texts: Iterable[str], subnets: Iterable[Subnet]) -> bool:
    """Whether one of these addresses is around all of one of the subnets."""
    for text in texts:
        try:
            around = ip_network(text, strict=False)
        except ValueError:
            continue
        for subnet in subnets:
            if around.prefixlen <= subnet.prefixlen and subnet.network_address in around:
                return True
    return False


def _answers_only(own: Collection[str], chain: BaseChain) -> bool:
    """Whether the driver's rules are in this chain: they let through what containers send."""
    return chain.table in own and chain.table in TABLES


def remedy(chain: BaseChain, bridge: str, own: Collection[str]) -> str:
    """What lets a network through, in the words of whoever made the chain drop.

    `own` are the tables of the driver.
    """
    rules = " ".join(chain.rules)
    if early := _early(chain):
        return early
    if "ufw" in rules:
        return f"ufw route allow in on {bridge}; ufw route allow out on {bridge}"
    if chain.table in TABLES:
        name = "DOCKER-USER" if "DOCKER-USER" in rules else chain.name
        insert = f"{TABLES[chain.table]} -I {name}"
        if _answers_only(own, chain):  # by a bridge's name it would go past the isolation
            return f"{insert} -m conntrack --ctstate DNAT -j ACCEPT"
        return f"{insert} -i {bridge} -j ACCEPT; {insert} -o {bridge} -j ACCEPT"
    rule = f"nft insert rule {chain.table} {chain.name}"
    return f"{rule} iifname {bridge} accept; {rule} oifname {bridge} accept"


def dns_remedy(chain: BaseChain, bridge: str, port: int) -> str:
    """What lets questions to aardvark-dns through, in the words of whoever made the chain drop."""
    if early := _early(chain):
        return early
    if "ufw" in " ".join(chain.rules):
        return f"ufw allow in on {bridge} to any port {port}"
    if chain.table in TABLES:
        insert = f"{TABLES[chain.table]} -I {chain.name}"
        return f"{insert} -i {bridge} -p udp --dport {port} -j ACCEPT"
    return f"nft insert rule {chain.table} {chain.name} iifname {bridge} udp dport {port} accept"


def _early(chain: BaseChain) -> str:
    early = next((text for text in chain.rules[:-1] if _DROPS_ALL.match(text)), "")
    return f"delete “{early}” from it, unless it is meant so" if early else ""
