# SPDX-License-Identifier: Apache-2.0
"""netavark's nftables driver: the rules it installs in `table inet netavark`.

Follows netavark's src/firewall/nft.rs from 1.10 to 2.1 rule for rule; where versions differ the
spellings of all of them are given. The rules' texts are nft's own, as `nft list table` prints
them, made canonical by `canonical` so that versions of nft that order or pad differently agree.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from podwatch.drivers.about import About
from podwatch.drivers.of_container import rules_of_port
from podwatch.drivers.rounds import PerRound
from podwatch.words.network import Address, Endpoint, Isolation, Network, PortMapping, Setup, Subnet
from podwatch.words.rules import FROM_THEIR_OWN_NETWORK, Chain, Rule, RuleKind, Ruleset

TABLE = "netavark"
FAMILY = "inet"

DNAT = "NETAVARK-HOSTPORT-DNAT"
SETMARK = "NETAVARK-HOSTPORT-SETMARK"
ISOLATION_1 = "NETAVARK-ISOLATION-1"
ISOLATION_2 = "NETAVARK-ISOLATION-2"
ISOLATION_3 = "NETAVARK-ISOLATION-3"

ABOUT = About(
    place=f"table {FAMILY} {TABLE}",
    tables=frozenset({f"{FAMILY} {TABLE}"}),
    of_one=r"nv_[0-9a-f]{8}_\S+",
    mark_chain=SETMARK,
    purposes={SETMARK: FROM_THEIR_OWN_NETWORK, ISOLATION_3: "strict isolation"},
)

_HOOKS = {
    "INPUT": "type filter hook input priority 0; policy accept;",
    "FORWARD": "type filter hook forward priority 0; policy accept;",
    "POSTROUTING": "type nat hook postrouting priority 100; policy accept;",
    "PREROUTING": "type nat hook prerouting priority -100; policy accept;",
    "OUTPUT": "type nat hook output priority -100; policy accept;",
}
# nft(8), "Standard priority names and hook compatibility matrix".
_PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}

DORMANT = "dormant"
"""The trait of a table that is switched off as a whole: none of its chains is hooked in."""

# nft 1.0 to 1.1 print marks with eight digits; canonical() takes the leading zeros away.
_MASQUERADE_MARK = "meta mark & 0x2000 == 0x2000 masquerade"
_SET_MARK = "meta mark set meta mark | 0x2000"
_DNAT_ACCEPT = "ct mark & 0x1000 == 0x1000 accept"
_DNAT_MARK = "ct mark set meta mark | 0x1000 "

MARKS = "marks"
"""The trait of a table in which netavark 2.1 marks connections to published ports."""

MARKS_FIRST = "marks first"
"""The trait of one that it made itself: after an update from 2.0 under running containers, it
accepts what is marked behind all that was there, the jump to the isolation too."""


def traits(observed: Ruleset) -> frozenset[str]:
    """What in the table tells of the netavark that filled it, which its state files do not."""
    forward = observed.chains.get("FORWARD", Chain("", ())).rules
    seen = {
        MARKS: _DNAT_ACCEPT in forward
        or any(_DNAT_MARK in text for chain in observed.chains.values() for text in chain.rules),
        MARKS_FIRST: _DNAT_ACCEPT in forward
        and f"jump {ISOLATION_1}" in forward[forward.index(_DNAT_ACCEPT) :],
    }
    return frozenset(name for name, is_seen in seen.items() if is_seen)


def expected_rules(setup: Setup, observed: Ruleset) -> list[Rule]:
    """The rules netavark has to have installed for `setup`.

    `observed` decides only what depends on netavark's version: the accept rule for marked
    connections exists since 2.1. Where it stands counts once it stood before the isolation.
    """
    known = observed.traits | traits(observed)
    _network_rules.new_round()
    _endpoint_rules.new_round()
    rules: list[Rule] = []
    joined: dict[str, Endpoint] = {}
    for endpoint in setup.endpoints:
        joined.setdefault(endpoint.network_id, endpoint)
    if not joined:
        return rules
    rules.extend(_host_rules(marks=MARKS in known, marks_first=MARKS_FIRST in known))
    for network_id, endpoint in joined.items():
        network = setup.networks.get(network_id)
        if network is not None:
            rules.extend(_network_rules(network, endpoint.network_name or network.bridge))
    redirected: set[Address] = set()
    for endpoint in setup.endpoints:
        rules.extend(_dns_redirects(endpoint, redirected))
        rules.extend(_endpoint_rules(endpoint))
    return rules


@lru_cache(maxsize=4)
def _host_rules(*, marks: bool, marks_first: bool) -> tuple[Rule, ...]:
    def host(chain: str, text: str, rank: int | None = None, *, reloadable: bool = True) -> Rule:
        # What setup appends again lands behind rules it has to stand before (nft.rs setup_network).
        order = None if rank is None else (chain, rank)
        return Rule(chain, (text,), RuleKind.HOST, order=order, reloadable=reloadable)

    hooks = (Rule(chain, (text,), RuleKind.HOOK) for chain, text in _HOOKS.items())
    place = 1 if marks_first else None
    accept = [host("FORWARD", _DNAT_ACCEPT, place, reloadable=False)] if marks else []
    return (
        *hooks,
        host("FORWARD", "ct state invalid drop", 0, reloadable=False),
        *accept,
        host("FORWARD", f"jump {ISOLATION_1}", 2, reloadable=False),
        host("POSTROUTING", _MASQUERADE_MARK, 0, reloadable=False),
        host("PREROUTING", f"fib daddr type local jump {DNAT}"),
        host("OUTPUT", f"fib daddr type local jump {DNAT}"),
        host(SETMARK, _SET_MARK),
        host(ISOLATION_3, f"jump {ISOLATION_2}", 1),
    )


@PerRound
def _network_rules(network: Network, name: str) -> tuple[Rule, ...]:
    rules: list[Rule] = []

    def rule(
        chain: str,
        texts: tuple[str, ...],
        kind: RuleKind,
        subject: str,
        order: tuple[str, int] | None = None,
        *,
        reloadable: bool = False,
    ) -> None:
        # While the subnet's chain exists setup skips all that is of the subnet (nft.rs, "Do we
        # already have a chain for the subnet?"), and with two containers the chain never goes.
        rules.append(
            Rule(
                chain,
                tuple(canonical(text) for text in texts),
                kind,
                subject,
                network_id=network.id,
                network_name=name,
                order=order,
                reloadable=reloadable,
            )
        )

    bridge = f'"{network.bridge}"'
    if network.isolation is Isolation.NEVER:
        text = f"oifname {bridge} drop"
        rule(
            ISOLATION_3,
            (text,),
            RuleKind.ISOLATION,
            network.bridge,
            (ISOLATION_3, 0),
            reloadable=True,
        )
    else:
        target = ISOLATION_3 if network.isolation is Isolation.STRICT else ISOLATION_2
        text = f"iifname {bridge} oifname != {bridge} jump {target}"
        rule(ISOLATION_1, (text,), RuleKind.ISOLATION, network.bridge, reloadable=True)
        text = f"oifname {bridge} drop"
        rule(ISOLATION_2, (text,), RuleKind.ISOLATION, network.bridge, reloadable=True)

    for subnet in network.subnets:
        ip = _ip(subnet)
        on = str(subnet)
        rule(
            "INPUT",
            (
                f"{ip} saddr {subnet} udp dport 53 accept",  # netavark < 1.12.2
                f"{ip} saddr {subnet} meta l4proto {{ tcp, udp }} th dport 53 accept",
            ),
            RuleKind.DNS_ACCEPT,
            on,
        )
        if network.internal:
            continue
        rule(
            "FORWARD",
            (f"{ip} daddr {subnet} ct state established,related accept",),
            RuleKind.FORWARD_REPLIES,
            on,
            ("FORWARD", 3),
        )
        rule(
            "FORWARD",
            (f"{ip} saddr {subnet} accept",),
            RuleKind.FORWARD_OUT,
            on,
            ("FORWARD", 3),
        )
        chain = subnet_chain(network.id, subnet)
        rule(
            "POSTROUTING",
            (f"{ip} saddr {subnet} jump {chain}",),
            RuleKind.SUBNET_JUMP,
            on,
            ("POSTROUTING", 1),
        )
        rule(chain, (f"{ip} daddr {subnet} accept",), RuleKind.SUBNET_LOCAL, on, (chain, 0))
        rule(chain, _masquerades(network, subnet), RuleKind.MASQUERADE, on, (chain, 1))
    return tuple(rules)


def _masquerades(network: Network, subnet: Subnet) -> tuple[str, ...]:
    # netavark < 2.0 writes "ff::00/8" for the IPv6 multicast range, which is ::/8.
    ranges = ("224.0.0.0/4",) if subnet.version == 4 else ("::/8", "ff00::/8")
    ip = _ip(subnet)
    action = "masquerade"
    for address in network.outbound:
        if address.version == subnet.version:
            action = f"snat {ip} to {address}"
    return tuple(f"{ip} daddr != {mapping} {action}" for mapping in ranges)


def _dns_redirects(endpoint: Endpoint, done: set[Address]) -> Iterator[Rule]:
    """One redirect per DNS server of a network, for the families the container has."""
    if endpoint.dns_port == 53:
        return
    families = {address.version for address, _ in endpoint.addresses}
    for server in endpoint.dns_servers:
        if server in done or server.version not in families:
            continue
        done.add(server)
        ip = _ip(server)
        text = (
            f"{ip} daddr {server} meta l4proto {{ tcp, udp }} th dport 53 "
            f"dnat {ip} to {_socket(server, endpoint.dns_port)}"
        )
        udp = f"{ip} daddr {server} udp dport 53 dnat {ip} to {_socket(server, endpoint.dns_port)}"
        yield Rule(
            DNAT,
            (canonical(udp), canonical(text)),
            RuleKind.DNS_REDIRECT,
            str(server),
            network_id=endpoint.network_id,
            network_name=endpoint.network_name,
        )


@PerRound
def _endpoint_rules(endpoint: Endpoint) -> tuple[Rule, ...]:
    if endpoint.internal or not endpoint.port_mappings:
        return ()
    return tuple(
        rule
        for address, subnet in endpoint.addresses
        for mapping in endpoint.port_mappings
        if _serves(mapping, address)
        for rule in _port_rules(endpoint, address, subnet, mapping)
    )


def _serves(mapping: PortMapping, address: Address) -> bool:
    return mapping.host_ip is None or mapping.host_ip.version == address.version


def _port_rules(
    endpoint: Endpoint, address: Address, subnet: Subnet, mapping: PortMapping
) -> Iterator[Rule]:
    ip = _ip(address)
    chain = subnet_chain(endpoint.network_id, subnet) + "_dnat"
    host = mapping.host_ip
    to_host = "" if host is None or host.is_unspecified else f"{ip} daddr {host} "
    last = mapping.host_port + mapping.count - 1
    ports = f"{mapping.host_port}" if mapping.count == 1 else f"{mapping.host_port}-{last}"
    dport = f"{mapping.protocol} dport {ports}"
    group = f"{to_host}{dport} {address}"

    way = mapping.way_to(address)

    rule = rules_of_port(endpoint, way, group)

    jump = f"jump {chain}"
    # netavark < 1.13.1 leaves the host's address out of the jump.
    jumps = (f"{dport} {jump}",) if not to_host else (f"{dport} {jump}", f"{to_host}{dport} {jump}")
    yield rule(DNAT, jumps, RuleKind.PORT_JUMP, way, None)
    mark = f"{to_host}{dport} jump {SETMARK}"
    yield rule(chain, (f"{ip} saddr {subnet} {mark}",), RuleKind.PORT_MARK, f"{way} ({subnet})", 0)
    if address.version == 4:
        text = f"ip saddr 127.0.0.1 {mark}"
        yield rule(chain, (text,), RuleKind.PORT_MARK, f"{way} (127.0.0.1)", 0)
    for port in range(mapping.host_port, last + 1):
        single = mapping.only(port)
        target = single.target(address)
        match = f"{to_host}{mapping.protocol} dport {port} "
        dnat = f"dnat {ip} to {target}"
        texts = (f"{match}{dnat}", f"{match}{_DNAT_MARK}{dnat}")
        yield rule(chain, texts, RuleKind.PORT_DNAT, f"{single} → {target}", 1)


def subnet_chain(network_id: str, subnet: Subnet) -> str:
    """The name of a subnet's chain; its port mappings' chain is the same with `_dnat` behind it.

    netavark src/firewall/nft.rs, get_subnet_chain_name.
    """
    clean = str(subnet).replace(".", "_").replace(":", "-").replace("/", "_nm")
    return f"nv_{network_id[:8]}_{clean}"


def _ip(address: Address | Subnet) -> str:
    return "ip" if address.version == 4 else "ip6"


def _socket(address: Address, port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


_HEX = re.compile(r"0x0*([0-9a-f]+)")
_SET = re.compile(r"\{ ([^{}]*) \}")
_STATES = re.compile(r"(ct state )([a-z]+(?:,[a-z]+)+)")


def canonical(text: str) -> str:
    """One rule's text in the one form that is compared: sets and lists in order, marks short."""
    if "0x" in text:
        text = _HEX.sub(r"0x\1", text)
    if "{" in text:
        text = _SET.sub(lambda found: f"{{ {', '.join(_sorted(found[1], ', '))} }}", text)
    if "ct state" in text:
        text = _STATES.sub(lambda found: found[1] + ",".join(_sorted(found[2], ",")), text)
    return text


