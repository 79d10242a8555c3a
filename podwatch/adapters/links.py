# SPDX-License-Identifier: Apache-2.0
"""The kernel's links and addresses over raw rtnetlink, also those in containers' namespaces.

CAP_NET_ADMIN alone is enough: the host's end of a veth tells the number of the namespace in which
its other end is, and the kernel lists addresses by that number. No /proc, no setns, no podman: a
container that podman does not list shows here that it lives. What is changed is the host's own;
`podwatch.formats.route_orders` says what must never be sent.
"""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

from podwatch.adapters import namespace
from podwatch.adapters.files import open_regular
from podwatch.adapters.rights import may_change_networks
from podwatch.adapters.rtnetlink import Questions, Refused
from podwatch.formats.route_messages import (
    AddressSeen,
    LinkSeen,
    NumberSeen,
    RouteSeen,
    RuleSeen,
    Seen,
    addresses_request,
    links_request,
    number_order,
    number_request,
    route_request,
    routes_request,
    rules_request,
)
from podwatch.formats.route_orders import (
    address_order,
    bridge_order,
    mac_order,
    master_order,
    no_address_order,
    route_order,
    unisolated_order,
    up_order,
)
from podwatch.words.errors import LinksUnreadable, RestoreFailed
from podwatch.words.links import Inner, Link, Links
from podwatch.words.network import Address, Interface, Subnet
from podwatch.words.wiring import by_hand

NAMESPACES = Path("/run/netns")
"""Where podman keeps each network namespace by a file (containers/common pkg/netns)."""

# What has no route, unreachable, prohibit; EINVAL is blackhole, or a source that is not let in
# (Linux net/ipv4/fib_semantics.c, fib_props; route.c, ip_route_input_slow).
_GO_NOWHERE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)
_NO_TABLE = (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT)  # no address, or no IPv6
_OWN_RULES = (0, 32766, 32767)  # tables local, main and default: ip-rule(8)
_GIVEN = b"3"  # NET_ADDR_SET, linux/netdevice.h
_SMALL_BYTES = 64


def read(where: namespace.Own | None = None) -> Links:
    """All links of the networks' namespace, their addresses, and the main tables' routes.

    Of another namespace if `where` is one. Raises LinksUnreadable where the kernel does not tell.
    """
    with _Questions(where) as questions:
        seen = questions.links()
        of_links = questions.addresses()
        of_table = questions.routes()
    names = {link.index: link.name for link in seen}
    addresses: dict[str, tuple[Interface, ...]] = {}
    for address in of_links:
        if name := names.get(address.index):
            addresses[name] = (*addresses.get(name, ()), address.address)
    links = {
        link.name: Link(
            link.name,
            link.index,
            link.is_up,
            names.get(link.master, ""),
            link.kind,
            link.netns_id,
            link.mac,
            link.has_carrier,
            link.isolated,
            link.is_running,
        )
        for link in seen
    }
    routes: dict[Subnet, tuple[str, ...]] = {}
    for route in of_table:
        if route.to is not None:
            routes[route.to] = (*routes.get(route.to, ()), names.get(route.index, ""))
    unused = frozenset(address.address.ip for address in of_links if not address.is_used)
    return Links(links, addresses, routes, unused)


def inside(numbers: Iterable[int]) -> dict[int, tuple[Inner, ...]]:
    """What is in the network namespaces with these numbers; one that has gone is left out.

    Raises LinksUnreadable where the kernel does not tell.
    """
    found: dict[int, tuple[Inner, ...]] = {}
    with _Questions() as questions:
        for number in numbers:
            seen = questions.inside(number)
            if seen is not None:
                found[number] = tuple(_inner(*seen))
    return found


def numbers(inodes: Collection[int], directory: Path = NAMESPACES) -> dict[int, int]:
    """By their inodes, the numbers of those of these namespaces that have a file in `directory`.

    One behind a veth has a number. One that has none, as with a macvlan alone, is given one: else
    nobody could look into it. Raises LinksUnreadable where the kernel does not tell.
    """
    found = {}
    try:
        names = os.listdir(directory)
    except OSError:
        return {}
    with _Questions() as questions:
        for name in names:
            path = directory / name
            try:
                inode = path.stat().st_ino
                if inode in inodes:
                    found[inode] = questions.number(path)
            except OSError:
                continue  # it went away just now
    return found


