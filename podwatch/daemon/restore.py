# SPDX-License-Identifier: Apache-2.0
"""Restoring: carrying out what the policy decided, one means at a time.

Nothing here decides or repeats. What a repair is decided from is compared once more at the moment
it is carried out, with nothing waited for in between: where a container has come or gone since, the
repair is Outdated and nothing is done. What is begun is ended, whatever ends podwatch.

Before `podman network reload` two things are made sure of: the firewall tool that netavark will
call works, and podman answers at all. A reload is a teardown and a setup: one that fails between
the two takes its container off the network for good, as the teardown gives the address back
whatever fails, while the interface stays (containers/common libnetwork/netavark/run.go, Teardown;
seen with podman 4.3 and an nft that fails).

Each means is a coroutine in the table `Restorer.means`, by its word.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from podwatch.adapters import sysctl
from podwatch.adapters.lock import hold
from podwatch.adapters.root_units import Sources
from podwatch.daemon.gates import keep_macs, shut_gates
from podwatch.daemon.installed import Installed
from podwatch.daemon.look import Looker
from podwatch.daemon.rules import Rules
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.daemon.wiring_repair import put_right
from podwatch.decide.blocked import forbids_renewal
from podwatch.decide.decision import Decision
from podwatch.decide.held_back import held_back, sentence
from podwatch.decide.judge import judge
from podwatch.decide.kinds import PLACES
from podwatch.drivers import saved
from podwatch.drivers.driver import about, expected_rules
from podwatch.words.errors import HeldBack, Outdated, PodwatchError, RestoreFailed, Unreadable
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver
from podwatch.words.snapshot import Snapshot, Unknown
from podwatch.words.text import counted, listed
from podwatch.words.verdict import Missing, MissingKind, Verdict

T = TypeVar("T")

END_S = 6.0
"""What is begun gets so long at a stop; of TimeoutStopSec=, 15 s, half is left for rules."""
_ASK_S = 2.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One decision to carry out, and the look it was made of.

    `progress` is told what is under way.
    """

    method: str
    decision: Decision
    snapshot: Snapshot
    verdict: Verdict
    progress: Callable[[str], None]

    def done(self, detail: str, transactions: int = 0) -> Outcome:
        """The outcome where it went through."""
        return Outcome(self.method, done=True, detail=detail, transactions=transactions)


