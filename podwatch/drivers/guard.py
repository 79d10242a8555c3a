# SPDX-License-Identifier: Apache-2.0
"""The guard's table, spelled for nft: what netavark's rules do, one step behind them.

A packet that netavark's table has translated never meets a rule of the guard's: the kernel asks
NAT chains in the order of their priority, and the first that answers is the last. So every
connection that the guard forwards is one that nobody else did, and its counter counts those.

It follows netavark's src/firewall (nft.rs, varktables, 1.4 to 2.1): DNAT with marks, hairpin and
localhost, masquerade or SNAT by subnet, the redirect to aardvark-dns' port, isolation. It needs no
rule that accepts: netavark's accept nothing that another table drops. Ports are elements of maps,
which come and go in a transaction of 0.1 ms; all else is the frame, made anew when a network comes
or goes. It takes nft 1.0.6 or later, and `flags owner` kernel 5.12.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from podwatch.drivers.rounds import PerRound
from podwatch.words.guard import FAMILY, Forward, GuardMode, Held, Key
from podwatch.words.network import (
    Address,
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    Setup,
    Subnet,
)

COUNTER = "carried"
"""The counter of connections that the guard forwarded."""

_FLAGS = "flags owner;"
_HOOKS = """\
 chain kept {
  ct state established accept
 }
 chain prerouting {
  type nat hook prerouting priority -99; policy accept;
%s }
 chain postrouting {
  type nat hook postrouting priority 101; policy accept;
%s }
"""
_ANCHOR = _HOOKS % ("", "")

_MAPS = {
    "ports4": "inet_proto . inet_service : ipv4_addr . inet_service",
    "ports4_at": "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "ports6": "inet_proto . inet_service : ipv6_addr . inet_service",
    "ports6_at": "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
}
_TO_HOST = "  fib daddr type local goto ports\n"
_PORTS = f"""\
 counter {COUNTER} {{
 }}
 chain output {{
  type nat hook output priority -99; policy accept;
{_TO_HOST} }}
 chain ports {{
  ip daddr . meta l4proto . th dport @ports4_at goto carry4
  meta nfproto ipv4 meta l4proto . th dport @ports4 goto carry4
  ip6 daddr . meta l4proto . th dport @ports6_at goto carry6
  meta nfproto ipv6 meta l4proto . th dport @ports6 goto carry6
 }}
"""
_CARRY4 = """\
  dnat ip to ip daddr . meta l4proto . th dport map @ports4_at
  dnat ip to meta l4proto . th dport map @ports4
"""
_CARRY6 = """\
  dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at
  dnat ip6 to meta l4proto . th dport map @ports6
"""
# netavark 2.1: its strict isolation lets through what is marked so.
_MARK = "  ct mark set meta mark | 0x1000\n"
_MARKED = "  ct mark & 0x1000 == 0x1000 accept\n"
_FROM = "  %s saddr %s meta mark set meta mark | 0x2000\n"
_MASQUERADE_MARKED = "meta mark & 0x2000 == 0x2000 masquerade\n"
_WILDCARDS: frozenset[Address] = frozenset((IPv4Address(0), IPv6Address(0)))
_EVERYBODY = {4: "224.0.0.0/4", 6: "ff00::/8"}


def anchor() -> Held:
    """A guard that forwards nothing: no packet meets a rule of it."""
    return Held(GuardMode.ANCHOR, _ANCHOR)


def guard(setup: Setup, *, marks: bool) -> Held:
    """A guard that does what netavark's rules for `setup` do.

    `marks`: netavark marks connections to published ports, as 2.1 does. Of two that publish the
    same port the first has it.
    """
    _forwards.new_round()
    forwards: dict[Key, Forward] = {}
    joined: dict[str, None] = {}
    is_iptables = setup.driver is FirewallDriver.IPTABLES
    # netavark < 1.6, which like all before 1.9 has no state, takes a wildcard for an address.
    wildcards = frozenset() if is_iptables and not setup.state_dir else _WILDCARDS
    for endpoint in setup.endpoints:
        joined[endpoint.network_id] = None
        for key, way in _forwards(endpoint, wildcards):
            forwards.setdefault(key, way)
    networks = [setup.networks[key] for key in joined if key in setup.networks]
    return Held(GuardMode.FULL, _frame(networks, marks=marks, by_network=is_iptables), forwards)


def made_anew(name: str, held: Held, before: str = "") -> str:
    """The script that makes the table with all that is in it; one called `before` ends with it.

    A table is deleted and made in one transaction: its hooks stay.
    """
    table = f"{FAMILY} {name}"
    script = f"add table {table} {{ {_FLAGS} }}\ndelete table {table}\n"
    # Without the flag in each block of it nft 1.1 refuses the script.
    script += f"table {table} {{\n {_FLAGS}\n{held.frame}}}\n"
    script += _elements("add", name, held.forwards)
    return script + (f"delete table {FAMILY} {before}\n" if before else "")


def changed(name: str, before: Held, now: Held) -> str:
    """The script that makes one of another; "" where they are the same."""
    if before.frame != now.frame:
        return made_anew(name, now)
    gone = {key: way for key, way in before.forwards.items() if _to(now, key) != way.to}
    come = {key: way for key, way in now.forwards.items() if _to(before, key) != way.to}
    return _elements("delete", name, gone) + _elements("add", name, come)


def _to(held: Held, key: Key) -> str:
    way = held.forwards.get(key)
    return "" if way is None else way.to


def _elements(verb: str, name: str, forwards: Mapping[Key, Forward]) -> str:
    by_map: dict[str, list[str]] = {}
    for (place, key), way in forwards.items():
        by_map.setdefault(place, []).append(f"{key} : {way.to}" if verb == "add" else key)
    return "".join(
        f"{verb} element {FAMILY} {name} {place} {{ {', '.join(elements)} }}\n"
        for place, elements in by_map.items()
    )


@PerRound
def _forwards(endpoint: Endpoint, wildcards: frozenset[Address]) -> tuple[tuple[Key, Forward], ...]:
    return (*_names(endpoint), *_ports(endpoint, wildcards))


def _names(endpoint: Endpoint) -> Iterator[tuple[Key, Forward]]:
    """What is asked of a network's name server at port 53, where it listens on another."""
    families = {address.version for address, _ in endpoint.addresses}
    for server in endpoint.dns_servers if endpoint.dns_port != 53 else ():
        if server.version in families and _is_plain(server):
            for protocol in ("tcp", "udp"):
                key = f"ports{server.version}_at", f"{server} . {protocol} . 53"
                yield key, Forward(f"{server} . {endpoint.dns_port}")


