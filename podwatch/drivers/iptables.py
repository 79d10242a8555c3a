# SPDX-License-Identifier: Apache-2.0
"""netavark's iptables driver: the rules it installs in the tables filter and nat, both families.

Follows netavark's src/firewall/varktables/types.rs from 1.1 to 1.17 rule for rule; the driver was
removed in 2.0. Which version installed the rules shows in the rules themselves (see `_Era`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from podwatch.drivers import iptables_save
from podwatch.drivers.about import About
from podwatch.drivers.of_container import rules_of_port
from podwatch.drivers.rounds import PerRound
from podwatch.words.network import Address, Endpoint, Isolation, Network, PortMapping, Setup, Subnet
from podwatch.words.rules import FROM_THEIR_OWN_NETWORK, Rule, RuleKind, Ruleset
from podwatch.words.text import sha512

PREFIXES = ("NETAVARK",)
DNAT = "NETAVARK-HOSTPORT-DNAT"
SETMARK = "NETAVARK-HOSTPORT-SETMARK"
MASQ = "NETAVARK-HOSTPORT-MASQ"
FORWARD = "NETAVARK_FORWARD"
INPUT = "NETAVARK_INPUT"
ISOLATION_1 = "NETAVARK_ISOLATION_1"
ISOLATION_2 = "NETAVARK_ISOLATION_2"
ISOLATION_3 = "NETAVARK_ISOLATION_3"

ABOUT = About(
    place="what netavark put into iptables",
    tables=iptables_save.TABLES,
    of_one=r"NETAVARK-(?:DN-)?[0-9A-F]{13}",
    mark_chain=SETMARK,
    purposes=dict.fromkeys((SETMARK, MASQ), FROM_THEIR_OWN_NETWORK),
)

_LOCAL = "-m addrtype --dst-type LOCAL"
_MARK = "0x2000/0x2000"
_COMMENT = '-m comment --comment "netavark firewall rules"'
_OLD_COMMENT = '-m comment --comment "netavark firewall plugin rules"'  # before 1.8.0
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_LOCALHOST = {4: "127.0.0.1/32", 6: "::1/128"}


@dataclass(frozen=True, slots=True)
class _Era:
    """What the netavark that installed the rules does, by its version."""

    isolation_3: bool  # 1.7.0 and later
    input: bool  # 1.8.0 and later, with the drop of what conntrack calls invalid
    dns_tcp: frozenset[str]  # subnets and servers whose DNS over tcp it let in, 1.12.2 and later


_DNS_TCP = "dns over tcp: "


def traits(observed: Ruleset) -> frozenset[str]:
    """What in the rules tells of netavark's version.

    Each network has its own for DNS: one that was set up before an update stays as it is.
    """
    names = {name.rpartition(" ")[2] for name in observed.chains}
    dns = frozenset(
        _DNS_TCP + text.split()[1]
        for name, chain in observed.chains.items()
        if name.endswith((INPUT, DNAT))
        for text in chain.rules
        if text.startswith(("-s ", "-d ")) and " -p tcp " in text
    )
    seen = {"isolation_3": ISOLATION_3 in names, "input": INPUT in names}
    return dns.union(name for name in seen if seen[name])


@lru_cache(maxsize=1024)
def chain_hash(network_name: str) -> str:
    """The end of the names of a network's chains (netavark src/network/core_utils.rs)."""
    return sha512(network_name).upper()[:13]


def expected_rules(setup: Setup, observed: Ruleset) -> list[Rule]:
    """The rules netavark has to have installed for `setup`, each once.

    `observed` decides only what depends on netavark's version, which nothing else tells. One that
    keeps state, as the hash names in `setup` show, is 1.9 or later.
    """
    known = observed.traits | traits(observed)
    stateful = any(network.hash_name for network in setup.networks.values())
    era = _Era(
        isolation_3=stateful or "isolation_3" in known,
        input=stateful or "input" in known,
        dns_tcp=frozenset(
            network.removeprefix(_DNS_TCP) for network in known if _DNS_TCP in network
        ),
    )
    _network_rules.new_round()
    _endpoint_rules.new_round()
    rules: list[Rule] = []
    joined: dict[str, Endpoint] = {}
    for endpoint in setup.endpoints:
        joined.setdefault(endpoint.network_id, endpoint)
    for network_id, endpoint in joined.items():
        network = setup.networks.get(network_id)
        if network is not None:
            rules.extend(_network_rules(network, endpoint.network_name, era))
    for endpoint in setup.endpoints:
        rules.extend(_endpoint_rules(endpoint, era))
    return _once(rules)


