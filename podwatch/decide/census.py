# SPDX-License-Identifier: Apache-2.0
"""podman's containers as they were last listed, and who of them can be taken for running. Pure.

podman is asked now and then, netavark's state is read at each look: a container may have started
again since, and its rules are not to be taken for a dead one's. What podman said of a container is
believed while netavark has not written its state anew.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from podwatch.words.network import Container, Setup

CENSUS_AGAIN_S = 2.0
"""podman is asked again after so long whether a container is still only created; doubling, up to"""
CENSUS_AGAIN_MAX_S = 300.0


@dataclass(frozen=True)
class Census:
    """Podman's containers by id, and the state directory's stamp they were listed at.

    `taken` is when podman was asked, in seconds since the epoch, and `alive` are the processes of
    containers that were there then. `again_at` is when podman has to be asked once more though
    netavark's state is the same: a container that is only created, or has ended before, may be in
    the middle of its start (`doubtful`, so far taken for running), and no event tells when it runs.
    """

    containers: Mapping[str, Container] = field(default_factory=dict)
    stamp: object = None
    doubtful: frozenset[str] = frozenset()
    again_at: float | None = None
    pause: float = CENSUS_AGAIN_S
    taken: float = 0.0
    alive: frozenset[int] = frozenset()

    def at(self, stamp: object, written: Mapping[str, float]) -> Mapping[str, Container]:
        """The containers, for a state directory with this stamp.

        `written` is when netavark wrote the state of each, where that is known. Names are good for
        as long as the id exists; the rest is believed while the state is the same. Whose state is
        older than the list he is not on was removed without teardown.
        """
        found = {
            key: each if self._holds(key, stamp, written) else replace(each, running=True)
            for key, each in self.containers.items()
        }
        gone = {key for key, at in written.items() if at < self.taken} - found.keys()
        return found | {key: Container(key, key[:12], running=False) for key in gone}

    def ended(
        self, stamp: object, written: Mapping[str, float], living: Collection[int]
    ) -> Iterable[str]:
        """The containers whose process has ended since podman was asked; `living` are those left.

        Their network is taken down in a moment, or never.
        """
        for key, each in self.containers.items():
            was_there = each.pid in self.alive and each.pid not in living
            if was_there and self._holds(key, stamp, written):
                yield key

    def running(self, stamp: object, living: Collection[int]) -> frozenset[str]:
        """The containers that surely run: listed with the state as it is, by a `living` process."""
        if stamp != self.stamp or self.doubtful:
            return frozenset()
        return frozenset(k for k, each in self.containers.items() if each.up and each.pid in living)

    def next(
        self,
        containers: Mapping[str, Container],
        stamp: object,
        written: Mapping[str, float],
        wired: Iterable[str],
        now: float,
    ) -> "Census":
        """The census after podman listed `containers`; `wired` are those netavark has state of.

        One that podman does not know was removed without teardown. One that is created, or has
        ended, twice in a row with netavark's state the same is none that is being started: podman
        sets the network up before it says so.
        """
        known, doubtful = dict(containers), set()
        for key in wired:
            each = known.get(key)
            if each is None:
                known[key] = Container(key, key[:12], running=False)
            elif each.created or not each.running:
                same = self._holds(key, stamp, written)
                before = self.containers.get(key) if same else None
                twice = before is not None and (key in self.doubtful or not before.running)
                known[key] = replace(each, running=not twice)
                if each.created or not twice:
                    doubtful.add(key)
        if not doubtful:
            return Census(known, stamp)
        pause = 2 * self.pause if stamp == self.stamp else CENSUS_AGAIN_S
        again_at = now + pause if pause <= CENSUS_AGAIN_MAX_S else None
        return Census(known, stamp, frozenset(doubtful), again_at, min(pause, CENSUS_AGAIN_MAX_S))

    def doubted(self, now: float) -> "Census":
        """The census when the rules have changed: what is only created may have come to run."""
        if not self.doubtful:
            return self
        return replace(self, again_at=min(self.again_at or math.inf, now + CENSUS_AGAIN_S))

    def _holds(self, key: str, stamp: object, written: Mapping[str, float]) -> bool:
        """Whether the state of a container is the same as when podman was asked."""
        return stamp == self.stamp or written.get(key, math.inf) < self.taken


def living(setup: Setup, containers: Mapping[str, Container]) -> Setup:
    """Leave out containers that do not run: their state files are left-overs, or soon gone."""
    return replace(
        setup,
        endpoints=tuple(
            each
            for each in setup.endpoints
            if each.container_id not in containers or _lives(containers[each.container_id])
        ),
    )


def _lives(container: Container) -> bool:
    return container.running and not container.ended
