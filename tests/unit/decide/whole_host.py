# SPDX-License-Identifier: Apache-2.0
"""A host of two containers on one network with names, and everything that can be wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from podwatch.drivers import nftables
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Around, Inner, Link, Links, Routed
from podwatch.words.names import Entry, NameServer, Served
from podwatch.words.network import (
    Container,
    ContainerClass,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Interface,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Part, Snapshot, Unknown, Zone
from podwatch.words.way import BaseChain, Policy
from tests.unit.drivers.installed import chains_of

WEB, DB, NET = "a" * 64, "b" * 64, "c" * 64
SUBNETS = (ip_network("10.89.0.0/24"), ip_network("fd89::/64"))
GATEWAYS = (ip_interface("10.89.0.1/24"), ip_interface("fd89::1/64"))
DNS = tuple(gateway.ip for gateway in GATEWAYS)
APP = Network(NET, "podman1", SUBNETS, Isolation.NORMAL)


def _place(key: str, last: int, *ports: PortMapping) -> Endpoint:
    addresses = (ip_address(f"10.89.0.{last}"), ip_address(f"fd89::{last}"))
    both = tuple(zip(addresses, SUBNETS, strict=True))
    return Endpoint(key, NET, "app", both, ports, dns_servers=DNS)


SETUP = Setup(
    FirewallDriver.NFTABLES,
    {NET: APP},
    (_place(WEB, 2, PortMapping(8080, 80, "tcp")), _place(DB, 3)),
)
FILE = NetworkFile(
    "app", ContainerClass.BRIDGE, "podman1", SUBNETS, asks_names=True, gateways=GATEWAYS
)
BRIDGE = Link("podman1", 3, kind="bridge")
VETH = Link("veth0", 4, master="podman1", kind="veth", netns_id=0)
OTHER = replace(VETH, name="veth1", index=5, netns_id=1)
LINKS = Links(
    {link.name: link for link in (BRIDGE, VETH, OTHER)},
    {"podman1": GATEWAYS},
    dict.fromkeys(SUBNETS, ("podman1",)),
)


def inner(last: int, peer: int) -> Inner:
    """The interface in a container."""
    addresses = (ip_interface(f"10.89.0.{last}/24"), ip_interface(f"fd89::{last}/64"))
    return Inner("eth0", 2, peer=peer, addresses=addresses)


SERVED = Served("app", "/run/app", DNS, (Entry(WEB, names=("web",)), Entry(DB, names=("db",))))
NAMES = NameServer(
    "/run/aardvark.pid",
    7,
    "aardvark-dns",
    (7,),
    (SERVED,),
    {(address, 53): 0 for address in DNS},
    53,
)
_TRAITS = frozenset({nftables.MARKS, nftables.MARKS_FIRST})
RULES = nftables.expected_rules(SETUP, Ruleset(present=True, traits=_TRAITS))
WHOLE = Snapshot(
    SETUP,
    Ruleset(present=True, chains=chains_of(RULES)),
    Firewalld(
        running=True,
        sources={str(subnet): "trusted" for subnet in SUBNETS},
        interfaces={"eth0": "public"},
        default_zone="public",
        zones={"public": Zone(), "drop": Zone(), "trusted": Zone(accepts=True)},
    ),
    {
        key: Container(key, name, kind=ContainerClass.BRIDGE, networks=("app",))
        for key, name in ((WEB, "web"), (DB, "db"))
    },
    sysctls={
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
        "net/ipv4/conf/podman1/forwarding": "1",
        "net/ipv4/conf/eth0/forwarding": "1",
    },
    uplinks=("eth0",),
    routed={4: "eth0", 6: "eth0"},
    around=Around(
        routes=tuple(Routed(NET, address, "podman1") for address, _ in SETUP.endpoints[0].addresses)
    ),
    links=LINKS,
    namespaces={0: (inner(2, 4),), 1: (inner(3, 5),)},
    files={"app": FILE},
    names=NAMES,
    inside={},
)

BACK_GATEWAY = ip_interface("10.89.7.1/24")
BACK = NetworkFile(
    "back",
    ContainerClass.INTERNAL,
    "podman7",
    (BACK_GATEWAY.network,),
    asks_names=True,
    gateways=(BACK_GATEWAY,),
)


def with_back(kind: ContainerClass = ContainerClass.INTERNAL) -> Snapshot:
    """The host, with both containers on a network without state, too."""
    inside = (ip_interface("10.89.7.2/24"), ip_interface("10.89.7.3/24"))
    veths = (Link(f"veth{n}", n, master="podman7", kind="veth", netns_id=n - 9) for n in (9, 10))
    served = Served("back", "/run/back", (BACK_GATEWAY.ip,), (Entry(WEB), Entry(DB)))
    return replace(
        WHOLE,
        containers={
            key: replace(known, networks=("app", "back")) for key, known in WHOLE.containers.items()
        },
        files={**WHOLE.files, "back": replace(BACK, kind=kind)},
        held={"back": {WEB: (inside[0].ip,), DB: (inside[1].ip,)}},
        links=Links(
            {link.name: link for link in (BRIDGE, VETH, OTHER, Link("podman7", 7, kind="bridge"))}
            | {link.name: link for link in veths},
            {**LINKS.addresses, "podman7": (BACK_GATEWAY,)},
            {**LINKS.routes, BACK_GATEWAY.network: ("podman7",)},
        ),
        namespaces={
            number: (*known, Inner("eth1", 3, peer=9 + number, addresses=(inside[number],)))
            for number, known in (WHOLE.namespaces or {}).items()
        },
        names=replace(
            NAMES,
            served=(SERVED, served),
            sockets={**NAMES.sockets, (BACK_GATEWAY.ip, 53): 0},
        ),
    )


Fault = Callable[[Snapshot], Snapshot]


def without(*kinds: RuleKind) -> Fault:
    """The rules of these kinds are deleted."""
    gone = {(rule.chain, text) for rule in RULES if rule.kind in kinds for text in rule.texts}

    def strike(snapshot: Snapshot) -> Snapshot:
        seen = snapshot.rules
        if seen is None:
            return snapshot
        chains = {
            name: Chain(each.hook, tuple(text for text in each.rules if (name, text) not in gone))
            for name, each in seen.chains.items()
        }
        return replace(snapshot, rules=replace(seen, chains=chains))

    return strike


def first_in(name: str, text: str) -> Fault:
    """Somebody puts a rule before all others of a chain."""

    def strike(snapshot: Snapshot) -> Snapshot:
        seen = snapshot.rules
        if seen is None or name not in seen.chains:
            return snapshot
        chain = seen.chains[name]
        chains = {**seen.chains, name: replace(chain, rules=(text, *chain.rules))}
        return replace(snapshot, rules=replace(seen, chains=chains))

    return strike


def of_firewalld(**changes: Any) -> Fault:
    """firewalld says something else."""

    def strike(snapshot: Snapshot) -> Snapshot:
        said = snapshot.firewalld
        return snapshot if said is None else replace(snapshot, firewalld=replace(said, **changes))

    return strike


def of_link(name: str, **changes: Any) -> Fault:
    """A link is otherwise; where nothing is said how, it is gone, and what was on it."""

    def strike(snapshot: Snapshot) -> Snapshot:
        links = snapshot.links
        if links is None or name not in links.by_name:
            return snapshot
        if changes:
            by_name = {**links.by_name, name: replace(links.by_name[name], **changes)}
            return replace(snapshot, links=replace(links, by_name=by_name))
        by_name = {key: link for key, link in links.by_name.items() if key != name}
        addresses = {key: some for key, some in links.addresses.items() if key != name}
        routes = {net: tuple(by for by in some if by != name) for net, some in links.routes.items()}
        return replace(snapshot, links=Links(by_name, addresses, routes))

    return strike


def of_addresses(addresses: Mapping[str, tuple[Interface, ...]], *, routed: bool = True) -> Fault:
    """The host's links have these addresses."""

    def strike(snapshot: Snapshot) -> Snapshot:
        links = snapshot.links
        if links is None:
            return snapshot
        routes = links.routes if routed else {}
        return replace(snapshot, links=replace(links, addresses=addresses, routes=routes))

    return strike


