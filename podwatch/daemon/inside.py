# SPDX-License-Identifier: Apache-2.0
"""Who has a network namespace, as the kernel last told it: asked again only where it may differ."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain

from podwatch.adapters import links
from podwatch.words.network import Address

_AGAIN_S = 10.0
"""Who was in a namespace so long ago is asked again, though nothing has changed."""


class Inside:
    """The kernel's answer, and what was so when it was asked.

    `ask` gives the addresses in each network namespace by its number, None where the kernel does
    not tell; `clock` counts seconds. At 100 containers the question costs as much as the rest of a
    look (15 ms).
    """

    def __init__(
        self,
        ask: Callable[[], Mapping[int, frozenset[Address]] | None] = links.inside,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._known: tuple[object, float, Mapping[Address, int] | None] = (None, -math.inf, None)

    def at(self, key: object) -> Mapping[Address, int] | None:
        """In how many namespaces an address is; None where the kernel does not tell.

        `key` changes whenever a container may have come or gone.
        """
        now = self._clock()
        known, at, answer = self._known
        if known != key or answer is None or now > at + _AGAIN_S:
            found = self._ask()
            answer = None if found is None else Counter(chain.from_iterable(found.values()))
            self._known = (key, now, answer)
        return answer
