# SPDX-License-Identifier: Apache-2.0
"""Which relays have to run for a user's containers, and which are lost. Pure.

What podman says of a container that is up tells which ones it has: rootlessport for what it
publishes on a bridge or with slirp4netns; pasta or slirp4netns of its own where it has no bridge;
and one of these for all that have. Who is on another container's network has none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podwatch.words.netns import START_ANEW
from podwatch.words.network import Container, Setup
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Relays, Role
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.verdict import Missing, MissingKind

_BRIDGE = "bridge"
_WAYS = frozenset({RelayKind.PASTA, RelayKind.SLIRP})
_BEFORE_5 = "/netns/rootless-netns-"  # in the path of the namespace of podman 4's bridges
_KINDS = {
    Role.UPLINK: MissingKind.UPLINK,
    Role.WAY: MissingKind.RELAY,
    Role.PORTS: MissingKind.PORT_RELAY,
}


def missing_relays(
    _setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()
) -> Iterator[Missing]:
    """What is lost of the relays. What is not in `healthy` can only be told, with the remedy."""
    relays = snapshot.relays
    if relays is None:
        return
    containers = snapshot.containers
    running = assigned(relays.running, containers, relays.netns_file)
    for duty in duties(containers, relays):
        found = running.get(duty, [])
        if duty.role is Role.PORTS:
            if any(relay.child for relay in found):
                continue
            if not found and duty not in relays.healthy and _is_served(duty, containers, relays):
                continue
        elif found:
            continue
        yield _Loss(duty, containers, relays, found).missing()


def duties(containers: Mapping[str, Container], relays: Relays) -> list[Duty]:
    """The relays that have to run for those that are up.

    One that ends, or podman does not call up yet, needs none: podman starts and ends its relays.
    """
    found: list[Duty] = []
    if relays.netns_file and bridged(containers):
        found.append(UPLINK)
    for key, container in containers.items():
        if not container.is_up:
            continue
        mode = mode_of(container)
        if mode in _WAYS and container.sandbox:
            found.append(Duty(Role.WAY, key))
        by_rootlessport = mode in (_BRIDGE, RelayKind.SLIRP) and container.netns
        if by_rootlessport and container.ports and not _forwards_itself(key, relays):
            found.append(Duty(Role.PORTS, key))
    return found


def mode_of(container: Container) -> str:
    """podman's word for a container's network, without what was set for it ("pasta:-T,80")."""
    return container.mode.partition(":")[0]


def assigned(
    running: Iterable[Relay], containers: Mapping[str, Container], netns_file: str
) -> dict[Duty, list[Relay]]:
    """Those that run, by what they are for; not those that nobody known needs."""
    own = {
        key: container
        for key, container in containers.items()
        if not container.mode.startswith("container:")
    }
    by_file = {container.sandbox: Duty(Role.WAY, key) for key, container in own.items()}
    by_netns = {container.netns: Duty(Role.PORTS, key) for key, container in own.items()}
    by_file[netns_file] = UPLINK
    found: dict[Duty, list[Relay]] = {}
    for relay in running:
        if relay.kind is RelayKind.PORTS:
            duty = by_netns.get(str(relay.netns))
        else:
            duty = by_file.get(relay.file) if relay.file else None
        if duty is not None:
            found.setdefault(duty, []).append(relay)
    return found


def can_start(duty: Duty, relays: Relays, containers: Mapping[str, Container]) -> bool:
    """Whether podwatch knows how to start it again, as it was."""
    relay = relays.healthy.get(duty)
    if relay is None or not relay.exe:
        return False
    if duty.role is Role.UPLINK:
        return relay.file == relays.netns_file
    container = containers[duty.container_id]
    if relay.kind is RelayKind.PASTA:
        return relay.file == container.sandbox
    if not (relay.end_pipe and container.conmon):
        return False  # it would outlive its container
    if relay.kind is RelayKind.PORTS:
        return str(relay.netns) == container.netns
    # Ports that slirp4netns forwards itself it was told of by its socket, each by podman.
    return relay.file == container.sandbox and not _forwards_itself(duty.container_id, relays)


def bridged(containers: Mapping[str, Container]) -> list[Container]:
    """Those that are up on a bridge of their own."""
    return [
        container
        for container in containers.values()
        if container.is_up and container.networks and container.mode == _BRIDGE
    ]


def _forwards_itself(container_id: str, relays: Relays) -> bool:
    """Whether a container's slirp4netns forwards its ports, without rootlessport."""
    relay = relays.healthy.get(Duty(Role.WAY, container_id))
    return relay is not None and "--api-socket" in relay.argv