def _once(rules: list[Rule]) -> list[Rule]:
    """Each rule once; one port on two of the host's addresses has one jump for both ways."""
    found: dict[tuple[str, str], Rule] = {}
    for rule in reversed(rules):
        key = (rule.chain, rule.text)
        later = found.get(key)
        found[key] = replace(rule, ways=rule.ways + later.ways) if later and rule.ways else rule
    return list(found.values())[::-1]


def _family(address: Address | Subnet) -> str:
    return "ip" if address.version == 4 else "ip6"


@PerRound
def _network_rules(network: Network, name: str, era: _Era) -> tuple[Rule, ...]:
    if network.internal:
        return ()
    return tuple(
        rule for subnet in network.subnets for rule in _subnet_rules(network, name, subnet, era)
    )


def _host(chain: str, *texts: str, rank: int | None = None) -> Rule:
    return Rule(chain, texts, RuleKind.HOST, order=None if rank is None else (chain, rank))


def _rule(
    network: Network,
    name: str,
    chain: str,
    text: str,
    kind: RuleKind,
    subject: str,
    rank: int | None = None,
) -> Rule:
    order = None if rank is None else (chain, rank)
    return Rule(
        chain, (text,), kind, subject, network_id=network.id, network_name=name, order=order
    )


def _subnet_rules(network: Network, name: str, subnet: Subnet, era: _Era) -> Iterator[Rule]:
    nat, filtered = f"{_family(subnet)} nat", f"{_family(subnet)} filter"
    on = str(subnet)
    rule = partial(_rule, network, name)
    chain = f"NETAVARK-{chain_hash(name)}"
    # A second subnet of the family has its accept behind the masquerade of the first, for good.
    alone = sum(other.version == subnet.version for other in network.subnets) == 1
    first, second = (0, 1) if alone else (None, None)
    masquerade = f"! -d {_MULTICAST[subnet.version]} -j MASQUERADE"
    yield rule(f"{nat} {chain}", f"-d {subnet} -j ACCEPT", RuleKind.SUBNET_LOCAL, on, first)
    yield rule(f"{nat} {chain}", masquerade, RuleKind.MASQUERADE, on, second)
    jump = f"-s {subnet} -j {chain}"
    yield rule(f"{nat} POSTROUTING", jump, RuleKind.SUBNET_JUMP, on, 1)
    yield from _isolation_rules(network, name, filtered, era)
    comments = (_COMMENT,) if era.input else (_COMMENT, _OLD_COMMENT)
    yield _host(f"{filtered} FORWARD", *(f"{comment} -j {FORWARD}" for comment in comments), rank=1)
    if era.input:
        yield _host(f"{filtered} INPUT", f"{_COMMENT} -j {INPUT}")
        for protocol in ("udp", "tcp") if str(subnet) in era.dns_tcp else ("udp",):
            port = f"-p {protocol} -m {protocol} --dport {network.dns_port}"
            text = f"-s {subnet} {port} -j ACCEPT"
            yield rule(f"{filtered} {INPUT}", text, RuleKind.DNS_ACCEPT, on)
        yield _host(f"{filtered} {FORWARD}", "-m conntrack --ctstate INVALID -j DROP", rank=0)
    replies = f"-d {subnet} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    yield rule(f"{filtered} {FORWARD}", replies, RuleKind.FORWARD_REPLIES, on, 1)
    yield rule(f"{filtered} {FORWARD}", f"-s {subnet} -j ACCEPT", RuleKind.FORWARD_OUT, on, 1)


def _isolation_rules(network: Network, name: str, filtered: str, era: _Era) -> Iterator[Rule]:
    bridge = network.bridge
    kind = RuleKind.ISOLATION
    rule = partial(_rule, network, name)
    if network.isolation is not Isolation.NEVER:
        target = ISOLATION_3 if network.isolation is Isolation.STRICT else ISOLATION_2
        yield _host(f"{filtered} FORWARD", f"-j {ISOLATION_1}", rank=0)
        text = f"-i {bridge} ! -o {bridge} -j {target}"
        yield rule(f"{filtered} {ISOLATION_1}", text, kind, bridge)
        yield rule(f"{filtered} {ISOLATION_2}", f"-o {bridge} -j DROP", kind, bridge)
    elif era.isolation_3:
        yield rule(f"{filtered} {ISOLATION_3}", f"-o {bridge} -j DROP", kind, bridge, 0)
    if era.isolation_3:
        yield _host(f"{filtered} {ISOLATION_3}", f"-j {ISOLATION_2}", rank=1)


