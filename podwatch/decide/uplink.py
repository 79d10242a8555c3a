# SPDX-License-Identifier: Apache-2.0
"""What the uplink of a user's network took over from the host, and whether it is still so. Pure.

pasta copies the host's address and default route when it starts, and never looks again. Without a
default route then, nothing goes out for good (podman 26678). With another address since,
host.containers.internal leads nowhere (podman 24970); all else goes on, as pasta speaks to others
by sockets of the host's. slirp4netns has addresses of its own, and looks for nothing.
"""

from collections.abc import Iterator, Sequence

from podwatch.decide.relays import assigned, bridged, can_start, missing_relays
from podwatch.words.network import Address, Setup
from podwatch.words.relays import UPLINK, Duty, RelayKind, Role
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.verdict import Missing, MissingKind

ROUTE, ADDRESS = "route", "address"
"""What a loss is of, as its `value` says it."""


def lost_relays(setup: Setup, snapshot: Snapshot, rules: Sequence[Rule] = ()) -> Iterator[Missing]:
    """What is lost of the relays, and what one that runs took over too early."""
    yield from missing_relays(setup, snapshot, rules)
    yield from _without_route(setup, snapshot)
    yield from _alone_without_route(snapshot)


def _alone_without_route(snapshot: Snapshot) -> Iterator[Missing]:
    """The same of containers with a pasta of their own, which runs."""
    outside, relays = snapshot.outside, snapshot.relays
    if relays is None or outside is None or 4 not in outside.routed:
        return
    running = assigned(relays.running, snapshot.containers, relays.netns_file)
    for key in sorted(relays.routeless):
        duty, known = Duty(Role.WAY, key), snapshot.containers.get(key)
        if known is None or not known.is_up or duty not in running:
            continue
        if can_start(duty, relays, snapshot.containers):
            what = (
                f"{known.title} has no default route: its pasta took over none when it started, "
                "and the host has one by now"
            )
            yield Missing(
                MissingKind.RELAY,
                what,
                str(duty),
                container=known.title,
                container_ids=(key,),
                place=str(duty),
                value=ROUTE,
            )


def _without_route(setup: Setup, snapshot: Snapshot) -> Iterator[Missing]:
    """That the user's network has no default route for IPv4, where the host has one."""
    if lacks_route(setup, snapshot):
        ids = tuple(container.id for container in bridged(snapshot.containers))
        names = few(sorted(container.title for container in bridged(snapshot.containers)))
        what = (
            "the user's network has no default route, and the host has one: "
            f"{names} reach nothing outside"
        )
        yield Missing(
            MissingKind.UPLINK, what, str(UPLINK), container_ids=ids, place=str(UPLINK), value=ROUTE
        )


def with_old_address(
    setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()
) -> Iterator[Missing]:
    """That the host has another address than pasta took over."""
    if old := old_addresses(setup, snapshot):
        ids = tuple(container.id for container in bridged(snapshot.containers))
        now = few(sorted(map(str, _of_host(snapshot))))
        what = (
            f"pasta of the user's network took over {few(sorted(map(str, old)))}, and the host has "
            f"{now or 'no address'} now: host.containers.internal leads nowhere"
        )
        yield Missing(
            MissingKind.HOST_ADDRESS,
            what,
            str(UPLINK),
            container_ids=ids,
            place=str(UPLINK),
            value=ADDRESS,
        )


def lacks_route(setup: Setup, snapshot: Snapshot) -> bool:
    """Whether nothing leads out of the user's network, though something leads out of the host."""
    outside = snapshot.outside
    if outside is None or snapshot.links is None or not _has_pasta(setup, snapshot):
        return False
    subnets = (subnet for network in setup.networks.values() for subnet in network.subnets)
    if not any(subnet.version == 4 for subnet in subnets):
        return False  # nobody asked for a route that no network needs
    return 4 in outside.routed and 4 not in snapshot.routed


def old_addresses(setup: Setup, snapshot: Snapshot) -> list[Address]:
    """The addresses for IPv4 that pasta took over and the host has no more.

    None where the host has no default route now: it is between two networks, perhaps.
    """
    if snapshot.links is None or not _has_pasta(setup, snapshot) or not _of_host(snapshot):
        return []
    link = snapshot.routed.get(4, "")
    if is_astray(snapshot):
        return []
    own: list[Address] = [
        one.ip for one in snapshot.links.addresses.get(link, ()) if one.version == 4
    ]
    return own if not set(own) & _of_host(snapshot) else []


def is_astray(snapshot: Snapshot) -> bool:
    """Whether the default route of the user's network leads to a bridge of its own, and not out."""
    links = snapshot.links
    link = None if links is None else links.by_name.get(snapshot.routed.get(4, ""))
    return link is not None and link.kind == "bridge"


def _of_host(snapshot: Snapshot) -> set[Address]:
    outside = snapshot.outside
    if outside is None or 4 not in outside.routed:
        return set()
    return {address for address in outside.addresses if address.version == 4}


def _has_pasta(setup: Setup, snapshot: Snapshot) -> bool:
    """Whether a pasta that runs connects the user's network."""
    relays = snapshot.relays
    if relays is None or not setup.endpoints:
        return False
    found = assigned(relays.running, snapshot.containers, relays.netns_file).get(UPLINK, [])
    return any(relay.kind is RelayKind.PASTA for relay in found)
