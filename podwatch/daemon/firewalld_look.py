# SPDX-License-Identifier: Apache-2.0
"""What firewalld says, for a look: asked over the bus, and not waited for where that would harm.

It owns the question that is under way, the answer before it, and the names of the policies that
were there once.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from podwatch.adapters.netlink import table_exists
from podwatch.daemon.asking import Asking
from podwatch.drivers.driver import about
from podwatch.drivers.firewalld import POLICIES
from podwatch.words.errors import Unreadable
from podwatch.words.network import FirewallDriver, Network, Setup
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Part, Permanent, Unknown

if TYPE_CHECKING:  # a user's podwatch does without, and without the bus
    from podwatch.adapters.firewalld import FirewalldWatch

Answer = tuple[Firewalld, list[Unknown]]
"""What firewalld said, and what of it is unknown."""


class FirewalldLook:
    """Asks firewalld; `watch` is None on a host where nobody is to.

    `heard_late` is called for an answer that no look waited for, where it is news. `is_there` says
    whether the kernel has a table, by family and name; it raises Unreadable. `permanent` is what is
    known of the permanent configuration.
    """

    def __init__(
        self,
        watch: "FirewalldWatch | None",
        heard_late: Callable[[], None] = lambda: None,
        is_there: Callable[[str, str], bool] = table_exists,
        permanent: Callable[[], Permanent | None] = lambda: None,
    ) -> None:
        self._watch = watch
        self._permanent = permanent
        self._asking: Asking[Answer] = Asking(heard_late)
        self._is_there = is_there
        self._policies_seen: frozenset[str] = frozenset()
        self._asked_of: _About | None = None
        """What the last question is about, and how much firewalld had told of before it."""
        self._said_of: _About | None = None
        """The same of the last answer."""

    def begin(self, setup: Setup | None, *, anew: bool = False) -> "asyncio.Task[Answer]":
        """Ask, unless a question is under way; `anew` where an answer to that would be too old.

        It is, too, where firewalld has told of a change since. The policies are asked for where the
        driver of `setup` has its rules in them.
        """
        is_old = self._asked_of is not None and self._asked_of.changes != self._changes
        return self._asking.begin(partial(self._ask, setup), anew=anew or is_old)

    async def hear(
        self,
        asked: "asyncio.Task[Answer]",
        limit_s: float | None,
        unknown: list[Unknown],
        setup: Setup | None = None,
    ) -> Firewalld:
        """The answer; after `limit_s` seconds the one before it, if that is about this setup, too.

        One from before a network was set up knows nothing of its sources. What is unknown of it is
        added to `unknown`.
        """
        about = self._about(setup)
        if about is None or self._said_of is None or not self._said_of.is_of(about):
            limit_s = None
        answer, unheard = await self._asking.hear(asked, limit_s)
        unknown.extend(unheard)
        return answer

    def kept(self, setup: Setup | None) -> Firewalld | None:
        """What it said last, where it has told of nothing since and the networks are the same.

        None where it has to be asked.
        """
        recent = self._asking.recent()
        if setup is None or recent is None or self._asked_of != self._about(setup):
            return None
        answer, unheard = recent
        return None if unheard else answer

    async def ask(self, unknown: list[Unknown], setup: Setup | None = None) -> Firewalld:
        """What firewalld says now, and the kernel of its tables; or one more `unknown`."""
        answer, unheard = await self._ask(setup)
        unknown.extend(unheard)
        return self.with_tables(answer, unknown)

    def with_tables(self, said: Firewalld, unknown: list[Unknown]) -> Firewalld:
        """What firewalld said, and the kernel says of its tables now; or one more `unknown`."""
        if not said.running:
            return said
        try:
            return replace(
                said,
                in_kernel=not said.in_kernel or self._is_there("inet", "firewalld"),
                reloading=not said.panic and self._is_there("inet", "firewalld_policy_drop"),
                permanent=self._permanent(),
            )
        except Unreadable as exc:
            unknown.append(Unknown(Part.FIREWALLD, "firewalld", str(exc), exc.hint))
            return ABSENT_FIREWALLD

    async def _ask(self, setup: Setup | None) -> Answer:
        unknown: list[Unknown] = []
        self._asked_of = asked_of = self._about(setup)
        found = await self._said(setup, unknown)
        self._said_of = asked_of
        return found, unknown

    async def _said(self, setup: Setup | None, unknown: list[Unknown]) -> Firewalld:
        if self._watch is None:
            return ABSENT_FIREWALLD
        try:
            by_policies = setup is not None and about(setup.driver).in_firewalld
            found = await self._watch.read(POLICIES if by_policies else ())
        except Unreadable as exc:
            unknown.append(Unknown(Part.FIREWALLD, "firewalld", str(exc), exc.hint))
            return ABSENT_FIREWALLD
        if found.running:
            self._policies_seen |= found.policies.keys()
            found = replace(found, policies_before=self._policies_seen)
        return found

    @property
    def _changes(self) -> int:
        return 0 if self._watch is None else self._watch.changes

    def _about(self, setup: Setup | None) -> "_About | None":
        return None if setup is None else _About(setup.driver, setup.networks, self._changes)


@dataclass(frozen=True)
class _About:
    """The networks that something is about, and how many changes firewalld had told of before."""

    driver: FirewallDriver
    networks: Mapping[str, Network]
    changes: int

    def is_of(self, other: "_About") -> bool:
        """Whether the other is about the same networks."""
        return (self.driver, self.networks) == (other.driver, other.networks)
