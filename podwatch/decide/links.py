# SPDX-License-Identifier: Apache-2.0
"""Which bridges, addresses, routes and ports of Podman's networks are not as they have to be. Pure.

netavark makes a bridge whole, and never looks at it again: `podman network reload` leaves one as it
is that is down or has lost an address (netavark src/network/bridge.rs, 1.4 to 2.1). What somebody
else does with links on purpose (a bridge of his own, an address moved to another link) is told by
others, and is no loss here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Interface

from podwatch.decide.plugged import plugged
from podwatch.decide.wiring import wiring
from podwatch.words.links import Link, Links
from podwatch.words.network import FirewallDriver, Interface, Setup, title_of
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind, Notice, WarningKind
from podwatch.words.wiring import Bridge, Place, Wiring


def missing_links(
    setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()
) -> Iterable[Missing]:
    """What is missing of the bridges of the containers that run, and of their ports."""
    if snapshot.links is None:
        return
    wired = wiring(setup, snapshot)
    for bridge in wired.bridges.values():
        if bridge.unmanaged or moved_to(bridge, snapshot.links):
            continue
        yield from _of_bridge(bridge, snapshot.links)
    isolates = setup.driver is FirewallDriver.CNI  # its bridge plugin has portIsolation since 1.7
    yield from _of_ports(wired, snapshot, snapshot.links, isolates=isolates)


def moved_to(bridge: Bridge, links: Links) -> str:
    """The link that has a bridge's addresses in its place, as after it was renamed; "" for none."""
    if bridge.name in links.by_name:
        return ""
    wanted = {gateway.ip for gateway in bridge.gateways}
    return next((name for name, found in links.addresses.items() if _ips(found) & wanted), "")


def damaged(setup: Setup, snapshot: Snapshot) -> frozenset[str]:
    """The networks, by name, of whose bridge something is missing or is another link's now."""
    links = snapshot.links
    if links is None:
        return frozenset()
    bridges = [one for one in wiring(setup, snapshot).bridges.values() if not one.unmanaged]
    return frozenset(
        bridge.network
        for bridge in bridges
        if moved_to(bridge, links) or any(_of_bridge(bridge, links))
    )


def _of_bridge(bridge: Bridge, links: Links) -> Iterator[Missing]:
    name = bridge.name
    link = links.by_name.get(name)
    if link is None:
        yield _missing(
            MissingKind.BRIDGE,
            bridge,
            f"its bridge {name} is gone",
            name,
            value=str(bridge.mtu or ""),
            reloadable=not bridge.special,
        )
    elif not link.is_up:
        yield _missing(MissingKind.LINK, bridge, f"its bridge {name} is down", name)
    if link is not None and link.kind != "bridge":
        return
    mine = links.addresses.get(name, ())
    follows = "" if link is not None and link.is_up else name
    for gateway in bridge.gateways:
        if gateway not in mine:
            if _is_elsewhere(gateway, name, links):
                continue
            what = f"its bridge {name} lacks the address {gateway}"
            wrong = next((found for found in mine if found.ip == gateway.ip), None)
            if wrong is not None:
                what = f"its bridge {name} has {wrong}, not {gateway}"
            loss = _missing(MissingKind.ADDRESS, bridge, what, name, value=str(gateway))
            yield replace(loss, follows=follows)
        elif link is not None and _misses_route(link, gateway, links):
            what = f"no route leads to {gateway.network} on {name}"
            yield _missing(MissingKind.ROUTE, bridge, what, name, value=str(gateway))
    if link is not None and lacks_link_local(link, bridge, links):
        what = f"its bridge {name} has no link-local address, without which IPv6 is not forwarded"
        local = str(_link_local(link.mac))
        yield _missing(MissingKind.ADDRESS, bridge, what, name, value=local)


def lacks_link_local(link: Link, bridge: Bridge, links: Links) -> bool:
    """Whether a bridge that has an IPv6 address has none that each link has by itself.

    The kernel asks from that one who has the address of a packet that it forwards, and from no
    other (Linux net/ipv6/ndisc.c, ndisc_send_ns): without it, IPv6 of the network stops as soon as
    its neighbours have to be asked for. `ip addr flush` takes it, too, and nobody gives it back.
    """
    mine = links.addresses.get(link.name, ())
    has_v6 = any(gateway.version == 6 and gateway in mine for gateway in bridge.gateways)
    is_local = any(found.version == 6 and found.is_link_local for found in mine)
    return link.is_running and bool(link.mac) and has_v6 and not is_local


