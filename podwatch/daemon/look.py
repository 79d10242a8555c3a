# SPDX-License-Identifier: Apache-2.0
"""Looking: one Snapshot of what is expected and what is observed, read at one moment.

A look asks every adapter and turns what fails into `Unknown`; it decides nothing. netavark writes
its state before its rules, so a snapshot is only good when nobody was in the middle of a change:
podman's network lock was free and nobody touched the driver's table while we read.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.netlink import generation, table_exists
from podwatch.adapters.process import Processes, alive, started
from podwatch.adapters.systemd import Systemd
from podwatch.daemon.asking import Asking
from podwatch.daemon.expected import Expected
from podwatch.daemon.firewalls import OTHERS_EVERY_S, Neighbours
from podwatch.daemon.gates import around, drops_of_others, is_there
from podwatch.daemon.in_use import InUse
from podwatch.daemon.inside import Inside
from podwatch.daemon.installed import Installed
from podwatch.daemon.kernel_settings import KernelSettings
from podwatch.daemon.rules import Rules
from podwatch.decide.census import Asked, Census, by_kernel, in_doubt, living
from podwatch.decide.classes import classify
from podwatch.decide.judge import judge
from podwatch.drivers import forwarding
from podwatch.drivers.driver import DRIVERS
from podwatch.drivers.firewalld import POLICIES
from podwatch.drivers.saved import SavedRules
from podwatch.words.errors import Unreadable
from podwatch.words.links import Around
from podwatch.words.network import Address, Container, FirewallDriver, Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, HeldLock, Part, Snapshot, Unknown
from podwatch.words.verdict import Verdict
from podwatch.words.way import BaseChain

_OTHERS_SOON_S = 5.0
"""A firewall that is switched on is there as a whole so long after its first transaction."""

_TRIES = 3
_WAITED_S = 0.05
_PATIENCE_S = 0.25
"""So long who hurries waits for answers over the bus."""
_ALL_TABLES = frozenset(name for each in DRIVERS.values() for name in each.TABLES)


class Looker:
    """Reads everything a Snapshot is made of."""

    def __init__(
        self,
        expected: Expected,
        installed: Installed,
        rules: Mapping[FirewallDriver, Rules],
        firewalld: FirewalldWatch | None,
        systemd: Systemd | None,
        nft: Nftables | None = None,
        *,
        changes: Callable[[], int] = generation,
        heard_late: Callable[[], None] = lambda: None,
    ) -> None:
        self.expected = expected
        self.installed = installed
        self.rules = rules
        self.firewalld = firewalld
        self.systemd = systemd
        self.nft = nft
        self.changes = changes
        """A number that is another one after each transaction on the driver's table. Who listens to
        the kernel knows it; the generation, which counts everybody's, will do."""
        self.copied: Callable[[FirewallDriver], SavedRules] = partial(SavedRules, {})
        """The saved copy of a driver's rules."""
        self.census = Census()
        self._inside = Inside()
        self._neighbours = Neighbours(systemd)
        self.asking_firewalld: Asking[tuple[Firewalld, list[Unknown]]] = Asking(heard_late)
        self._asking_neighbours: Asking[tuple[str, ...]] = Asking()
        self._others: Mapping[FirewallDriver, Ruleset] = {}
        self._others_at = -math.inf
        self.others_due: float | None = None
        """When to look at the rules of others, since they were changed."""
        self._others_of = FirewallDriver.UNKNOWN
        self._drops: tuple[BaseChain, ...] = ()
        self._has_drops = False
        self._around: Around | None = None
        """As it was at the last look; None where that had no need to know."""
        self._changes_at: int | None = None  # at the last look
        self._changes_read = 0  # when the rules were read last
        self.setup: Setup | None = None
        """What was set up at the last look; None where it could not be read."""
        self.settings = KernelSettings()
        self._policies_seen: frozenset[str] = frozenset()
        self._processes = Processes()
        self._started: dict[int, int] = {}
        """The processes of containers when they were listed, and when each started."""
        self._locked: tuple[object, float] = (None, -math.inf)
        """podman's lock as it was held at the last look, and since when."""
        self.in_use = InUse()

    @property
    def tables(self) -> frozenset[str]:
        """The nftables tables in which the rules are; every driver's until the first look."""
        if self.setup is not None and self.setup.driver in DRIVERS:
            return DRIVERS[self.setup.driver].TABLES
        return _ALL_TABLES

    @property
    def writers(self) -> frozenset[str]:
        """The names under which the kernel knows what is committed to put rules right."""
        return frozenset(name for each in self.rules.values() for name in each.writers)

    def remember(self, saved: SavedRules) -> None:
        """Take up what an earlier podwatch once saw: it does not show in what is left now."""
        self.settings.remember(saved.sysctls)
        if saved.driver in self.rules:
            self.rules[saved.driver].remember(saved.chains)
            self.in_use.remember(saved.driver)

    def name(self, listed: Mapping[str, Container]) -> None:
        """Take up the containers listed earlier, until podman is asked."""
        self.census = Census({key: replace(each, up=False, pid=0) for key, each in listed.items()})

    def others_changed(self, now: float, deleted: Collection[str] = ()) -> float | None:
        """Note that rules of others were changed; when to look, unless it was said before.

        At once where one of the tables `deleted` has a chain that drops: that does so no more.
        """
        if any(each.table in deleted for each in self._drops):
            return now
        if self.others_due is not None:
            return None
        self.others_due = max(now + _OTHERS_SOON_S, self._others_at + OTHERS_EVERY_S)
        return self.others_due

    async def look(self, *, paused: str = "", hurries: bool = False) -> Snapshot:
        """Look at everything once. Never raises for what cannot be read: that is `unknown`.

        Who hurries does not wait for a bus that is slow: there, what was said last counts.
        """
        unknown: list[Unknown] = []
        before = self.expected.stamp
        asking = self.asking_firewalld.begin(partial(self._firewalld_says, self.setup))
        neighbours = self._asking_neighbours.begin(self._neighbours.active)
        await asyncio.sleep(0)  # the questions are out; what can be read at once is read meanwhile
        setup, rules, at, busy = await self._rules(unknown)
        read_at = time.monotonic()
        self.settings.read(setup)
        here, first = alive(self._started), setup
        limit = self._patience(setup, rules) if hurries else None
        firewalld, unheard = await self.asking_firewalld.hear(asking, limit)
        if self.expected.stamp != before or self.setup is None:
            # firewalld was asked before what is expected now was set up, or was known: too early.
            again = partial(self._firewalld_says, setup)
            firewalld, unheard = await self.asking_firewalld.begin(again, anew=True)
            busy = busy or ("" if self.expected.is_current() else "podman is changing a network")
        unknown.extend(unheard)
        firewalld = _with_tables(firewalld, unknown)
        left = limit and max(read_at + limit - time.monotonic(), 0.0)
        found_neighbours = await self._asking_neighbours.hear(neighbours, left)
        if rules is not None and time.monotonic() > read_at + _WAITED_S:
            # Others were waited for: what is decided is decided from rules and state of one moment.
            heard = self.expected.stamp
            setup, rules, at, busy = await self._rules(unknown)
            if self.expected.stamp != heard:  # firewalld has answered for what was set up before
                busy = busy or "podman is changing a network"
        if setup is not None and self.expected.asks_podman:
            ask = partial(self.ask_firewalld, unknown)
            setup, rules, said = await self.in_use.find(setup, rules, ask, unknown)
            firewalld = said or firewalld
        stamp, changes = self.expected.stamp, self._changes_read
        self.setup = setup
        if setup is not first or time.monotonic() > read_at + _WAITED_S:
            self.settings.read(setup)
            here = alive(self._started)
        containers, listed, inside = self._containers(setup, here)
        lock = self._lock(time.monotonic())
        drops: tuple[BaseChain, ...] = ()
        if setup is not None and rules is not None:
            before_that, self._changes_at = self._changes_at, self.changes()
            await self._look_around(setup, is_quiet=self._changes_at == before_that)
            read = self.rules[setup.driver].filter_chains()
            drops = (*(each for each in read if forwarding.drops(each)), *self._drops)
            self._has_drops = bool(drops)
            if before_that in (None, self._changes_at) and not busy:
                self._around = self._look_further(setup)
        else:
            self._around = None
        return Snapshot(
            setup=setup,
            rules=rules,
            firewalld=firewalld,
            containers=containers,
            listed=listed,
            inside=inside,
            generation=at,
            stamp=stamp,
            changes=changes,
            busy=busy,
            lock=lock,
            paused=paused,
            neighbours=found_neighbours,
            sysctls=self.settings.values,
            sysctls_seen=self.settings.seen,
            uplinks=self.settings.uplinks,
            around=self._around or Around(),
            drops=drops,
            copied={} if setup is None else self.copied(setup.driver).chains,
            others=self._others if rules is not None else {},
            unknown=tuple(unknown),
        )

    def _lock(self, now: float) -> HeldLock | None:
        """podman's network lock while it is held, with its holder and since when.

        podman's own, for writing, is another one for each process; for reading, whoever has it
        keeps podman waiting.
        """
        held = self.installed.lock.held()
        key = None if held is None else (held.path, held.shared, 0 if held.shared else held.pid)
        if self._locked[0] != key:
            self._locked = (key, now)
        if held is None:
            return None
        holder = self._processes.describe(held.pid) if held.pid else ""
        return replace(held, holder=holder, for_s=now - self._locked[1])

    def outdated(self, snapshot: Snapshot) -> str:
        """What has changed since a look, of all that a repair is decided from; "" for nothing.

        To be asked at the moment of the repair, with nothing waited for in between.
        """
        if self.expected.stamp != snapshot.stamp or not self.expected.is_current():
            return "a container has come or gone"
        return "" if snapshot.busy else self.installed.lock.holder()

    def running(self, setup: Setup) -> Setup:
        """The setup without containers that do not run, as far as is known now."""
        return living(setup, self._containers(setup, alive(self._started))[0])

    def judged(self, snapshot: Snapshot) -> tuple[Snapshot, Verdict]:
        """The verdict on a snapshot; where that takes it, the kernel is asked who is there."""
        verdict = judge(snapshot)
        if verdict.asks_inside:
            snapshot = self.with_inside(snapshot)
            verdict = judge(snapshot)
        return snapshot, verdict

    def with_inside(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the addresses that are in network namespaces."""
        return replace(snapshot, inside=self._ask_inside())

    def _ask_inside(self) -> Mapping[Address, int] | None:
        return self._inside.at((self.changes(), self.expected.stamp))

    def ask_inside(self) -> Mapping[Address, int] | None:
        """In how many namespaces an address is, asked now; None where the kernel does not tell."""
        return self._inside.at(object())

    def _containers(
        self, setup: Setup | None, here: set[int]
    ) -> tuple[Mapping[str, Container], frozenset[str], Mapping[Address, int] | None]:
        """podman's containers, as far as that still holds; those that surely run; who is inside.

        `here` are the processes of containers that have not ended. The kernel is asked for the last
        where somebody has state and is not listed as running.
        """
        stamp = self.expected.stamp
        setup = setup or Setup(FirewallDriver.UNKNOWN)
        found, inside = self.census.at(stamp, setup), None
        for key in self.census.ended(stamp, setup, here):
            found[key] = replace(found[key], ended=True)
        if in_doubt(setup, found):
            inside = self._ask_inside()
            found |= by_kernel(setup, found, inside, told=self.census.asked is not None)
        # Where podman says what is set up, nothing else says so.
        by_state = frozenset() if self.expected.asks_podman else self.census.running(stamp, here)
        return found, by_state, inside

    def asking(self) -> Asked:
        """What is so now, before podman is asked for its containers."""
        stamps = {} if self.setup is None else self.setup.stamps
        return Asked(self.expected.stamp, stamps, self.installed.podman.runtime_stamp())

    def take_census(self, containers: Mapping[str, Container], asked: Asked) -> None:
        """Keep podman's containers, listed after `asking` said what was so."""
        host_netns = str(os.stat("/proc/self/ns/net").st_ino)
        kinds = {name: each.kind for name, each in self.installed.networks.read_files().items()}
        containers = classify(containers, kinds, host_netns)
        wired: set[str] = set()
        if self.setup is not None and asked.stamp == self.expected.stamp:
            seen = Census(containers, asked).at(asked.stamp, self.setup)
            doubtful = in_doubt(self.setup, seen)
            if doubtful:
                seen |= by_kernel(self.setup, seen, self._ask_inside(), told=True)
            wired = {key for key in doubtful if seen[key].running}
        if self.expected.asks_podman:  # one that is being started is not in the setup yet
            wired |= {key for key, each in containers.items() if each.created and each.networks}
        self._started = started({each.pid for each in containers.values() if each.pid})
        self.census = self.census.next(
            containers, asked, wired, self._started.keys(), time.monotonic()
        )

    @property
    def wants_census(self) -> bool:
        """Whether podman has to be asked: something started or ended since, or it is time."""
        if self.setup is None:
            return False
        again_at = self.census.again_at
        if again_at is not None and time.monotonic() >= again_at:
            return True
        # What is in doubt gets its time: it would be taken for dead the next time podman is asked.
        asked = self.census.asked
        if asked is None or asked.stamp != self.expected.stamp:
            return True
        return again_at is None and asked.runtime != self.installed.podman.runtime_stamp()

    async def _rules(self, unknown: list[Unknown]) -> tuple[Setup | None, Ruleset | None, int, str]:
        """Expected and observed of one generation, and who is in the middle of a change."""
        setup: Setup | None = None
        rules: Ruleset | None = None
        at = 0
        busy = ""
        for _ in range(_TRIES):
            busy, runtime = self.installed.lock.holder(), self.installed.podman.runtime_stamp()
            try:
                setup = await self.expected.read()
            except Unreadable as exc:
                unknown.append(Unknown(Part.SETUP, "netavark's state", str(exc), exc.hint))
                return None, None, 0, busy
            driver = self.rules.get(setup.driver)
            if driver is None or not setup.endpoints:
                return setup, None, 0, busy or self.installed.lock.holder()
            if self.expected.listed is not None:
                listed, self.expected.listed = self.expected.listed, None
                self.take_census(listed, Asked(self.expected.stamp, setup.stamps, runtime))
            try:
                before = self._changes_read = self.changes()
                rules = await driver.read()
                if not rules.present:
                    rules = await driver.elsewhere(setup) or rules
                at = generation()
                unchanged = self.changes() == before
            except Unreadable as exc:
                unknown.append(Unknown(Part.RULES, setup.driver, str(exc), exc.hint))
                return setup, None, 0, busy
            busy = busy or self.installed.lock.holder()
            if unchanged and self.expected.is_current():
                return setup, rules, at, busy
        return setup, rules, at, busy or "the rules change faster than they can be read"

    async def _firewalld_says(self, setup: Setup | None) -> tuple[Firewalld, list[Unknown]]:
        unknown: list[Unknown] = []
        if self.firewalld is None:
            return ABSENT_FIREWALLD, unknown
        try:
            by_policies = setup is not None and setup.driver is FirewallDriver.FIREWALLD
            found = await self.firewalld.read(POLICIES if by_policies else ())
        except Unreadable as exc:
            unknown.append(Unknown(Part.FIREWALLD, "firewalld", str(exc), exc.hint))
            return ABSENT_FIREWALLD, unknown
        if found.running:
            self._policies_seen |= found.policies.keys()
            found = replace(found, policies_before=self._policies_seen)
        return found, unknown

    async def ask_firewalld(self, unknown: list[Unknown], setup: Setup | None = None) -> Firewalld:
        """What firewalld says, and what the kernel says of its tables; or one more `unknown`.

        Its policies are asked for where the driver of `setup` has its rules in them.
        """
        said, unheard = await self._firewalld_says(setup)
        unknown.extend(unheard)
        return _with_tables(said, unknown)

    def _patience(self, setup: Setup | None, rules: Ruleset | None) -> float | None:
        """How many seconds who hurries waits for firewalld; None where the rules are firewalld's.

        Not at all where rules are lost: each millisecond is one of the outage.
        """
        if setup is None or rules is None:
            return None
        return _PATIENCE_S if rules.chains == self.copied(setup.driver).chains else 0.0

    def _look_further(self, setup: Setup) -> Around:
        try:
            return around(setup, self.installed, drops=self._has_drops)
        except Unreadable:
            return Around()

    def is_outdated(self) -> bool:
        """Whether something that no event tells of is not what it was at the last look."""
        if self.settings.are_others():
            return True
        if self.setup is None or self._around is None:
            return False
        return self._look_further(self.setup) != self._around

    async def _look_around(self, setup: Setup, *, is_quiet: bool) -> None:
        """Look at the rules of others: now and then, when the driver is another, until they go.

        They are no part of a loss: while the driver's rules change, nobody waits for them.
        """
        now = time.monotonic()
        is_due = is_quiet and now >= self._others_at + OTHERS_EVERY_S
        if is_due or setup.driver != self._others_of:
            is_due = True
            self._others_at, self._others_of, self.others_due = now, setup.driver, None
            try:
                tables = DRIVERS[setup.driver].TABLES
                self._drops = () if self.nft is None else await drops_of_others(self.nft, tables)
            except Unreadable:
                self._drops = ()
        else:
            self._drops = tuple(each for each in self._drops if is_there(each))
            if self.others_due is not None:
                self.others_due = max(self.others_due, now + _OTHERS_SOON_S)
        if is_due or self._others:
            others = {name: each for name, each in self.rules.items() if name != setup.driver}
            try:
                self._others = {
                    name: await each.read() for name, each in others.items() if each.exist()
                }
            except Unreadable:
                self._others = {}


def _with_tables(said: Firewalld, unknown: list[Unknown]) -> Firewalld:
    """What firewalld said, and what the kernel says of its tables now; or one more `unknown`."""
    if not said.running:
        return said
    try:
        return replace(
            said,
            in_kernel=not said.in_kernel or table_exists("inet", "firewalld"),
            reloading=not said.panic and table_exists("inet", "firewalld_policy_drop"),
        )
    except Unreadable as exc:
        unknown.append(Unknown(Part.FIREWALLD, "firewalld", str(exc), exc.hint))
        return ABSENT_FIREWALLD
