# SPDX-License-Identifier: Apache-2.0
"""podwatch's own name on the system bus: what `podwatch.words.api` describes, served there.

Anybody may call, so everything is bounded: how large a call is, how many are answered at once
(`bus_callers`), how long each takes, how much waits to be sent (`bus_connection`). A call is judged
by its header, and answered by hand: dbus_next's ServiceInterface gives no sender, writes a
traceback into the journal for whatever a caller does wrong, and another to the caller for whatever
podwatch does wrong. Here a mistake of podwatch's is one line, once for each kind.

The connection is its own, so that a flood does not delay what firewalld and systemd say.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

from podwatch.adapters.bus_callers import Callers, busy
from podwatch.adapters.bus_connection import DBUS, DBUS_PATH, Connection, connected, unpacked
from podwatch.adapters.files import read_text
from podwatch.formats.bus_messages import MAY_ASK, NO_REPLY, Header
from podwatch.formats.introspection import (
    INTERFACES,
    INTROSPECTABLE,
    PEER,
    PROPERTIES_INTERFACE,
    introspection,
)
from podwatch.words.api import (
    INTERFACE,
    METHODS,
    NAME,
    PATH,
    PROPERTIES,
    SIGNALS,
    Call,
    Method,
    Refused,
)
from podwatch.words.errors import BusUnavailable, PodwatchError

LIMIT_S = 25.0
"""For an answer: so long libdbus and sd-bus wait for one if they are not told otherwise."""

LIMIT_OF_CHANGES_S = 150.0
"""For what polkit is asked about: a person may take two minutes to type a password."""

BETWEEN_CHANGES_S = 0.2
_TIMEOUT_S = 10.0
"""For what the bus is asked, podwatch itself included: a bus under a flood is slow."""

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_DO_NOT_QUEUE = 4
_OWNER, _OWNER_ALREADY = 1, 4
_MOST_COMPLAINTS = 64
_MACHINE_ID = Path("/etc/machine-id")
_ERROR = "org.freedesktop.DBus.Error"
_BUSY = busy()
_OWN = frozenset(each.name for each in METHODS)
_CHANGES = {each.name: each.in_signature for each in METHODS if each.action is not None}
_SIGNATURES = {each.name: each.signature for each in PROPERTIES}


class BusService:
    """A watcher that hears callers: see `podwatch.daemon.hints.Watcher`.

    `answer` gives the results of a call, in order, or raises Refused; a variant is given as
    (signature, value). It is cancelled when its time is over: what must not be left half done
    shields itself. `properties` gives the values of all properties by name. `complain` is told of
    mistakes, each kind once.
    """

    def __init__(
        self,
        answer: Callable[[Call], Awaitable[Sequence[Any]]],
        properties: Callable[[], Mapping[str, Any]],
        complain: Callable[[PodwatchError], None] = lambda _: None,
    ) -> None:
        self._answer = answer
        self._properties = properties
        self._complain = complain
        self._complaints: set[str] = set()
        self._bus: Connection | None = None
        self._owns = False
        self._problem = "not connected yet"
        self._callers = Callers(self._user)
        self._running: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._told: Mapping[str, Any] = {}
        self._told_at = float("-inf")
        self._telling: asyncio.TimerHandle | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Serve on this loop: what is returned never ends by itself."""
        self._running = loop.create_task(self._run(), name=NAME)
        return self._running

    def close(self) -> None:
        """Give the name up, and the calls that are being answered."""
        for task in (*self._answering, *filter(None, [self._running])):
            task.cancel()
        if self._telling is not None:
            self._telling.cancel()
        self._callers.forget()
        self._leave()

    def describe(self) -> str:
        """How it is, in words; the first is "serving" where it is well."""
        return f"serving {NAME}" if self._owns else f"not serving {NAME}: {self._problem}"

    def changed(self) -> None:
        """Some property may be another: tell everybody which are, a few times a second at most."""
        if self._bus is None or self._telling is not None:
            return
        loop = asyncio.get_running_loop()
        self._telling = loop.call_at(
            max(self._told_at + BETWEEN_CHANGES_S, loop.time()), self._tell
        )

    def emit(self, name: str, values: Sequence[Any]) -> None:
        """Send one of the API's signals; to nobody while there is no bus, or it takes no more."""
        signal = next(each for each in SIGNALS if each.name == name)
        self._send_signal(INTERFACE, name, signal.signature, values)

    async def is_answering(self) -> bool:
        """Ask a property of oneself through the bus; connect anew if no answer comes.

        True where there is nothing to be asked: without a bus, or without the name, podwatch is
        not to be ended for not answering.
        """
        bus = self._bus
        if bus is None or not self._owns:
            return True
        try:
            await bus.ask(
                NAME,
                PATH,
                PROPERTIES_INTERFACE,
                "Get",
                "ss",
                [INTERFACE, PROPERTIES[0].name],
                returns="v",
                timeout_s=_TIMEOUT_S,
            )
        except BusUnavailable as exc:
            self._problem = f"it does not answer itself: {exc}"
            bus.close()  # _run() goes on from there
            return False
        return True

    # The connection and its name

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._serve()
                pause_s = _FIRST_PAUSE_S
            except BusUnavailable as exc:
                self._problem = str(exc)
            finally:
                self._leave()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _serve(self) -> None:
        """Own the name until the connection ends. Raises BusUnavailable where that cannot be."""
        self._bus = bus = await connected(
            on_call=self._on_call,
            on_signal=self._on_signal,
            wants_call=self._wants,
            timeout_s=_TIMEOUT_S,
        )
        self._told = {}  # whoever came to this bus before podwatch knows nothing
        try:
            (got,) = await bus.ask(
                *(DBUS, DBUS_PATH, DBUS, "RequestName", "su", [NAME, _DO_NOT_QUEUE]),
                returns="u",
                timeout_s=_TIMEOUT_S,
            )
        except BusUnavailable as exc:
            if not exc.hint.endswith("AccessDenied"):
                raise
            raise BusUnavailable(f"the bus' policy does not let podwatch own {NAME}") from exc
        if got not in (_OWNER, _OWNER_ALREADY):
            raise BusUnavailable(f"somebody else owns the name: busctl status {NAME}")
        self._owns, self._problem = True, "the system bus went away"
        await bus.ended.wait()

    def _leave(self) -> None:
        bus, self._bus, self._owns = self._bus, None, False
        self._callers.forget()
        if bus is not None:
            bus.close()

    def _on_signal(self, _sender: str, _interface: str, member: str, body: list[Any]) -> None:
        """The bus itself says something."""
        if member == "NameLost" and body == [NAME] and self._bus is not None:
            self._problem = "the name was taken away"
            self._bus.close()

    async def _user(self, sender: str) -> int:
        if self._bus is None:
            raise BusUnavailable(self._problem)
        (uid,) = await self._bus.ask(
            *(DBUS, DBUS_PATH, DBUS, "GetConnectionUnixUser", "s", [sender]),
            returns="u",
            timeout_s=_TIMEOUT_S,
        )
        return int(uid)

    # Calls

    def _wants(self, call: Header) -> bool:
        """Whether a call is read: not what nobody is told of, nor what there is no room for."""
        is_own = call.interface in (INTERFACE, "") and call.path == PATH
        if call.flags & NO_REPLY:
            if not is_own or _CHANGES.get(call.member) != call.signature:
                return False
        elif not is_own or call.member not in _OWN:
            return True
        if self._callers.has_room(call.sender):
            return True
        if self._bus is not None and not call.flags & NO_REPLY:
            self._excuse(self._bus, call, _BUSY)
        return False

    def _on_call(self, call: Header, data: bytes) -> None:
        bus = self._bus
        if bus is None:
            return
        try:
            method, is_own = _method(call)
            if is_own:
                values = _values(call, data)
                turn = self._callers.turn(call.sender, self._callers.admit(call.sender))
                task = asyncio.get_running_loop().create_task(
                    self._respond(bus, call, method, values, turn)
                )
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            else:
                bus.answer(call, method.out_signature, self._standard(method.name, call, data))
        except Exception as exc:
            self._excuse(bus, call, exc)

    async def _respond(
        self,
        bus: Connection,
        call: Header,
        method: Method,
        values: Sequence[Any],
        turn: AbstractAsyncContextManager[int],
    ) -> None:
        may_ask = bool(call.flags & MAY_ASK)
        limit_s = LIMIT_OF_CHANGES_S if method.action is not None else LIMIT_S
        try:
            async with turn as uid:
                await bus.has_room.wait()
                if not bus.connected:
                    return  # the next bus may know somebody else by this sender's name
                asked = Call(method, tuple(values), call.sender, uid, may_ask)
                async with asyncio.timeout(limit_s):
                    given = await self._answer(asked)
                bus.answer(call, method.out_signature, given)
        except Exception as exc:
            self._excuse(bus, call, exc)

    def _standard(self, name: str, call: Header, data: bytes) -> Sequence[Any]:
        """What a method of a standard interface gives. Raises Refused."""
        if name == "Introspect":
            return [introspection(call.path)]
        if name == "GetMachineId":
            return [(read_text(_MACHINE_ID, limit_bytes=100) or "").strip()]
        if name == "Ping":
            return []
        if name == "Set":  # not even unpacked: a variant may hold anything
            raise Refused(f"{_ERROR}.PropertyReadOnly", "No property can be set.")
        interface, *rest = _values(call, data)
        if interface not in (INTERFACE, ""):
            raise Refused(f"{_ERROR}.UnknownInterface", "There are no such properties.")
        values = self._properties()
        if name == "GetAll":
            return [{each: (kind, values[each]) for each, kind in _SIGNATURES.items()}]
        if rest[0] not in _SIGNATURES:
            raise Refused(f"{_ERROR}.UnknownProperty", "There is no such property.")
        return [(_SIGNATURES[rest[0]], values[rest[0]])]

    def _excuse(self, bus: Connection, call: Header, exc: Exception) -> None:
        """Tell the caller why there is no result."""
        if isinstance(exc, EOFError):
            return  # nobody is there any more
        if isinstance(exc, TimeoutError):
            exc = Refused("Unknown", "It took too long.")
        if not isinstance(exc, Refused):
            self._blame(call.member, exc)
            exc = Refused("Unknown", "internal error, see journalctl -u podwatch")
        text = f"{exc} ({exc.hint})" if exc.hint else str(exc)
        with suppress(EOFError):
            bus.refuse(call, exc.name, text[:4000])

    def _blame(self, member: str, exc: Exception) -> None:
        """A mistake of podwatch's: one line for each kind, however often it is met."""
        last = traceback.extract_tb(exc.__traceback__)[-1:]
        where = "".join(f"{Path(each.filename).name}:{each.lineno}" for each in last)
        kind = f"{member}: {type(exc).__name__} at {where}"
        if kind not in self._complaints and len(self._complaints) < _MOST_COMPLAINTS:
            self._complaints.add(kind)
            self._complain(PodwatchError(f"on D-Bus, {kind}: {str(exc)[:200]}"))

    # Signals

    def _tell(self) -> None:
        """Send what is another since everybody was told."""
        self._telling = None
        bus = self._bus
        if bus is None:
            return
        self._told_at = asyncio.get_running_loop().time()
        if not bus.has_room.is_set():
            self.changed()
            return
        try:
            now = dict(self._properties())
        except Exception as exc:
            self._blame("PropertiesChanged", exc)
            return
        other = {
            name: (kind, now[name])
            for name, kind in _SIGNATURES.items()
            if name in now and self._told.get(name) != now[name]
        }
        self._told = now
        if other:
            values = [INTERFACE, other, []]
            self._send_signal(PROPERTIES_INTERFACE, "PropertiesChanged", "sa{sv}as", values)

    def _send_signal(
        self, interface: str, name: str, signature: str, values: Sequence[Any]
    ) -> None:
        if self._bus is None or not self._owns or not self._bus.has_room.is_set():
            return
        try:
            self._bus.emit(PATH, interface, name, signature, values)
        except EOFError:
            pass  # it is connected anew
        except ValueError as exc:
            self._blame(name, exc)


