# SPDX-License-Identifier: Apache-2.0
"""Looking: one Snapshot of what is expected and what is observed, read at one moment.

A look asks every adapter and turns what fails into `Unknown`; it decides nothing. netavark writes
its state before its rules, so a snapshot is only good when nobody was in the middle of a change:
podman's network lock was free and nobody touched the driver's table while we read.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from podwatch.adapters.netlink import generation
from podwatch.daemon.containers import Containers
from podwatch.daemon.expected import Expected
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.held import HeldFor
from podwatch.daemon.in_use import InUse
from podwatch.daemon.inside import KEPT_S
from podwatch.daemon.installed import Installed
from podwatch.daemon.kernel_settings import KernelSettings
from podwatch.daemon.names import Names
from podwatch.daemon.reading import Read, Reader, is_old
from podwatch.daemon.rules import Rules
from podwatch.daemon.surroundings import Surroundings
from podwatch.daemon.user_network import AroundUser, UserNetwork, without_netns
from podwatch.daemon.wires import Wires
from podwatch.decide.judge import judge
from podwatch.decide.kinds import PLACES
from podwatch.decide.links import missing_links
from podwatch.decide.names import lost_names
from podwatch.decide.parents import parents
from podwatch.decide.wiring import wiring
from podwatch.drivers import forwarding
from podwatch.drivers.driver import DRIVERS, about
from podwatch.drivers.saved import SavedRules
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Firewalld, Part, Snapshot, Unknown
from podwatch.words.verdict import Missing, State, Verdict
from podwatch.words.way import BaseChain

if TYPE_CHECKING:  # root's podwatch does without
    from podwatch.daemon.user_driver import UserDriver

PATIENCE_S = 0.25
"""So long who hurries waits for answers over the bus."""

_NO_COPY = partial(SavedRules, {})
_ALL_TABLES = frozenset(name for driver in DRIVERS.values() for name in driver.ABOUT.tables)


class Looker:
    """Reads everything a Snapshot is made of.

    `changes` counts the transactions on the driver's table; where nobody listens to the kernel, the
    ruleset's generation does, which counts everybody's. `copied` has the saved copy of its rules.
    `of_user` is what a user's networks have beside.
    """

    def __init__(
        self,
        expected: Expected,
        installed: Installed,
        rules: Mapping[FirewallDriver, Rules],
        firewalld: FirewalldLook,
        containers: Containers,
        surroundings: Surroundings,
        *,
        wires: Wires | None = None,
        changes: Callable[[], int] = generation,
        copied: Callable[[FirewallDriver], SavedRules] = _NO_COPY,
        in_use: "InUse | UserDriver | None" = None,
        settings: KernelSettings | None = None,
        of_user: UserNetwork | None = None,
    ) -> None:
        self.expected = expected
        self.installed = installed
        self.rules = rules
        self.firewalld = firewalld
        self.containers = containers
        self.surroundings = surroundings
        self.copied = copied
        self.settings = settings or KernelSettings(installed.networks.internal_bridges)
        self.reader = Reader(expected, installed, rules, containers, changes)
        self.wires = wires or Wires()
        self.names = Names(installed)
        self._in_use = in_use or InUse()
        self._of_user = of_user
        self._lock = HeldFor(installed.lock)
        self._changes_at: int | None = None  # at the last look

    def changes(self) -> int:
        """How many transactions there were on the driver's table."""
        return self.reader.changes()

    @property
    def setup(self) -> Setup | None:
        """What was set up at the last look; None where it could not be read."""
        return self.containers.setup

    @property
    def tables(self) -> frozenset[str]:
        """The nftables tables in which the rules are; every driver's until the first look."""
        own = frozenset() if self.setup is None else about(self.setup.driver).tables
        return own or _ALL_TABLES

    @property
    def writers(self) -> frozenset[str]:
        """The names under which the kernel knows what is committed to put rules right."""
        return frozenset(name for rules in self.rules.values() for name in rules.writers)

    def remember(self, saved: SavedRules) -> None:
        """Take up what an earlier podwatch once saw: it does not show in what is left now."""
        self.settings.remember(saved.sysctls)
        if saved.driver in self.rules:
            self.rules[saved.driver].remember(saved.chains)
            self._in_use.remember(saved.driver)

    async def look(
        self, *, paused: str = "", hurries: bool = False, of_podman: bool = False
    ) -> Snapshot:
        """Look at everything once. Never raises for what cannot be read: that is `unknown`.

        Who hurries does not wait for a bus that is slow: there, what was said last counts. After
        what podman alone has done, nobody is asked who would have told.
        """
        unknown: list[Unknown] = []
        before, around = self.expected.stamp, self._around_user()
        asked = None if of_podman else self.firewalld.begin(self.setup)
        asked_neighbours = None if of_podman else self.surroundings.begin()
        await asyncio.sleep(0)  # the questions are out; what can be read at once is read meanwhile
        read = await self.reader.read(unknown)
        self.settings.read(read.setup)
        settings_for, settings_at = read.setup, read.at
        limit = self._patience(read) if hurries else None
        firewalld = await self._hear_firewalld(asked, limit, before, read, unknown)
        left = limit and max(read.at + limit - time.monotonic(), 0.0)
        neighbours = await self.surroundings.hear(asked_neighbours, left)
        if read.rules is not None and read.is_old:
            read = await self.reader.read_again(read, unknown)
        if read.setup is not None and self.expected.asks_podman:
            ask = partial(self.firewalld.ask, unknown)
            read.setup, read.rules, said = await self._in_use.find(
                read.setup, read.rules, ask, unknown
            )
            firewalld = said or firewalld
        stamp, changes = self.expected.stamp, self.reader.changes_read
        self.containers.setup = read.setup
        if read.setup is not settings_for or is_old(settings_at):
            self.settings.read(read.setup)
        # Asked now, of those listed last: podman may have answered while others were waited for.
        containers, listed, inside = self.containers.known(read.setup, self.containers.alive())
        lock = self._lock.at(time.monotonic())
        drops = await self._look_around(read, firewalld)
        held = self.containers.held(unknown)
        links = self.wires.read(unknown)
        kept_s = math.inf if hurries else KEPT_S
        numbers = self.containers.numbers(unknown)
        namespaces = self.containers.namespaces(links, numbers, unknown, kept_s=kept_s)
        names = self.names.read(read.setup, unknown)
        if not (read.busy or self.expected.is_current()):
            read.busy = "podman is changing a network"
        seen = Snapshot(
            setup=read.setup,
            rules=read.rules,
            firewalld=firewalld,
            containers=containers,
            listed=listed,
            inside=inside,
            generation=read.generation,
            stamp=stamp,
            changes=changes,
            busy=read.busy,
            lock=lock,
            paused=paused,
            neighbours=neighbours,
            sysctls=self.settings.values,
            sysctls_seen=self.settings.seen,
            uplinks=self.settings.uplinks,
            beside=self.settings.beside,
            routed=self.settings.routed,
            around=self.surroundings.around,
            links=links,
            indexes=self.wires.indexes,
            namespaces=namespaces,
            numbers=numbers,
            names=names,
            held=held,
            files=self.installed.networks.read_files(),
            drops=drops,
            netns=around.netns,
            outside=around.outside,
            relays=self.containers.relays(containers, around.netns, unknown),
            copied={} if read.setup is None else self.copied(read.setup.driver).chains,
            others=self.surroundings.others if read.rules is not None else {},
            unknown=tuple(unknown),
        )
        return without_netns(seen)

    def glance(
        self, before: Snapshot, verdict: Verdict, parts: Collection[Part]
    ) -> tuple[Snapshot, Verdict] | None:
        """What is missing now of links or names, on a host that lacked nothing at the look before.

        None where nothing is, or where anything else may be another than it was then.
        """
        if verdict.setup is None or before.busy or self.outdated(before):
            return None
        unknown, now, missing = list[Unknown](), before, list[Missing]()
        if Part.LINKS in parts:
            now = replace(now, links=self.wires.read(unknown))
            missing.extend(missing_links(verdict.setup, now))
        if Part.NAMES in parts:
            now = replace(now, names=self.names.read(verdict.setup, unknown))
            missing.extend(lost_names(verdict.setup, now))
        found = replace(verdict, missing=tuple(missing), state=State.LOST)
        return (now, found) if missing else None

    def with_census(self, before: Snapshot) -> Snapshot | None:
        """The look before, with the containers as podman has just listed them.

        None where anything else may be another than it was then.
        """
        if before.setup is None or before.busy or before.unknown or self.expected.asks_podman:
            return None
        unknown: list[Unknown] = []
        is_same = self.changes() == before.changes and self.wires.read(unknown) is before.links
        if not is_same or self._has_others(before):
            return None
        containers, listed, inside = self.containers.known(before.setup, self.containers.alive())
        now = replace(
            before,
            containers=containers,
            listed=listed,
            inside=inside,
            held=self.containers.held(unknown),
            numbers=self.containers.numbers(unknown),
            names=self.names.read(before.setup, unknown),
        )
        return None if unknown else now

    def judged(self, snapshot: Snapshot) -> tuple[Snapshot, Verdict]:
        """The verdict on a snapshot; where that takes it, the kernel is asked who is there."""
        verdict = judge(snapshot)
        if verdict.asks_inside:
            snapshot = self.with_inside(snapshot)
            verdict = judge(snapshot)
        if PLACES.of(verdict.missing):
            snapshot = self.seen_anew(snapshot)
            verdict = judge(snapshot)
        if verdict.setup is not None:
            links = {file.interface for file, _ in parents(snapshot)}
            links |= wiring(verdict.setup, snapshot).bridges.keys()
            self.wires.follow(links, awaits=bool(verdict.missing or verdict.warnings))
        return snapshot, verdict

    def seen_anew(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with containers' links as they are at this moment, and who is at them.

        What was kept of a namespace may be older than what is expected now.
        """
        unknown: list[Unknown] = []
        busy = snapshot.busy or self.installed.lock.holder()
        held = self.containers.held(unknown)
        links, numbers = self.wires.read(unknown), self.containers.numbers(unknown)
        return replace(
            snapshot,
            held=held,
            links=links,
            numbers=numbers,
            namespaces=self.containers.namespaces(links, numbers, unknown, kept_s=0.0),
            busy=busy or self.outdated(snapshot),
            unknown=(*snapshot.unknown, *unknown),
        )

    def with_inside(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the addresses that are in network namespaces."""
        return replace(snapshot, inside=self.containers.inside())

    def outdated(self, snapshot: Snapshot) -> str:
        """What has changed since a look, of all that a repair is decided from; "" for nothing.

        To be asked at the moment of the repair, with nothing waited for in between.
        """
        if self.containers.held([]) != snapshot.held:
            return "a container has come or gone"
        return self._has_others(snapshot)

    def _has_others(self, snapshot: Snapshot) -> str:
        """The same, but for who has an address of a network without state."""
        if self.expected.stamp != snapshot.stamp or not self.expected.is_current():
            return "a container has come or gone"
        if self._of_user is not None and self._of_user.netns() != snapshot.netns:
            return "the user's network namespace is another one"
        return "" if snapshot.busy else self.installed.lock.holder()

    def _around_user(self) -> AroundUser:
        return AroundUser() if self._of_user is None else self._of_user.read()

    def podman_works(self) -> bool:
        """Whether podman is changing a network at this moment."""
        return bool(self.installed.lock.holder())

    def is_outdated(self) -> bool:
        """Whether something that no event tells of is not what it was at the last look."""
        here = self.wires.are_others(self.setup) or self.surroundings.are_others(self.setup)
        rest = self.settings.are_others() or self.containers.are_others()
        rest = rest or (self._of_user is not None and self._of_user.is_other())
        return here or rest or self.names.are_others(self.setup)

    # The parts of a look.

    async def _hear_firewalld(
        self,
        asked: "asyncio.Task[tuple[Firewalld, list[Unknown]]] | None",
        limit_s: float | None,
        before: object,
        read: Read,
        unknown: list[Unknown],
    ) -> Firewalld:
        """What firewalld said of what is set up now; `before` is the stamp when it was asked."""
        unheard: list[Unknown] = []
        if asked is None:
            kept = self.firewalld.kept(read.setup)
            if kept is not None:
                return self.firewalld.with_tables(kept, unknown)
            before, asked = self.expected.stamp, self.firewalld.begin(read.setup)
        firewalld = await self.firewalld.hear(asked, limit_s, unheard, read.setup)
        if self.expected.stamp != before or self.setup is None:
            # It was asked before what is expected now was set up, or was known: too early.
            unheard.clear()
            again = self.firewalld.begin(read.setup, anew=True)
            firewalld = await self.firewalld.hear(again, None, unheard)
            if not self.expected.is_current():
                read.busy = read.busy or "podman is changing a network"
        unknown.extend(unheard)
        return self.firewalld.with_tables(firewalld, unknown)

    def _patience(self, read: Read) -> float | None:
        """How many seconds who hurries waits for firewalld; None where the rules are firewalld's.

        Not at all where rules are lost, or the name server: each millisecond is one of the outage.
        """
        if read.setup is None or read.rules is None:
            return None
        is_whole = read.rules.chains == self.copied(read.setup.driver).chains
        return PATIENCE_S if is_whole and not self.names.has_ended() else 0.0

    async def _look_around(self, read: Read, firewalld: Firewalld) -> tuple[BaseChain, ...]:
        """Look at the surroundings; the chains that drop, in the driver's own tables, too."""
        if read.setup is None or read.rules is None:
            self.surroundings.look_further(None)
            return ()
        before, self._changes_at = self._changes_at, self.changes()
        await self.surroundings.look(read.setup, is_quiet=self._changes_at == before)
        own = self.rules[read.setup.driver].filter_chains()
        drops = (*filter(forwarding.drops, own), *self.surroundings.drops)
        if before in (None, self._changes_at) and not read.busy:
            self.surroundings.look_further(read.setup, drops=bool(drops) or firewalld.running)
        return drops
