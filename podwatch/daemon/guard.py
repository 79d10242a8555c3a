# SPDX-License-Identifier: Apache-2.0
"""The guard's keeper: has the table hold what is expected, at each event, and says what it holds.

It goes its own way beside the loop: what netavark's state says goes into the table before anything
else is thought about.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from podwatch.adapters.inotify import DirectoryWatch
from podwatch.adapters.libnftables import Unanswered
from podwatch.adapters.nft_files import NftFiles
from podwatch.adapters.paths import Paths
from podwatch.daemon.guard_table import GuardTable
from podwatch.daemon.who_runs import WhoRuns
from podwatch.decide.guard import wanted
from podwatch.words.errors import PodwatchError, RestoreFailed, Unreadable
from podwatch.words.guard import GuardMode, Held
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Verdict

_REFUSED = "the configuration is refused"


class Guard:
    """The guard of one host.

    `against` says why there must be none at the moment, "" where nothing is against it; `report`
    takes the status' section (SHAPE["guard"]), `complain` what podwatch goes without.
    """

    def __init__(
        self,
        paths: Paths,
        mode: GuardMode,
        against: Callable[[], str],
        report: Callable[[dict[str, Any]], None],
        complain: Callable[[PodwatchError], None],
        *,
        table: GuardTable | None = None,
        files: NftFiles | None = None,
        who_runs: WhoRuns | None = None,
    ) -> None:
        self._mode = mode
        self._refused = False
        self._paths = paths
        self._table = table or GuardTable()
        self._files = files or NftFiles()
        self._who_runs = who_runs or WhoRuns(paths)
        self._against, self._report, self._complain = against, report, complain
        self._woken = asyncio.Event()
        self._failed = ""
        self._why = ""
        self._saved: dict[str, Path] = {}
        self.watch = DirectoryWatch((), self._woken.set, lacking="the guard follows late")

    # What others tell.

    def configure(self, mode: GuardMode) -> None:
        """Take over a configuration: what failed before may be tried once more."""
        self._mode, self._refused, self._failed = mode, False, ""
        self._woken.set()

    def refuse(self) -> None:
        """A configuration was refused: nobody knows what its author wants, so there is no guard."""
        self._refused = True
        self._woken.set()

    def seen(self, snapshot: Snapshot, verdict: Verdict) -> None:
        """Take in a look."""
        is_full = self._mode is GuardMode.FULL
        self._who_runs.take_in(snapshot, verdict, is_full=is_full)
        self._woken.set()

    def wake(self) -> None:
        """Something that is against it may have begun or ended."""
        self._woken.set()

    async def count(self) -> None:
        """Count what it has carried by now."""
        if await self._table.count():
            self._report(self._section())

    # The keeper.

    async def run(self) -> None:
        """Keep the table for ever; ends by being cancelled, or by Unanswered.

        A commit that hangs may yet be carried out, and its table could not be changed any more: the
        process has to end, and the kernel takes both away.
        """
        try:
            while True:
                self._woken.clear()
                await self._once()
                self._report(self._section())
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._who_runs.patience_s):
                        await self._woken.wait()
        finally:
            self._table.let_go()

    async def _once(self) -> None:
        """Make the table what it has to be."""
        self._saved = self._files.names() if self._mode is not GuardMode.OFF else {}
        want = wanted(
            self._mode,
            self._who_runs.seen,
            self._who_runs.now() if self._mode is GuardMode.FULL else None,
            self._table.held,
            against=_REFUSED if self._refused else self._against(),
            unknown_s=self._who_runs.unknown_s,
        )
        if want.held is not None and not self._failed:
            await self._hold(want.held)
        elif self._table.held is not None:
            await self._table.take_away()
        self._why = self._failed or want.why
        self._follow()

    async def _hold(self, held: Held) -> None:
        """Have the table hold this; what cannot be changed is made anew, and that is tried once."""
        was_there = self._table.held is not None
        try:
            await self._table.hold(held, self._saved)
        except Unanswered:
            raise
        except (RestoreFailed, Unreadable) as exc:
            self._table.let_go()
            if was_there:
                self._woken.set()
                return
            self._failed = str(exc)
            self._complain(PodwatchError(f"there is no guard: {exc}", hint=exc.hint))

    def _follow(self) -> None:
        """Listen to the files that tell of a change."""
        directories = () if self._mode is GuardMode.OFF else self._files.directories
        if self._mode is GuardMode.FULL:
            state, book = self._paths.netavark_state, self._paths.addresses
            by_state = (state, state / "networks", state / "ports")
            directories += by_state if self._who_runs.seen.by_state else (*by_state, book.parent)
        self.watch.follow(directories)

    def _section(self) -> dict[str, Any]:
        """What the status tells: SHAPE["guard"]."""
        held = self._table.held
        return {
            "mode": held.mode if held else GuardMode.OFF,
            "table": self._table.name if held else "",
            "ports": held.ports if held else 0,
            "containers": held.containers if held else 0,
            "carried": self._table.carried,
            "why": self._why,
            "saved": str(next(iter(self._saved.values()), "")),
        }
