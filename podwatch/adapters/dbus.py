# SPDX-License-Identifier: Apache-2.0
"""The system bus, kept connected: what podwatch asks of services there, and hears of one of them.

A call on a dead bus would wait for ever: every call has a time limit. dbus_next's proxy objects
introspect firewalld's very large interfaces: plain messages are sent instead.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from podwatch.adapters.bus_connection import (
    DBUS,
    DBUS_PATH,
    NAME_CHANGED,
    Connection,
    connected,
)
from podwatch.words.errors import BusUnavailable

CALL_TIMEOUT_S = 2.0
_RETRY_S = 30.0


class SystemBus:
    """A connection to the system bus that comes back by itself.

    `on_signal` gets (sender, interface, member, body) of every signal that one of `rules` matches
    and the owner of the name `follow` sent, and of the bus's own signal when the name changes
    hands. `on_state` gets True when the bus is connected, False when it has gone. `timeout_s`
    limits each call.
    """

    def __init__(
        self,
        follow: str = "",
        rules: Sequence[str] = (),
        on_signal: Callable[[str, str, str, list[Any]], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._follow = follow
        self._rules = list(rules)
        self._on_signal = on_signal
        self._on_state = on_state
        self._timeout_s = CALL_TIMEOUT_S if timeout_s is None else timeout_s
        self._bus: Connection | None = None
        self._running: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.problem = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether there is a connection that works."""
        return self._bus is not None and self._bus.connected

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Stay connected on this loop: what is returned never ends by itself."""
        self._running = loop.create_task(self.run(), name=self._follow)
        return self._running

    def detach(self) -> None:
        """Give the connection up, and make no other."""
        if self._running is not None:
            self._running.cancel()
        self.close()

    async def run(self) -> None:
        """Stay connected for ever; an absent bus is normal, and tried at growing intervals."""
        pause = 0.2
        while True:
            try:
                bus = await self._connected()
            except BusUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_S)
                continue
            pause = 0.2
            if self._on_state:
                self._on_state(True)  # noqa: FBT003 - a callback's one argument
            await bus.ended.wait()
            self._drop(bus)
            self.problem = "the system bus went away"
            if self._on_state:
                self._on_state(False)  # noqa: FBT003 - a callback's one argument
            await asyncio.sleep(pause)

    async def connect(self) -> object:
        """Connect if need be; what is returned is another for each connection.

        Raises BusUnavailable.
        """
        return await self._connected()

    def close(self) -> None:
        """Give the connection up; a later call makes another."""
        if self._bus is not None:
            self._drop(self._bus)

    async def _connected(self) -> Connection:
        async with self._turn:
            if self._bus is not None and self._bus.connected:
                return self._bus
            self.close()
            bus: Connection | None = None
            try:
                bus = await connected(
                    self._follow, on_signal=self._on_signal, timeout_s=self._timeout_s
                )
                self._bus = bus
                if self._follow:
                    changes = f"sender='{DBUS}',member='{NAME_CHANGED}',arg0='{self._follow}'"
                    for rule in (f"type='signal',{changes}", *self._rules):
                        await self._ask(bus, "AddMatch", rule)
                    await self._owner(bus, self._follow)
            except BusUnavailable as exc:
                if bus is not None:
                    self._drop(bus)
                self.problem = str(exc)
                raise
            self.problem = ""
            return bus

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        returns: str | None = None,
        timeout_s: float | None = None,
        starts: bool = False,
        interactive: bool = False,
    ) -> list[Any]:
        """Call a method and return its results; a variant in `body` is (signature, value).

        The service is not started for it unless `starts`; polkit may ask a person for a password
        if `interactive`. `timeout_s` is the limit for this call, if it is another. Raises
        BusUnavailable, whose `hint` is the D-Bus error's name where the service refused; and where
        the results are of other types than the signature `returns`, if it is given.
        """
        bus = await self._connected()
        return await bus.ask(
            destination,
            path,
            interface,
            member,
            signature,
            body,
            returns=returns,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            starts=starts,
            interactive=interactive,
        )

    async def owner(self, name: str) -> str:
        """The unique name of a service's owner; "" when nobody owns it. Raises BusUnavailable."""
        return await self._owner(await self._connected(), name)

    async def _owner(self, bus: Connection, name: str) -> str:
        before = bus.changes
        try:
            found = await self._ask(bus, "GetNameOwner", name, returns="s")
        except BusUnavailable as exc:
            if not exc.hint.endswith("NameHasNoOwner"):
                raise
            found = [""]
        if name == self._follow and bus.changes == before:  # what was heard meanwhile is newer
            bus.owner = str(found[0])
        return str(found[0])

    async def _ask(
        self, bus: Connection, member: str, name: str, returns: str | None = None
    ) -> list[Any]:
        """Ask the bus itself something about a name."""
        return await bus.ask(
            DBUS, DBUS_PATH, DBUS, member, "s", [name], returns=returns, timeout_s=self._timeout_s
        )

    def _drop(self, bus: Connection) -> None:
        bus.close()
        if self._bus is bus:
            self._bus = None
