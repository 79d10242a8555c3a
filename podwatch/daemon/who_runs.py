# SPDX-License-Identifier: Apache-2.0
"""Who runs at this moment, for the guard: read at each event, without a look and without podman.

By netavark's state, or where it keeps none by podman's database of addresses; less those that a
look has found dead, and those whose process has ended: netavark takes their network down only then,
and where it keeps no state, podman lets go of their addresses last of all.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress

from podwatch.adapters.ipam import AddressBook
from podwatch.adapters.paths import Paths
from podwatch.adapters.statedir import StateDirectory
from podwatch.decide.exemptions import exemption
from podwatch.decide.guard import PATIENCE_S, Seen, alive_now, keeps_state, less, taken_in
from podwatch.drivers.nftables import MARKS
from podwatch.words.errors import Unreadable
from podwatch.words.network import Isolation, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Verdict

Ended = Callable[[Setup, object], Collection[str]]
"""Those in a setup whose process has ended; the stamp is that of its state, None without state."""


class WhoRuns:
    """What looks have `seen`, and what is so by now. `clock` counts seconds."""

    def __init__(
        self,
        paths: Paths,
        clock: Callable[[], float] = time.monotonic,
        *,
        ended: Ended = lambda *_: (),
    ) -> None:
        self.seen = Seen()
        self._ended = ended
        self._state = StateDirectory(paths.netavark_state)
        self._book = AddressBook(paths.addresses)
        self._clock = clock
        self._unknown_since: float | None = None

    def take_in(self, snapshot: Snapshot, verdict: Verdict, *, is_full: bool) -> None:
        """Take in a look; rules of others are looked through for a guard that `is_full` alone."""
        marks = self.seen.marks if snapshot.rules is None else MARKS in snapshot.rules.traits
        exempt = self._exempt(snapshot, verdict) if is_full else None
        self.seen = taken_in(self.seen, snapshot.setup, verdict.setup, marks=marks, exempt=exempt)

    def _exempt(self, snapshot: Snapshot, verdict: Verdict) -> str | None:
        """The rule before which it stands back; that of before, where rules are lost or unknown."""
        if verdict.setup is None or verdict.missing_rules:
            return self.seen.exempt
        if snapshot.rules is None:  # they are not read where nobody needs any
            return self.seen.exempt if verdict.setup.endpoints else ""
        networks = verdict.setup.networks.values()
        isolates = any(network.isolation is not Isolation.NEVER for network in networks)
        return exemption(verdict.rules, snapshot.rules, isolates=isolates)

    def now(self) -> Setup | None:
        """Who runs; None where that is not known."""
        now, stamp = None, None
        with suppress(Unreadable):
            state = self._state.read()
            if keeps_state(self.seen, state):
                now, stamp = alive_now(self.seen, state, None), self._state.stamp
            else:
                now = alive_now(self.seen, None, self._book.read())
        if now is not None:
            now = less(now, self._ended(now, stamp))
        if now is not None and not now.bad_files:
            self._unknown_since = None
        elif self._unknown_since is None:
            self._unknown_since = self._clock()
        return now

    @property
    def unknown_s(self) -> float:
        """For how long it, or a part of it, has not been known: seconds."""
        return 0.0 if self._unknown_since is None else self._clock() - self._unknown_since

    @property
    def patience_s(self) -> float | None:
        """How long to wait until what is not known has to be forgotten; None: for an event."""
        left_s = PATIENCE_S - self.unknown_s
        return left_s if self._unknown_since is not None and left_s > 0 else None
