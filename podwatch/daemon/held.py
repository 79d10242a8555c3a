# SPDX-License-Identifier: Apache-2.0
"""podman's network lock as looks see it: while it is held, by whom, and for how long by now."""

import math
from dataclasses import replace

from podwatch.adapters.podman_lock import NetworkLock
from podwatch.adapters.process import Processes
from podwatch.words.snapshot import HeldLock


class HeldFor:
    """The lock, with since when the same holder was seen to have it."""

    def __init__(self, lock: NetworkLock) -> None:
        self._lock = lock
        self._processes = Processes()
        self._seen: tuple[object, float] = (None, -math.inf)

    def at(self, now: float) -> HeldLock | None:
        """The lock while it is held, with its holder; `now` in seconds of any steady clock.

        A lock for writing is podman's own: with each process its time begins anew. One for reading
        keeps podman waiting, whoever has it: its time goes on when another process joins in.
        """
        held = self._lock.held()
        key = None if held is None else (held.path, held.shared, 0 if held.shared else held.pid)
        if self._seen[0] != key:
            self._seen = (key, now)
        if held is None:
            return None
        holder = self._processes.describe(held.pid) if held.pid else ""
        return replace(held, holder=holder, for_s=now - self._seen[1])
