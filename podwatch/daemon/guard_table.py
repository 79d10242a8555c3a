# SPDX-License-Identifier: Apache-2.0
"""The guard's table in the kernel: made, changed, counted and taken away by the one who owns it.

It belongs to one netlink socket, so to one libnftables context: the kernel refuses everybody else,
and takes the table away when that socket is closed, however podwatch ends.
"""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import table_exists
from podwatch.drivers.guard import COUNTER, changed, made_anew
from podwatch.words.errors import RestoreFailed, Unreadable
from podwatch.words.guard import FAMILY, PREFIX, THREAD, Held


class Nft(Protocol):
    """What commits: Nftables, or what stands for it."""

    async def apply(self, script: str) -> None:
        """Commit a script. Raises RestoreFailed."""

    async def count(self, family: str, table: str, counter: str) -> int:
        """The packets of a counter. Raises Unreadable."""

    def close(self) -> None:
        """Let go of the socket, and with it of what it owns."""


class GuardTable:
    """The table, while there is one.

    `make` opens the socket, `is_there` says whether a table exists, `fresh` has the names to try.
    """

    def __init__(
        self,
        make: Callable[[], Nft] = lambda: Nftables(THREAD),
        *,
        is_there: Callable[[str, str], bool] = table_exists,
        fresh: Callable[[], str] = lambda: PREFIX + os.urandom(2).hex(),
    ) -> None:
        self.name = ""
        self.held: Held | None = None
        """What is in it; None where there is none."""
        self.carried = 0
        """Connections that it, and those before it, forwarded."""
        self._make, self._is_there, self._fresh = make, is_there, fresh
        self._nft: Nft | None = None
        self._counted = 0

    async def hold(self, held: Held, saved: Collection[str]) -> None:
        """Have it hold this, under a name that is none of those `saved` in a file.

        Raises RestoreFailed, Unreadable, and Unanswered where nobody knows whether it does.
        """
        if self._nft is None or self.held is None:
            self._nft, self.name, self._counted = self._make(), self._new_name(saved), 0
            script = made_anew(self.name, held)
        elif self.name in saved:
            await self.count()
            before, self.name, self._counted = self.name, self._new_name(saved), 0
            script = made_anew(self.name, held, before)
        else:
            if held.frame != self.held.frame:
                await self.count()
                self._counted = 0
            script = changed(self.name, self.held, held)
        if script:
            await self._nft.apply(script)
        self.held = held

    async def count(self) -> bool:
        """Count what it has carried by now; whether that is more than before."""
        if self._nft is None or self.held is None or not self.held.forwards:
            return False
        more = 0
        with suppress(Unreadable):
            now = await self._nft.count(FAMILY, self.name, COUNTER)
            more, self._counted = max(now - self._counted, 0), now
        self.carried += more
        return more > 0

    async def take_away(self) -> None:
        """Delete it."""
        await self.count()
        if self._nft is not None and self.held is not None:
            with suppress(RestoreFailed):
                await self._nft.apply(f"delete table {FAMILY} {self.name}\n")
        self.let_go()

    def let_go(self) -> None:
        """Close the socket: the kernel takes away what it owns."""
        if self._nft is not None:
            self._nft.close()
        self._nft, self.held = None, None

    def _new_name(self, saved: Collection[str]) -> str:
        while True:
            name = self._fresh()
            if name not in saved and name != self.name and not self._is_there(FAMILY, name):
                return name
