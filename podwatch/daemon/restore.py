# SPDX-License-Identifier: Apache-2.0
"""Restoring: carrying out what the policy decided, one means at a time.

Nothing here decides or repeats. Before `podman network reload` two things are made sure of, since
a reload that fails half-way takes a container off the network for good (podman.md 3.5: its address
is given back while its interface stays): the firewall tool that netavark will call works, and
podman answers at all.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from podwatch.adapters import podman, podman_networks, sysctl
from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.lock import hold
from podwatch.adapters.systemd import Systemd
from podwatch.adapters.unixsocket import is_listening, path_exists
from podwatch.daemon.look import Looker
from podwatch.daemon.rules import Rules
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.decide.blocked import forbids_renewal
from podwatch.decide.census import living
from podwatch.decide.held import held_back, told
from podwatch.decide.policy import Decision, Method
from podwatch.drivers import saved
from podwatch.drivers.driver import DRIVERS, expected_rules
from podwatch.drivers.firewalld import zone_of
from podwatch.words.errors import HeldBack, PodwatchError, RestoreFailed
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot, Unknown
from podwatch.words.text import counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one means: whether it went through, and what to tell about it.

    `transactions` are those of a replay, by which they are told from what others did meanwhile.
    `held` says who was left out, and why, where somebody was.
    """

    method: Method
    done: bool
    detail: str
    transactions: int = 0
    held: str = ""


