# SPDX-License-Identifier: Apache-2.0
"""CNI, as Podman 3 and 4 use it: the rules of the plugins bridge, portmap and firewall.

What was set up is in libcni's cache (formats.cni_results). Follows the plugins 0.9 to 1.1:
pkg/ip/ipmasq_linux.go, plugins/meta/portmap, plugins/meta/firewall. Most rules belong to one
container each.
"""

from collections.abc import Iterator

from podwatch.drivers import iptables_save
from podwatch.drivers.about import About
from podwatch.drivers.of_container import rule_of
from podwatch.drivers.rounds import PerRound
from podwatch.words.network import (
    Address,
    Endpoint,
    Isolation,
    Network,
    PortMapping,
    Setup,
    Subnet,
)
from podwatch.words.rules import FROM_THEIR_OWN_NETWORK, Rule, RuleKind, Ruleset
from podwatch.words.text import sha512

PREFIXES = ("CNI-",)
DNAT = "CNI-HOSTPORT-DNAT"
SETMARK = "CNI-HOSTPORT-SETMARK"
MASQ = "CNI-HOSTPORT-MASQ"
FORWARD = "CNI-FORWARD"
ADMIN = "CNI-ADMIN"
STAGE_1 = "CNI-ISOLATION-STAGE-1"
STAGE_2 = "CNI-ISOLATION-STAGE-2"

ABOUT = About(
    place="what CNI put into iptables",
    tables=iptables_save.TABLES,
    trusts_addresses=True,  # its plugin firewall does
    only_forwards=True,
    of_one=r"CNI-[0-9a-f]{24}|CNI-DN-[0-9a-f]{21}",
    mark_chain=SETMARK,
    purposes=dict.fromkeys((SETMARK, MASQ), FROM_THEIR_OWN_NETWORK),
)

_MAX_PORTS = 15  # of one multiport match
_LOCAL = "-m addrtype --dst-type LOCAL"
_MARK = "0x2000/0x2000"
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


def traits(observed: Ruleset) -> frozenset[str]:
    """The containers that the firewall plugin let through with iptables, by their addresses.

    With firewalld running when they started, it made them trusted sources instead.
    """
    return frozenset(
        text.split()[1]
        for family in iptables_save.FAMILIES
        if (chain := observed.chains.get(f"{family} filter {FORWARD}")) is not None
        for text in chain.rules
        if text.startswith("-s ") and text.endswith(" -j ACCEPT")
    )


def expected_rules(setup: Setup, observed: Ruleset) -> list[Rule]:
    """The rules the plugins have to have installed for `setup`, each once."""
    forwarded = observed.traits | traits(observed)
    rules: dict[tuple[str, str], Rule] = {}
    _endpoint_rules.new_round()
    for endpoint in setup.endpoints:
        network = setup.networks[endpoint.network_id]
        for rule in _endpoint_rules(network, endpoint):
            rules.setdefault((rule.chain, rule.text), rule)
        for address, _ in endpoint.addresses:
            if _single(address) in forwarded:
                for rule in _forward_rules(endpoint, address):
                    rules.setdefault((rule.chain, rule.text), rule)
    return list(rules.values())


@PerRound
def _endpoint_rules(network: Network, endpoint: Endpoint) -> tuple[Rule, ...]:
    isolated = network.isolation is not Isolation.NEVER
    return tuple(
        rule
        for address, subnet in endpoint.addresses
        for rule in (
            *(_masquerade_rules(endpoint, address, subnet) if network.masquerades else ()),
            *_all_ports(endpoint, address, subnet),
            *(_isolation_rules(endpoint, address, network.bridge) if isolated else ()),
        )
    )


def _host(chain: str, text: str, rank: int | None = None) -> Rule:
    return Rule(chain, (text,), RuleKind.HOST, order=None if rank is None else (chain, rank))


def chain_name(prefix: str, endpoint: Endpoint) -> str:
    """A container's own chain (plugins pkg/utils/utils.go, FormatChainName)."""
    named = endpoint.network_name + endpoint.container_id
    return f"CNI-{prefix}{sha512(named)}"[:28]


def _owner(endpoint: Endpoint) -> str:
    return f'name: \\"{endpoint.network_name}\\" id: \\"{endpoint.container_id}\\"'


def _masquerade_rules(endpoint: Endpoint, address: Address, subnet: Subnet) -> Iterator[Rule]:
    nat = f"{_family(address)} nat"
    chain = f"{nat} {chain_name('', endpoint)}"
    comment = f'-m comment --comment "{_owner(endpoint)}"'
    on = str(address)
    jump = f"-s {_single(address)} {comment} -j {chain_name('', endpoint)}"
    order = (f"{nat} POSTROUTING", 1)
    yield rule_of(endpoint, f"{nat} POSTROUTING", (jump,), RuleKind.SUBNET_JUMP, on, order)
    accept = f"-d {subnet} {comment} -j ACCEPT"
    yield rule_of(endpoint, chain, (accept,), RuleKind.SUBNET_LOCAL, on, (chain, 0))
    masquerade = f"! -d {_MULTICAST[address.version]} {comment} -j MASQUERADE"
    yield rule_of(endpoint, chain, (masquerade,), RuleKind.MASQUERADE, on, (chain, 1))