def _link_local(mac: str) -> Interface:
    """The address that a link with this MAC gets by itself (RFC 4291, appendix A)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    last = bytes([raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:]])
    return IPv6Interface((b"\xfe\x80" + bytes(6) + last, 64))


def _misses_route(link: Link, gateway: Interface, links: Links) -> bool:
    """Whether nothing leads to the subnet: what is in a VRF has a table of its own."""
    return link.is_up and not link.master and not links.routes.get(gateway.network)


def _of_ports(
    wired: Wiring, snapshot: Snapshot, links: Links, *, isolates: bool
) -> Iterator[Missing]:
    """Ports of Podman's bridges that are down, or reach none of the others.

    Where whoever makes them `isolates` them, or the administrator has the bridge, that may be meant
    so; netavark never does.
    """
    owners = _owners(wired, snapshot)
    isolated: dict[str, list[Link]] = {}
    for link in links.by_name.values():
        bridge, place = wired.bridges.get(link.master), owners.get(link.index)
        if link.kind != "veth" or link.netns_id is None:
            continue
        if place is not None and link.master != place.bridge:
            yield from _off_its_bridge(link, place, wired, snapshot, links)
        if bridge is None:
            continue
        whose = _whose(link, place, snapshot)
        if not link.is_up:
            what = f"{whose} is down"
            yield _of(place, snapshot, _missing(MissingKind.LINK, bridge, what, link.name))
        if link.isolated and not (isolates or bridge.unmanaged):
            isolated.setdefault(bridge.name, []).append(link)
    for name, ports in isolated.items():
        for port in ports if len(ports) > 1 else ():
            place = owners.get(port.index)
            whose = _whose(port, place, snapshot)
            what = f"{whose} is isolated: it reaches no other isolated port of {name}"
            loss = _missing(MissingKind.ISOLATED, wired.bridges[name], what, port.name)
            yield _of(place, snapshot, loss)


def _owners(wired: Wiring, snapshot: Snapshot) -> dict[int, Place]:
    """Whose each container's link is, by its index: that is told by what is at its other end."""
    if snapshot.links is None or snapshot.namespaces is None:
        return {}
    places = {address: place for place in wired.places for address in place.addresses}
    return {
        one.link.index: places[address.ip]
        for found in plugged(snapshot.links, snapshot.namespaces).values()
        for one in found
        for address in one.inner.addresses
        if address.ip in places
    }


def _off_its_bridge(
    link: Link, place: Place, wired: Wiring, snapshot: Snapshot, links: Links
) -> Iterator[Missing]:
    """A container's link that is on no bridge, or on another one than its address is of.

    Where the bridge is the administrator's, he may have chosen another one; one that was renamed is
    the same bridge.
    """
    bridge = wired.bridges[place.bridge]
    if link.master and (bridge.unmanaged or link.master == moved_to(bridge, links)):
        return
    where = f"on {link.master}" if link.master else "on no bridge"
    what = f"{_whose(link, place, snapshot)} is {where}, not on {place.bridge}"
    loss = _missing(MissingKind.MASTER, bridge, what, link.name, value=place.bridge)
    follows = "" if place.bridge in links.by_name else place.bridge
    yield _of(place, snapshot, replace(loss, follows=follows))


def _whose(link: Link, place: Place | None, snapshot: Snapshot) -> str:
    whose = "a container" if place is None else title_of(snapshot.containers, place.container_id)
    return f"{link.name}, the link of {whose},"


def _of(place: Place | None, snapshot: Snapshot, loss: Missing) -> Missing:
    """The loss as that of the container whose place it is."""
    if place is None:
        return loss
    name = title_of(snapshot.containers, place.container_id)
    return replace(loss, container=name, container_ids=(place.container_id,))


def _missing(
    kind: MissingKind,
    bridge: Bridge,
    what: str,
    place: str,
    *,
    value: str = "",
    reloadable: bool = False,
) -> Missing:
    return Missing(
        kind,
        f"network {bridge.network}: {what}",
        f"{place} {value}".rstrip(),
        network=bridge.network,
        reloadable=reloadable,
        place=place,
        value=value,
    )


def _is_elsewhere(gateway: Interface, name: str, links: Links) -> bool:
    others: Mapping[str, tuple[Interface, ...]] = links.addresses
    return any(gateway.ip in _ips(found) for other, found in others.items() if other != name)


def _ips(found: Iterable[Interface]) -> set[object]:
    return {address.ip for address in found}


def moved(setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """What to tell of addresses and names of bridges that somebody gave to another link."""
    links = snapshot.links
    if links is None:
        return
    for bridge in wiring(setup, snapshot).bridges.values():
        if bridge.unmanaged:
            continue
        if other := moved_to(bridge, links):
            yield Notice(
                WarningKind.RENAMED,
                f"network {bridge.network}: its bridge {bridge.name} is called {other} now, and "
                f"rules name {bridge.name}",
                f"ip link set {other} down; ip link set {other} name {bridge.name} up",
            )
            continue
        mine = links.addresses.get(bridge.name, ())
        for gateway in bridge.gateways:
            if gateway.ip not in _ips(mine) and _is_elsewhere(gateway, bridge.name, links):
                other = next(
                    name for name, found in links.addresses.items() if gateway.ip in _ips(found)
                )
                yield Notice(
                    WarningKind.MOVED,
                    f"network {bridge.network}: {other} has the address {gateway.ip}, and its "
                    f"bridge {bridge.name} has it no more",
                    f"ip addr show dev {other}; ip addr add {gateway} dev {bridge.name}",
                )