def _sorted(text: str, separator: str) -> list[str]:
    return sorted(part.strip() for part in text.split(separator))


_HOOK = re.compile(
    rf"type (\w+) hook (\w+) priority (?:(-?\d+)|({'|'.join(_PRIORITIES)})(?: ([+-]) (\d+))?); "
    r"policy (\w+);"
)


def _canonical_hook(text: str) -> str:
    found = _HOOK.fullmatch(text)
    if found is None:
        return text
    kind, hook, number, name, sign, offset, policy = found.groups()
    priority = int(number) if number else _PRIORITIES[name]
    if sign:
        priority += int(sign + offset)
    return f"type {kind} hook {hook} priority {priority}; policy {policy};"


def parse_listing(listing: str) -> Ruleset:
    """`nft list table inet netavark`, as text; with `--handle` each rule's handle is kept.

    An empty listing means the table does not exist. In one with `flags dormant` no chain is hooked
    in, whatever it says. Lines that are not understood are kept as
    rules: they match nothing that is expected, so they are somebody else's.
    """
    if not listing.strip():
        return Ruleset(present=False)
    chains: dict[str, Chain] = {}
    handles: dict[str, tuple[int, ...]] = {}
    name, hook, rules, numbers = "", "", list[str](), list[int]()
    dormant = False
    for line in listing.splitlines():
        text, _, number = line.strip().rpartition(" # handle ")
        if not number.isdecimal():
            text, number = line.strip(), ""
        if not name:
            if text.startswith("chain "):
                name, hook, rules, numbers = text.split()[1], "", [], []
            elif text.startswith("flags ") and DORMANT in text:
                dormant = True
        elif text == "}":
            chains[name] = Chain(hook, tuple(rules))
            if len(numbers) == len(rules):
                handles[name] = tuple(numbers)
            name = ""
        elif text.startswith("type "):
            hook = "" if dormant else _canonical_hook(text)
        elif text:
            rules.append(canonical(text))
            if number:
                numbers.append(int(number))
    traits = frozenset({DORMANT} if dormant else ())
    return Ruleset(present=True, chains=chains, handles=handles, traits=traits)