@PerRound
def _endpoint_rules(endpoint: Endpoint, era: _Era) -> tuple[Rule, ...]:
    if endpoint.internal:
        return ()
    return tuple(
        rule
        for address, subnet in endpoint.addresses
        for rule in (
            *_hostport_rules(f"{_family(address)} nat"),
            *_dns_redirects(endpoint, address, era),
            *_all_ports(endpoint, address, subnet),
        )
    )


def _hostport_rules(nat: str) -> Iterator[Rule]:
    """What is there once a container has joined, whether it publishes anything or not."""
    mark = f"-m mark --mark {_MARK}"
    masquerade = f'-m comment --comment "netavark portfw masq mark" {mark} -j MASQUERADE'
    yield _host(f"{nat} PREROUTING", f"{_LOCAL} -j {DNAT}")
    yield _host(f"{nat} OUTPUT", f"{_LOCAL} -j {DNAT}")
    yield _host(f"{nat} POSTROUTING", f"-j {MASQ}", rank=0)
    yield _host(f"{nat} {MASQ}", masquerade)
    yield _host(f"{nat} {SETMARK}", f"-j MARK --set-xmark {_MARK}")


def _dns_redirects(endpoint: Endpoint, address: Address, era: _Era) -> Iterator[Rule]:
    if endpoint.dns_port == 53:
        return
    for server in endpoint.dns_servers:
        if server.version != address.version:
            continue
        for protocol in ("udp", "tcp") if _single(server) in era.dns_tcp else ("udp",):
            match = f"-d {_single(server)} -p {protocol} -m {protocol} --dport 53"
            to = _socket(server, str(endpoint.dns_port))
            yield Rule(
                f"{_family(address)} nat {DNAT}",
                (f"{match} -j DNAT --to-destination {to}",),
                RuleKind.DNS_REDIRECT,
                str(server),
                network_id=endpoint.network_id,
                network_name=endpoint.network_name,
            )


def _all_ports(endpoint: Endpoint, address: Address, subnet: Subnet) -> Iterator[Rule]:
    mappings = endpoint.port_mappings or ()
    served = [m for m in mappings if m.host_ip is None or m.host_ip.version == address.version]
    for mapping in served:
        yield from _port_rules(endpoint, address, subnet, mapping)
    if mappings and not served:  # its teardown stumbles over a chain that is not there
        chain = f"{_family(address)} nat NETAVARK-DN-{chain_hash(endpoint.network_name)}"
        yield Rule(
            chain,
            ("",),
            RuleKind.HOOK,
            network_id=endpoint.network_id,
            network_name=endpoint.network_name,
            container_id=endpoint.container_id,
        )


def _port_rules(
    endpoint: Endpoint, address: Address, subnet: Subnet, mapping: PortMapping
) -> Iterator[Rule]:
    nat = f"{_family(address)} nat"
    chain = f"NETAVARK-DN-{chain_hash(endpoint.network_name)}"
    last = mapping.host_port + mapping.count - 1
    ports, to = str(mapping.host_port), str(mapping.container_port)
    if mapping.count > 1:
        ports = f"{mapping.host_port}:{last}"
        to = f"{to}-{mapping.container_port + mapping.count - 1}/{mapping.host_port}"
    match = f"-p {mapping.protocol} -m {mapping.protocol} --dport {ports}"
    host = mapping.host_ip
    # netavark < 1.6 takes a wildcard for an address like any other, which no packet has.
    places = [""] if host is None or host.is_unspecified else [f"-d {_single(host)} "]
    if host is not None and host.is_unspecified:
        places.insert(0, f"-d {_single(host)} ")
    way = mapping.way_to(address)
    group = f"{places[-1]}{match}"

    rule = rules_of_port(endpoint, way, group)

    owner = f'--comment "dnat name: {endpoint.network_name} id: {endpoint.container_id}"'
    jump = f"{match} -m comment {owner} -j {chain}"
    yield rule(f"{nat} {DNAT}", (jump,), RuleKind.PORT_JUMP, way, None)
    for source in (str(subnet), _LOCALHOST[address.version]):
        marks = tuple(f"-s {source} {place}{match} -j {SETMARK}" for place in places)
        yield rule(f"{nat} {chain}", marks, RuleKind.PORT_MARK, f"{way} ({source})", 0)
    target = f"-j DNAT --to-destination {_socket(address, to)}"
    texts = tuple(f"{place}{match} {target}" for place in places)
    yield rule(f"{nat} {chain}", texts, RuleKind.PORT_DNAT, way, 1)


def _single(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def _socket(address: Address, port: str) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
