# SPDX-License-Identifier: Apache-2.0
"""podman's containers: when podman is asked for them, what it said, and who of them runs now.

It owns the census (`podwatch.decide.census`), the processes of those in it, and the task that asks.
podman is asked when something started or ended since, and again at growing intervals while somebody
lives whom it does not call running.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from podwatch.adapters.ipam import AddressBook
from podwatch.adapters.process import Watched
from podwatch.daemon.expected import Expected
from podwatch.daemon.inside import Inside
from podwatch.daemon.installed import Installed
from podwatch.decide.census import Asked, Census, by_kernel, in_doubt, living
from podwatch.decide.classes import classify
from podwatch.words.errors import LinksUnreadable, PodwatchError, StateUnreadable, Unreadable
from podwatch.words.gates import ON_A_PARENT, NetworkFile
from podwatch.words.links import Links, Namespaces
from podwatch.words.netns import Netns
from podwatch.words.network import Address, Container, ContainerState, FirewallDriver, Held, Setup
from podwatch.words.relays import Relays
from podwatch.words.snapshot import Part, Unknown

if TYPE_CHECKING:  # root's podwatch does without
    from podwatch.daemon.relays import RelaysLook

QUIET_S = 0.5
"""podman is asked for its containers when netavark's state has been the same for so long."""

Known = tuple[Mapping[str, Container], frozenset[str], Mapping[Address, int] | None]
"""Containers by id, as far as what podman said still holds; the ids of those that surely run; in
how many network namespaces an address is, None where the kernel did not tell or was not asked."""


