# SPDX-License-Identifier: Apache-2.0
"""Flapping: whether somebody removes the rules again as often as podwatch puts them back.

The status names who does it while it lasts; the journal names it once. Nothing here decides how
often podwatch tries: that is the policy's.
"""

import math
from collections import deque

from podwatch.words.cause import Cause
from podwatch.words.text import lasted

FLAPPING_LOSSES = 6
FLAPPING_S = 30.0
"""So many losses within so many seconds are flapping, and a last loss so long ago ends it."""

QUIET_S = 2 * FLAPPING_S
"""Flapping that begins again so soon is not reported a second time."""


class Flapping:
    """Counts losses by the time they began; `sentence` says who removes the rules, "" if nobody."""

    def __init__(self) -> None:
        self.sentence = ""
        self._began: deque[float] = deque(maxlen=FLAPPING_LOSSES)
        self._reported_at = -math.inf

    def lost(self, cause: Cause, now: float, what: str = "rules") -> bool:
        """Count a loss that began at `now`, in seconds; whether `sentence` is to be reported.

        `what` was lost, in the plural. Who is to blame is said of rules alone: nobody takes away a
        name server in order to.
        """
        self._began.append(now)
        for_s = now - self._began[0]
        if len(self._began) < FLAPPING_LOSSES or for_s >= FLAPPING_S:
            return False
        who = cause.writer.name if cause.writer else cause.short or "somebody"
        does = f"{who} keeps removing the rules" if what == "rules" else f"{what} keep getting lost"
        self.sentence = f"{does}: {FLAPPING_LOSSES} times in {lasted(for_s)}"
        if now - self._reported_at <= QUIET_S:
            return False
        self._reported_at = now
        return True

    def ends(self, now: float) -> bool:
        """Whether flapping went on until now, and the last loss is too long ago for more of it."""
        if not self.sentence or now - self._began[-1] <= FLAPPING_S:
            return False
        self.sentence = ""
        return True
