# SPDX-License-Identifier: Apache-2.0
"""The API of podwatch.service as who calls it sees it: one call, and in words why it failed.

A service that does not run is not started by it: whoever stopped it wanted that.
"""

from typing import Any

from podwatch.adapters.dbus import SystemBus
from podwatch.words.api import INTERFACE, METHODS, NAME, PATH, Refused
from podwatch.words.errors import BusUnavailable, PodwatchError

ANSWERED_WITHIN_S = 30.0
"""A look at a large host, and whoever is before in the queue."""
DONE_WITHIN_S = 900.0
"""What polkit is asked about: a person finds a password, and a repair reloads many containers."""

_ERROR = "org.freedesktop.DBus.Error."
_ABSENT = (f"{_ERROR}NameHasNoOwner", f"{_ERROR}ServiceUnknown")
_GONE = (f"{_ERROR}NoReply", f"{_ERROR}Disconnected")
_OLD = tuple(f"{_ERROR}Unknown{what}" for what in ("Method", "Interface", "Object"))
_STATUS = "systemctl status podwatch"


async def call(name: str, *values: Any, may_ask: bool = False, bus: SystemBus | None = None) -> Any:
    """Call a method of the API; what it gives, None where that is nothing.

    `may_ask`: polkit may ask the person for a password, however long that takes.
    Raises Refused where the service refuses, BusUnavailable without a bus, PodwatchError where the
    service does not run, does not answer, or does not know the method.
    """
    (method,) = (each for each in METHODS if each.name == name)
    bus = SystemBus() if bus is None else bus
    try:
        found = await bus.call(
            NAME,
            PATH,
            INTERFACE,
            name,
            method.in_signature,
            values,
            returns=method.out_signature,
            interactive=may_ask,
            timeout_s=DONE_WITHIN_S if method.action else ANSWERED_WITHIN_S,
        )
    except BusUnavailable as exc:
        raise _in_words(exc, str(exc).removeprefix(f"{NAME}: {name}: "), name) from exc
    finally:
        bus.close()
    return _plain(found[0]) if found else None


def _in_words(exc: BusUnavailable, said: str, name: str) -> PodwatchError:
    """What a person is told of a call that failed; the hint is the D-Bus error's name."""
    if exc.hint in _ABSENT:
        return PodwatchError(
            "podwatch.service does not run, and only root does without", hint=_STATUS
        )
    if exc.hint in _GONE:
        return PodwatchError("podwatch.service ended before it answered", hint=_STATUS)
    if exc.hint in _OLD:
        return PodwatchError(
            f"the podwatch.service that runs knows no {name}: it is of another version",
            hint="sudo systemctl restart podwatch",
        )
    if exc.hint.count(".") > 1 and " " not in exc.hint:
        return Refused(exc.hint, said)
    if said != str(exc):  # of a call that was made, and of which came nothing, or nonsense
        return PodwatchError(f"podwatch.service: {said}", hint=_STATUS)
    return exc


def _plain(value: Any) -> Any:
    """A value without the wrapping in which dbus_next tells the types of what is in a `v`."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return _plain(value.value) if hasattr(value, "signature") else value