class Restorer:
    """Knows how each means of restoring is carried out on this host."""

    def __init__(
        self,
        looker: Looker,
        firewalld: FirewalldWatch | None,
        systemd: Systemd | None,
        copy: SavedCopy,
        *,
        lock: Path,
        at_once: int,
        timeout_s: float,
    ) -> None:
        self.looker = looker
        self.firewalld = firewalld
        self.systemd = systemd
        self.copy = copy
        self.lock = lock
        self.at_once = at_once
        self.timeout_s = timeout_s
        self.turn = asyncio.Lock()  # of whoever reloads containers
        self._locked = ExitStack()
        self._lockers = 0

    @contextmanager
    def _alone(self) -> Iterator[None]:
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
        why = forbids_renewal(setup, await self.looker.ask_firewalld(unknown), container_id)
        if why:
            return why
        if setup is None:
            return "it is not known what else a reload would touch"
        if all(each.container_id != container_id for each in setup.endpoints):
            return ""  # it has no rules
        if unknown:
            return f"firewalld does not answer: {unknown[0].why}"
        rules = self.looker.rules.get(setup.driver)
        reason = "" if rules is None else await rules.tool_works()
        return f"the {rules.tool} program does not work: {reason}" if rules and reason else ""

    async def renew(self, container_id: str) -> str:
        """Reload one container for its DHCP lease; "" when that worked, else the reason.

        Raises PodwatchError when another podwatch repairs, or systemd does not answer.
        """
        async with self.turn:
            with self._alone():
                failed = await self._reload_each([container_id])
        return failed.get(container_id, "")

    async def restore(
        self,
        method: Method,
        decision: Decision,
        snapshot: Snapshot,
        progress: Callable[[str], None],
    ) -> Outcome:
        """Carry out `decision`; `progress` is told what is under way. Never raises on failure."""
        transactions = 0
        try:
            with self._alone():
                if method is Method.SYSCTLS:
                    detail = _set(decision.sysctls)
                    await asyncio.sleep(0)  # the loss is told before its repair
                elif method is Method.SOURCES:
                    detail = await self._trust(decision.subnets, snapshot)
                elif method is Method.REPLAY:
                    detail, transactions = await self._replay(snapshot)
                else:
                    async with self.turn:
                        detail = await self._reload(decision, snapshot, progress)
        except PodwatchError as exc:
            detail = f"{exc}; {exc.hint}" if exc.hint else str(exc)
            held = str(exc) if isinstance(exc, HeldBack) else ""
            return Outcome(method, done=False, detail=detail, held=held)
        return Outcome(method, done=True, detail=detail, transactions=transactions)

    async def _trust(self, subnets: Iterable[str], snapshot: Snapshot) -> str:
        if self.firewalld is None or snapshot.setup is None:
            raise RestoreFailed("firewalld is not there to take a trusted source")
        done, zone = [], zone_of(snapshot.setup.driver)
        for subnet in subnets:
            await self.firewalld.trust(subnet, zone)
            done.append(subnet)
        return f"firewalld's zone {zone} has {', '.join(done)} again"

    async def _replay(self, snapshot: Snapshot) -> tuple[str, int]:
        if snapshot.setup is None or snapshot.rules is None:
            raise RestoreFailed("the rules could not be read")
        copy = self.copy.of(snapshot.setup.driver)
        rules = expected_rules(living(snapshot.setup, snapshot.containers), snapshot.rules)
        todo = saved.repairs(copy, rules, snapshot.rules)
        if not todo:
            return "nothing had to be put back", 0
        transactions = await self._rules(snapshot).repair(todo, snapshot.rules)
        return f"{counted(len(todo), 'chain')} put right from the verified copy", transactions

    def _rules(self, snapshot: Snapshot) -> Rules:
        driver = FirewallDriver.UNKNOWN if snapshot.setup is None else snapshot.setup.driver
        if driver not in self.looker.rules:
            raise RestoreFailed(f"podwatch cannot put back rules of the driver {driver}")
        return self.looker.rules[driver]

    async def _reload(
        self, decision: Decision, snapshot: Snapshot, progress: Callable[[str], None]
    ) -> str:
        # Where netavark has firewalld make the rules, that has just answered what is missing.
        driver = FirewallDriver.UNKNOWN if snapshot.setup is None else snapshot.setup.driver
        rules = self.looker.rules.get(driver)
        reason = "" if rules is None else await rules.tool_works()
        if rules is not None and reason:
            raise RestoreFailed(
                f"not reloading: the {rules.tool} program does not work: {reason}",
                hint=f"repair {rules.tool} first: a reload now would take containers off the "
                "network",
            )
        await self.refresh_census()
        known = self.looker.census.containers
        running = [each for each in decision.container_ids if each in known and known[each].running]
        if not running:
            raise RestoreFailed("none of the containers can be reloaded: not running")
        held = held_back(running, known, _without_lease())
        ids = [each for each in running if each not in held]
        if held and (not ids or decision.method is Method.ESCALATE):
            # Cleared with the rest, they would be left without any rule.
            raise HeldBack(told(held, known))
        before: Ruleset | None = None
        if decision.method is Method.ESCALATE:
            rules = self._rules(snapshot)
            before = await rules.clear()
        progress(f"reloading the network of {counted(len(ids), 'container')}")
        failed = await self._reload_each(ids)
        if failed and rules is not None and before is not None:
            # As it was, damaged, is better than gone.
            await rules.put_back(before)
        if failed:
            names = ", ".join(
                f"{known[each].title} ({why})" for each, why in list(failed.items())[:5]
            )
            raise RestoreFailed(
                f"podman network reload failed for {len(failed)} of "
                f"{counted(len(ids), 'container')}: {names}",
                hint="journalctl -u 'podwatch-reload@*'",
            )
        if held:
            raise HeldBack(
                f"podman network reload of {counted(len(ids), 'container')}, {told(held, known)}"
            )
        what = "" if before is None else f"{DRIVERS[driver].PLACE} was cleared and "
        return f"{what}podman network reload of {counted(len(ids), 'container')}"

    async def _reload_each(self, ids: list[str]) -> dict[str, str]:
        """Reload every one of `ids`; those that failed, with the reason."""
        if self.systemd is None:
            return await podman.reload_networks(ids, at_once=self.at_once, timeout_s=self.timeout_s)
        units = {podman.reload_unit(each): each for each in ids}
        results = await self.systemd.run_units(
            list(units), at_once=self.at_once, timeout_s=self.timeout_s
        )
        return {each: results[unit] for unit, each in units.items() if results[unit] != "done"}

    async def refresh_census(self) -> None:
        """Ask podman for its containers. Raises Unreadable when podman does not answer."""
        stamp, runtime = self.looker.expected.stamp, podman.runtime_stamp()
        asked = time.time()
        containers = await self.looker.expected.list_containers()
        self.looker.take_census(containers, stamp, runtime, asked)


def _without_lease() -> tuple[str, ...]:
    """The networks on which a container would get no lease now, as nobody listens for it."""
    networks, proxy = podman_networks.read_proxy()
    if networks and path_exists(proxy.path) and is_listening(proxy.path):
        return ()
    return networks


def _set(todo: Iterable[str]) -> str:
    """Write each "path=value". Raises RestoreFailed."""
    done = []
    for each in todo:
        path, _, value = each.partition("=")
        sysctl.write(path, value)
        done.append(f"{path.replace('/', '.')} = {value}")
    return f"{', '.join(done)} set again"
