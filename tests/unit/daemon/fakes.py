# SPDX-License-Identifier: Apache-2.0
"""A host for the main loop, on which each means does what a test says, and a clock that jumps.

Time passes only while everybody waits: the event loop goes on at once with what is due next.
"""

import asyncio
import selectors
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from podwatch.daemon.config import Config
from podwatch.daemon.hints import Hints
from podwatch.daemon.loop import Loop
from podwatch.daemon.pause import Pause
from podwatch.words.cause import Cause
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Method, Outcome
from podwatch.words.network import Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Part, Snapshot
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from podwatch.words.way import BaseChain, Way

BEGAN_S = 1000.0
TABLE = "inet netavark"
OK = Verdict(State.OK)
DONE = Outcome(Method.REPLAY, done=True, detail="")


def lost(*rules: str) -> Verdict:
    """These rules are missing, each the one of a container of its name."""
    missing = tuple(Missing(MissingKind.RULE, rule, rule, container_ids=(rule,)) for rule in rules)
    return Verdict(State.LOST, missing, all_container_ids=(*rules, "other"))


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop for what only waits for time and for itself."""

    def __init__(self) -> None:
        self.now = BEGAN_S
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """The moment to which it has jumped, in seconds."""
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._jumping = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for ever"
        self._jumping.now += max(timeout, 0.0)
        return super().select(0)


def now() -> float:
    """The moment on the loop that runs, in seconds."""
    return asyncio.get_running_loop().time()


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run this on a loop that jumps."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body)


class PlainRules:
    """A firewall driver's rules that work, of one program, and have nothing special about them.

    Who reads them, and puts them right, is a class of the test's.
    """

    tool = "nft"
    writers: frozenset[str] = frozenset()

    async def elsewhere(self, setup: Setup) -> Ruleset | None:
        """Nowhere."""
        return None

    def remember(self, chains: Mapping[str, Chain]) -> None:
        """Nothing."""

    def exist(self) -> bool:
        """Not asked for."""
        return False

    def filter_chains(self) -> tuple[BaseChain, ...]:
        """None."""
        return ()

    async def clear(self) -> None:
        """Not expected."""
        raise NotImplementedError

    async def tool_works(self) -> str:
        """It does."""
        return ""


@dataclass
class FakeHost:
    """What is missing on it, what each means leaves missing, and what was done, in order.

    It is all that the loop is handed: looker, restorer, saved copy, containers, what is expected,
    surroundings, ways and publisher. `in_looks` and
    `in_repairs` are done in the middle of the next ones, one each; a repair gives way to nobody
    where there is nothing to do in it. `in_socket` is what the kernel has said and nobody has read.
    """

    verdict: Verdict
    leaves: Mapping[str, Verdict] = field(default_factory=dict)
    outcome: Outcome = DONE
    config: Config = field(default_factory=Config)
    covered: bool = True
    glances: Verdict | None = None
    is_astray: bool = False
    is_asking: bool = False
    fewer: bool = False
    works: list[float] = field(default_factory=list)
    census_is_enough: bool = False
    asked_routes_at: list[float] = field(default_factory=list)
    pause: Pause | None = None
    has_netavarks_units: bool = False
    looks_s: float = 0.0
    repairs_s: float = 0.0
    in_looks: list[Callable[[], None]] = field(default_factory=list)
    in_repairs: list[Callable[[], None]] = field(default_factory=list)
    in_socket: list[Callable[[], None]] = field(default_factory=list)
    hints: Hints = field(default_factory=lambda: Hints("podwatch", now))
    done: list[str] = field(default_factory=list)
    looks_at: list[float] = field(default_factory=list)
    reports_at: list[float] = field(default_factory=list)
    asked_soon_at: list[float] = field(default_factory=list)
    asked_firewalld: list[bool] = field(default_factory=list)
    copies: list[bool] = field(default_factory=list)
    others: list[frozenset[str]] = field(default_factory=list)
    due_at: float | None = None
    again_at: float | None = None
    doubted: list[float] = field(default_factory=list)
    found: tuple[Way, ...] = ()
    told: list[Verdict] = field(default_factory=list)
    worked_out_at: list[float] = field(default_factory=list)
    tables = frozenset({TABLE})
    writers = frozenset({"iptables"})

    async def look(self, *, paused: str, hurries: bool, of_podman: bool) -> Snapshot:
        """See what is missing."""
        self.looks_at.append(now())
        self.done.append("look" if hurries else "look and hear firewalld")
        self._seen = self.verdict
        await asyncio.sleep(self.looks_s)
        self._looked_at = now()
        if self.in_looks:
            self.in_looks.pop(0)()
        return Snapshot(None, None, None, paused=paused)

    def judged(self, snapshot: Snapshot) -> tuple[Snapshot, Verdict]:
        """What it saw."""
        return snapshot, self._seen

    def of(self, _: Snapshot, verdict: Verdict) -> tuple[Way, ...]:
        """The ways, as they are `found`."""
        self.worked_out_at.append(now())
        self._known = self.found
        return self._known

    def known(self, verdict: Verdict) -> tuple[Way, ...]:
        """The ways as they were worked out last."""
        return getattr(self, "_known", ())

    def podman_works(self) -> bool:
        """Whether podman is changing a network: until the moments in `works`, one after another."""
        return bool(self.works) and now() < self.works[0]

    def has_only_fewer(self) -> bool:
        """Whether containers have stopped, and none has come."""
        return self.fewer

    def changes(self) -> int:
        """How many transactions there were, as far as the kernel has said by now."""
        while self.in_socket:
            self.in_socket.pop(0)()
        return self.hints.transactions

    @property
    def wires(self) -> "FakeHost":
        """It tells of links what it tells of rules."""
        return self

    def with_census(self, before: Snapshot) -> Snapshot | None:
        """The look before, with the containers as they were just listed, where that is enough."""
        self.done.append("containers alone")
        self._seen, self._looked_at = self.verdict, now()
        return before if self.census_is_enough else None

    def is_outdated(self) -> bool:
        """Whether packets go another way than at the last look."""
        self.asked_routes_at.append(now())
        return self.is_astray

    def glance(
        self, before: Snapshot, verdict: Verdict, parts: Collection[Part]
    ) -> tuple[Snapshot, Verdict] | None:
        """What it saw of the links alone, where the test says that something is missing of them."""
        assert parts
        self.done.append("glance")
        self._looked_at = now()
        return None if self.glances is None else (before, self.glances)

    def changed(self, _at: float, deleted: frozenset[str]) -> float | None:
        """When to look at the rules of others."""
        self.others.append(deleted)
        return self.due_at

    async def restore(self, method: str, decision: Any, *_more: Any) -> Outcome:
        """Do what the test says this means does."""
        self.done.append(f"{method} {' '.join(decision.container_ids)}".strip())
        if self.repairs_s:
            await asyncio.sleep(self.repairs_s)
        if self.in_repairs:
            await asyncio.sleep(0)
            self.in_repairs.pop(0)()
        if self.outcome.done:
            self.verdict = self.leaves.get(method, self.verdict)
        return replace(self.outcome, method=Method(method))

    def doubt(self, at: float) -> None:
        """Who is only created may have come to run."""
        self.doubted.append(at)

    def ask_soon(self, heard: Callable[[], None], *_: Any, again_s: float) -> None:
        """podman is to be asked where that is due."""
        self.asked_soon_at.append(now())

    def covers(self, *_: Any) -> bool:
        """Whether the copy has what is missing."""
        return self.covered

    def take(self, *_: Any, whole: bool) -> None:
        """Copy the rules."""
        self.copies.append(whole)

    def looked(
        self,
        _: Any,
        verdict: Verdict,
        *_more: Any,
        cause: Cause,
        took_s: float,
        at: float,
    ) -> None:
        """What a look found is reported, and when that was."""
        assert took_s == self.looks_s
        assert at == self._looked_at
        self.reports_at.append(now())
        self.told.append(verdict)
        lost = ", ".join(missing.what for missing in verdict.missing) or "nothing"
        self.done.append(f"report {lost} by {cause.short or cause.text or 'nobody'}")

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """What came of a repair is reported."""
        assert abs(took_s - self.repairs_s) < 1e-6
        self.done.append(f"report {outcome.method} {'done' if outcome.done else outcome.detail}")

    def progress(self, what: str) -> None:
        """A repair says how far it is."""
        self.done.append(what)

    def look_soon(self, _snapshot: Snapshot, _setup: Setup | None, *, acts: bool) -> None:
        """firewalld's permanent configuration is read where that is due."""
        self.asked_firewalld.append(acts)

    def look_again(self) -> None:
        """The same, since firewalld told of a change."""
        self.done.append("read what is permanent again")

    def complain(self, error: PodwatchError) -> None:
        """What podwatch goes without is reported."""
        self.done.append(f"complain {error}")

    def configure(self, config: Config) -> None:
        """Take over a configuration."""
        self.config = config

    def loop(self, *, dry_run: bool = False) -> Loop:
        """The real loop on this host."""
        names = ("looker", "restorer", "copy", "containers", "surroundings", "ways", "expected")
        parts = dict.fromkeys((*names, "permanent"), self)
        host: Any = SimpleNamespace(**parts, configure=self.configure)
        publisher: Any = self
        return Loop(
            host,
            self.hints,
            self.config,
            publisher,
            pause=lambda: self.pause,
            dry_run=dry_run,
            clock=now,
        )

    def drive(
        self, for_s: float, acts: Mapping[float, Callable[[], None]] | None = None, **how: bool
    ) -> list[str]:
        """Run the loop for so long, and do each of `acts` so many seconds after its start.

        What was done, in order.
        """

        async def body() -> None:
            loop = self.loop(**how)
            running = asyncio.ensure_future(loop.run())
            for after_s, act in (acts or {}).items():
                asyncio.get_running_loop().call_later(after_s, act)
            await asyncio.sleep(for_s)
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        run(body())
        return self.done
