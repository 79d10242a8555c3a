# SPDX-License-Identifier: Apache-2.0
"""Which containers have lost their link, or what is at its other end. Pure.

Of a container's place on a bridge only `podman network reload` makes a veth, or puts right what is
inside. What is wrong at the host's end (a veth that is down, or in another bridge) is another kind
of loss, and so is the bridge itself.

A container is found by its address: it is in the namespace that has it, on whatever interface
there. So it is no loss where a container makes a bridge of its own and moves its address to that.
"""

from collections.abc import Iterable, Iterator, Sequence

from podwatch.decide.plugged import Plugged, plugged
from podwatch.decide.wiring import wiring
from podwatch.words.gates import ON_A_PARENT
from podwatch.words.links import Links, Namespaces
from podwatch.words.network import Address, Setup, title_of
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind
from podwatch.words.wiring import Place

_OVER = ("macvlan", "ipvlan")
"""The kernel's kinds of interfaces on top of a parent."""


def careful_reload(name: str) -> str:
    """How to reload a container that lacks an IPv6 address alone, by its name.

    Where it has switched IPv6 off netavark cannot give it one: it fails, and leaves the interface
    down (seen: 1.14).
    """
    asked = f"podman exec {name} cat /proc/sys/net/ipv6/conf/all/disable_ipv6"
    return f"{asked}; only if that is 0: podman network reload {name}"


class Sight:
    """What can be seen of containers' interfaces at one moment."""

    def __init__(self, links: Links, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._plugged = plugged(links, namespaces)
        self._homes: dict[Address, list[int]] = {}
        for number, inside in namespaces.items():
            for ip in {address.ip for inner in inside for address in inner.addresses}:
                self._homes.setdefault(ip, []).append(number)
        self._untold = [
            link
            for link in links.by_name.values()
            if link.netns_id is not None and not namespaces.get(link.netns_id)
        ]

    def home(self, place: Place) -> int | None:
        """The number of the namespace that has an address of the place; None for none."""
        homes = [number for ip in place.addresses for number in self._homes.get(ip, ())]
        on_bridge = (number for number in homes if self.on(place.bridge, number))
        return next(on_bridge, next(iter(homes), None))

    def on(self, bridge: str, number: int) -> list[Plugged]:
        """The interfaces in a namespace whose other ends are ports of the bridge."""
        found = self._plugged.get(number, ())
        return [plugged for plugged in found if plugged.link.master == bridge]

    def plugged(self, place: Place, home: int) -> Plugged | None:
        """The interface there that has an address of the place, with the host's end of it."""
        found = self._plugged.get(home, ())
        return next(
            (one for one in found if any(a.ip in place.addresses for a in one.inner.addresses)),
            None,
        )

    def is_whole(self, place: Place, home: int) -> bool:
        """Whether each of its interfaces there is up, and all addresses of the place are there."""
        return all(one.inner.is_up for one in self._plugged.get(home, ())) and all(
            self.has(home, ip) for ip in place.addresses
        )

    def has(self, number: int, ip: Address) -> bool:
        """Whether an interface in the namespace has the address."""
        return number in self._homes.get(ip, ())

    def hides(self, bridge: str) -> bool:
        """Whether the kernel did not tell what is behind a port of the bridge, or a stray veth."""
        return any(link.master in ("", bridge) for link in self._untold)

    def bare(self, bridge: str, addresses: Iterable[Address]) -> bool:
        """Whether an interface on the bridge is in a namespace with none of these addresses."""
        homes = {number for ip in addresses for number in self._homes.get(ip, ())}
        return any(self.on(bridge, number) for number in self._namespaces.keys() - homes)


def missing_places(
    setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()
) -> Iterable[Missing]:
    """What only a reload can repair of the links of the containers that run."""
    if snapshot.links is None or snapshot.namespaces is None:
        return
    yield from _over_parents(snapshot)
    places = wiring(setup, snapshot).places
    sight = Sight(snapshot.links, snapshot.namespaces)
    for place in places:
        if not place.addresses or place.bridge not in snapshot.links.by_name:
            continue
        home = sight.home(place)
        if home is not None:
            if not sight.is_whole(place, home):
                yield from _inside(place, home, sight, snapshot)
        elif not sight.hides(place.bridge):
            addresses = " and ".join(map(str, place.addresses))
            if sight.bare(place.bridge, (ip for one in places for ip in one.addresses)):
                what = f"its interface has lost {addresses}"
                yield _missing(MissingKind.INNER_ADDRESS, place, what, snapshot)
            else:
                what = f"its link to {place.bridge} is gone, and with it {addresses}"
                yield _missing(MissingKind.VETH, place, what, snapshot)


def _over_parents(snapshot: Snapshot) -> Iterator[Missing]:
    """Who has lost his interface on top of a parent; nobody while that is not there, or down."""
    links, namespaces = snapshot.links, snapshot.namespaces
    if links is None or namespaces is None:
        return
    for key, number in snapshot.numbers.items():
        container, inside = snapshot.containers.get(key), namespaces.get(number)
        if container is None or not container.is_up or not inside:
            continue
        files = [snapshot.files[name] for name in container.networks if name in snapshot.files]
        over = [file for file in files if file.kind in ON_A_PARENT]
        parents = [links.by_name.get(file.interface) for file in over if file.interface]
        if not all(parent is not None and parent.is_up for parent in parents):
            continue
        there = [inner for inner in inside if inner.kind in _OVER]
        down = [inner.name for inner in there if not inner.is_up]
        names = " and ".join(file.name for file in over)
        place = Place(key, names, " and ".join(file.interface for file in over))
        if len(there) < len(over):
            yield _missing(MissingKind.VETH, place, "its interface is gone", snapshot)
        elif down:
            what = f"its interface {' and '.join(down)} is down"
            yield _missing(MissingKind.INNER_LINK, place, what, snapshot)


def _inside(place: Place, home: int, sight: Sight, snapshot: Snapshot) -> Iterator[Missing]:
    """What is wrong in the namespace of a container that has at least one of its addresses."""
    plugged = sight.plugged(place, home)
    if plugged is not None and not plugged.inner.is_up:
        what = f"its interface {plugged.inner.name} is down"
        yield _missing(MissingKind.INNER_LINK, place, what, snapshot)
        return
    gone = [ip for ip in place.addresses if not sight.has(home, ip)]
    # A container may have switched IPv6 off for itself. A reload would fail at that, half-way.
    is_safe = any(ip.version == 4 for ip in gone)
    for ip in gone:
        what = f"its interface has lost {ip}"
        yield _missing(
            MissingKind.INNER_ADDRESS, place, what, snapshot, value=str(ip), reloadable=is_safe
        )


def _missing(
    kind: MissingKind,
    place: Place,
    what: str,
    snapshot: Snapshot,
    *,
    value: str = "",
    reloadable: bool = True,
) -> Missing:
    name = title_of(snapshot.containers, place.container_id)
    return Missing(
        kind,
        f"{name} on network {place.network}: {what}",
        f"{place.bridge} {' '.join(map(str, place.addresses))}",
        network=place.network,
        container=name,
        container_ids=(place.container_id,),
        reloadable=reloadable,
        place=place.container_id,
        value=value or place.network,
    )
