# SPDX-License-Identifier: Apache-2.0
"""The saved copy of the verified rules: in memory, and in a file that outlives podwatch.

Taken at each look; of what a look misses the copy keeps what it had. What of it may be put back is
decided by `podwatch.drivers.saved`. The file is a convenience: one that is damaged, of another
version or of another driver is ignored with a warning, and the slower means have their turn.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from podwatch.adapters.files import read_whole, write_whole
from podwatch.drivers import saved
from podwatch.words.errors import PodwatchError, StateUnreadable
from podwatch.words.links import Links
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot

LIMIT_BYTES = 64 * 1024 * 1024


class SavedCopy:
    """The newest verified copy, if there is one. `complaint` says why there is none on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current: saved.SavedRules | None = None
        self.complaint = ""

    def load(self) -> None:
        """Take up the copy an earlier podwatch left behind; `complaint` says if it is no good."""
        try:
            text = read_whole(self.path, limit_bytes=LIMIT_BYTES)
            if text is not None:
                self.current = saved.load(text)
        except (StateUnreadable, ValueError, RecursionError) as exc:
            self.complaint = f"ignoring the saved rules in {self.path}: {exc}"

    def take(self, snapshot: Snapshot, rules: Sequence[Rule], *, whole: bool) -> None:
        """Copy the rules of a snapshot: as they are where it is `whole`, else as they have to be.

        `rules` are those that are expected.

        What is missing stays in the copy, as far as it was there. Raises PodwatchError when the
        file cannot be written; the copy in memory is good all the same.
        """
        if snapshot.setup is None or snapshot.rules is None:
            return
        if not rules:
            return
        driver = snapshot.setup.driver
        chains = (
            snapshot.rules.chains
            if whole
            else saved.remembered(self.of(driver), rules, snapshot.rules)
        )
        macs = _macs(snapshot.setup, snapshot.links, self.of(driver).macs)
        fresh = saved.SavedRules(chains, driver, snapshot.sysctls_seen, macs)
        if not chains or fresh == self.current:
            return
        self.current = fresh
        self.complaint = ""
        try:
            write_whole(self.path, saved.dump(fresh), mode=0o600, own=True)
        except PodwatchError as exc:
            self.complaint = str(exc)
            raise

    def covers(self, snapshot: Snapshot, rules: Sequence[Rule]) -> bool:
        """Whether the copy holds one of the expected `rules` that this snapshot misses."""
        if snapshot.setup is None or snapshot.rules is None:
            return False
        return saved.covers(self.of(snapshot.setup.driver), rules, snapshot.rules)

    def of(self, driver: FirewallDriver) -> saved.SavedRules:
        """The copy, if it is of this driver's rules; else an empty one."""
        if self.current is not None and self.current.driver is driver:
            return self.current
        return saved.SavedRules({}, driver)


def _macs(setup: Setup, links: Links | None, before: Mapping[str, str]) -> dict[str, str]:
    """The MACs of the networks' bridges: of one that is not there, the one it had."""
    there = {} if links is None else links.by_name
    return {
        name: mac
        for name in sorted({network.bridge for network in setup.networks.values()})
        if (mac := there[name].mac if name in there else before.get(name, ""))
    }
