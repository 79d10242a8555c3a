# SPDX-License-Identifier: Apache-2.0
"""Logging: structlog to journald's native socket, with fields; or as readable text to stderr.

The journal gets a sentence (MESSAGE), its PRIORITY, the MESSAGE_ID of its kind, and PODWATCH_*
fields; a terminal gets the sentence, and what to do. Neither structlog nor the standard library
brings a renderer for the journal that keeps fields.
"""

import logging
import os
import sys
from types import MappingProxyType
from typing import Any, Protocol

from podwatch.adapters.journal import connected_to_journal, send
from podwatch.adapters.spared import spared
from podwatch.report.events import Event
from podwatch.words.text import clean

# structlog (25.4) loads both, 0.5 MB, for loggers that are pickled, and local to threads.
with spared({"pickle": {"PicklingError": TypeError}, "uuid": {}}):
    import structlog

_LEVELS = logging.getLevelNamesMapping()
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}


def configure(level: str) -> None:
    """Send what is at least of `level` to the journal under systemd, else to stderr."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    last: Any = _Text(colour=colour)
    if connected_to_journal():
        last = _to_journal
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class Log(Protocol):
    """Takes events; `log` does so for the daemon."""

    def __call__(self, event: Event, message: str, **fields: str | int | float) -> None:
        """Log one event: a sentence for people, fields for programs."""


def log(event: Event, message: str, **fields: str | int | float) -> None:
    """Log one event: a sentence for people, fields for programs."""
    logger = structlog.get_logger()
    getattr(logger, event.value.level)(message, message_id=event.value.message_id, **fields)


class _Text:
    """A line for a person: time, level, sentence; what a terminal would obey is taken out."""

    _COLOURS = MappingProxyType({"debug": "2", "info": "32", "warning": "33", "error": "31"})

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, _logger: Any, level: str, entry: dict[str, Any]) -> str:
        name = f"{level:7}"
        if self._colour:
            name = f"\x1b[{self._COLOURS.get(level, '0')}m{name}\x1b[0m"
        line = f"{entry['timestamp']} {name} {clean(entry['event'])}"
        if advice := entry.get("advice") or entry.get("hint"):
            line += f" (→ {clean(advice)})"
        return line


def _to_journal(_logger: Any, level: str, entry: dict[str, Any]) -> str:
    message = entry.pop("event")
    message_id = entry.pop("message_id", "")
    entry.pop("level", None)
    entry.pop("timestamp", None)
    fields: dict[str, str | int] = {
        "MESSAGE": message,
        "PRIORITY": _PRIORITY.get(level, 6),
        "SYSLOG_IDENTIFIER": "podwatch",
    }
    if message_id:
        fields["MESSAGE_ID"] = message_id
    fields.update({f"PODWATCH_{key.upper()}": str(value) for key, value in entry.items()})
    if send(fields):
        raise structlog.DropEvent
    return f"<{_PRIORITY.get(level, 6)}>{message}"