def _method(call: Header) -> tuple[Method, bool]:
    """The method that is called, and whether it is of podwatch's own interface. Raises Refused.

    A call need not name the interface: it is that of the first method of this name.
    """
    is_there = call.path == PATH or call.interface == PEER
    if not is_there and introspection(call.path) is None:
        raise Refused(f"{_ERROR}.UnknownObject", f"There is no such object: {PATH} is.")
    everywhere = (INTROSPECTABLE, PEER)
    there = [each for each in INTERFACES if call.path == PATH or each.name in everywhere]
    named = [each for each in there if call.interface in ("", each.name)]
    if not named:
        raise Refused(f"{_ERROR}.UnknownInterface", f"There is no such interface: {INTERFACE} is.")
    for each in named:
        method = each.method(call.member)
        if method is not None:
            if call.signature != method.in_signature:
                types = method.in_signature or "nothing"
                raise Refused(f"{_ERROR}.InvalidArgs", f"{method.name} takes {types}.")
            return method, each.name == INTERFACE
    raise Refused(f"{_ERROR}.UnknownMethod", "There is no such method.")


def _values(call: Header, data: bytes) -> list[Any]:
    try:
        return unpacked(call, data)
    except ValueError:
        raise Refused(f"{_ERROR}.InvalidArgs", "The values cannot be read.") from None
