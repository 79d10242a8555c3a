# SPDX-License-Identifier: Apache-2.0
"""The API's methods: what each of them does, and for whom.

Plain coroutines that are handed a Call and give its results; how they are served is an adapter's.
Nothing here looks at the host or repairs it beside the loop. Who only wants to look is answered by
what the loop found, and rings it for a look once a second at most, however many they are. What
changes the host is asked of polkit first, and done by the loop, or while it waits.
"""

import asyncio
import pwd
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from podwatch import __version__
from podwatch.adapters.paths import Paths
from podwatch.daemon.audience import Audience
from podwatch.daemon.leftovers import take_away_copies, take_away_from
from podwatch.daemon.loop import Loop
from podwatch.daemon.pause import MAX_PAUSE_S, MAX_REASON, Pause, begin, end, why_blocked
from podwatch.daemon.restore import ended
from podwatch.decide import policy
from podwatch.decide.asked import chosen
from podwatch.decide.decision import Memory
from podwatch.decide.ways import with_ways
from podwatch.report import steps
from podwatch.report.history import incident_of, read
from podwatch.report.listener import Looked
from podwatch.report.publish import Publisher
from podwatch.report.recent import MOST
from podwatch.words.api import FOREVER, INCIDENT, MAX_WAYS, Action, Call, Refused
from podwatch.words.errors import PodwatchError, RestoreFailed
from podwatch.words.text import clean
from podwatch.words.verdict import State
from podwatch.words.way import Way

FRESH_S = 1.0
"""A look that is no older than this is everybody's; and so often one is asked for."""

LOOK_S = 20.0
"""So long a look is waited for: clients give up after 25 s."""

CHANGE_S = 60.0
"""So long a change is waited for, as podwatch restore does."""

_MAX_TARGET = 256
_MAX_LINES = 500
_RECENT_BYTES = 256 * 1024
_WAITS = "a repair is under way that takes its time; try again"

Permit = Callable[[Call, Action], Awaitable[None]]


