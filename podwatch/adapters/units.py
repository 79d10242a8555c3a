# SPDX-License-Identifier: Apache-2.0
"""A few of systemd's units, watched and read over D-Bus: the DHCP proxies' sockets.

systemd sends a signal for every change, so nothing is polled. Jobs, such as the start of a unit,
run through `podwatch.adapters.systemd`.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from podwatch.adapters.dbus import SystemBus
from podwatch.words.dhcp import Unit
from podwatch.words.errors import BusUnavailable

SYSTEMD = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{SYSTEMD}.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class UnitWatch:
    """Hears of changes of the units `names`, and of unit files that are added, removed or masked.

    `on_change` is called for whatever may have changed one of the units: it is only a hint.
    """

    def __init__(self, names: Sequence[str], on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._subscribed = False
        self.bus = SystemBus(SYSTEMD, _rules(names), self._signal, self._state)
        self._manager = partial(self.bus.call, SYSTEMD, _PATH, _MANAGER)

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Listen on this loop, for ever: what is returned never ends by itself."""
        return self.bus.attach(loop)

    def close(self) -> None:
        """Stop listening."""
        self.bus.detach()

    async def read(self, name: str) -> Unit:
        """A unit as it is now; one that does not exist is an answer. Raises BusUnavailable."""
        await self._subscribe()
        (path,) = await self._manager("LoadUnit", "s", [name], returns="o")
        load, active = await asyncio.gather(
            self._get(path, "Unit", "LoadState", "s"), self._get(path, "Unit", "ActiveState", "s")
        )
        if load == "not-found":
            return Unit()
        kind = name.rpartition(".")[2].capitalize()
        result = str(await self._get(path, kind, "Result", "s"))
        pid, started = 0, 0
        if kind == "Service":
            pid, started = await asyncio.gather(
                self._get(path, kind, "MainPID", "u"),
                self._get(path, kind, "ExecMainStartTimestamp", "t"),
            )
        return Unit(
            load=str(load),
            active=str(active),
            file=await self._file_state(name),
            result=result,
            pid=int(pid),
            started=int(started) / 1e6 if pid else 0.0,
        )

    def describe(self) -> str:
        """One word for a watcher that is well, else what is wrong with it."""
        return "connected" if self.bus.connected else self.bus.problem

    async def _subscribe(self) -> None:
        """Ask systemd to send signals at all: it forgets that when the connection ends."""
        await self.bus.connect()
        if self._subscribed:
            return
        try:
            await self._manager("Subscribe")
        except BusUnavailable as exc:
            if not exc.hint.endswith("AlreadySubscribed"):
                raise
        self._subscribed = True

    async def _file_state(self, name: str) -> str:
        try:
            (state,) = await self._manager("GetUnitFileState", "s", [name], returns="s")
        except BusUnavailable as exc:
            if exc.hint:  # systemd's own error: there is no file, as of a transient unit
                return ""
            raise
        return str(state)

    async def _get(self, path: str, interface: str, name: str, kind: str) -> Any:
        body = [f"{SYSTEMD}.{interface}", name]
        (value,) = await self.bus.call(SYSTEMD, path, _PROPERTIES, "Get", "ss", body, returns="v")
        if value.signature != kind:
            raise BusUnavailable(f"{SYSTEMD}: {name} is a {value.signature!r}, not a {kind!r}")
        return value.value

    def _signal(self, _sender: str, _interface: str, _member: str, _body: list[Any]) -> None:
        self._on_change()

    def _state(self, _there: bool) -> None:  # noqa: FBT001 - a callback's one argument
        self._subscribed = False
        self._on_change()


def _rules(names: Sequence[str]) -> list[str]:
    """Match rules: properties of these units, and unit files of any."""
    signal = f"type='signal',sender='{SYSTEMD}'"
    rules = [
        f"{signal},interface='{_MANAGER}',member='UnitFilesChanged'",
        f"{signal},interface='{_MANAGER}',member='Reloading'",
    ]
    for name in names:
        path = f"{_PATH}/unit/{_escaped(name)}"
        rules.append(f"{signal},interface='{_PROPERTIES}',path='{path}'")
    return rules


def _escaped(name: str) -> str:
    """A unit's name as part of an object path: sd_bus_path_encode(3)."""
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in name)
