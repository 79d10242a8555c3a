# SPDX-License-Identifier: Apache-2.0
"""The audience: who waits for a look over the API, and who is told of incidents.

It is the publisher's Listener: what it is told it keeps for those who ask, bounded, and passes on.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from podwatch.report.incident import Incident
from podwatch.report.listener import Listener, Looked
from podwatch.report.recent import Recent, by_of, id_of, outcome_of, what_of
from podwatch.words.means import Outcome

Said = Looked | Outcome


class Audience(Listener):
    """Passes on what is published.

    `changed` is called when a property of the API may be another, `emit` with a signal's name and
    its values. `last` is the look that was reported last, `recent` the newest incidents.
    """

    def __init__(
        self, changed: Callable[[], None], emit: Callable[[str, Sequence[Any]], None]
    ) -> None:
        self.last: Looked | None = None
        self.recent = Recent()
        self._changed = changed
        self._emit = emit
        self._queues: set[asyncio.Queue[Said]] = set()

    @contextmanager
    def following(self) -> Iterator["asyncio.Queue[Said]"]:
        """What is said from now on: looks that were reported, and repairs that were tried."""
        queue: asyncio.Queue[Said] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def looked(self, look: Looked) -> None:
        """A look was reported: whoever waits for one hears of it."""
        self.last = look
        self._say(look)

    def acted(self, outcome: Outcome) -> None:
        """A means of restoring was tried."""
        self._say(outcome)

    def entered(self, incident: Incident) -> None:
        """An incident has begun, or ended: everybody is told."""
        self.recent.enter(incident)
        if incident.restored_at is None:
            values: list[Any] = [id_of(incident), what_of(incident), by_of(incident.cause)]
            self._emit("IncidentBegan", values)
        else:
            values = [id_of(incident), outcome_of(incident), incident.took_ms]
            self._emit("IncidentEnded", values)

    def wrote(self) -> None:
        """The document is another, and properties may be."""
        self._changed()

    def _say(self, said: Said) -> None:
        for queue in self._queues:
            queue.put_nowait(said)