def _is_served(duty: Duty, containers: Mapping[str, Container], relays: Relays) -> bool:
    """Whether somebody listens for all that a container publishes, or that is not known.

    A later podman may have pasta do it.
    """
    if relays.taken is None:
        return True
    return all(
        (mapping.protocol, mapping.host_port) in relays.taken
        for mapping in containers[duty.container_id].ports
    )


@dataclass(frozen=True, slots=True)
class _Loss:
    """A relay that is lost; `found` is what is left of it."""

    duty: Duty
    containers: Mapping[str, Container]
    relays: Relays
    found: Sequence[Relay]

    def missing(self) -> Missing:
        """The loss, in the judge's words."""
        is_startable = can_start(self.duty, self.relays, self.containers)
        what, remedy = self.told()
        if not is_startable:
            what = f"{what}; podwatch cannot start it again: {remedy}"
        ids = [self.duty.container_id]
        if self.duty == UPLINK:
            ids = [container.id for container in bridged(self.containers)]
        return Missing(
            _KINDS[self.duty.role],
            what,
            str(self.duty),
            container=few(sorted(self.containers[key].title for key in ids)),
            container_ids=tuple(ids),
            reloadable=is_startable,
            place=str(self.duty),
            value="child" if self.found else "",
        )

    def told(self) -> tuple[str, str]:
        """What is lost, and what helps where podwatch cannot."""
        return self._uplink() if self.duty == UPLINK else self._of_container()

    def _uplink(self) -> tuple[str, str]:
        reaching = bridged(self.containers)
        names = few(sorted(container.title for container in reaching))
        what = (
            f"{self._program()} of the user's network does not run: {names} "
            f"{'reaches' if len(reaching) == 1 else 'reach'} nothing outside"
        )
        if not self.relays.netns_file or _BEFORE_5 in self.relays.netns_file:
            return what, START_ANEW
        first = min(reaching, key=lambda container: container.title)
        return what, f"podman network reload {first.name}"

    def _of_container(self) -> tuple[str, str]:
        container = self.containers[self.duty.container_id]
        ports = few(container.ports)
        if self.found:
            what = (
                f"{container.title}: {self.found[0].named} has lost its second half, and takes "
                f"what comes to {ports} nowhere"
            )
        elif self.duty.role is Role.PORTS:
            what = f"{container.title}: rootlessport does not run: nobody listens on {ports}"
        else:
            what = f"{container.title}: its {self._program()} does not run: nothing goes in or out"
        in_pod = container.is_infra and container.pod
        restart = f"podman pod restart {container.pod}" if in_pod else ""
        return what, restart or f"podman restart {container.name}"

    def _program(self) -> str:
        """The program that it was, or that it is by podman's word."""
        relay = self.relays.healthy.get(self.duty)
        if relay is not None:
            return relay.kind
        if self.duty == UPLINK:
            return "the pasta or slirp4netns"
        return mode_of(self.containers[self.duty.container_id])


def loss_of(
    duty: Duty,
    containers: Mapping[str, Container],
    relays: Relays,
    found: Sequence[Relay],
) -> tuple[str, str]:
    """What to tell of a lost relay, and the one thing to do about it; `found` is what is left."""
    loss = _Loss(duty, containers, relays, found)
    what, remedy = loss.told()
    return what, "podwatch restore" if can_start(duty, relays, containers) else remedy