def _ports(endpoint: Endpoint, wildcards: frozenset[Address]) -> Iterator[tuple[Key, Forward]]:
    if endpoint.internal:
        return
    for address, _ in endpoint.addresses:
        for mapping in endpoint.port_mappings or ():
            host = mapping.host_ip
            if not _is_plain(address) or (host is not None and host.version != address.version):
                continue
            place, at = f"ports{address.version}", ""
            if host is not None and host not in wildcards:
                if not _is_plain(host):
                    continue
                place, at = f"{place}_at", f"{host} . "
            for number in range(mapping.count):
                key = f"{at}{mapping.protocol} . {mapping.host_port + number}"
                to = f"{address} . {mapping.container_port + number}"
                yield (place, key), Forward(to, endpoint.container_id)


def _is_plain(address: Address) -> bool:
    """Whether an address stands for itself: one of a link alone has a scope."""
    return address.version == 4 or address.scope_id is None


def _frame(networks: list[Network], *, marks: bool, by_network: bool) -> str:
    maps = "".join(f" map {name} {{\n  type {kind};\n }}\n" for name, kind in _MAPS.items())
    subnets = [(net, subnet) for net in networks if not net.internal for subnet in net.subnets]
    froms = {4: _FROM % ("ip", "127.0.0.1"), 6: ""}
    for _, subnet in subnets:
        froms[subnet.version] += _FROM % (_ip(subnet), subnet)
    mark = _MARK if marks else ""
    carry = "".join(
        f" chain {name} {{\n  counter name {COUNTER}\n{mark}{froms[version]}{rules} }}\n"
        for name, version, rules in (("carry4", 4, _CARRY4), ("carry6", 6, _CARRY6))
    )
    out = "".join(_out(network, subnet, by_network=by_network) for network, subnet in subnets)
    hooks = _HOOKS % (_TO_HOST, f"{out}  {_MASQUERADE_MARKED}" if out else "")
    return maps + _PORTS + carry + hooks + _isolation(networks, marks=marks)


def _out(network: Network, subnet: Subnet, *, by_network: bool) -> str:
    """The rules for what a network's containers send; those for what came by a port of theirs.

    What is carried is marked, from whichever network it comes. netavark marks only what stays in
    one subnet, so only there the mark decides. `ct status dnat` would say too much: others forward
    ports, too, and netavark does not masquerade what they do.
    `by_network`: what goes to another subnet of the network has not left it, as with iptables.
    """
    ip = _ip(subnet)
    action = "masquerade"
    for address in network.outbound:
        if address.version == subnet.version and _is_plain(address):
            action = f"snat {ip} to {address}"
    start = f"  {ip} saddr {subnet} {ip} daddr"
    within = network.subnets if by_network else (subnet,)
    return (
        f"{start} {subnet} {_MASQUERADE_MARKED}"
        + "".join(f"{start} {to} accept\n" for to in within if to.version == subnet.version)
        + f"{start} != {_EVERYBODY[subnet.version]} {action}\n"
    )


def _ip(subnet: Subnet) -> str:
    return "ip" if subnet.version == 4 else "ip6"


def _isolation(networks: list[Network], *, marks: bool) -> str:
    """What keeps networks apart; "" where nothing is to be: a chain there costs every packet."""
    isolated = [network for network in networks if network.isolation is not Isolation.NEVER]
    rules = []
    for network in isolated:
        others = networks if network.isolation is Isolation.STRICT else isolated
        names = ", ".join(f'"{other.bridge}"' for other in others if other is not network)
        if names:
            rules.append(f'  iifname "{network.bridge}" oifname {{ {names} }} drop\n')
    if not rules:
        return ""
    head = " chain forward {\n  type filter hook forward priority 0; policy accept;\n"
    return head + (_MARKED if marks else "") + "".join(rules) + " }\n"
