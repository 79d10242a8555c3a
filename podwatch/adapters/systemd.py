# SPDX-License-Identifier: Apache-2.0
"""systemd: units started and waited for, states asked.

The signal JobRemoved says how a job ended, but a signal is only a hint: a job has ended when
systemd no longer knows it. Signals may be lost, so systemd is asked about a job now and then, too.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from podwatch.adapters.bus_connection import DBUS, DBUS_PATH
from podwatch.adapters.dbus import SystemBus
from podwatch.words.errors import BusUnavailable, RestoreFailed

CALL_TIMEOUT_S = 5.0
JOB_TIMEOUT_S = 10.0
_BOOTED = Path("/run/systemd/system")

_SYSTEMD = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_SYSTEMD}.Manager"
_ENDS = f"type='signal',sender='{_SYSTEMD}',interface='{_MANAGER}',member='JobRemoved'"
_ASK_AGAIN_S = 1.0


@dataclass
class _Batch:
    """Units that somebody waits for, and how their jobs ended as far as heard, by job path."""

    units: frozenset[str]
    heard: dict[str, str] = field(default_factory=dict)
    hint: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, limit_s: float) -> None:
        """Wait for a hint, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.hint.wait()
        self.hint.clear()


class Systemd:
    """The host's service manager, or nothing if systemd does not run the host."""

    def __init__(self) -> None:
        self._bus = SystemBus(_SYSTEMD, on_signal=self._signal, timeout_s=CALL_TIMEOUT_S)
        self._manager = partial(self._bus.call, _SYSTEMD, _PATH, _MANAGER)
        self._turn = asyncio.Lock()
        self._batches: list[_Batch] = []
        self._heard_on: object = None

    @staticmethod
    def is_there() -> bool:
        """Whether systemd runs this host (sd_booted(3))."""
        return _BOOTED.is_dir()

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Start oneshot units, `at_once` at a time, and wait for the jobs.

        Returns systemd's word for how each job ended: "done", "failed", "timeout", ...; "timeout"
        too for what did not end `timeout_s` seconds after its start. Raises BusUnavailable.
        """
        async with self._turn:  # whoever asks for a unit that runs already wants another run of it
            return await self._run("StartUnit", names, at_once, timeout_s)

    async def enable(self, name: str) -> None:
        """Have a unit started at every boot, as `systemctl enable` does. Raises BusUnavailable."""
        await self._manager("EnableUnitFiles", "asbb", [[name], False, False])

    async def start(self, name: str, *, also_reset: Sequence[str] = (), restart: bool) -> None:
        """Start or restart a unit and wait for the job; failures before are forgotten.

        `also_reset` are others whose start limit may stand in its way. Raises BusUnavailable, or
        RestoreFailed with systemd's word for how the job ended.
        """
        for unit in (name, *also_reset):
            try:
                await self._manager("ResetFailedUnit", "s", [unit])
            except BusUnavailable:
                continue  # not loaded: it has not failed
        member = "RestartUnit" if restart else "StartUnit"
        result = (await self._run(member, [name], 1, JOB_TIMEOUT_S))[name]
        if result != "done":
            raise RestoreFailed(
                f"systemd could not {'re' * restart}start {name}: {result}",
                hint=f"systemctl status {name}",
            )

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """ActiveState of each unit; "" for one that does not exist. Raises BusUnavailable."""
        (units,) = await self._manager(
            "ListUnitsByNames", "as", [list(names)], returns="a(ssssssouso)"
        )
        if len(units) != len(names):
            raise BusUnavailable(f"{_SYSTEMD}: {len(units)} of {len(names)} units are listed")
        return {
            name: "" if unit[2] == "not-found" else str(unit[3])  # LoadState, ActiveState
            for name, unit in zip(names, units, strict=True)
        }

    def close(self) -> None:
        """Give up whatever is waited for."""
        self._bus.close()

    async def _run(
        self, member: str, names: Sequence[str], at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Call this method of systemd for each unit, wait for the jobs; how each job ended."""
        waiting = deque(names)
        started: dict[str, tuple[str, float]] = {}
        results: dict[str, str] = {}
        async with self._listening(frozenset(names)) as batch:
            while waiting or started:
                while waiting and len(started) < at_once:
                    name = waiting.popleft()
                    try:
                        (job,) = await self._manager(member, "ss", [name, "replace"], returns="o")
                    except BusUnavailable as exc:
                        if not exc.hint:
                            raise
                        why = str(exc).removeprefix(f"{_SYSTEMD}: {member}: ")
                        results[name] = f"systemd would not start it: {why}"
                        continue
                    started[job] = (name, time.monotonic() + timeout_s)
                results |= await self._ended(batch, started)
        return results

    async def _ended(self, batch: _Batch, started: dict[str, tuple[str, float]]) -> dict[str, str]:
        """Wait for the next hint; take ended jobs out of `started`, and return how each ended."""
        if not started:
            return {}
        asked_at = time.monotonic() + _ASK_AGAIN_S
        first = min(asked_at, *(limit for _, limit in started.values()))
        await batch.wait(max(first - time.monotonic(), 0.0))
        now = time.monotonic()
        ended = {}
        for job, (name, limit) in list(started.items()):
            if not (job in batch.heard or now >= min(limit, asked_at)):
                continue
            if await self._is_over(job):
                ended[name] = batch.heard.get(job, "ended, and nobody heard how")
            elif now >= limit:
                ended[name] = "timeout"
            else:
                continue
            del started[job]
        return ended

    async def _is_over(self, job: str) -> bool:
        body = [f"{_SYSTEMD}.Job", "State"]
        try:
            await self._bus.call(
                _SYSTEMD, job, "org.freedesktop.DBus.Properties", "Get", "ss", body, returns="v"
            )
        except BusUnavailable as exc:
            if exc.hint.endswith("UnknownObject"):
                return True
            if not self._bus.connected:
                raise
        return False

    @asynccontextmanager
    async def _listening(self, units: frozenset[str]) -> AsyncIterator[_Batch]:
        """Hear of jobs while the body runs, and only then: on some hosts jobs end all the time."""
        batch = _Batch(units)
        connection = await self._bus.connect()
        if self._heard_on is not connection:
            self._heard_on = connection
            try:
                await self._match("AddMatch")
            except BaseException:
                self._heard_on = None
                raise
        try:
            await self._manager("Subscribe")
        except BusUnavailable as exc:
            if not exc.hint.endswith("AlreadySubscribed"):
                raise
        self._batches.append(batch)
        try:
            yield batch
        finally:
            self._batches.remove(batch)
        if not self._batches:
            self._heard_on = None
            with suppress(BusUnavailable):  # a lost bus sends no signals anyway
                await self._match("RemoveMatch")

    async def _match(self, member: str) -> None:
        await self._bus.call(DBUS, DBUS_PATH, DBUS, member, "s", [_ENDS])

    def _signal(self, _sender: str, _interface: str, member: str, body: list[Any]) -> None:
        if member != "JobRemoved" or len(body) != 4:
            return
        _, job, unit, result = map(str, body)
        for batch in self._batches:
            if unit in batch.units:
                batch.heard[job] = result
                batch.hint.set()
