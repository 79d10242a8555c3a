# SPDX-License-Identifier: Apache-2.0
"""A host for the commands that look once: seen as a test wants, it remembers what was done."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from podwatch.adapters.lock import hold
from podwatch.daemon.ways import Ways
from podwatch.words.errors import RestoreFailed
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State, Verdict

Seen = tuple[Snapshot, Verdict]


class FakeHost:
    """Looks find `seen` one after another, the last of them again and again.

    It is its own looker, restorer, copy, podman and driver: each method stands for the one of that
    name. `done` is what was done to the host, in words.
    """

    def __init__(self, *seen: Seen, lock: Path = Path("/dev/null")) -> None:
        self.seen = deque(seen)
        self.done: list[str] = []
        self.outcomes: deque[Outcome] = deque()
        self.changed = ""
        self.running = Setup(FirewallDriver.NFTABLES)
        self.lock = lock
        self.turn = asyncio.Lock()
        self.systemd = None
        self.ways = Ways(self.with_inside)
        self.looker = self.restorer = self.copy = self.installed = self.podman = self
        self.nft = self
        self.chains = ""
        self.refuses = ""
        self.rules = dict.fromkeys(FirewallDriver, self)

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else repairs meanwhile."""
        return hold(self.lock)

    async def list_chains(self) -> str:
        """Every chain of every table."""
        return self.chains

    async def apply(self, script: str) -> None:
        """Commit a script, but for one about the table that it `refuses`."""
        if self.refuses and self.refuses in script:
            raise RestoreFailed("Operation not permitted")
        self.done.append(script.strip())

    async def look(self, *, paused: str = "") -> Snapshot:
        """A look; `done` tells of one that is made during a pause."""
        if paused:
            self.done.append(f"looked while {paused}")
        return self.seen[0][0]

    def judged(self, snapshot: Snapshot) -> Seen:
        """The verdict on the look, which is then over."""
        return snapshot, (self.seen.popleft() if len(self.seen) > 1 else self.seen[0])[1]

    def with_inside(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot has it already."""
        return snapshot

    def outdated(self, _snapshot: Snapshot) -> str:
        """What has changed since the look."""
        return self.changed

    def covers(self, *_: object) -> bool:
        """There is a copy of everything."""
        return True

    async def list_networks(self) -> tuple[Setup, tuple[str, ...]]:
        """What podman says of all that runs."""
        return self.running, ()

    async def restore(self, method: Method, *_: object) -> Outcome:
        """A means is tried; it works unless `outcomes` say otherwise."""
        self.done.append(method)
        return self.outcomes.popleft() if self.outcomes else Outcome(method, done=True, detail="ok")

    async def repair(self, todo: Sequence[Any], _observed: Ruleset) -> None:
        """Chains are put right."""
        self.done += [f"repaired {repair.chain}" for repair in todo]

    def close(self) -> None:
        """Nobody needs it any more."""
        self.done.append("closed")


FINE: Seen = (Snapshot(Setup(FirewallDriver.NFTABLES), None, None, generation=7), Verdict(State.OK))
