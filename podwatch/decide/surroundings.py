# SPDX-License-Identifier: Apache-2.0
"""What others on the host do, and no rule of Podman's can mend: reported, never changed. Pure."""

from collections.abc import Collection, Iterable, Iterator

from podwatch.decide.names import asked
from podwatch.decide.routes import gathered, goes, inward, outward
from podwatch.decide.wiring import wiring
from podwatch.drivers import forwarding, sysctls
from podwatch.drivers.driver import about
from podwatch.drivers.iptables_save import ELSEWHERE, LEGACY, VARIANTS
from podwatch.words.links import NETWORK_MANAGER, NETWORKD
from podwatch.words.names import Askers
from podwatch.words.network import Address, Network, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.verdict import Notice, WarningKind
from podwatch.words.way import BaseChain

_FIREWALLS = {
    "docker.service": (
        "docker.service is active: it drops what is forwarded and not its own",
        "podwatch explain tells whether it stops Podman's containers, and what to do",
    ),
    "ufw.service": (
        "ufw is enabled: it drops what is forwarded, unless it is told otherwise",
        "podwatch explain tells whether it stops Podman's containers, and what to do",
    ),
    "nftables.service": (
        "nftables.service is active, and its file begins with “flush ruleset”: each start, "
        "reload or upgrade of it removes netavark's rules until podwatch puts them back",
        "let the file destroy its own tables only: destroy table inet filter (nft 1.0.8)",
    ),
}
"""Other firewalls by the unit that runs them: what they do, and what to do about it."""


_KEEPERS = {
    NETWORK_MANAGER: (
        "NetworkManager",
        "“nmcli networking off”, or a profile of its own, takes their addresses and ports away",
        "let /etc/NetworkManager/conf.d/podman.conf have [keyfile] unmanaged-devices={}, then: "
        "systemctl reload NetworkManager",
        ("interface-name:", ";"),
    ),
    NETWORKD: (
        "systemd-networkd",
        "its next restart takes their addresses and ports away",
        "let /etc/systemd/network/05-podman.network have [Match] Name={} and [Link] "
        "Unmanaged=yes, then: networkctl reload",
        ("", " "),
    ),
}
"""Who may configure Podman's bridges: what comes of it, what to do about it, and how a pattern of
names is spelled there, and one behind the other."""

_NAMES = ("podman*", "veth*")


def without_events(observed: Ruleset) -> Iterable[Notice]:
    """The variant of iptables that has the rules, where it is the silent one or not that in use."""
    if ELSEWHERE in observed.traits:
        here, there = VARIANTS if LEGACY in observed.traits else VARIANTS[::-1]
        yield Notice(
            WarningKind.OTHER_VARIANT,
            f"the rules are all there, but they are iptables-{there}'s, and iptables is "
            f"iptables-{here} now: podman neither adds to them nor takes away from them",
            f"update-alternatives --set iptables /usr/sbin/iptables-{there}, likewise ip6tables; "
            "or reboot, which starts every container with the iptables of now",
        )
    elif LEGACY in observed.traits:
        yield Notice(
            WarningKind.NO_EVENTS,
            "the rules are iptables-legacy's, whose changes the kernel does not announce: a loss "
            "is found by the next slow look",
            "look oftener (look.interval), or: update-alternatives --set iptables "
            "/usr/sbin/iptables-nft, then restart the containers",
        )


def unheard(setup: Setup, snapshot: Snapshot) -> Iterable[tuple[BaseChain, Askers]]:
    """Chains that drop, each with a network whose questions to aardvark-dns it does not let in."""
    drops = snapshot.drops
    return forwarding.unheard(list(askers(setup, snapshot)), drops) if drops else ()


def askers(setup: Setup, snapshot: Snapshot) -> Iterator[Askers]:
    """The networks whose running containers ask aardvark-dns, those without state, too.

    Of the subnets of one without state, its bridge's addresses tell. On one that is unmanaged they
    may ask a router, which is not this host.
    """
    server = snapshot.names
    if server is None:
        return
    own = set() if snapshot.links is None else snapshot.links.own
    with_state = {network.bridge: network for network in setup.networks.values()}
    bridges = {bridge.network: bridge for bridge in wiring(setup, snapshot).bridges.values()}
    for served in asked(server, setup, snapshot):
        if bridge := bridges.get(served.network):
            subnets = tuple(gateway.network for gateway in bridge.gateways)
            network = Network(bridge.network, bridge.name, subnets)
            network = with_state.get(bridge.name, network)
            here = tuple(one for one in served.addresses if one in own or not bridge.unmanaged)
            yield Askers(served.network, network, here, server.port)


def shut_out(setup: Setup, snapshot: Snapshot) -> Iterable[Notice]:
    """Chains of other firewalls that drop what containers need, and what lets it through."""
    own = about(setup.driver).tables
    # What a user publishes does not pass these chains: rootlessport carries it.
    is_user = snapshot.netns is not None
    so = "neighbours and the host do not reach" if is_user else "its published ports do not answer"
    for chain, name, network in forwarding.shut_out(setup, snapshot.drops, own):
        what = (
            f"network {name} ({network.bridge}): chain {chain.table} {chain.name} drops what it "
            "does not accept, and accepts no new connection to this network: whatever Podman's "
            f"rules say, {so}"
        )
        if is_user:
            what += " its containers, but by their published ports"
        yield Notice(WarningKind.SHUT_OUT, what, forwarding.remedy(chain, network.bridge, own))
    for chain, one in unheard(setup, snapshot):
        bridge = one.network.bridge
        yield Notice(
            WarningKind.SHUT_OUT,
            f"network {one.name} ({bridge}): chain {chain.table} {chain.name} drops what it does "
            f"not accept, and accepts nothing to its port {one.port}: its containers get no answer "
            "from aardvark-dns",
            forwarding.dns_remedy(chain, bridge, one.port),
        )


