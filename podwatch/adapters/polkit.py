# SPDX-License-Identifier: Apache-2.0
"""polkit: whether a caller may do what changes something on the host.

polkit knows the caller by the name on the bus that the bus itself wrote into the call. It asks a
person for a password only where the call allows that, since whoever asks has to wait as long as the
person takes. A minimal host has no polkit: there, only root may.
"""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any

from podwatch.adapters.dbus import SystemBus
from podwatch.adapters.rights import user
from podwatch.words.api import ASK, Action, Call, Refused
from podwatch.words.errors import BusUnavailable
from podwatch.words.text import clean

NAME = "org.freedesktop.PolicyKit1"
PATH = "/org/freedesktop/PolicyKit1/Authority"
INTERFACE = f"{NAME}.Authority"

LIMIT_S = 5.0
ASKING_LIMIT_S = 120.0
"""For a person to find and type a password."""

_MAY_ASK = 1
_ABSENT = ("ServiceUnknown", "NameHasNoOwner", "UnitMasked", "NoSuchUnit")


class Polkit:
    """Who may do what: polkit, asked over this bus."""

    def __init__(self, bus: SystemBus | None = None) -> None:
        self._bus = bus or SystemBus()
        self._asked: set[int] = set()
        self._numbers = count(1)
        self._withdrawing: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Give the connection up; a later question makes another."""
        for task in self._withdrawing:
            task.cancel()
        self._bus.close()

    async def permit(self, call: Call, action: Action) -> None:
        """Return if the caller may do this. Raises Refused.

        root is not asked about: polkit says yes to uid 0 whatever its rules are, and root may
        change whatever podwatch guards anyway. So root can pause and restore where polkit is
        absent or hangs, which may be just when that is needed.
        """
        if call.uid == 0:
            return
        if not call.may_ask:
            await self._judge(call, action)
            return
        if call.uid in self._asked:
            raise Refused(
                "Busy", "A person is being asked for a password on behalf of this user already."
            )
        self._asked.add(call.uid)
        try:
            await self._judge(call, action)
        finally:
            self._asked.discard(call.uid)

    async def _judge(self, call: Call, action: Action) -> None:
        what = f"“{action.description}” needs administrative rights"
        authorized, challenge, details = await self._check(call, action, what)
        if authorized:
            return
        if challenge and not call.may_ask:
            raise Refused(ASK, f"{what}, and the call does not let polkit ask for a password.")
        if challenge:
            raise Refused(
                "NotAllowed",
                f"{what}, and nothing is there through which polkit could ask for a password",
                hint="as root, or beside pkttyagent --process $$",
            )
        if "polkit.dismissed" in details:
            raise Refused("NotAllowed", f"{what}, and the question for a password was dismissed.")
        who = clean(await asyncio.to_thread(user, call.uid))
        raise Refused(
            "NotAllowed",
            f"{what}, and polkit does not permit it to {who}",
            hint=f"as root; or pkaction --verbose --action-id {action.name}",
        )

    async def _check(self, call: Call, action: Action, what: str) -> tuple[bool, bool, Any]:
        number = f"podwatch-{next(self._numbers)}" if call.may_ask else ""
        subject = ["system-bus-name", {"name": ("s", call.sender)}]
        is_over = False
        try:
            ((authorized, challenge, details),) = await self._bus.call(
                NAME,
                PATH,
                INTERFACE,
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                [subject, action.name, {}, _MAY_ASK if call.may_ask else 0, number],
                returns="(bba{ss})",
                timeout_s=ASKING_LIMIT_S if call.may_ask else LIMIT_S,
                starts=True,
            )
            is_over = True
        except BusUnavailable as exc:
            is_over = bool(exc.hint)
            raise _refused(exc, what) from exc
        finally:
            if number and not is_over:
                self._withdraw(number)
        return bool(authorized), bool(challenge), details

    def _withdraw(self, number: str) -> None:
        """Nobody waits for the answer any more: have polkit take its question back."""
        task = asyncio.get_running_loop().create_task(self._cancel(number))
        self._withdrawing.add(task)
        task.add_done_callback(self._withdrawing.discard)

    async def _cancel(self, number: str) -> None:
        with suppress(BusUnavailable):
            cancel = (NAME, PATH, INTERFACE, "CancelCheckAuthorization")
            await self._bus.call(*cancel, "s", [number], timeout_s=LIMIT_S)


def _refused(exc: BusUnavailable, what: str) -> Refused:
    if exc.hint.endswith(_ABSENT):
        return Refused(
            "NotAllowed",
            f"{what}; here these are root's alone, since polkit is not there",
            hint="as root; or apt install polkitd, dnf install polkit",
        )
    if not exc.hint or exc.hint.endswith(("NoReply", "TimedOut", "Timeout")):
        return Refused(
            "NotAllowed", f"{what}, and polkit does not answer", hint="systemctl status polkit"
        )
    return Refused(
        "NotAllowed", f"{what}, and polkit refuses to answer: {exc}", hint="systemctl status polkit"
    )
