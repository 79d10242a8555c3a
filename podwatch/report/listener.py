# SPDX-License-Identifier: Apache-2.0
"""Who is told of what is published, at the moment it is: for programs that wait for it.

A Listener does nothing with what it is told; the API's overrides what it needs.
"""

from dataclasses import dataclass

from podwatch.decide.decision import Decision
from podwatch.report.incident import Incident
from podwatch.words.means import Outcome
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Looked:
    """A look that was reported: when it began and ended, by time.monotonic(), and what of it.

    The verdict counts the ways.
    """

    began: float
    ended: float
    snapshot: Snapshot
    verdict: Verdict
    decision: Decision


class Listener:
    """Is told of looks, repairs, incidents and of each new document."""

    def looked(self, look: Looked) -> None:
        """A look was reported, and its document written."""

    def acted(self, outcome: Outcome) -> None:
        """A means of restoring was tried."""

    def entered(self, incident: Incident) -> None:
        """An incident was entered: it has begun, or ended."""

    def wrote(self) -> None:
        """The document is another one."""