def parted(setup: Setup, snapshot: Snapshot) -> Iterable[Notice]:
    """Chains of others that keep the containers of one network from each other, on their bridge."""
    own = about(setup.driver).tables
    found = forwarding.parted(snapshot.around.internal, snapshot.drops, snapshot.around.bridged)
    for chain, network in found:
        yield Notice(
            WarningKind.SHUT_OUT,
            f"network {network.id} ({network.bridge}): chain {chain.table} {chain.name} drops what "
            "it does not accept, and bridges hand it what containers send each other "
            "(bridge-nf-call-iptables): those of this network do not reach each other",
            forwarding.remedy(chain, network.bridge, own),
        )


def astray(setup: Setup, snapshot: Snapshot, told: Collection[str] = ()) -> Iterable[Notice]:
    """Routes and rules for routing, by a VPN for example, that take containers' packets away.

    Of the networks `told`, by name, it is told already what is wrong with their bridge.
    """
    names = {network.id: network.bridge for network in setup.networks.values()}
    names |= {one.network_id: one.network_name for one in setup.endpoints if one.network_name}
    found = (*inward(setup, snapshot), *outward(setup, snapshot))
    for one in gathered(one for one in found if names[one.network.id] not in told):
        what = f"network {names[one.network.id]}: {one.what}: {one.why}"
        yield Notice(WarningKind.ROUTE, what, one.advice)
    detours: dict[tuple[str, str], list[Address]] = {}
    for route in snapshot.around.routes:
        name = names.get(route.network_id)
        if name is None or name in told or not route.is_answer:
            continue
        if route.link and route.link != route.uplink:
            ends = f"answers to neighbours on {route.uplink} {goes(route)}"
            detours.setdefault((name, ends), []).append(route.address)
    for (name, ends), addresses in detours.items():
        yield Notice(
            WarningKind.DETOUR,
            f"network {name}: what {few(addresses)} {ends}: they get no answer from its published "
            "ports, unless it is meant so",
            "ip rule: have a rule before it that looks up table main for the network",
        )
    yield from _deaf(setup, snapshot)


def _deaf(setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """Interfaces that hear their router no more."""
    around = snapshot.around
    has_v6 = any(one.version == 6 for endpoint in setup.endpoints for one, _ in endpoint.addresses)
    for link in around.deaf if has_v6 else ():
        gone = "goes on without its default route when that expires"
        what = gone if around.has_default_v6 else "has lost its default route"
        yield Notice(
            WarningKind.DETOUR if around.has_default_v6 else WarningKind.ROUTE,
            f"{link} takes no more router advertisements since IPv6 is forwarded, and {what}",
            f"sysctl -w net.ipv6.conf.{link}.accept_ra=2",
        )


def unforwarded(setup: Setup, snapshot: Snapshot) -> Iterable[Notice]:
    """What is forwarded by nobody's order that was ever seen: no host is made a router here."""
    wanted = sysctls.wanted(setup, snapshot.uplinks)
    for sysctl in sysctls.closed(wanted, snapshot.sysctls, snapshot.sysctls_seen):
        yield Notice(
            WarningKind.FORWARDING,
            f"{sysctl} is {snapshot.sysctls[sysctl.path]}: what is sent to containers, or by them, "
            "is not forwarded, and podwatch never saw it forwarded",
            f"sysctl -w {sysctl.name}={sysctl.value}",
        )
    if any(a.version == 4 for endpoint in setup.endpoints for a, _ in endpoint.addresses):
        for link in unheard_of(snapshot):
            name = sysctls.Sysctl(sysctls.of_link(link), "1").name
            yield Notice(
                WarningKind.DETOUR,
                f"{name} is 0: what comes in by {link} is not forwarded, so neighbours there reach "
                "no published port, and containers get no answer from them, unless it is meant so",
                f"sysctl -w {name}=1",
            )


def unheard_of(snapshot: Snapshot) -> Iterator[str]:
    """Interfaces beside the default route's that forward no more what comes in by them.

    It may be meant so, and the way by the default route is open: it is told, and not set.
    """
    if snapshot.sysctls.get(sysctls.FORWARDING[4]) != "0":
        for link in snapshot.beside:
            path = sysctls.of_link(link)
            if path in snapshot.sysctls_seen and snapshot.sysctls.get(path) == "0":
                yield link


def neighbours(snapshot: Snapshot) -> Iterable[Notice]:
    """Active units that add rules of their own, take everybody's away, or configure bridges."""
    for unit, (who, does, advice, (before, between)) in _KEEPERS.items():
        bridges = [bridge for keeper, bridge in snapshot.around.kept if keeper == unit]
        if bridges:
            what = f"{who} takes {few(bridges)} for its own to configure: {does}"
            others = [bridge for bridge in bridges if not bridge.startswith("podman")]
            names = between.join(f"{before}{name}" for name in (*_NAMES, *others))
            yield Notice(WarningKind.NEIGHBOUR, what, advice.format(names))
    for unit in snapshot.neighbours:
        if unit in _FIREWALLS:
            yield Notice(WarningKind.NEIGHBOUR, *_FIREWALLS[unit])
            continue
        yield Notice(
            WarningKind.NEIGHBOUR,
            f"{unit} is active: it adds every port rule once more at each firewalld reload",
            f"systemctl disable --now {unit} (podwatch does its work)",
        )
