# SPDX-License-Identifier: Apache-2.0
"""A log that keeps what it gets, for whatever takes a report.logging.Log."""

from podwatch.report.events import Event


class RecordingLog:
    """Keeps every entry: `entries` with kind and sentence, `fields` with the fields of each."""

    def __init__(self) -> None:
        self.entries: list[tuple[Event, str]] = []
        self.fields: list[dict[str, str | int | float]] = []

    def __call__(self, event: Event, message: str, **fields: str | int | float) -> None:
        """Take an entry."""
        self.entries.append((event, message))
        self.fields.append(fields)

    @property
    def events(self) -> list[Event]:
        """The kinds of what was logged."""
        return [event for event, _ in self.entries]

    def sentences(self, kind: Event) -> list[str]:
        """What was logged of this kind."""
        return [message for event, message in self.entries if event is kind]