def of_names(**changes: Any) -> Fault:
    """aardvark-dns is otherwise."""

    def strike(snapshot: Snapshot) -> Snapshot:
        server = snapshot.names
        return snapshot if server is None else replace(snapshot, names=replace(server, **changes))

    return strike


def of_web(state: ContainerState) -> Fault:
    """The container web is in this state."""

    def strike(snapshot: Snapshot) -> Snapshot:
        web = replace(snapshot.containers[WEB], state=state)
        return replace(snapshot, containers={**snapshot.containers, WEB: web})

    return strike


def unknown(part: Part, **changes: Any) -> Fault:
    """A part of the look could not be read."""

    def strike(snapshot: Snapshot) -> Snapshot:
        why = Unknown(part, part, "it could not be read")
        return replace(snapshot, unknown=(*snapshot.unknown, why), **changes)

    return strike


def otherwise(**changes: Any) -> Fault:
    """The look shows something else."""
    return lambda snapshot: replace(snapshot, **changes)


def sysctl(path: str) -> Fault:
    """A setting is 0, which it never was."""
    return lambda snapshot: replace(snapshot, sysctls={**snapshot.sysctls, path: "0"})


_DROPS = BaseChain("inet site", "passing", "forward", "drop")
_IN_ONLY = replace(_DROPS, around=('iifname "podman1" accept',))
_DEAF = BaseChain("inet site", "entering", "input", "drop")
_BOTH = frozenset({4, 6})
_ROUTES = WHOLE.around.routes
_AWAY = tuple(replace(route, link="tun0") for route in _ROUTES)
_NOWHERE = tuple(replace(route, link="", is_answer=True, uplink="eth0") for route in _ROUTES)
_UNHEARD = tuple(replace(route, link="", source=by) for route, by in zip(_ROUTES, DNS, strict=True))

