# SPDX-License-Identifier: Apache-2.0
"""Who may do what: polkit's answers in all their kinds, on a bus of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters import polkit
from podwatch.adapters.dbus import SystemBus
from podwatch.adapters.polkit import Polkit
from podwatch.words.api import ASK, PAUSE, Call, Refused, method
from tests.unit.adapters.system_bus import FakeBus, RefusedError, Reply
from tests.unit.waiting import until

pause = method("Pause")
assert pause is not None
JOE = Call(pause, (60, ""), ":1.42", 1000)
ASKING = replace(JOE, may_ask=True)
NOT_ALLOWED = "org.podwatch1.Error.NotAllowed"


class FakePolkit:
    """polkit, as far as podwatch asks it; `answers` (authorized, challenge, details) or raises."""

    def __init__(self) -> None:
        self.answers: tuple[bool, bool, dict[str, str]] | RefusedError = (False, False, {})
        self.asked: list[Any] = []
        self.heard = asyncio.Event()
        self.bus = FakeBus(self.answer)
        self.client = SystemBus()

    async def has_heard(self) -> None:
        """Wait until it has heard all that was asked before this."""
        await self.client.owner("org.example")

    def answer(self, asked: Any) -> Reply:
        """The answer to a call."""
        if asked.member == "Hello":
            return "s", [":1.7"]
        if asked.member == "GetNameOwner":
            return "s", [":1.9"]
        self.asked.append(asked)
        self.heard.set()
        if asked.member == "CancelCheckAuthorization":
            return "", []
        assert (asked.destination, asked.path) == (polkit.NAME, polkit.PATH)
        assert asked.signature == "(sa{sv})sa{ss}us"
        if isinstance(self.answers, RefusedError):
            raise self.answers
        return "(bba{ss})", [list(self.answers)]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clients look for the bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
    return tmp_path / "bus"


def use(path: Path, body: Callable[[Polkit, FakePolkit], Awaitable[None]]) -> None:
    """Run `body` with the adapter and such a polkit."""

    async def run() -> None:
        fake = FakePolkit()
        asked = Polkit(fake.client)
        async with fake.bus.at(path):
            try:
                await body(asked, fake)
            finally:
                asked.close()

    asyncio.run(asyncio.wait_for(run(), 30))


async def refused(asked: Polkit, call: Call) -> Refused:
    """Why this call may not pause."""
    with pytest.raises(Refused) as caught:
        await asked.permit(call, PAUSE)
    return caught.value


def test_root_is_not_asked_about(path: Path) -> None:
    """root may, with or without polkit, and also where the bus is away."""
    root = replace(JOE, uid=0)

    async def body(asked: Polkit, fake: FakePolkit) -> None:
        await asked.permit(root, PAUSE)
        fake.bus.away = True
        await asked.permit(replace(root, may_ask=True), PAUSE)
        assert fake.asked == []

    use(path, body)


@pytest.mark.parametrize("call", [JOE, ASKING], ids=["silent", "asking"])
def test_polkit_is_asked_about_the_sender(path: Path, call: Call) -> None:
    """By the name that the bus wrote; it may ask a person only where the call lets it."""

    async def body(asked: Polkit, fake: FakePolkit) -> None:
        fake.answers = (True, False, {})
        await asked.permit(call, PAUSE)
        (message,) = fake.asked
        subject, action, details, flags, number = message.body
        assert (subject[0], subject[1]["name"].value) == ("system-bus-name", ":1.42")
        assert (action, details, flags) == ("org.podwatch1.pause", {}, int(call.may_ask))
        assert bool(number) == call.may_ask
        assert message.flags == 0  # polkit is started if need be, and is not to ask for itself

    use(path, body)


@pytest.mark.parametrize(
    ("call", "answers", "name", "told"),
    [
        (JOE, (False, True, {}), ASK, "does not let polkit ask"),
        (JOE, (False, False, {}), NOT_ALLOWED, "does not permit it to joe"),
        (ASKING, (False, True, {}), NOT_ALLOWED, "nothing is there through which"),
        (ASKING, (False, False, {"polkit.dismissed": "true"}), NOT_ALLOWED, "was dismissed"),
        (ASKING, (False, False, {}), NOT_ALLOWED, "does not permit it to joe"),
    ],
)
def test_a_refusal_says_what_is_missing(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    answers: tuple[bool, bool, dict[str, str]],
    name: str,
    told: str,
) -> None:
    """Each kind in words of its own; all say that it needs administrative rights."""
    monkeypatch.setattr(polkit, "user", lambda uid: {1000: "joe"}[uid])

    async def body(asked: Polkit, fake: FakePolkit) -> None:
        fake.answers = answers
        why = await refused(asked, call)
        assert why.name == name
        assert told in str(why)
        assert "needs administrative rights" in str(why)

    use(path, body)


@pytest.mark.parametrize(
    ("error", "told", "hint"),
    [
        ("ServiceUnknown", "polkit is not there", "apt install polkitd"),
        ("NoReply", "does not answer", "systemctl status polkit"),
        ("Spawn.ChildExited", "refuses to answer: ", "systemctl status polkit"),
    ],
)
def test_without_polkit_only_root_may(path: Path, error: str, told: str, hint: str) -> None:
    """Where polkit is absent, broken or refuses, nobody else is let through."""

    async def body(asked: Polkit, fake: FakePolkit) -> None:
        fake.answers = RefusedError(f"org.freedesktop.DBus.Error.{error}", "so it is")
        why = await refused(asked, JOE)
        assert why.name == NOT_ALLOWED
        assert told in str(why)
        assert hint in why.hint

    use(path, body)


def test_a_polkit_that_hangs_lets_nobody_through(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time limit it is a refusal; a question to a person is taken back."""
    monkeypatch.setattr(polkit, "LIMIT_S", 0.1)
    monkeypatch.setattr(polkit, "ASKING_LIMIT_S", 0.1)

    async def body(asked: Polkit, fake: FakePolkit) -> None:
        fake.bus.silent = {"CheckAuthorization"}
        assert "does not answer" in str(await refused(asked, JOE))
        assert fake.asked == []
        assert "does not answer" in str(await refused(asked, ASKING))
        await until(fake.heard, lambda: bool(fake.asked))
        assert [each.member for each in fake.asked] == ["CancelCheckAuthorization"]
        fake.bus.silent = set()
        fake.answers = (True, False, {})
        await asked.permit(ASKING, PAUSE)

    use(path, body)


def test_one_question_to_a_person_at_a_time(path: Path) -> None:
    """A second one of the same user is busy; one that asks nobody is not, nor another user's."""

    async def body(asked: Polkit, fake: FakePolkit) -> None:
        fake.bus.silent = {"CheckAuthorization"}
        first = asyncio.ensure_future(asked.permit(ASKING, PAUSE))
        await asyncio.sleep(0)
        await fake.has_heard()
        assert (await refused(asked, ASKING)).name == "org.podwatch1.Error.Busy"
        fake.bus.silent = set()
        fake.answers = (True, False, {})
        await asked.permit(JOE, PAUSE)
        await asked.permit(replace(ASKING, uid=1001), PAUSE)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await until(fake.heard, lambda: fake.asked[-1].member == "CancelCheckAuthorization")
        await asked.permit(ASKING, PAUSE)

    use(path, body)
