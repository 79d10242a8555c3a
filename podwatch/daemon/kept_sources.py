# SPDX-License-Identifier: Apache-2.0
"""The permanent sources of firewalld that podwatch adds and takes away, and which of them are its.

A small private file remembers them. What is added is written down before, what is taken away
after: whatever interrupts this, podwatch knows what is its own.
"""

import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from podwatch.adapters.files import read_whole, write_whole
from podwatch.adapters.podman_networks import PodmanNetworks
from podwatch.decide import kept_sources
from podwatch.decide.kept_sources import Plan
from podwatch.formats.kept_sources import Kept, as_text, read_kept
from podwatch.report import logging
from podwatch.report.events import Event
from podwatch.words.errors import BusUnavailable, PodwatchError, RestoreFailed, StateUnreadable
from podwatch.words.snapshot import Permanent

GIVE_WAY_S = 30.0
"""A source that is taken away again so soon after podwatch added it is left as somebody wants it,
until it is there again or its network has no container."""

MAX_BYTES = 4 << 20


class Permanents(Protocol):
    """Who reads and changes firewalld's permanent configuration; all raise PodwatchError."""

    def stamp(self) -> object:
        """What changes whenever a setting does of which firewalld tells nobody."""

    async def read(self, subnets: Iterable[str]) -> Permanent:
        """The configuration, with the zones of these subnets."""

    async def add(self, subnet: str) -> None:
        """Make a subnet a source of zone trusted."""

    async def remove(self, subnet: str) -> None:
        """Make it none."""


class Nobody:
    """In place of that, where there is no firewalld to ask: a user's podwatch has none."""

    def stamp(self) -> object:
        """Nothing."""
        return None

    async def read(self, subnets: Iterable[str]) -> Permanent:
        """Raises BusUnavailable."""
        raise BusUnavailable("nobody asks firewalld here")

    async def add(self, subnet: str) -> None:
        """Raises BusUnavailable."""
        raise BusUnavailable("nobody asks firewalld here")

    remove = add


class KeptSources:
    """What podwatch added itself, by subnet, as the file at `path` has it."""

    def __init__(
        self,
        firewalld: Permanents,
        networks: PodmanNetworks,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.own: dict[str, Kept] = {}
        self._firewalld = firewalld
        self._networks = networks
        self._path = path
        self._clock = clock
        self._added_at: dict[str, float] = {}
        self._left: set[str] = set()

    def remember(self) -> None:
        """Take up what an earlier podwatch added. Raises StateUnreadable if that is not known."""
        try:
            text = read_whole(self._path, limit_bytes=MAX_BYTES, of_root=True)
            self.own = {} if text is None else read_kept(text)
        except StateUnreadable as exc:
            what = f"{self._path}: which permanent sources of firewalld's are podwatch's"
            raise StateUnreadable(f"{what} is not known: {exc}") from exc

    def files(self) -> object:
        """Podman's networks as configured, where that counts: other ones, another decision."""
        return self._networks.read_files() if self.own else None

    def plan(self, wanted: Mapping[str, str], sources: Mapping[str, str]) -> Plan:
        """What to do so that the `wanted` subnets are kept; `sources` are as they are now."""
        now = self._clock()
        just_added = {one for one, at in self._added_at.items() if now < at + GIVE_WAY_S}
        self._left = (self._left | just_added) & wanted.keys() - sources.keys()
        files = self._networks.read_files()
        has_all = self._networks.has_all
        return kept_sources.plan(self.own, wanted, sources, files, has_all=has_all, left=self._left)

    def release(self, sources: Mapping[str, str]) -> Plan:
        """What to do so that nothing is kept; whatever was left before is not left from now on."""
        self._added_at.clear()
        self._left.clear()
        return kept_sources.release(self.own, sources)

    async def do(self, todo: Plan) -> None:
        """Do it, one by one: what firewalld refuses keeps no other from being done.

        Raises BusUnavailable where firewalld does not answer, RestoreFailed where it refuses, and
        PodwatchError where the file cannot be written: then nothing is added.
        """
        refused: list[str] = []
        self._forget(todo.forget)
        for subnet, kept in todo.add.items():
            before = self.own
            self._write({**before, subnet: kept})
            if await self._asked(self._firewalld.add(subnet), refused):
                self._added_at[subnet] = self._clock()
                self._log(subnet, kept, "is a permanent source of firewalld's zone trusted now")
            else:  # somebody else was faster, or it may not be changed now
                self._write(before)
        for subnet in todo.remove:
            if await self._asked(self._firewalld.remove(subnet), refused):
                self._added_at.pop(subnet, None)
                self._log(
                    subnet, self.own[subnet], "is no permanent source of firewalld's any more"
                )
                self._forget((subnet,))
        if refused:
            raise RestoreFailed("; ".join(refused))

    async def _asked(self, change: Coroutine[Any, Any, None], refused: list[str]) -> bool:
        """Whether firewalld has done it; what it says where it refuses goes to `refused`."""
        try:
            await change
        except BusUnavailable as exc:
            if not exc.hint:  # it has not answered
                raise
            refused.append(str(exc))
            return False
        return True

    def _forget(self, subnets: tuple[str, ...]) -> None:
        self._write({one: kept for one, kept in self.own.items() if one not in subnets})

    def _write(self, own: dict[str, Kept]) -> None:
        if own == self.own:
            return
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if own:
                write_whole(self._path, as_text(own), mode=0o600, own=True)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as exc:
            raise PodwatchError(f"cannot write {self._path}: {exc.strerror}") from exc
        self.own = own

    def _log(self, subnet: str, kept: Kept, what: str) -> None:
        logging.log(Event.PERMANENT, f"network {kept.network}: {subnet} {what}")
