# SPDX-License-Identifier: Apache-2.0
"""Hops of a user's ways: the relays that carry packets between the host and a container. Pure.

What comes to a published port does not pass the rules of the user's network namespace: rootlessport
listens on the host, and speaks to the container from inside of its own namespace. What a container
sends passes them, and then the uplink, pasta or slirp4netns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from podwatch.decide import hops
from podwatch.decide.firewalld_hops import RESTORE
from podwatch.decide.relays import assigned, bridged, can_start, duties, loss_of, mode_of
from podwatch.decide.uplink import is_astray, old_addresses
from podwatch.words.network import Address, Container, PortMapping, Setup
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Relays, Role
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.way import Hop, Kernel, Mark, Way, WayKind

_UPLINK, _PORT = "uplink", "relay"


class RelayHops:
    """The hops of a user's ways, from the relays that a look found."""

    def __init__(self, snapshot: Snapshot, relays: Relays, kernel: Kernel) -> None:
        self._snapshot = snapshot
        self._relays = relays
        self._kernel = kernel
        self._running = assigned(relays.running, snapshot.containers, relays.netns_file)

    def port(self, known: Container, mapping: PortMapping, address: Address) -> Iterator[Hop]:
        """What listens on a published port, and the address that it speaks to."""
        duty = Duty(Role.PORTS, known.id)
        relay = self._relay(duty)
        if relay is not None and relay.child:
            yield Hop(_PORT, f"{relay.named} listens on {mapping}")
        elif duty in duties(self._snapshot.containers, self._relays):
            yield self._lost(duty)
        wires, netns = self._kernel.wires, self._snapshot.netns
        if wires is None and netns is not None and netns.is_gone:
            yield Hop("inside", f"whether {known.title} has {address} is not known", Mark.UNKNOWN)
        elif wires is not None and known.is_up and not wires.get(address):
            what = f"{known.title} has lost {address}"
            yield Hop("inside", what, Mark.BROKEN, f"podman network reload {known.name}")

    def beyond(self, masquerade: Hop, address: Address) -> Iterator[Hop]:
        """The end of the way out of a bridge: pasta takes whatever address a packet has."""
        relay = self._relay(UPLINK)
        is_needed = relay is not None and relay.kind is RelayKind.SLIRP
        yield masquerade if is_needed or masquerade.mark is Mark.OPEN else _noted(masquerade)
        if relay is None:
            yield self._without_uplink()
            return
        yield Hop(_UPLINK, f"{relay.named} connects the user's network with the host")
        yield self._route(address)

    def _route(self, address: Address) -> Hop:
        version, outside, around = address.version, self._snapshot.outside, self._snapshot.around
        if version == 6 and around.deaf and not around.has_default_v6:
            return hops.route(self._kernel, address, around)
        if outside is not None and version not in outside.routed:
            what = f"the host has no default route for IPv{version}: only neighbours are reached"
            return Hop("route", what, Mark.NOTE)
        if version == 4 and is_astray(self._snapshot):
            link = self._snapshot.routed[4]
            what = f"the default route of the user's network leads to {link}, and not out"
            return Hop("route", what, Mark.BROKEN, f"ip route del default dev {link}")
        if version in self._kernel.routed:
            return Hop("route", f"the user's network has a default route for IPv{version}")
        if self._snapshot.links is None:
            return Hop("route", "the user's network could not be looked into", Mark.UNKNOWN)
        what = f"the user's network has no default route for IPv{version}, and the host has one"
        is_lost = version == 4 and outside is not None
        return Hop("route", what, Mark.BROKEN if is_lost else Mark.NOTE, RESTORE)

    def to_host(self, setup: Setup) -> Iterator[Way]:
        """From the containers of each network to the host, by host.containers.internal."""
        titles = {container.id: container.title for container in bridged(self._snapshot.containers)}
        on_network: dict[str, dict[str, str]] = {}
        for endpoint in setup.endpoints:
            if title := titles.get(endpoint.container_id):
                on_network.setdefault(endpoint.network_name, {})[endpoint.container_id] = title
        for network, among in on_network.items():
            title = f"{few(sorted(among.values()), 3)} on {network} to host.containers.internal"
            yield Way(WayKind.HOST, title, "", "", network, (self._to_host(setup),), among=among)

    def _to_host(self, setup: Setup) -> Hop:
        relay = self._relay(UPLINK)
        if relay is None:
            return self._without_uplink()
        if old := old_addresses(setup, self._snapshot):
            what = f"{relay.named} has {few(map(str, old))}, which the host has no more"
            advice = "restore.host_address = true: see podwatch.conf(5)"
            return Hop(_UPLINK, what, Mark.BROKEN, advice)
        return Hop(_UPLINK, f"{relay.named} leads to the host")

    def alone(self) -> Iterator[Way]:
        """The ways of containers that have no bridge, but a relay of their own."""
        everybody = self._snapshot.containers.values()
        for known in sorted(everybody, key=lambda container: container.title):
            mode = mode_of(known)
            if not known.is_up or mode not in (RelayKind.PASTA, RelayKind.SLIRP):
                continue
            members = _members(self._snapshot.containers, known)
            for mapping in known.ports:
                title, passed = f"{mapping} → {known.title}", tuple(self._in(known, mapping))
                yield Way(
                    WayKind.IN,
                    title,
                    known.title,
                    known.id,
                    mode,
                    passed,
                    port=(mapping.host_port, mapping.protocol),
                    count=mapping.count,
                    members=members,
                )
            out = (*hops.state(known), self._way(known), *self._route_of(known))
            title = f"{known.title} out by {mode}"
            yield Way(WayKind.OUT, title, known.title, known.id, mode, out, members=members)

    def _in(self, known: Container, mapping: PortMapping) -> Iterator[Hop]:
        yield from hops.host_port(self._kernel, mapping)
        duty = Duty(Role.PORTS, known.id)
        if duty in duties(self._snapshot.containers, self._relays):
            relay = self._relay(duty)
            if relay is not None and relay.child:
                yield Hop(_PORT, f"{relay.named} listens on {mapping}")
            else:
                yield self._lost(duty)
        yield self._way(known)
        yield from hops.state(known)
        yield from hops.process(self._kernel, known.id, known, mapping)

    def _way(self, known: Container) -> Hop:
        """The relay that is a container's only way in and out."""
        relay = self._relay(Duty(Role.WAY, known.id))
        if relay is None:
            return self._lost(Duty(Role.WAY, known.id))
        return Hop(_PORT, f"{relay.named} connects {known.title} with the host")

    def _route_of(self, known: Container) -> Iterator[Hop]:
        """That a pasta which runs took over no default route, and there is one to take over."""
        outside, duty = self._snapshot.outside, Duty(Role.WAY, known.id)
        if known.id not in self._relays.routeless or outside is None or 4 not in outside.routed:
            return
        if duty in self._running:
            what = f"{known.title} has no default route for IPv4, and the host has one"
            helps = can_start(duty, self._relays, self._snapshot.containers)
            advice = RESTORE if helps else f"podman restart {known.name}"
            yield Hop("route", what, Mark.BROKEN if helps else Mark.NOTE, advice)

    def _without_uplink(self) -> Hop:
        if UPLINK in duties(self._snapshot.containers, self._relays):
            return self._lost(UPLINK)
        what = "what connects the user's network is not known: nobody could look into it"
        return Hop(_UPLINK, what, Mark.UNKNOWN)

    def _relay(self, duty: Duty) -> Relay | None:
        return next(iter(self._running.get(duty, ())), None)

    def _lost(self, duty: Duty) -> Hop:
        found = self._running.get(duty, [])
        what, advice = loss_of(duty, self._snapshot.containers, self._relays, found)
        return Hop(_UPLINK if duty == UPLINK else _PORT, what, Mark.BROKEN, advice)


def _noted(hop: Hop) -> Hop:
    return replace(hop, mark=Mark.NOTE, advice="")


def _members(containers: Mapping[str, Container], infra: Container) -> dict[str, str]:
    """The containers, name by id, that share the network of a pod's infra container."""
    if not (infra.is_infra and infra.pod):
        return {}
    everybody = containers.values()
    return {one.id: one.name for one in everybody if one.pod == infra.pod and not one.is_infra}
