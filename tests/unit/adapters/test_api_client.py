# SPDX-License-Identifier: Apache-2.0
"""Calling the API: what goes to the bus, and what each way to fail is called."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.adapters.api_client import call
from podwatch.words.api import ASK, Refused
from podwatch.words.errors import BusUnavailable, PodwatchError

_ERROR = "org.freedesktop.DBus.Error."


class Bus:
    """A bus that remembers one call, and answers it or fails."""

    def __init__(self, answer: Sequence[Any] | BusUnavailable) -> None:
        self.answer = answer
        self.called: dict[str, Any] = {}
        self.is_open = True

    async def call(self, *words: Any, **settings: Any) -> Sequence[Any]:
        """As SystemBus.call."""
        self.called = {"words": words, **settings}
        if isinstance(self.answer, BusUnavailable):
            raise self.answer
        return self.answer

    def close(self) -> None:
        """The connection is given up."""
        self.is_open = False


def asked(bus: Bus, name: str, *values: Any, may_ask: bool = False) -> Any:
    """What the call gives."""
    return asyncio.run(call(name, *values, may_ask=may_ask, bus=bus))  # type: ignore[arg-type]


def test_a_method_is_called_with_its_types() -> None:
    """As the one description of the API has them; the connection is closed behind it."""
    bus = Bus([])

    assert asked(bus, "Pause", 60, "why", may_ask=True) is None
    assert bus.called["words"] == (
        "org.podwatch1",
        "/org/podwatch1",
        "org.podwatch1.Manager",
        "Pause",
        "ts",
        (60, "why"),
    )
    assert (bus.called["returns"], bus.called["interactive"]) == ("", True)
    assert bus.called["timeout_s"] > 300  # somebody has to find the password
    assert not bus.is_open


def test_variants_are_unwrapped() -> None:
    """What comes in an `a{sv}` is plain values."""
    wrapped = SimpleNamespace(signature="as", value=["a", "b"])

    assert asked(Bus([[{"how": wrapped}]]), "Incidents", 1) == [{"how": ["a", "b"]}]


@pytest.mark.parametrize(
    ("said", "name", "says", "hint"),
    [
        ("not found", f"{_ERROR}NameHasNoOwner", "podwatch.service does not run", "systemctl st"),
        ("not found", f"{_ERROR}ServiceUnknown", "podwatch.service does not run", "systemctl st"),
        ("gone", f"{_ERROR}NoReply", "podwatch.service ended before", "systemctl status podwatch"),
        ("what?", f"{_ERROR}UnknownMethod", "knows no Explain: it is of another version", "sudo"),
        ("what?", f"{_ERROR}UnknownObject", "knows no Explain: it is of another version", "sudo"),
        ("no answer after 30 s", "", "podwatch.service: no answer after 30 s", "systemctl st"),
    ],
)
def test_a_service_that_cannot_answer(said: str, name: str, says: str, hint: str) -> None:
    """Is a sentence with what to do, and not the bus' fault."""
    bus = Bus(BusUnavailable(f"org.podwatch1: Explain: {said}", hint=name))

    with pytest.raises(PodwatchError) as caught:
        asked(bus, "Explain", "")
    assert says in str(caught.value)
    assert caught.value.hint.startswith(hint)
    assert not isinstance(caught.value, BusUnavailable)


@pytest.mark.parametrize("name", ["org.podwatch1.Error.Busy", ASK, f"{_ERROR}AccessDenied"])
def test_a_refusal_keeps_its_name(name: str) -> None:
    """And is told in the service's words alone."""
    with pytest.raises(Refused) as caught:
        asked(Bus(BusUnavailable("org.podwatch1: Resume: later", hint=name)), "Resume")
    assert (caught.value.name, str(caught.value)) == (name, "later")


def test_without_a_bus_nobody_is_asked() -> None:
    """That stays the bus' error, with its hint."""
    hint = "systemctl status dbus.socket dbus.service"
    with pytest.raises(BusUnavailable) as caught:
        asked(Bus(BusUnavailable("the system bus does not answer", hint=hint)), "Resume")
    assert caught.value.hint == hint
