# SPDX-License-Identifier: Apache-2.0
"""Writing status.json: what stands in it now, since when, and its heartbeat.

The file is replaced whole, so that no reader ever sees half of it. What its fields mean is
described in status.py.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podwatch import __version__
from podwatch.adapters.files import write_whole
from podwatch.report.document import with_dhcp, with_refused
from podwatch.report.status import SCHEMA

HEARTBEAT_S = 20.0


def as_text(document: Mapping[str, Any]) -> str:
    """A document as JSON: a line for each field, and for each entry of a list.

    json's indentation is done in Python, and takes five times as long.
    """
    fields = (f"{json.dumps(key)}: {_value(value)}" for key, value in document.items())
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(map(json.dumps, value)) + "\n]"
    return json.dumps(value)


class StatusFile:
    """The status document at `path`, put together of the parts that change by themselves.

    `found` is what the last look found, {} before the first; `dhcp` the section on DHCP, `guard`
    that on the guard; `refused` why the configuration was refused; `restoring` what is under way.
    `document` is the whole as it was written last. `notify` gets state and summary in one line,
    whenever that line changes.
    """

    def __init__(
        self,
        path: Path,
        notify: Callable[[str], None],
        *,
        dry_run: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.document: dict[str, Any] = {}
        self.found: dict[str, Any] = {}
        self.dhcp: dict[str, Any] = {}
        self.guard: dict[str, Any] = {}
        self.refused = ""
        self.restoring = ""
        self._path = path
        self._notify = notify
        self._dry_run = dry_run
        self._clock = clock
        self._is_written = False
        self._state: object = None
        self._line = ""
        self._started = self._since = clock()

    def write(self, more: Mapping[str, Any]) -> None:
        """Write the document, with the fields of `more` beside its own.

        Raises PodwatchError when the file cannot be written; `document` is new all the same.
        """
        reported = with_refused(with_dhcp(self.found, self.dhcp), self.refused)
        state = reported.get("state")
        if state != self._state:
            self._state, self._since = state, self._clock()
        line = f"{state}: {reported.get('summary')}"
        if line != self._line:
            self._line = line
            self._notify(line)
        self.document = {
            "schema": SCHEMA,
            "version": __version__,
            "pid": os.getpid(),
            "started": self._started,
            "heartbeat_every": HEARTBEAT_S,
            "dry_run": self._dry_run,
            **reported,
            "since": self._since,
            "restoring": self.restoring,
            "guard": self.guard,
            **more,
        }
        self._is_written = False
        write_whole(self._path, as_text(self.document))
        self._is_written = True

    def beat(self) -> bool:
        """Show by the file's time that podwatch is alive; False when there is no file to touch.

        One that could not be written is an old one: its time must not say that it holds.
        """
        if not self._is_written:
            return False
        try:
            os.utime(self._path)
        except OSError:
            return False
        return True