def _inner(links: Iterable[LinkSeen], of_links: Iterable[AddressSeen]) -> Iterator[Inner]:
    addresses: dict[int, tuple[Interface, ...]] = {}
    for seen in of_links:
        if not seen.address.is_loopback:
            addresses[seen.index] = (*addresses.get(seen.index, ()), seen.address)
    for link in links:
        found = addresses.get(link.index, ())
        yield Inner(link.name, link.index, link.is_up, link.kind, link.peer, found)


def ways(asked: Iterable[tuple[Address, Address | None, str]]) -> list[str | None]:
    """By which interface each packet would go; "" where nowhere, None where it cannot be told.

    Asked is (to, None, "") of the host's own, and (to, from, link) of one that came in by a link.
    """
    found: list[str | None] = []
    index_of, name_of = cache(namespace.index_of), cache(namespace.name_of)
    with _Questions() as questions:
        for to, source, link in asked:
            try:
                seen = questions.route(to, source, index_of(link) if link else 0)
                found.append(None if seen is None else name_of(seen) if seen else "")
            except OSError:  # a link has gone since
                found.append(None)
    return found


def has_rules() -> bool:
    """Whether there is a rule for routing that is not the kernel's own.

    Raises LinksUnreadable where the kernel does not tell.
    """
    with _Questions() as questions:
        return any(rule.priority not in _OWN_RULES for rule in questions.rules())


def keep_mac(link: Link) -> None:
    """Give a bridge the MAC that it has, by which it keeps it whatever ports come and go.

    A bridge to which nobody gave one has that of the port with the lowest. Nothing is done where
    somebody gave it one, or where it has gone. Raises RestoreFailed where the kernel refuses.
    """
    try:
        given = (
            namespace.networks().read(f"/sys/class/net/{link.name}/addr_assign_type", 64).strip()
        )
    except OSError:
        return
    if given == _GIVEN or not link.mac:
        return
    try:
        with _Questions() as questions:
            questions.order(lambda number: mac_order(number, link.index, link.mac))
    except LinksUnreadable as exc:
        if isinstance(exc, Refused) and exc.errno == errno.ENODEV:
            return
        raise RestoreFailed(
            f"cannot keep the MAC of {link.name}: {exc}",
            hint=f"ip link set {link.name} address {link.mac}",
        ) from exc


class Orders:
    """Changes of the host's links, one after the other, over one socket.

    Each says in its hint how a person does the same. All raise RestoreFailed where the kernel
    refuses; what is so already is no refusal.
    """

    def __init__(self) -> None:
        self._questions: _Questions | None = None

    def __enter__(self) -> "Orders":
        return self

    def __exit__(self, *_: object) -> None:
        if self._questions is not None:
            self._questions.__exit__()

    def make_bridge(self, name: str, mac: str = "", mtu: int = 0) -> None:
        """Make a bridge that is down; with a MAC its neighbours need not ask for it again."""
        order = partial(bridge_order, name=name, mac=mac, mtu=mtu)
        self._order(f"make the bridge {name}", f"ip link add {name} type bridge", order)

    def set_up(self, name: str) -> None:
        """Set a link up."""
        order = partial(up_order, index=_index(name))
        self._order(f"set {name} up", f"ip link set {name} up", order)

    def add_address(self, name: str, address: Interface) -> None:
        """Give a link an address; of IPv6 one with another length of its prefix goes before."""
        index, how = _index(name), by_hand(name, address)
        for other in read().addresses.get(name, ()) if address.version == 6 else ():
            if other.ip == address.ip and other != address:
                order = partial(no_address_order, index=index, address=other)
                self._order(f"take {other} from {name}", how, order)
        order = partial(address_order, index=index, address=address)
        self._order(f"give {name} the address {address}", how, order)

    def add_route(self, name: str, address: Interface) -> None:
        """Have the way to the subnet of a link's address."""
        how = f"ip route add {address.network} dev {name}"
        order = partial(route_order, index=_index(name), address=address)
        self._order(f"add the route to {address.network}", how, order)

    def join(self, name: str, bridge: str) -> None:
        """Make a link a port of a bridge."""
        how = f"ip link set {name} master {bridge}"
        order = partial(master_order, index=_index(name), bridge=_index(bridge))
        self._order(f"put {name} on {bridge}", how, order)

    def unisolate(self, name: str) -> None:
        """Let a port of a bridge reach the others that are isolated, too."""
        how = f"bridge link set dev {name} isolated off"
        order = partial(unisolated_order, index=_index(name))
        self._order(f"end the isolation of {name}", how, order)

    def _order(self, what: str, how: str, order: Callable[[int], bytes]) -> None:
        try:
            self._questions = self._questions or _Questions()
            self._questions.order(order)
        except LinksUnreadable as exc:
            if isinstance(exc, Refused) and exc.errno == errno.EEXIST:
                return
            reason = str(exc).partition(": ")[2] or str(exc)
            raise RestoreFailed(f"cannot {what}: {reason}", hint=how) from exc


