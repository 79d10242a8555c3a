# SPDX-License-Identifier: Apache-2.0
"""A system bus of the test's own, with one service on it, and systemd as that service."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.lab import stranger
from tests.unit.waiting import until

# Behind the adapter, which sees to it that dbus_next does not load GLib.
import_module("podwatch.adapters.dbus")
Message: Any = import_module("dbus_next.message").Message
MessageType: Any = import_module("dbus_next.constants").MessageType
Variant: Any = import_module("dbus_next.signature").Variant
Marshaller: Any = import_module("dbus_next._private.marshaller").Marshaller
Unmarshaller: Any = import_module("dbus_next._private.unmarshaller").Unmarshaller

Reply = tuple[str, list[Any]]
"""A signature, and values of those types."""

OWNER = ":1.8"
MANAGER = "org.freedesktop.systemd1.Manager"
ROOT = "/org/freedesktop/systemd1"


class RefusedError(Exception):
    """The service answers with an error: its name, and a sentence."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


async def _message(reader: asyncio.StreamReader) -> Any:
    head = await reader.readexactly(16)
    body, fields = int.from_bytes(head[4:8], "little"), int.from_bytes(head[12:16], "little")
    rest = await reader.readexactly(fields + -fields % 8 + body)
    return Unmarshaller(io.BytesIO(head + rest)).unmarshall()


class FakeBus:
    """Answers each call by `answer`, which gets the message and raises RefusedError for an error.

    `silent` are members that are never answered; while it is `away`, nobody can connect.
    """

    def __init__(self, answer: Callable[[Any], Reply]) -> None:
        self._answer = answer
        self._writers: set[asyncio.StreamWriter] = set()
        self._serial = 0
        self.silent: set[str] = set()
        self.away = False

    @asynccontextmanager
    async def at(self, path: Path) -> AsyncIterator["FakeBus"]:
        """The bus at this path."""
        server = await asyncio.start_unix_server(self._talk, path)
        try:
            yield self
        finally:
            server.close()
            self.drop()

    def drop(self) -> None:
        """Close every connection."""
        for writer in list(self._writers):
            writer.close()

    def signal(
        self, path: str, interface: str, member: str, reply: Reply, sender: str = OWNER
    ) -> None:
        """A signal to everybody who is connected."""
        signature, body = reply
        fields: dict[int, str | int] = {
            stranger.PATH: path,
            stranger.INTERFACE: interface,
            stranger.MEMBER: member,
            stranger.SENDER: sender,  # dbus_next leaves it out: a bus fills it in
            stranger.SIGNATURE: signature,
        }
        data = Marshaller(signature, body).marshall()
        for writer in self._writers:
            writer.write(stranger.message(stranger.SIGNAL, 1, fields, data))

    def _send(self, writer: asyncio.StreamWriter, **fields: Any) -> None:
        self._serial += 1
        writer.write(Message(serial=self._serial, **fields)._marshall())

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.close()
            return
        self._writers.add(writer)
        try:
            await reader.readline()
            writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
            await reader.readline()
            while True:
                asked = await _message(reader)
                if asked.member in self.silent:
                    continue
                answers = {"reply_serial": asked.serial, "sender": OWNER}
                try:
                    signature, body = self._answer(asked)
                except RefusedError as exc:
                    self._send(
                        writer,
                        message_type=MessageType.ERROR,
                        error_name=exc.name,
                        signature="s",
                        body=[str(exc)],
                        **answers,
                    )
                else:
                    self._send(
                        writer,
                        message_type=MessageType.METHOD_RETURN,
                        signature=signature,
                        body=body,
                        **answers,
                    )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@dataclass
