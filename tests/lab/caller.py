# SPDX-License-Identifier: Apache-2.0
"""Somebody who calls podwatch on the system bus: a script for a lab host, with dbus-next.

    python3 caller.py call METHOD [SIGNATURE JSON]
    python3 caller.py look SECONDS | flood SECONDS | hear SECONDS

`call` prints what came of one call. `look` has eight connections ask for looks without a rest.
`flood` has each of them send 120 calls of Status at once, again and again, until its input ends.
Both print how many were answered, and how many were refused by which error. `hear` prints each
signal as it comes. All of it is JSON, a line each.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

NAME, PATH, INTERFACE = "org.podwatch1", "/org/podwatch1", "org.podwatch1.Manager"
CONNECTIONS = 8
AT_ONCE = 120
LIMIT_S = 90.0


async def _connected() -> Any:
    bus = import_module("dbus_next.aio").MessageBus(bus_type=_dbus().BusType.SYSTEM)
    return await bus.connect()


def _dbus() -> Any:
    """dbus-next, which has no types that hold, and need not be where a test imports this."""
    return import_module("dbus_next")


async def _called(bus: Any, member: str, signature: str = "", body: Any = ()) -> dict[str, Any]:
    message = _dbus().Message(NAME, PATH, INTERFACE, member, signature=signature, body=list(body))
    reply = await asyncio.wait_for(bus.call(message), LIMIT_S)
    if reply.message_type is _dbus().MessageType.ERROR:
        return {"error": reply.error_name, "said": reply.body}
    return {"given": reply.body}


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what, default=lambda variant: variant.value) + "\n")
    sys.stdout.flush()


async def call(member: str, signature: str = "", body: str = "[]") -> None:
    """One call, and what came of it."""
    _say(await _called(await _connected(), member, signature, json.loads(body)))


async def _storm(
    member: str, at_once: int, seconds: float, is_over: Callable[[], bool] = lambda: False
) -> None:
    end, counts = time.monotonic() + seconds, Counter[str]()

    async def one() -> None:
        bus = await _connected()
        while time.monotonic() < end and not is_over():
            for reply in await asyncio.gather(*[_called(bus, member) for _ in range(at_once)]):
                counts[reply.get("error", "answered")] += 1
        bus.disconnect()

    await asyncio.gather(*[one() for _ in range(CONNECTIONS)])
    _say(counts)


async def look(seconds: str) -> None:
    """Looks, without a rest."""
    await _storm("Look", 1, float(seconds))


async def flood(seconds: str) -> None:
    """960 calls at once that are answered by the whole document, without a rest."""
    ended = threading.Event()

    def read() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    await _storm("Status", AT_ONCE, float(seconds), ended.is_set)


async def hear(seconds: str) -> None:
    """Every signal of podwatch's, as it comes."""
    bus = await _connected()

    def heard(message: Any) -> None:
        if message.path == PATH and message.member in (
            *("PropertiesChanged", "IncidentBegan", "IncidentEnded"),
        ):
            _say({"signal": message.member, "body": message.body})

    bus.add_message_handler(heard)
    rule = f"type='signal',sender='{NAME}'"
    about = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch")
    await bus.call(_dbus().Message(*about, signature="s", body=[rule]))
    _say({"signal": "hears"})
    await asyncio.sleep(float(seconds))


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
