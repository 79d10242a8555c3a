# SPDX-License-Identifier: Apache-2.0
"""systemd, through pystemd: units started and waited for, states asked, and sd_notify.

pystemd blocks, so everything runs on a worker thread with a bus connection of its own; a call that
hangs is given up together with both. What is called is named with its signature: pystemd's objects
would introspect systemd's very large interfaces, with lxml, and keep 8 MB for it.
"""

import errno
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from podwatch.adapters.worker import Worker
from podwatch.words.errors import BusUnavailable

CALL_TIMEOUT_S = 5.0
_BOOTED = Path("/run/systemd/system")
_NOT_CONNECTED = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.ESHUTDOWN, errno.EPIPE})

_SYSTEMD = b"org.freedesktop.systemd1"
_PATH = b"/org/freedesktop/systemd1"
_MANAGER = b"org.freedesktop.systemd1.Manager"
_UNIT = b"org.freedesktop.systemd1.Unit"


def _load_pystemd() -> None:
    """Import pystemd, and lxml, which all of it loads (0.11 to 0.15), only where it is already."""
    stand_in = ModuleType("lxml")
    stand_in.etree = None  # type: ignore[attr-defined]
    had = sys.modules.setdefault("lxml", stand_in)
    try:
        import_module("pystemd.dbuslib")
    finally:
        if had is stand_in:
            del sys.modules["lxml"]


class Systemd:
    """The host's service manager, or nothing if systemd does not run the host."""

    def __init__(self) -> None:
        # Here and not on the threads: two that import its parts at once can stop each other
        # (Python 3.14: "deadlock detected by _ModuleLock('pystemd.systemd1')").
        _load_pystemd()
        # Two threads: while jobs are waited for, states can still be asked.
        # A connection that nobody closes keeps its two descriptors for ever (pystemd 0.11 to 0.15).
        self._jobs: Worker[_Jobs] = Worker("systemd-jobs", _Jobs, lambda jobs: jobs.bus.close())
        self._states: Worker[Any] = Worker("systemd-states", _connect, lambda bus: bus.close())

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
            self._jobs,
            lambda jobs: jobs.run(list(names), at_once, timeout_s),
            "StartUnit",
            limit,
        )
        return results

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """ActiveState of each unit; "" for one that does not exist. Raises BusUnavailable."""
        states: dict[str, str] = await self._call(
            self._states,
            lambda bus: {name: _active_state(bus, name) for name in names},
            "ActiveState",
        )
        return states

    def close(self) -> None:
        """Give up whatever is waited for."""
        self._jobs.close()
        self._states.close()

    async def _call(
        self, worker: Worker[Any], function: Any, what: str, timeout_s: float = CALL_TIMEOUT_S
    ) -> Any:
        try:
            return await worker.call(function, timeout_s=timeout_s)
        except TimeoutError:
            raise BusUnavailable(f"systemd: {what}: no answer after {timeout_s:g} s") from None
        except Exception as exc:  # pystemd raises whatever sd-bus reports, by many names
            self.close()  # the next call connects anew
            raise BusUnavailable(
                f"systemd: {what}: {_words(exc)}",
                hint="is the system bus up? systemctl status dbus",
            ) from exc


def _words(exc: Exception) -> str:
    """What sd-bus said; the text of pystemd's exceptions goes on with their documentation."""
    said = getattr(exc, "err_message", "") or getattr(exc, "err_name", "") or str(exc)
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _connect() -> Any:
    from pystemd.dbuslib import DBus

    bus = DBus()
    bus.open()
    return bus


def _active_state(bus: Any, name: str) -> str:
    from pystemd.dbuslib import path_encode

    path = path_encode(_PATH + b"/unit", name.encode())
    if bus.get_property(_SYSTEMD, path, _UNIT, b"LoadState", b"s") == b"not-found":
        return ""
    return str(bus.get_property(_SYSTEMD, path, _UNIT, b"ActiveState", b"s").decode())


class _Jobs:
    """A connection that hears how jobs end.

    pystemd keeps no reference to a signal's callback, and nothing takes a match away again (0.11
    to 0.15): so there is one callback for the life of the connection, kept here beside it.
    """

    def __init__(self) -> None:
        self.bus = _connect()
        self.ended: dict[bytes, str] = {}
        ended = self.ended

        def removed(message: Any, *_: Any, **__: Any) -> None:
            message.process_reply(True)  # noqa: FBT003 - pystemd's signature
            body = message.body
            ended[body[1]] = body[3].decode()

        self._removed = removed
        try:
            self.bus.match_signal(_SYSTEMD, _PATH, _MANAGER, b"JobRemoved", removed, None)
            self._call(b"Subscribe", b"", [])
        except BaseException:
            self.bus.close()
            raise

    def _call(self, method: bytes, signature: bytes, arguments: list[bytes]) -> Any:
        from pystemd.dbuslib import apply_signature

        given = apply_signature(signature, arguments)
        return self.bus.call_method(_SYSTEMD, _PATH, _MANAGER, method, given).body

    def run(self, names: list[str], at_once: int, timeout_s: float) -> dict[str, str]:
        """Start units, wait for their jobs; how each ended."""
        waiting = list(names)
        started: dict[bytes, tuple[str, float]] = {}
        results: dict[str, str] = {}
        while waiting or started:
            while waiting and len(started) < at_once:
                name = waiting.pop(0)
                try:
                    job = self._call(b"StartUnit", b"ss", [name.encode(), b"replace"])
                except Exception as exc:  # sd-bus' error, in a class made of its name
                    if -getattr(exc, "errno", 0) in _NOT_CONNECTED:
                        raise
                    results[name] = f"systemd would not start it: {_words(exc)}"
                    continue
                started[job] = (name, time.monotonic() + timeout_s)
            if started:
                first = min(limit for _, limit in started.values())
                _process(self.bus, first - time.monotonic(), self._any_ended(started))
            now = time.monotonic()
            for job, (name, limit) in list(started.items()):
                if job in self.ended or now >= limit:
                    results[name] = self.ended.get(job, "timeout")
                    del started[job]
            self.ended.clear()  # whatever else is in it is not ours
        return results

    def _any_ended(self, started: dict[bytes, tuple[str, float]]) -> Callable[[], bool]:
        return lambda: not started.keys().isdisjoint(self.ended)


_DRAIN = 256
"""Calls of process() that surely empty sd-bus's queue: it holds our job signals alone."""


def _process(bus: Any, limit_s: float, is_done: Callable[[], bool]) -> None:
    """Handle what arrives on the bus until something of interest has, or until the limit.

    pystemd's process() does not tell whether it did anything (0.11 to 0.13), and its wait() would
    stop every other thread; what is queued already does not make the descriptor readable.
    """
    end = time.monotonic() + max(limit_s, 0.0)
    while True:
        for _ in range(_DRAIN):
            bus.process()
        left = end - time.monotonic()
        if is_done() or left <= 0:
            return
        select.select([bus.get_fd()], [], [], left)


def notify(**state: str | int) -> None:
    """Tell the service manager: ready=1, watchdog=1, status="…"; nothing without NOTIFY_SOCKET.

    The environment is left alone: pystemd's default would make later keep-alives vanish.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return
    _load_pystemd()
    import pystemd.daemon

    pystemd.daemon.notify(False, **state)  # noqa: FBT003 - pystemd's signature