class Restorer:
    """Knows how each means of restoring is carried out on this host.

    `bind` gives the namespace of a user's bridges its file again, `relay` starts what carries a
    user's packets; both say what was done.

    `means` has each by its word: a coroutine that raises PodwatchError where it does not go
    through, and Outdated where the host is another by then.
    """

    def __init__(
        self,
        looker: Looker,
        firewalld: Sources | None,
        installed: Installed,
        copy: SavedCopy,
        *,
        lock: Path,
        bind: Callable[[], str] = lambda: "",
        relay: Callable[[Sequence[Missing], Snapshot], Awaitable[str]] | None = None,
        at_once: int,
        timeout_s: float,
    ) -> None:
        self.looker = looker
        self.firewalld = firewalld
        self.installed = installed
        self.copy = copy
        self.lock = lock
        self.bind = bind
        self.relay = relay
        self.at_once = at_once
        self.timeout_s = timeout_s
        self.turn = asyncio.Lock()  # of whoever reloads containers
        self.means: dict[str, Callable[[Job], Awaitable[Outcome]]] = {
            Method.NETNS: self._bind,
            Method.LINKS: self._mend,
            Method.NAMES: self._name,
            Method.UPLINK: self._relay,
            Method.RELAYS: self._relay,
            Method.SYSCTLS: self._set,
            Method.SOURCES: self._trust,
            Method.REWIRE: self._reload,
            Method.REPLAY: self._replay,
            Method.RELOAD: self._reload,
            Method.ESCALATE: self._reload,
        }
        self._locked = ExitStack()
        self._lockers = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock against another podwatch; this one's loops hold it together."""
        if not self._lockers:
            self._locked.enter_context(hold(self.lock))
        self._lockers += 1
        try:
            yield
        finally:
            self._lockers -= 1
            if not self._lockers:
                self._locked.close()

    async def holds_back(self, container_id: str) -> str:
        """Why a container must not be reloaded for its lease now; "" when it may."""
        unknown: list[Unknown] = []
        setup = self.looker.setup
        why = forbids_renewal(setup, await self.looker.firewalld.ask(unknown), container_id)
        if why:
            return why
        if setup is None:
            return "it is not known what else a reload would touch"
        if why := self._gate(container_id):
            return why
        if all(endpoint.container_id != container_id for endpoint in setup.endpoints):
            return ""  # it has no rules
        if unknown:
            return f"firewalld does not answer: {unknown[0].why}"
        rules = self.looker.rules.get(setup.driver)
        reason = "" if rules is None else await rules.tool_works()
        return f"the {rules.tool} program does not work: {reason}" if rules and reason else ""

    def _gate(self, container_id: str) -> str:
        """Why a reload now would cost the container its network; "" where it would not."""
        try:
            shut = shut_gates(self.looker.setup, self.installed)
        except Unreadable as exc:
            return str(exc)
        return held_back([container_id], self.looker.containers.census.containers, shut).get(
            container_id, ""
        )

    async def renew(self, container_id: str) -> str:
        """Reload one container for its DHCP lease; "" when that worked, else the reason.

        Raises PodwatchError when another podwatch repairs, or systemd does not answer.
        """
        async with self.turn:
            with self.alone():
                if why := self._gate(container_id):
                    return why
                failed = await self._reload_each([container_id])
        return failed.get(container_id, "")

    async def restore(
        self,
        method: str,
        decision: Decision,
        snapshot: Snapshot,
        verdict: Verdict,
        progress: Callable[[str], None],
    ) -> Outcome:
        """Carry out `decision`, which was made of the `verdict` on `snapshot`.

        `progress` is told what is under way. Never raises on failure.
        """
        try:
            with self.alone():
                return await self.means[method](Job(method, decision, snapshot, verdict, progress))
        except Outdated as exc:
            return Outcome(method, done=False, detail=str(exc), outdated=True)
        except PodwatchError as exc:
            detail = f"{exc}; {exc.hint}" if exc.hint else str(exc)
            held = str(exc) if isinstance(exc, HeldBack) else ""
            return Outcome(method, done=False, detail=detail, held=held)

    async def _bind(self, job: Job) -> Outcome:
        return job.done(self.bind())

    async def _mend(self, job: Job) -> Outcome:
        """Put right what is still missing of bridges and links."""
        self._check(job.snapshot)
        done = put_right(job.decision.missing, job.snapshot, job.verdict, self.looker.wires)
        return job.done(done)

    async def _set(self, job: Job) -> Outcome:
        """Write each sysctl that is missing."""
        self._check(job.snapshot)
        done = []
        for loss in job.decision.missing:
            sysctl.write(loss.place, loss.value)
            done.append(f"{loss.place.replace('/', '.')} = {loss.value}")
        return job.done(f"{', '.join(done)} set again")

    async def _name(self, job: Job) -> Outcome:
        """Have aardvark-dns answer again; what that is decided from is read anew for it."""
        return job.done(await self.looker.names.mend(job.snapshot.setup))

    async def _relay(self, job: Job) -> Outcome:
        """Start relays again; what each depends on is looked at anew for it."""
        self._check(job.snapshot)
        if self.relay is None:
            raise RestoreFailed("relays are started for a user's containers alone")
        return job.done(await self.relay(job.decision.missing, job.snapshot))

    async def _trust(self, job: Job) -> Outcome:
        """Make each subnet a source of firewalld's zone again."""
        if self.firewalld is None or job.snapshot.setup is None:
            raise RestoreFailed("firewalld is not there to take a trusted source")
        done, zone = [], about(job.snapshot.setup.driver).zone
        for loss in job.decision.missing:
            self._check(job.snapshot)
            await self.firewalld.trust(loss.detail, zone)
            done.append(loss.detail)
        return job.done(f"firewalld's zone {zone} has {', '.join(done)} again")

    def _check(self, snapshot: Snapshot) -> None:
        """Raise Outdated where the snapshot is not what would be seen now."""
        if why := self.looker.outdated(snapshot):
            raise Outdated(f"{why} since the look")

    async def _replay(self, job: Job) -> Outcome:
        """Put back what the copy has of the missing rules, and take away what closes a way."""
        snapshot = job.snapshot
        if snapshot.setup is None or snapshot.rules is None:
            raise RestoreFailed("the rules could not be read")
        stale = self._still_stale(job)
        copy = self.copy.of(snapshot.setup.driver)
        todo = saved.repairs(copy, job.verdict.rules, snapshot.rules, stale)
        if not todo:
            return job.done("nothing had to be put back")
        self._check(snapshot)
        try:
            transactions = await self._rules(snapshot).repair(todo, snapshot.rules)
        except RestoreFailed as exc:
            if self.looker.changes() != snapshot.changes:
                raise Outdated(f"somebody changed the rules since the look ({exc})") from exc
            raise
        how = ", what was left over taken away" if stale else " from the verified copy"
        return job.done(f"{counted(len(todo), 'chain')} put right{how}", transactions)

    def _still_stale(self, job: Job) -> tuple[tuple[str, str], ...]:
        """What is to be taken away, and is nobody's at this moment: the kernel is asked anew."""
        before = _stale(job.decision.missing)
        if not before:
            return ()
        verdict = judge(replace(job.snapshot, inside=self.looker.containers.inside_now()))
        now = _stale(verdict.missing)
        return tuple(rule for rule in before if rule in now)

    @staticmethod
    def _driver(snapshot: Snapshot) -> FirewallDriver:
        return FirewallDriver.UNKNOWN if snapshot.setup is None else snapshot.setup.driver

    def _rules(self, snapshot: Snapshot) -> Rules:
        driver = self._driver(snapshot)
        if driver not in self.looker.rules:
            raise RestoreFailed(f"podwatch cannot put back rules of the driver {driver}")
        return self.looker.rules[driver]

    async def _reload(self, job: Job) -> Outcome:
        """Have podman set up anew the networks of those that miss something."""
        async with self.turn:
            return await self._reload_in_turn(job)

    async def _reload_in_turn(self, job: Job) -> Outcome:
        snapshot, is_escalation = job.snapshot, job.method == Method.ESCALATE
        # Where netavark has firewalld make the rules, that has just answered what is missing.
        driver = self._driver(snapshot)
        rules = self.looker.rules.get(driver)
        reason = "" if rules is None else await rules.tool_works()
        if rules is not None and reason:
            raise RestoreFailed(
                f"not reloading: the {rules.tool} program does not work: {reason}",
                hint=f"repair {rules.tool} first: a reload now would take containers off the "
                "network",
            )
        await self.looker.containers.ask()
        known = self.looker.containers.census.containers
        running = [
            key for key in job.decision.container_ids if key in known and known[key].is_running
        ]
        if not running:
            raise RestoreFailed("none of the containers can be reloaded: not running")
        if job.method == Method.REWIRE:
            running = self._still_out(job, running)
        shut = shut_gates(snapshot.setup, self.installed)
        held = held_back(running, known, shut, job.verdict.missing)
        ids = [key for key in running if key not in held]
        if held and (not ids or is_escalation):
            # Cleared with the rest, they would be left without any rule.
            raise HeldBack(sentence(held, known))
        self._check(snapshot)
        job.progress(f"reloading the network of {counted(len(ids), 'container')}")
        if is_escalation:
            failed = await self._escalate(job, ids)
        else:
            failed = await self._reload_each(ids)
        if failed:
            names = listed([f"{known[key].title} ({why})" for key, why in failed.items()])
            raise RestoreFailed(
                f"podman network reload failed for {len(failed)} of "
                f"{counted(len(ids), 'container')}: {names}",
                hint=self.installed.podman.journal,
            )
        if held:
            done = f"podman network reload of {counted(len(ids), 'container')}"
            raise HeldBack(f"{done}, {sentence(held, known)}")
        what = f"{about(driver).place} was cleared and " if is_escalation else ""
        return job.done(f"{what}podman network reload of {counted(len(ids), 'container')}")

    def _still_out(self, job: Job, ids: list[str]) -> list[str]:
        """Those who still miss what only podman can put right: the kernel is asked anew.

        Raises Outdated where there is none.
        """
        verdict = judge(self.looker.seen_anew(job.snapshot))
        out = {key for loss in PLACES.of(verdict.missing) for key in loss.container_ids}
        if not (still := [key for key in ids if key in out]):
            raise Outdated("the containers' links were put right since the look")
        return still

    async def _escalate(self, job: Job, ids: list[str]) -> dict[str, str]:
        """Clear the rules and reload all; as they were, damaged, is better than gone.

        They are kept in the copy first: should podwatch be killed now, the next one puts them back.
        """
        rules = self._rules(job.snapshot)
        self.copy.take(job.snapshot, job.verdict.rules, whole=False)
        failed = dict.fromkeys(ids, "it was interrupted")
        try:
            await rules.clear()
            failed = await self._reload_each(ids)
        finally:
            if failed:
                await ended(self._put_back(rules, job.progress))
        return failed

    async def _put_back(self, rules: Rules, progress: Callable[[str], None]) -> None:
        """Put back what is expected now and missing, as far as the copy has it."""
        reason = ""
        for _ in range(_TRIES):
            try:
                async with asyncio.timeout(_ASK_S):
                    setup = await self.looker.expected.read()
                copy = self.copy.of(setup.driver)
                rules.remember(copy.chains)
                now = await rules.read()
                expected = expected_rules(self.looker.containers.running(setup), now)
                if todo := saved.repairs(copy, expected, now):
                    await rules.repair(todo, now)
                return
            except (PodwatchError, TimeoutError) as exc:  # or somebody changed them meanwhile
                reason = str(exc) or "podman does not answer"
        progress(f"could not put back the rules as they were: {reason}")

    async def _reload_each(self, ids: list[str]) -> dict[str, str]:
        """Reload every one of `ids`, and touch no other; those that failed, with the reason.

        Whoever interrupts it waits for those that have begun: a reload that is cut off takes its
        container off the network. The others are not begun any more.
        """
        keep_macs(self.looker.setup, self.installed)
        failed: dict[str, str] = {}
        for at in range(0, len(ids), self.at_once):
            some = ids[at : at + self.at_once]
            reload = self.installed.podman.reload
            failed |= await ended(reload(some, at_once=self.at_once, timeout_s=self.timeout_s))
        return failed


async def ended(begun: Coroutine[Any, Any, T]) -> T:
    """Await what must not be cut off: it is cancelled only when it has not ended END_S later."""
    task = asyncio.ensure_future(begun)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=END_S)
        if task.done() and not task.cancelled():
            task.exception()  # nobody else asks for it
        task.cancel()
        raise


def _stale(missing: Iterable[Missing]) -> tuple[tuple[str, str], ...]:
    """(chain, rule) of each rule that closes a way."""
    return tuple((loss.chain, loss.detail) for loss in missing if loss.kind == MissingKind.STALE)
