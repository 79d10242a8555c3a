# SPDX-License-Identifier: Apache-2.0
"""A cache for pure functions that forgets what was not asked for lately.

Each look expects nearly the same rules as the one before, so most of them need not be worked out
again. A cache of a fixed size would keep the rules of thousands of containers that have gone. This
one keeps what was asked for in the present round and in the one before.
"""

from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class PerRound(Generic[*Ts, R]):
    """A pure function of hashable arguments, with its results of this round and the last one."""

    def __init__(self, function: Callable[[*Ts], R]) -> None:
        self._function = function
        self._now: dict[tuple[*Ts], R] = {}
        self._before: dict[tuple[*Ts], R] = {}

    def new_round(self) -> None:
        """Begin a round: what was not asked for in the last one is forgotten."""
        self._before, self._now = self._now, {}

    def __call__(self, *arguments: *Ts) -> R:
        """The result; worked out where neither this round nor the last one has it."""
        if arguments not in self._now:
            known = self._before
            self._now[arguments] = (
                known[arguments] if arguments in known else self._function(*arguments)
            )
        return self._now[arguments]
