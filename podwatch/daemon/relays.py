# SPDX-License-Identifier: Apache-2.0
"""Relays as looks see them, how each was while it did its work, and hearing that one has ended.

All processes are looked through when one that is known has ended, when containers or their network
namespace are others, and while one is missing: never on a quiet host. What a healthy one was
started with is kept in a file, so that a podwatch that is restarted knows it, too.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from podwatch.adapters.files import read_whole, write_whole
from podwatch.adapters.kernel import lacks_way_out
from podwatch.adapters.process import Watched, started
from podwatch.adapters.relays import RelayProcesses
from podwatch.decide.relays import assigned, duties, mode_of
from podwatch.formats.saved_relays import as_text, parse_saved
from podwatch.words.errors import PodwatchError, StateUnreadable, Unreadable
from podwatch.words.netns import Netns
from podwatch.words.network import Container
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Relays, Role
from podwatch.words.snapshot import Part, Unknown

MAX_BYTES = 8 * 1024 * 1024


class RelaysLook:
    """The relays of one user's containers, with what was seen of them before.

    `kept` is the file of those that were healthy.
    """

    def __init__(self, kept: Path, processes: RelayProcesses | None = None) -> None:
        self.processes = processes or RelayProcesses()
        self._kept = kept
        self._watched = Watched()
        self._followed: dict[int, tuple[str, int]] = {}
        """What to say of each process that is listened to, and the process of its container."""
        self._containers: Mapping[str, Container] = {}
        self._seen: Relays | None = None
        self._seen_for: object = None
        self._is_whole = False
        self._healthy: dict[Duty, Relay] | None = None
        self._keeps = False

    def read(
        self, containers: Mapping[str, Container], netns: Netns | None, unknown: list[Unknown]
    ) -> Relays | None:
        """What runs, and what was healthy; None where that is `unknown`."""
        netns_file = netns.path if netns is not None and netns.inode and netns.has_file else ""
        needed = (
            netns_file,
            frozenset(
                (key, container.pid, container.sandbox, container.mode, container.ports)
                for key, container in containers.items()
                if container.is_up
            ),
        )
        is_same = needed == self._seen_for and not self._followed.keys() - self._watched.alive()
        if self._seen is not None and is_same and self._is_whole:
            return self._seen
        try:
            found = self.scan(containers, netns_file)
        except Unreadable as exc:
            unknown.append(Unknown(Part.RELAYS, "pasta and its like", str(exc), exc.hint))
            return None
        self._seen_for = needed
        return found

    def scan(self, containers: Mapping[str, Container], netns_file: str) -> Relays:
        """The same, of this moment. Raises Unreadable."""
        self._seen = None
        running = tuple(map(self._as_known, self.processes.find()))
        by_duty = assigned(running, containers, netns_file)
        healthy = self._remember(containers, by_duty)
        found = Relays(running, healthy, netns_file, routeless=_routeless(containers))
        needed = duties(containers, found)
        absent = [duty for duty in needed if not any(map(_works, by_duty.get(duty, ())))]
        self._is_whole = not absent
        if any(duty.role is Role.PORTS and duty not in healthy for duty in absent):
            found = replace(found, taken=self.processes.taken())
        self._follow(containers, {duty: by_duty.get(duty, []) for duty in needed})
        self._seen = found
        return found

    def _as_known(self, relay: Relay) -> Relay:
        """A relay that was seen at work, with what was seen of it then.

        One without its second half may show no more whose it is; a program that was replaced since
        is no more to be compared.
        """
        for known in (self._healthy or {}).values():
            if (known.pid, known.started) == (relay.pid, relay.started):
                return replace(known, child=relay.child)
        return relay

    # Hearing of their ends.

    def listen(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[str], None]) -> None:
        """From now on call `on_end`, on this loop, when one ends whose container lives.

        And keep how the healthy ones were started.
        """
        self._keeps = True
        self._watched.listen(loop, lambda: self._ended(on_end))

    def close(self) -> None:
        """Listen no more."""
        self._watched.close()

    def _ended(self, on_end: Callable[[str], None]) -> None:
        alive = self._watched.alive()
        ended = [self._followed.pop(pid) for pid in list(self._followed) if pid not in alive]
        if ended:
            self._is_whole = False
        for told, owner in ended:
            # podman ends the relays of a container behind it: that is no news.
            if owner in started([owner]) if owner else self._has_bridges():
                on_end(told)
                return

    def _has_bridges(self) -> bool:
        pids = {c.pid for c in self._containers.values() if c.is_up and c.networks and c.pid}
        return bool(started(pids))

    def _follow(
        self, containers: Mapping[str, Container], by_duty: Mapping[Duty, list[Relay]]
    ) -> None:
        self._containers = containers
        self._followed = {}
        for duty, relays in by_duty.items():
            owner = None if duty == UPLINK else containers[duty.container_id]
            whose = "the user's network" if owner is None else owner.title
            for relay in relays:
                told = f"{relay.named} of {whose} ended", owner.pid if owner else 0
                self._followed[relay.pid] = told
                if relay.child:
                    half = f"{relay.named} of {whose} lost its second half ({relay.child})"
                    self._followed[relay.child] = half, told[1]
        self._watched.follow(set(self._followed))

    # Remembering the healthy ones.

    def _remember(
        self, containers: Mapping[str, Container], by_duty: Mapping[Duty, list[Relay]]
    ) -> Mapping[Duty, Relay]:
        """Take in those that work now, and forget those of containers that ended."""
        if self._healthy is None:
            self._healthy = self._load()
        before = self._healthy
        now = {
            duty: relay
            for duty, relay in before.items()
            if duty == UPLINK or not _is_over(containers.get(duty.container_id), containers)
        }
        for duty, relays in by_duty.items():
            if duty == UPLINK or containers[duty.container_id].is_up:
                now.update((duty, relay) for relay in relays if _works(relay) and relay.exe)
        self._healthy = now
        if self._keeps and now != before:
            with suppress(PodwatchError):  # a full disk: what is known now is known all the same
                write_whole(self._kept, as_text(now), mode=0o600)
        return now

    def _load(self) -> dict[Duty, Relay]:
        try:
            text = read_whole(self._kept, limit_bytes=MAX_BYTES, of_root=True)
            return {} if text is None else parse_saved(text)
        except StateUnreadable:
            return {}


class RelaysWatch:
    """Calls `on_change`, with what it heard, when a relay has ended whose container lives."""

    def __init__(self, look: RelaysLook, on_change: Callable[[str], None]) -> None:
        self._look = look
        self._on_change = on_change
        self._listens = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, on this loop; to whom, each look says."""
        self._look.listen(loop, self._on_change)
        self._listens = True

    def close(self) -> None:
        """Stop listening."""
        self._look.close()
        self._listens = False

    def describe(self) -> str:
        """Whether it listens, in words."""
        return "listening" if self._listens else "not listening"


def _routeless(containers: Mapping[str, Container]) -> frozenset[str]:
    """Those with a pasta of their own, and without a default route."""
    return frozenset(
        key
        for key, container in containers.items()
        if container.is_up
        and container.pid
        and mode_of(container) == RelayKind.PASTA
        and lacks_way_out(container.pid)
    )


def _works(relay: Relay) -> bool:
    """Whether it does its work: rootlessport does by its second half."""
    return relay.kind is not RelayKind.PORTS or bool(relay.child)


def _is_over(container: Container | None, containers: Mapping[str, Container]) -> bool:
    """Whether podman, where it was asked, says that a container does not run."""
    if container is None:
        return bool(containers)
    return container.is_dead