def _index(name: str) -> int:
    try:
        return namespace.index_of(name)
    except OSError as exc:
        raise RestoreFailed(f"there is no link {name} any more", hint="ip link") from exc


class _Questions(Questions):
    """About links, addresses, routes and rules."""

    def links(self) -> list[LinkSeen]:
        """All links of the host."""
        found = self.ask(links_request, "list links")
        return [message for message in found if isinstance(message, LinkSeen)]

    def addresses(self) -> list[AddressSeen]:
        """All addresses of the host."""
        found = self.ask(addresses_request, "list addresses")
        return [message for message in found if isinstance(message, AddressSeen)]

    def inside(self, netns_id: int) -> tuple[list[LinkSeen], list[AddressSeen]] | None:
        """All links and addresses in the namespace with that number; None if there is none.

        Nothing of a namespace of those who are above this host: it is no container's on it.
        """
        try:
            links = self.ask(lambda number: links_request(number, netns_id), "list links")
            found = self.ask(lambda number: addresses_request(number, netns_id), "list addresses")
        except Refused as exc:
            if exc.errno == errno.EINVAL:
                return None
            if exc.errno == errno.EACCES and may_change_networks():
                return [], []  # where the host is a container itself: its own uplink leads there
            raise
        return (
            [message for message in links if isinstance(message, LinkSeen)],
            [message for message in found if isinstance(message, AddressSeen)],
        )

    def number(self, path: Path) -> int:
        """The number of the namespace with this file, which is given one where it has none.

        Raises OSError where there is no such file any more.
        """
        descriptor = open_regular(path)
        try:
            for _ in range(2):
                found = self.ask(partial(number_request, descriptor=descriptor), "ask for it")
                number = next((one.number for one in found if isinstance(one, NumberSeen)), -1)
                if number >= 0:
                    return number
                self.ask(partial(number_order, descriptor=descriptor), "number a namespace")
        finally:
            os.close(descriptor)
        raise LinksUnreadable(f"cannot number the namespace {path}: it gets none")

    def routes(self) -> list[RouteSeen]:
        """All routes of the main tables."""
        found: list[Seen] = []
        for version in (4, 6):
            try:
                found += self.ask(partial(routes_request, version=version), "list routes")
            except Refused as exc:
                if exc.errno not in _NO_TABLE:
                    raise
        return [message for message in found if isinstance(message, RouteSeen)]

    def rules(self) -> list[RuleSeen]:
        """All rules for routing."""
        found: list[Seen] = []
        for version in (4, 6):
            try:
                found += self.ask(partial(rules_request, version=version), "list rules")
            except Refused as exc:
                if exc.errno not in _NO_TABLE:
                    raise
        return [message for message in found if isinstance(message, RuleSeen)]

    def route(self, to: Address, source: Address | None, index: int) -> int | None:
        """The index of the link by which a packet goes, 0 for none; None if it is not told."""
        try:
            found = self.ask(
                lambda number: route_request(number, to, source, index), "ask for a route"
            )
        except Refused as exc:
            return 0 if exc.errno in _GO_NOWHERE else None
        return next((message.index for message in found if isinstance(message, RouteSeen)), None)