FAULTS: Mapping[str, Fault] = {
    "nothing": lambda snapshot: snapshot,
    "table gone": otherwise(rules=Ruleset(present=False)),
    "ports gone": without(RuleKind.PORT_DNAT),
    "jumps gone": without(RuleKind.PORT_JUMP),
    "masquerade gone": without(RuleKind.MASQUERADE),
    "forward gone": without(RuleKind.FORWARD_OUT),
    "isolation gone": without(RuleKind.ISOLATION),
    "return first": first_in("NETAVARK-HOSTPORT-DNAT", "return"),
    "port taken": first_in("NETAVARK-HOSTPORT-DNAT", "tcp dport 8080 dnat ip to 192.0.2.9:80"),
    "nothing forwarded": otherwise(
        sysctls={**dict.fromkeys(WHOLE.sysctls, "0"), "net/ipv6/conf/all/forwarding": "1"}
    ),
    "bridge not forwarding": sysctl("net/ipv4/conf/podman1/forwarding"),
    "ipv6 not forwarded": sysctl("net/ipv6/conf/all/forwarding"),
    "no source": of_firewalld(sources={}),
    "other zone": of_firewalld(sources=dict.fromkeys(map(str, SUBNETS), "drop")),
    "panic": of_firewalld(panic=True),
    "reloading": of_firewalld(reloading=True),
    "strict": of_firewalld(strict_forward_ports=True),
    "policy": of_firewalld(between=(Policy("site", ("trusted",), ("public",), "DROP"),)),
    "no firewalld": otherwise(firewalld=ABSENT_FIREWALLD),
    "dropped": otherwise(drops=(_DROPS,)),
    "dropped in": otherwise(drops=(_IN_ONLY,)),
    "unheard": otherwise(drops=(_DEAF,)),
    "parted": lambda s: replace(s, drops=(_DROPS,), around=replace(s.around, bridged=_BOTH)),
    "bridge down": of_link("podman1", is_up=False),
    "bridge gone": of_link("podman1"),
    "no address": of_addresses({"podman1": GATEWAYS[1:]}),
    "address moved": of_addresses({"podman1": GATEWAYS[1:], "eth0": GATEWAYS[:1]}),
    "renamed": of_addresses({"br9": GATEWAYS}),
    "no route": of_addresses({"podman1": GATEWAYS}, routed=False),
    "routed away": lambda s: replace(s, around=replace(s.around, routes=_AWAY)),
    "nowhere": lambda s: replace(s, around=replace(s.around, routes=(*_ROUTES, *_NOWHERE))),
    "answers away": lambda s: replace(s, around=replace(s.around, routes=(*_ROUTES, *_UNHEARD))),
    "taken": of_addresses({"podman1": GATEWAYS, "lo": (ip_interface("10.89.0.2/32"),)}),
    "link down": of_link("veth0", is_up=False),
    "link off": of_link("veth0", master=""),
    "isolated": lambda s: of_link("veth1", isolated=True)(of_link("veth0", isolated=True)(s)),
    "link gone": lambda s: replace(of_link("veth0")(s), namespaces={1: (inner(3, 5),)}),
    "down inside": otherwise(
        namespaces={0: (replace(inner(2, 4), is_up=False),), 1: (inner(3, 5),)}
    ),
    "no advertisements": lambda s: replace(
        s, routed={4: "eth0"}, around=replace(s.around, deaf=("eth0",), has_default_v6=False)
    ),
    "no default route": otherwise(routed={}),
    "no names": of_names(running=(), sockets={}),
    "deaf": of_names(sockets={(DNS[0], 53): 0}),
    "hung": of_names(deaf_s=60.0),
    "unknown to it": of_names(served=(replace(SERVED, entries=SERVED.entries[:1]),)),
    "damaged names": of_names(served=(replace(SERVED, damage="line 2"),), sockets={}),
    "port 53 taken": of_names(sockets={(ip_address("0.0.0.0"), 53): 0}),  # noqa: S104
    "paused": of_web(ContainerState.PAUSED),
    "ended": of_web(ContainerState.ENDED),
    "just ended": of_web(ContainerState.JUST_ENDED),
    "rules unknown": unknown(Part.RULES, rules=None),
    "links unknown": unknown(Part.LINKS, links=None, namespaces=None),
    "firewalld unknown": unknown(Part.FIREWALLD, firewalld=ABSENT_FIREWALLD),
}
"""What may be wrong, alone or together."""
