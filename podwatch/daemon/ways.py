# SPDX-License-Identifier: Apache-2.0
"""The ways of packets as a look shows them: worked out where what they stand on has changed."""

from collections.abc import Callable
from dataclasses import replace

from podwatch.decide.explain import Told, explain
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Verdict
from podwatch.words.way import Mark, Way


class Ways:
    """The ways as they were worked out last.

    `with_inside` has the kernel asked who is in network namespaces.
    """

    def __init__(self, with_inside: Callable[[Snapshot], Snapshot]) -> None:
        self._with_inside = with_inside
        self._seen: Snapshot | None = None
        self._ways: tuple[Way, ...] = ()
        self._told = Told()

    def of(self, snapshot: Snapshot, verdict: Verdict) -> tuple[Way, ...]:
        """The ways of the containers that run.

        Those of before, while podman is at work: what it has not set up yet is not broken.
        """
        if snapshot.busy:
            return self.known(verdict)
        seen = _inputs(snapshot)
        if seen != self._seen:
            self._seen, self._ways = seen, tuple(self._work_out(snapshot, verdict))
        return self._ways

    def known(self, verdict: Verdict) -> tuple[Way, ...]:
        """The ways that were worked out last, of the containers that run."""
        running = {"", *verdict.all_container_ids}
        return tuple(way for way in self._ways if way.container_id in running)

    def _work_out(self, snapshot: Snapshot, verdict: Verdict) -> list[Way]:
        if verdict.setup is None:
            return []
        snapshot = replace(snapshot, setup=verdict.setup)
        found = explain(snapshot, rules=verdict.rules, told=self._told)
        if snapshot.inside is None and any(way.mark is Mark.UNKNOWN for way in found):
            found = explain(self._with_inside(snapshot), rules=verdict.rules, told=self._told)
        return found


def _inputs(snapshot: Snapshot) -> Snapshot:
    """What of a look the ways are told from."""
    return replace(snapshot, generation=0, stamp=None, changes=0, lock=None, paused="", busy="")
