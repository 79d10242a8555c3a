# SPDX-License-Identifier: Apache-2.0
"""systemd, through pystemd: units started and waited for, states asked, and sd_notify.

pystemd blocks, so everything runs on one worker thread with a bus connection of its own; a call
that hangs is given up together with both.
"""

import select
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podwatch.adapters.worker import Worker
from podwatch.words.errors import BusUnavailable

CALL_TIMEOUT_S = 5.0
_BOOTED = Path("/run/systemd/system")


class Systemd:
    """The host's service manager, or nothing if systemd does not run the host."""

    def __init__(self) -> None:
        self._worker: Worker[Any] = Worker("systemd", _connect)
        self._units: dict[str, Any] = {}

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
        rounds = -(-len(names) // at_once)
        limit = rounds * timeout_s + CALL_TIMEOUT_S
        results: dict[str, str] = await self._call(
            lambda bus: _run_units(bus, list(names), at_once, timeout_s), "StartUnit", limit
        )
        return results

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """ActiveState of each unit; "" for one that does not exist. Raises BusUnavailable."""
        states: dict[str, str] = await self._call(
            lambda bus: {name: self._active_state(bus, name) for name in names}, "ActiveState"
        )
        return states

    def close(self) -> None:
        """Give up whatever is waited for."""
        self._worker.close()
        self._units.clear()

    def _active_state(self, bus: Any, name: str) -> str:
        from pystemd.systemd1 import Unit

        unit = self._units.get(name)
        if unit is None:
            unit = self._units[name] = Unit(name.encode(), bus=bus)
            unit.load()
        if unit.Unit.LoadState == b"not-found":
            return ""
        return str(unit.Unit.ActiveState.decode())

    async def _call(self, function: Any, what: str, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            return await self._worker.call(function, timeout_s=timeout_s)
        except TimeoutError:
            self.close()
            raise BusUnavailable(f"systemd: {what}: no answer after {timeout_s:g} s") from None
        except Exception as exc:  # pystemd raises whatever sd-bus reports, by many names
            self.close()
            raise BusUnavailable(
                f"systemd: {what}: {exc}", hint="is the system bus up? systemctl status dbus"
            ) from exc


def _connect() -> Any:
    from pystemd.dbuslib import DBus

    bus = DBus()
    bus.open()
    return bus


def _run_units(bus: Any, names: list[str], at_once: int, timeout_s: float) -> dict[str, str]:
    from pystemd.systemd1 import Manager

    ended: dict[str, str] = {}

    def removed(message: Any, *_: Any, **__: Any) -> None:
        message.process_reply(True)  # noqa: FBT003 - pystemd's signature
        _, _, unit, result = message.body
        ended[unit.decode()] = result.decode()

    bus.match_signal(
        b"org.freedesktop.systemd1",
        b"/org/freedesktop/systemd1",
        b"org.freedesktop.systemd1.Manager",
        b"JobRemoved",
        removed,
        None,
    )
    manager = Manager(bus=bus)
    manager.load()
    manager.Manager.Subscribe()
    waiting = list(names)
    started: dict[str, float] = {}
    results: dict[str, str] = {}
    try:
        while waiting or started:
            while waiting and len(started) < at_once:
                name = waiting.pop(0)
                manager.Manager.StartUnit(name.encode(), b"replace")
                started[name] = time.monotonic() + timeout_s
            _process(bus, min(started.values()) - time.monotonic(), lambda: bool(ended))
            now = time.monotonic()
            for name in list(started):
                if name in ended or now >= started[name]:
                    results[name] = ended.pop(name, "timeout")
                    del started[name]
            ended.clear()
    finally:
        manager.Manager.Unsubscribe()
    return results


def _process(bus: Any, limit_s: float, is_done: Any) -> None:
    """Handle what arrives on the bus until something of interest has, or until the limit."""
    end = time.monotonic() + max(limit_s, 0.0)
    while not is_done():
        while bus.process():
            pass
        left = end - time.monotonic()
        if is_done() or left <= 0:
            return
        select.select([bus.get_fd()], [], [], left)


def notify(**state: str | int) -> None:
    """Tell the service manager: ready=1, watchdog=1, status="…"; nothing without NOTIFY_SOCKET.

    The environment is left alone: pystemd's default would make later keep-alives vanish.
    """
    import pystemd.daemon

    pystemd.daemon.notify(False, **state)  # noqa: FBT003 - pystemd's signature