class Api:
    """Answers calls, from what the loop sees and does.

    `permit` raises Refused where the caller may not. `clock` is the one that a look is dated by.
    """

    def __init__(
        self,
        loop: Loop,
        publisher: Publisher,
        audience: Audience,
        paths: Paths,
        permit: Permit,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._publisher = publisher
        self._audience = audience
        self._paths = paths
        self._permit = permit
        self._clock = clock
        self._rang_at = float("-inf")
        self._change = asyncio.Lock()
        self._past = asyncio.Lock()
        self._knows_past = False
        self._methods: Mapping[str, Callable[..., Awaitable[Sequence[Any]]]] = {
            "Look": self._look,
            "Status": self._status,
            "Explain": self._explain,
            "Incidents": self._incidents,
            "Restore": self._restore,
            "Pause": self._pause,
            "Resume": self._resume,
            "RemoveLeftovers": self._remove_leftovers,
        }

    async def answer(self, call: Call) -> Sequence[Any]:
        """The results of a call, in order; a variant is (signature, value). Raises Refused."""
        if call.method.action is not None:
            await self._permit(call, call.method.action)
        try:
            return await self._methods[call.method.name](call, *call.values)
        except Refused:
            raise
        except RestoreFailed as exc:
            raise Refused("Busy", str(exc), hint=exc.hint) from exc
        except PodwatchError as exc:
            raise Refused("Unknown", str(exc), hint=exc.hint) from exc

    def properties(self) -> Mapping[str, Any]:
        """All properties, as the document that was written last has them."""
        document, pause = self._publisher.document, self._loop.pause()
        until = 0 if pause is None else FOREVER
        if pause is not None and pause.until <= time.time() + MAX_PAUSE_S + 1:
            until = int(pause.until)
        return {
            "Version": __version__,
            "State": str(document.get("state", State.UNKNOWN)),
            "Summary": str(document.get("summary", "podwatch has not looked yet")),
            "Since": int(document.get("since", 0)),
            "PausedUntil": until,
            "IncidentCount": int(document.get("counters", {}).get("incidents", 0)),
        }

    # What anybody may ask.

    async def _look(self, _call: Call) -> Sequence[Any]:
        await self._seen()
        return [str(self._publisher.document["state"])]

    async def _status(self, _call: Call) -> Sequence[Any]:
        if not self._publisher.document:
            raise Refused("Unknown", "podwatch has not looked yet")
        return [self._publisher.text]

    async def _explain(self, _call: Call, target: str) -> Sequence[Any]:
        if len(target) > _MAX_TARGET:
            raise Refused("InvalidArgument", f"a target has {_MAX_TARGET} characters at most")
        look = await self._seen()
        if look.verdict.setup is None:
            why = look.verdict.unknown[0] if look.verdict.unknown else None
            what = f"{why.what}: {why.why}" if why else "it is not known what is set up"
            raise Refused("Unknown", what, hint=why.hint if why else "")
        try:
            found = chosen(look.verdict.ways, clean(target), look.snapshot.containers)
        except PodwatchError as exc:
            raise Refused("NoSuchContainer", str(exc), hint=exc.hint) from exc
        if len(found) > MAX_WAYS:
            raise Refused(
                "InvalidArgument",
                f"{len(found)} ways are more than one answer holds ({MAX_WAYS})",
                hint="ask for a container, a network or a port",
            )
        return [[_as_struct(way) for way in found]]

    async def _incidents(self, _call: Call, count: int) -> Sequence[Any]:
        async with self._past:
            if not self._knows_past:
                await self._remember_the_past()
        newest = self._audience.recent.newest(count)
        return [[{key: (INCIDENT[key], one[key]) for key in INCIDENT} for one in newest]]

    async def _remember_the_past(self) -> None:
        """Read what was written down; where that cannot be, what is known since is told."""
        try:
            told = await asyncio.to_thread(
                read, self._paths.history, last=MOST, limit_bytes=_RECENT_BYTES
            )
        except PodwatchError as exc:
            self._publisher.complain(exc)
            return
        self._audience.recent.remember(
            incident_of(each) for each in told.incidents if each["began"] > 0
        )
        self._knows_past = True

    # What polkit was asked about.

    async def _restore(self, _call: Call, dry_run: bool) -> Sequence[Any]:  # noqa: FBT001 - a value of the call
        if dry_run:
            return ["\n".join(_bounded(self._intended(await self._seen())))]
        loop = self._loop
        pause, enabled = loop.pause(), loop.config.restore.enabled
        if blocked := why_blocked(pause, enabled=enabled, dry_run=loop.dry_run):
            raise Refused("Busy", blocked, hint="podwatch resume" if pause else "")
        async with self._alone():
            return ["\n".join(_bounded(await self._restored()))]

    async def _pause(self, call: Call, seconds: int, reason: str) -> Sequence[Any]:
        if not 1 <= seconds <= MAX_PAUSE_S:
            raise Refused("InvalidArgument", f"seconds: 1 to {MAX_PAUSE_S:.0f}, not {seconds}")
        by = await asyncio.to_thread(_name_of, call.uid)
        now = time.time()
        begin(self._paths.pause, Pause(now, now + seconds, clean(reason)[:MAX_REASON], by))
        await self._taken_over("it is paused, but a repair that began before is under way")
        return []

    async def _resume(self, _call: Call) -> Sequence[Any]:
        was_paused = end(self._paths.pause)
        if was_paused:
            await self._taken_over("the pause has ended; podwatch is still at work")
        return [was_paused]

    async def _remove_leftovers(self, _call: Call, dry_run: bool) -> Sequence[Any]:  # noqa: FBT001 - a value of the call
        told: list[str] = []
        host = self._loop.host
        if self._loop.dry_run and not dry_run:
            raise Refused("Busy", why_blocked(None, enabled=True, dry_run=True))
        async with self._alone():
            # podman takes its time, and keeps nobody from a repair meanwhile.
            running, _ = await host.installed.podman.list_networks()
            async with self._between_looks():
                own = self._publisher.document.get("guard", {}).get("table", "")
                await ended(take_away_copies(host.nft, own, told.append, dry_run=dry_run))
                await ended(take_away_from(host, running, told.append, dry_run=dry_run))
        return ["\n".join(_bounded(told))]

    # How the loop is asked, and what it says.

    async def _seen(self) -> Looked:
        """What a look found that everybody may share; what came of it is over by then."""
        now, last, hints = self._clock(), self._audience.last, self._loop.hints
        # What was said, or seen, and is not told yet: a look that began before is not enough.
        is_stale = hints.wants_look or last is None or last.ended < self._loop.last_look
        if last is not None and not is_stale and self._is_settled(last):
            if now - last.ended < FRESH_S:
                return last
        if not hints.wants_look and now - self._rang_at >= FRESH_S:
            self._rang_at = now
            hints.look_now("asked over D-Bus")
        look = last
        try:
            async with asyncio.timeout(LOOK_S):
                with self._audience.following() as said:
                    while True:
                        heard = await said.get()
                        if not isinstance(heard, Looked):
                            continue
                        look = heard
                        is_new = look.began >= now if is_stale else look.ended > now - FRESH_S
                        if is_new and self._is_settled(look):
                            return look
        except TimeoutError:
            if look is not None and not self._is_settled(look):
                raise Refused("Busy", _WAITS) from None
            raise Refused("Unknown", f"the host could not be looked at in {LOOK_S:.0f} s") from None

    def _is_settled(self, look: Looked) -> bool:
        """Whether nothing is done about it: what is done is followed by another look."""
        return look.decision.method is None or self._loop.dry_run

    async def _taken_over(self, late: str) -> None:
        """Wait for a look that has begun since. Raises Refused, which says `late`."""
        began = self._clock()
        self._loop.hints.look_now("a pause began or ended")
        try:
            async with asyncio.timeout(LOOK_S):
                with self._audience.following() as said:
                    while True:
                        heard = await said.get()
                        if isinstance(heard, Looked) and heard.began >= began:
                            return
        except TimeoutError:
            raise Refused("Busy", late) from None

    def _intended(self, look: Looked) -> list[str]:
        """What a repair would do about what was seen, whatever was tried before, or pauses it."""
        loop = self._loop
        snapshot, verdict = loop.host.looker.judged(replace(look.snapshot, paused=""))
        can_replay = bool(verdict.missing_rules) and loop.host.copy.covers(snapshot, verdict.rules)
        _, decision = policy.step(
            Memory(), verdict, loop.clock(), loop.limits, can_replay=can_replay
        )
        if decision.method is not None:
            return list(steps.intended(verdict, decision, dry_run=True))
        if verdict.missing:
            return [steps.left(verdict, decision)]
        return [steps.whole(with_ways(verdict, look.verdict.ways))]

    async def _restored(self) -> list[str]:
        """Have the loop do what there is to do, and tell each step of it."""
        told: list[str] = []
        began, loop = self._clock(), self._loop
        look: Looked | None = None
        try:
            async with asyncio.timeout(CHANGE_S):
                with self._audience.following() as said:
                    loop.memory = policy.without_back_off(loop.memory)
                    loop.hints.look_now("asked over D-Bus")
                    while True:
                        heard = await said.get()
                        if not isinstance(heard, Looked):
                            told.append(steps.tried(heard))
                            continue
                        if heard.began < began:
                            continue
                        look = heard
                        verdict, decision = look.verdict, look.decision
                        if decision.method is not None:
                            told += steps.intended(verdict, decision, dry_run=False)
                        elif not verdict.missing:
                            return [*told, steps.whole(verdict)]
                        elif decision.look_at is None or decision.look_at > began + CHANGE_S:
                            return [*told, steps.left(verdict, decision)]
        except TimeoutError:
            if look is None:
                raise Refused("Busy", _WAITS) from None
            return [*told, steps.unsettled(look.verdict)]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One change at a time. Raises Refused while another is made."""
        if self._change.locked():
            raise Refused("Busy", "somebody else's call is being carried out; try again")
        async with self._change:
            yield

    @asynccontextmanager
    async def _between_looks(self) -> AsyncIterator[None]:
        """Have the loop wait meanwhile. Raises Refused where its repair takes too long."""
        turn, over = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            turn.set()
            await over.wait()

        try:
            self._loop.hints.ask(wait)
            try:
                async with asyncio.timeout(LOOK_S):
                    await turn.wait()
            except TimeoutError:
                raise Refused("Busy", _WAITS) from None
            yield
        finally:
            over.set()


def _as_struct(way: Way) -> list[Any]:
    hops = [[hop.place, hop.what, str(hop.mark), hop.advice] for hop in way.hops]
    return [str(way.kind), way.title, way.container, hops]


def _bounded(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MAX_LINES
    return [*lines[:_MAX_LINES], *([f"and {more} lines more"] if more > 0 else [])]


def _name_of(uid: int) -> str:
    """Who that is; the number where nobody is called so."""
    try:
        return clean(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)