class FakeSystemd:
    """systemd, as far as podwatch asks it: units, and jobs that end when the test says so.

    `units` are properties by name; `asked` is every call of the manager with its arguments.
    `quick` is how a job ends as soon as it is begun, "" if it is left to the test. `unwilling` are
    members that it refuses, and units that it does not start, each with the reason.
    """

    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    quick: str = "done"
    unwilling: dict[str, str] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    subscribed: bool = False

    def __post_init__(self) -> None:
        self.bus = FakeBus(self.answer)

    def answer(self, asked: Any) -> Reply:
        """The answer to a call, on the bus's own interface or on systemd's."""
        if asked.member == "Hello":
            return "s", [":1.7"]
        if asked.member == "GetNameOwner":
            return "s", [OWNER]
        if asked.member in ("AddMatch", "RemoveMatch"):
            self.note(f"{asked.member} {asked.body[0]}")
            return "", []
        if asked.member == "Get":
            self.note(f"Get {asked.body[1]}")
            return self._property(asked.path, *asked.body)
        self.note(" ".join([asked.member, *map(str, asked.body)]))
        if asked.member in self.unwilling:
            raise RefusedError(
                "org.freedesktop.DBus.Error.AccessDenied", self.unwilling[asked.member]
            )
        answer: Callable[..., Reply] = getattr(self, f"_{asked.member}")
        return answer(*asked.body)

    def note(self, what: str) -> None:
        """Something was asked."""
        self.asked.append(what)
        self.heard.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until this is so, which only something that is asked can change."""
        await until(self.heard, is_so)

    def end(self, unit: str, result: str, *, says: bool = True) -> None:
        """The unit's job ends, and all are told unless not `says`."""
        job = next(job for job, name in self.jobs.items() if name == unit)
        del self.jobs[job]
        if says:
            self.bus.signal(ROOT, MANAGER, "JobRemoved", ("uoss", [7, job, unit, result]))

    def _property(self, path: str, interface: str, name: str) -> Reply:
        if "/job/" in path:
            if path not in self.jobs:
                raise RefusedError("org.freedesktop.DBus.Error.UnknownObject", "Unknown object")
            return "v", [Variant("s", "running")]
        unit = self.units.get(path.removeprefix(f"{ROOT}/unit/"), {})
        value = unit.get(name, {"LoadState": "not-found", "ActiveState": "inactive"}.get(name))
        kind = {"MainPID": "u", "ExecMainStartTimestamp": "t"}.get(name, "s")
        assert value is not None, (path, interface, name)
        return "v", [Variant(kind, value)]

    def _Subscribe(self) -> Reply:
        if self.subscribed:
            raise RefusedError("org.freedesktop.systemd1.AlreadySubscribed", "already")
        self.subscribed = True
        return "", []

    def _LoadUnit(self, name: str) -> Reply:
        return "o", [f"{ROOT}/unit/{name.replace('.', '_').replace('-', '_')}"]

    def _GetUnitFileState(self, name: str) -> Reply:
        state = self.units[name.replace(".", "_").replace("-", "_")].get("UnitFileState")
        if state is None:
            raise RefusedError("org.freedesktop.systemd1.NoSuchUnit", "no file")
        return "s", [state]

    def _EnableUnitFiles(self, names: list[str], runtime: bool, force: bool) -> Reply:  # noqa: FBT001
        return "ba(sss)", [True, [["symlink", name, "x"] for name in names]]

    def _ResetFailedUnit(self, name: str) -> Reply:
        raise RefusedError("org.freedesktop.systemd1.NoSuchUnit", f"{name} not loaded")

    def _StartUnit(self, name: str, mode: str) -> Reply:
        if name in self.unwilling:
            raise RefusedError("org.freedesktop.systemd1.NoSuchUnit", self.unwilling[name])
        job = f"{ROOT}/job/{len(self.asked)}"
        self.jobs[job] = name
        if self.quick:
            asyncio.get_running_loop().call_soon(lambda: self.end(name, self.quick))
        return "o", [job]

    _RestartUnit = _StartUnit

    def _ListUnitsByNames(self, names: list[str]) -> Reply:
        unknown = {"LoadState": "not-found", "ActiveState": "inactive"}
        listed = []
        for name in names:
            unit = self.units.get(name, unknown)
            listed.append(
                [name, "", unit["LoadState"], unit["ActiveState"], "", "", "/", 0, "", "/"]
            )
        return "a(ssssssouso)", [listed]
