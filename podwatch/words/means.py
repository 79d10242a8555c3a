# SPDX-License-Identifier: Apache-2.0
"""The means of restoring, and what becomes of one that was tried."""

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """The means of restoring, the least disruptive first."""

    SYSCTLS = "sysctls"
    SOURCES = "sources"
    REPLAY = "replay"
    RELOAD = "reload"
    ESCALATE = "escalate"


ABOUT_RULES = frozenset({Method.REPLAY, Method.RELOAD, Method.ESCALATE})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one means: whether it went through, and what to tell about it.

    `transactions` are those of a replay, by which they are told from what others did meanwhile.
    `held` says who was left out, and why, where somebody was. `outdated`: nothing was tried, as the
    host was another by then.
    """

    method: Method
    done: bool
    detail: str
    transactions: int = 0
    held: str = ""
    outdated: bool = False
