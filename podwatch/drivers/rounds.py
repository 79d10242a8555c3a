# SPDX-License-Identifier: Apache-2.0
"""Remembering what was worked out, for as long as it keeps being asked for.

Each look expects nearly the same rules as the one before. A cache of a fixed size would hold the
rules of thousands of containers that have gone; this one holds those of the last two rounds.
"""

from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class PerRound(Generic[*Ts, R]):
    """A pure function of hashable arguments whose results are kept from one round to the next."""

    def __init__(self, function: Callable[[*Ts], R]) -> None:
        self._function = function
        self._now: dict[tuple[*Ts], R] = {}
        self._before: dict[tuple[*Ts], R] = {}

    def new_round(self) -> None:
        """What nobody has asked for since the last round began is forgotten."""
        self._before, self._now = self._now, {}

    def __call__(self, *arguments: *Ts) -> R:
        """The result, worked out at most once in two rounds."""
        if arguments not in self._now:
            known = self._before
            self._now[arguments] = (
                known[arguments] if arguments in known else self._function(*arguments)
            )
        return self._now[arguments]
