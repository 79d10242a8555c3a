# SPDX-License-Identifier: Apache-2.0
"""The means of restoring, and what becomes of one that was tried."""

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """The means of restoring, the least disruptive first."""

    NETNS = "netns"
    LINKS = "links"
    NAMES = "names"
    RELAYS = "relays"
    UPLINK = "uplink"
    SYSCTLS = "sysctls"
    SOURCES = "sources"
    REWIRE = "rewire"
    REPLAY = "replay"
    RELOAD = "reload"
    ESCALATE = "escalate"


BY_PODMAN = frozenset({Method.REWIRE, Method.RELOAD, Method.ESCALATE})
"""Means for which podman sets containers' networks up anew."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one means (a Method, or that of another row of `decide/kinds.py`).

    `done` says whether it went through, `detail` what is reported of it.

    `transactions` are those of a replay, by which they are told from what others did meanwhile.
    `held` says who was left out, and why, where somebody was. `outdated`: nothing was tried, as the
    host was another by then.
    """

    method: str
    done: bool
    detail: str
    transactions: int = 0
    held: str = ""
    outdated: bool = False
