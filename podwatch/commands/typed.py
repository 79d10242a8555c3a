# SPDX-License-Identifier: Apache-2.0
"""What was typed, read: the command as it is named in messages, durations, moments, numbers."""

import argparse
import time

from podwatch.commands.whose import HOST
from podwatch.words.errors import ConfigError

_LAST = 20
"""Incidents that `podwatch history` prints where nobody says how many."""


def command(arguments: argparse.Namespace) -> str:
    """The command as a person would type it again, without its arguments."""
    return f"{arguments.command} --host" if arguments.whose == HOST else str(arguments.command)


def duration(text: str) -> float:
    """The length of a pause, in seconds; a plain number is one of seconds. Raises ConfigError."""
    from podwatch.daemon.forms import durations
    from podwatch.daemon.pause import MAX_PAUSE_S

    form = durations(1, MAX_PAUSE_S)
    try:
        return form.read(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)
    except ValueError:
        raise ConfigError(f"--for {text}: must be {form.allowed}") from None


def incidents(arguments: argparse.Namespace) -> tuple[float, int]:
    """From when on, in seconds since the epoch, and how many of the last; 0 for all.

    All that is from that time on; without a time, some to begin with. Raises ConfigError.
    """
    from podwatch.commands.history import parse_since

    try:
        since = parse_since(arguments.since, time.time()) if arguments.since else 0.0
    except (ValueError, OverflowError):
        hint = 'write "2h", "3d" or "2026-11-24 10:00"'
        raise ConfigError(f"--since {arguments.since}: not a moment", hint=hint) from None
    return since, arguments.n if arguments.n is not None else 0 if since else _LAST