class Containers:
    """The containers of one Podman.

    `changes` counts the transactions on the driver's rules. `relays` looks for what carries the
    packets of a user's. `clock` counts seconds, as the running event loop does.
    """

    def __init__(
        self,
        expected: Expected,
        installed: Installed,
        changes: Callable[[], int],
        *,
        inside: Inside | None = None,
        relays: "RelaysLook | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.census = Census()
        self.setup: Setup | None = None
        """What was set up at the last look; None where it could not be read."""
        self._expected = expected
        self._installed = installed
        self._changes = changes
        self._inside = inside or Inside()
        self._relays = relays
        self._book = AddressBook(installed.paths.addresses)
        self._clock = clock
        self._watched = Watched()
        """The processes of containers, as they were when those were listed."""
        self._asking: asyncio.Task[None] | None = None
        self._failed: tuple[object, float] | None = None
        """The stamp of the state for which podman did not answer, and when that was."""

    def remember(self, listed: Mapping[str, Container]) -> None:
        """Take up the containers listed earlier, until podman is asked.

        Whether their processes are still there nobody knows.
        """
        presumed = {ContainerState.UP: ContainerState.PRESUMED}
        self.census = Census(
            {
                key: replace(container, pid=0, state=presumed.get(container.state, container.state))
                for key, container in listed.items()
            }
        )

    def doubt(self, at: float) -> None:
        """The rules were changed at this moment: who is only created may have come to run."""
        self.census = self.census.doubted(at)

    # Asking podman.

    @property
    def again_at(self) -> float | None:
        """When podman has to be asked once more though nothing tells of it; None for never."""
        return self.census.again_at

    @property
    def is_due(self) -> bool:
        """Whether podman has to be asked: something started or ended since, or it is time."""
        if self.setup is None:
            return False
        again_at, asked = self.census.again_at, self.census.asked
        if again_at is not None and self._clock() >= again_at:
            return True
        # What is in doubt gets its time: it would be taken for dead the next time podman is asked.
        if asked is None or asked.stamp != self._expected.stamp:
            return True
        return again_at is None and asked.runtime != self._installed.podman.runtime_stamp()

    @property
    def is_asking(self) -> bool:
        """Whether podman is being asked, or will be once it is quiet."""
        return self._asking is not None and not self._asking.done()

    def ask_soon(
        self,
        heard: Callable[[], None],
        complain: Callable[[PodwatchError], None],
        *,
        again_s: float,
    ) -> None:
        """Have podman asked where that is due, as soon as netavark's state is quiet.

        `heard` is called once it has answered, or has not: then `complain` is, too, and it is asked
        for the same state again `again_s` seconds later, not before.
        """
        if self.is_asking or not self.is_due:
            return
        if self._failed is not None:
            stamp, failed_at = self._failed
            if self._expected.stamp == stamp and self._clock() < failed_at + again_s:
                return
        self._asking = asyncio.create_task(self._ask_when_quiet(heard, complain), name="containers")

    async def _ask_when_quiet(
        self, heard: Callable[[], None], complain: Callable[[PodwatchError], None]
    ) -> None:
        stamp: object = None
        while stamp != self._expected.stamp:
            stamp = self._expected.stamp
            await asyncio.sleep(QUIET_S)
        try:
            await self.ask()
        except Unreadable as exc:
            self._failed = stamp, self._clock()
            complain(exc)
        heard()

    async def ask(self) -> None:
        """Ask podman now. Raises Unreadable where it does not answer."""
        asked = self.asked_now()
        self.take(await self._expected.list_containers(), asked)

    def asked_now(self) -> Asked:
        """What is so now, before podman is asked."""
        stamps = {} if self.setup is None else self.setup.stamps
        return Asked(self._expected.stamp, stamps, self._installed.podman.runtime_stamp())

    def take_listed(self, setup: Setup, runtime: object) -> None:
        """Keep the containers that podman named when it was asked what is set up, if it was.

        `setup` is what was read then, `runtime` the runtime's stamp before.
        """
        listed = self._expected.take_listed()
        if listed is not None:
            self.take(listed, Asked(self._expected.stamp, setup.stamps, runtime))

    def take(self, listed: Mapping[str, Container], asked: Asked) -> None:
        """Keep the containers that podman listed; `asked` is what was so before."""
        host_netns = str(os.stat("/proc/self/ns/net").st_ino)
        files = self._installed.networks.read_files()
        kinds = {name: network.kind for name, network in files.items()}
        containers = classify(listed, kinds, host_netns)
        wired: set[str] = set()
        if self.setup is not None and asked.stamp == self._expected.stamp:
            seen = Census(containers, asked).at(asked.stamp, self.setup)
            doubtful = in_doubt(self.setup, seen)
            if doubtful:
                seen |= by_kernel(self.setup, seen, self.inside(), told=True)
            wired = {key for key in doubtful if seen[key].is_running}
        if self._expected.asks_podman:  # one that is being started is not in the setup yet
            wired |= {
                key
                for key, container in containers.items()
                if container.state is ContainerState.CREATED and container.networks
            }
        self._watched.follow({container.pid for container in containers.values() if container.pid})
        self.census = self.census.next(
            containers, asked, wired, self._watched.alive(), self._clock()
        )

    def close(self) -> None:
        """Ask no more, and let go of processes."""
        self._watched.close()
        if self._asking is not None:
            self._asking.cancel()

    # What is known of them.

    def listen(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
        """From now on call `on_end`, on this loop, when the process of a container ends."""
        self._watched.listen(loop, on_end)

    def alive(self) -> set[int]:
        """The processes of containers that have not ended."""
        return self._watched.alive()

    def ended(self, setup: Setup, stamp: object = None) -> frozenset[str]:
        """Those in a setup whose process has ended since podman was asked.

        `stamp` is that of all state in it; None: that of the last look.
        """
        stamp = self._expected.stamp if stamp is None else stamp
        return frozenset(self.census.ended(stamp, setup, self.alive()))

    def known(self, setup: Setup | None, alive: set[int]) -> Known:
        """What is known of the containers now; `alive` are their processes that have not ended.

        The kernel is asked who is in a network namespace where somebody has state and is not listed
        as running.
        """
        stamp = self._expected.stamp
        setup = setup or Setup(FirewallDriver.UNKNOWN)
        found, inside = self.census.at(stamp, setup), None
        for key in self.census.ended(stamp, setup, alive):
            found[key] = replace(found[key], state=ContainerState.JUST_ENDED)
        if in_doubt(setup, found):
            inside = self.inside()
            found |= by_kernel(setup, found, inside, told=self.census.asked is not None)
        # Where podman says what is set up, nothing else says so.
        by_state = frozenset() if self._expected.asks_podman else self.census.running(stamp, alive)
        return found, by_state, inside

    def running(self, setup: Setup) -> Setup:
        """The setup without containers that do not run, as far as is known now."""
        return living(setup, self.known(setup, self.alive())[0])

    def namespaces(
        self,
        links: Links | None,
        numbers: Mapping[str, int],
        unknown: list[Unknown],
        *,
        kept_s: float,
    ) -> Namespaces | None:
        """What is in the namespaces behind veths of the host's links, and with these `numbers`.

        What was seen of them `kept_s` seconds ago is good, unless a veth was changed since. None,
        and why in `unknown`, where the kernel does not tell.
        """
        if links is None:
            return None
        try:
            parents = {file.interface for file in self._over_parents().values()}
            state = frozenset(
                (link.index, link.is_up) for name, link in links.by_name.items() if name in parents
            )
            others = {number: (key, state) for key, number in numbers.items()}
            return self._inside.namespaces(links, kept_s, others)
        except LinksUnreadable as exc:
            what = "the containers' network namespaces"
            unknown.append(Unknown(Part.LINKS, what, str(exc), exc.hint))
            return None

    def numbers(self, unknown: list[Unknown]) -> Mapping[str, int]:
        """The numbers of the namespaces of those on top of a parent, as with macvlan, by their ids.

        Of those whose process lives. None, and why in `unknown`, where the kernel does not tell.
        """
        over = self._over_parents().keys()
        wanted = {c.id: int(c.netns) for c in self._up() if c.netns and over & {*c.networks}}
        try:
            found = self._inside.numbers(frozenset(wanted.values())) if wanted else {}
        except LinksUnreadable as exc:
            unknown.append(Unknown(Part.LINKS, "a network namespace", str(exc), exc.hint))
            return {}
        return {key: found[inode] for key, inode in wanted.items() if inode in found}

    def _over_parents(self) -> dict[str, NetworkFile]:
        """The networks that are made on top of a parent, by name."""
        files = self._installed.networks.read_files()
        return {name: file for name, file in files.items() if file.kind in ON_A_PARENT}

    def _up(self) -> list[Container]:
        """Those who are up for podman, and whose process lives."""
        alive = self.alive()
        return [c for c in self.census.containers.values() if c.is_up and c.pid in alive]

    def relays(
        self, known: Mapping[str, Container], netns: Netns | None, unknown: list[Unknown]
    ) -> Relays | None:
        """What carries the packets of a user's containers, which are `known`; see RelaysLook."""
        return None if self._relays is None else self._relays.read(known, netns, unknown)

    def are_others(self) -> bool:
        """Whether it is known that something in a namespace is not as it was at the last look."""
        return self._inside.are_others()

    def held(self, unknown: list[Unknown]) -> Held:
        """The addresses that podman gave to those whose process lives, by network and container.

        None, and why in `unknown`, where its database cannot be read.
        """
        try:
            found = self._book.read() or {}
        except StateUnreadable as exc:
            unknown.append(Unknown(Part.LINKS, "podman's addresses", str(exc), exc.hint))
            return {}
        up = {container.id for container in self._up()}
        return {
            network: {key: addresses for key, addresses in holders.items() if key in up}
            for network, holders in found.items()
        }

    def inside(self) -> Mapping[Address, int] | None:
        """In how many namespaces an address is; None where the kernel does not tell."""
        return self._inside.at((self._changes(), self._expected.stamp))

    def inside_now(self) -> Mapping[Address, int] | None:
        """The same, asked at this moment, though nothing may have changed."""
        return self._inside.at(object())