def _all_ports(endpoint: Endpoint, address: Address, subnet: Subnet) -> Iterator[Rule]:
    """The rules of the portmap plugin; all of a container's ports are in one chain."""
    if not endpoint.port_mappings:
        return
    nat = f"{_family(address)} nat"
    marking = f'-m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark {_MARK}'
    yield _host(f"{nat} PREROUTING", f"{_LOCAL} -j {DNAT}")
    yield _host(f"{nat} OUTPUT", f"{_LOCAL} -j {DNAT}")
    comment = '-m comment --comment "CNI portfwd requiring masquerade"'
    yield _host(f"{nat} POSTROUTING", f"{comment} -j {MASQ}", 0)
    yield _host(f"{nat} {MASQ}", f"-m mark --mark {_MARK} -j MASQUERADE")
    yield _host(f"{nat} {SETMARK}", marking)
    chain = chain_name("DN-", endpoint)
    protocols: dict[str, list[PortMapping]] = {}
    for mapping in endpoint.port_mappings:
        protocols.setdefault(mapping.protocol, []).append(mapping)
    for protocol, mappings in protocols.items():
        for at in range(0, len(mappings), _MAX_PORTS):
            together = mappings[at : at + _MAX_PORTS]
            some = ",".join(str(mapping.host_port) for mapping in together)
            owner = f'-m comment --comment "dnat {_owner(endpoint)}"'
            text = f"-p {protocol} {owner} -m multiport --dports {some} -j {chain}"
            way = f"{some}/{protocol} → {address}"
            ways = tuple(mapping.way_to(address) for mapping in together)
            yield rule_of(endpoint, f"{nat} {DNAT}", (text,), RuleKind.PORT_JUMP, way, ways=ways)
    for mapping in endpoint.port_mappings:
        if mapping.host_ip is None or mapping.host_ip.version == address.version:
            yield from _port_rules(endpoint, address, subnet, mapping, f"{nat} {chain}")


def _port_rules(
    endpoint: Endpoint, address: Address, subnet: Subnet, mapping: PortMapping, chain: str
) -> Iterator[Rule]:
    match = f"-p {mapping.protocol} -m {mapping.protocol} --dport {mapping.host_port}"
    host = mapping.host_ip
    places = [""] if host is None else [f"-d {_single(host)} "]
    if host is not None and host.is_unspecified:
        places.append("")
    way = mapping.way_to(address)
    group = f"{places[0]}{match}"
    sources = [str(subnet), "127.0.0.1/32"] if address.version == 4 else [str(subnet)]
    for source in sources:
        marks = tuple(f"-s {source} {place}{match} -j {SETMARK}" for place in places)
        what = f"{way} ({source})"
        yield rule_of(endpoint, chain, marks, RuleKind.PORT_MARK, what, (group, 0))
    target = f"-j DNAT --to-destination {mapping.target(address)}"
    texts = tuple(f"{place}{match} {target}" for place in places)
    yield rule_of(endpoint, chain, texts, RuleKind.PORT_DNAT, way, (group, 1), (way,))


def _isolation_rules(endpoint: Endpoint, address: Address, bridge: str) -> Iterator[Rule]:
    filtered = f"{_family(address)} filter"
    comment = '-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)"'
    stages = (
        (STAGE_1, f"-i {bridge} ! -o {bridge} {comment} -j {STAGE_2}"),
        (STAGE_2, f"-o {bridge} {comment} -j DROP"),
    )
    yield _host(f"{filtered} FORWARD", f"{comment} -j {STAGE_1}", 0)
    for name, text in stages:
        chain = f"{filtered} {name}"
        yield Rule(
            chain,
            (text,),
            RuleKind.ISOLATION,
            bridge,
            network_id=endpoint.network_id,
            network_name=endpoint.network_name,
            order=(chain, 0),
        )
        yield _host(chain, f"{comment} -j RETURN", 1)


def _forward_rules(endpoint: Endpoint, address: Address) -> Iterator[Rule]:
    filtered = f"{_family(address)} filter"
    chain = f"{filtered} {FORWARD}"
    comment = '-m comment --comment "CNI firewall plugin'
    on = str(address)
    yield _host(f"{filtered} FORWARD", f'{comment} rules" -j {FORWARD}', 1)
    yield _host(chain, f'{comment} admin overrides" -j {ADMIN}', 0)
    single = _single(address)
    replies = f"-d {single} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    yield rule_of(endpoint, chain, (replies,), RuleKind.FORWARD_REPLIES, on, (chain, 1))
    accept = f"-s {single} -j ACCEPT"
    yield rule_of(endpoint, chain, (accept,), RuleKind.FORWARD_OUT, on, (chain, 1))


def _family(address: Address) -> str:
    return "ip" if address.version == 4 else "ip6"


def _single(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"
