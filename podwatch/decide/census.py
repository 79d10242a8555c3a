# SPDX-License-Identifier: Apache-2.0
"""podman's containers as they were last listed, and who of them can be taken for running. Pure.

podman is asked now and then, but netavark's state is read at each look. A container that podman
called dead may have started again since. So what podman said of a container is believed only while
netavark has not written that container's state anew.

A container that podman does not list need not be dead: it may be of another storage (`podman
--root`), or of a build. The kernel is asked, too: a container lives if a network namespace behind a
veth has one of its addresses.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from podwatch.words.network import Address, Container, ContainerState, Setup

CENSUS_AGAIN_S = 2.0
"""podman is asked again after so long whether a container is still only created; doubling, up to"""
CENSUS_AGAIN_MAX_S = 300.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What was so when podman was asked: the stamp of all state, those of each container's, and
    the runtime's."""

    stamp: object = None
    stamps: Mapping[str, object] = field(default_factory=dict)
    runtime: object = None


@dataclass(frozen=True)
class Census:
    """Podman's containers by id, and what was so when they were listed.

    `asked` is None where nobody asked podman since podwatch started: the containers are then as an
    earlier podwatch had them listed. `alive` are the processes of containers that were there.
    `again_at` is when podman has to be asked once more though netavark's state is the same. A
    container that lives and is not listed as running (`doubtful`) may be in the middle of its
    start, and no event tells when it runs.
    """

    containers: Mapping[str, Container] = field(default_factory=dict)
    asked: Asked | None = None
    doubtful: frozenset[str] = frozenset()
    again_at: float | None = None
    pause: float = CENSUS_AGAIN_S
    alive: frozenset[int] = frozenset()

    @property
    def stamp(self) -> object:
        """The stamp of all state when podman was asked."""
        return None if self.asked is None else self.asked.stamp

    def at(self, stamp: object, setup: Setup) -> dict[str, Container]:
        """The containers, for a state with this stamp.

        Names are good for as long as the id exists; the rest is believed while the state is the
        same. Whoever is in the setup and was not listed with the same state is gone.
        """
        found = dict(self.containers)
        for key, container in self.containers.items():
            if container.state is ContainerState.ENDED and not self._holds(key, stamp, setup):
                found[key] = replace(container, state=ContainerState.PRESUMED)
        for key in dict.fromkeys(endpoint.container_id for endpoint in setup.endpoints):
            if key not in found and self._holds(key, stamp, setup):
                found[key] = _gone(key)
        return found

    def ended(self, stamp: object, setup: Setup, living: Collection[int]) -> Iterable[str]:
        """The containers whose process has ended since podman was asked; `living` are those left.

        Their network is taken down in a moment, or never.
        """
        for key, container in self.containers.items():
            was_there = container.pid in self.alive and container.pid not in living
            if was_there and self._holds(key, stamp, setup):
                yield key

    def running(self, stamp: object, living: Collection[int]) -> frozenset[str]:
        """The containers that surely run: listed with the state as it is, by a `living` process."""
        if self.asked is None or stamp != self.stamp:
            return frozenset()
        return frozenset(
            key
            for key, container in self.containers.items()
            if container.is_up and container.pid in living
        )

    def next(
        self,
        containers: Mapping[str, Container],
        asked: Asked,
        wired: Iterable[str],
        alive: Collection[int],
        now: float,
    ) -> "Census":
        """The census after podman listed `containers`.

        `wired` are those who live as far as the kernel tells, and those who are being started;
        `alive` are the processes of the listed that are there.
        """
        doubtful = frozenset(
            key for key in wired if key not in containers or containers[key].is_doubtful
        )
        found = Census(containers, asked, doubtful, alive=frozenset(alive))
        if not doubtful:
            return found
        same = doubtful <= self.doubtful and all(self._same(key, asked) for key in doubtful)
        pause = 2 * self.pause if same else CENSUS_AGAIN_S
        again_at = now + pause if pause <= CENSUS_AGAIN_MAX_S else None
        return replace(found, again_at=again_at, pause=min(pause, CENSUS_AGAIN_MAX_S))

    def doubted(self, now: float) -> "Census":
        """The census when the rules have changed: what is only created may have come to run."""
        if not self.doubtful:
            return self
        return replace(self, again_at=min(self.again_at or math.inf, now + CENSUS_AGAIN_S))

    def _holds(self, key: str, stamp: object, setup: Setup) -> bool:
        """Whether the state of a container is the same as when podman was asked."""
        return self.asked is None or self._same(key, Asked(stamp, setup.stamps))

    def _same(self, key: str, now: Asked) -> bool:
        if self.asked is None:
            return False
        stamps = self.asked.stamps
        return now.stamp == self.stamp or (key in stamps and stamps[key] == now.stamps.get(key))


def _gone(key: str) -> Container:
    """A container of which podman says nothing. A build's id is a name, which is shown whole."""
    return Container(key, key[:12] if len(key) == _FULL_ID else key, ContainerState.GONE)


_FULL_ID = 64


def in_doubt(setup: Setup, containers: Mapping[str, Container]) -> frozenset[str]:
    """Who has state, and is not listed as running: whether they live the kernel has to say."""
    return frozenset(
        endpoint.container_id
        for endpoint in setup.endpoints
        if (known := containers.get(endpoint.container_id)) is not None and known.is_doubtful
    )


def by_kernel(
    setup: Setup,
    containers: Mapping[str, Container],
    inside: Mapping[Address, int] | None,
    *,
    told: bool,
) -> dict[str, Container]:
    """Those who are in doubt, as the kernel knows them.

    `inside` says in how many namespaces an address is, None where the kernel does not tell: nobody
    is dead then. Where several containers have one address, as many of them live as there are
    namespaces with it, and those whom podman lists come first. The dead are ENDED or GONE where
    podman was asked (`told`), else JUST_ENDED.
    """
    doubtful = in_doubt(setup, containers)
    claimed = Counter(
        address
        for endpoint in setup.endpoints
        if endpoint.container_id not in doubtful
        for address, _ in endpoint.addresses
    )
    alive = {
        endpoint.container_id
        for endpoint in setup.endpoints
        if inside is None or any(inside.get(a, 0) > claimed[a] for a, _ in endpoint.addresses)
    }
    found = {}
    for key in doubtful:
        state = ContainerState.ENDED if told else ContainerState.JUST_ENDED
        if key in alive:
            state = ContainerState.UNLISTED
        elif told and containers[key].state is ContainerState.GONE:
            state = ContainerState.GONE
        found[key] = replace(containers[key], state=state)
    return found


def living(setup: Setup, containers: Mapping[str, Container]) -> Setup:
    """Leave out containers that do not run: their state files are left-overs, or soon gone."""
    return replace(
        setup,
        endpoints=tuple(
            endpoint
            for endpoint in setup.endpoints
            if (known := containers.get(endpoint.container_id)) is None or known.is_running
        ),
    )
