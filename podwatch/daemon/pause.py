# SPDX-License-Identifier: Apache-2.0
"""The pause: an administrator at work, who wants nothing put back for a while.

It is a file in a directory of its own below the run directory, so that root can begin and end a
pause with the daemon running or not, a restart of podwatch keeps it, and a reboot ends it. The
daemon hears of it by inotify, and its end by the loop's own timer: nothing is polled.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from podwatch.adapters.directory import DirectoryChanges
from podwatch.adapters.files import read_whole, write_whole
from podwatch.words.errors import PodwatchError, StateUnreadable
from podwatch.words.text import clean

LONGEST_S = 7 * 86400.0
DEFAULT_S = 3600.0
_NAME = "pause/pause.json"
_REASON_MOST = 200


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause; `since` and `until` in seconds since the epoch."""

    since: float
    until: float
    reason: str = ""
    by: str = ""

    def __str__(self) -> str:
        until = datetime.fromtimestamp(self.until).astimezone()
        whom = f" by {self.by}" if self.by else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"paused{whom} until {until:%Y-%m-%d %H:%M:%S}{reason}"


def _place(run_dir: Path) -> Path:
    """Where the pause is written. Raises StateUnreadable where its directory is a link."""
    path = run_dir / _NAME
    if path.parent.is_symlink():
        raise StateUnreadable(f"{path.parent} is a link, and not followed", hint="remove it")
    return path


def begin(run_dir: Path, pause: Pause) -> None:
    """Begin a pause, or replace the one there is. Raises PodwatchError."""
    path = _place(run_dir)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as exc:
        raise PodwatchError(f"cannot make {path.parent}: {exc.strerror}") from exc
    write_whole(path, json.dumps(asdict(pause)) + "\n", mode=0o600)


def end(run_dir: Path) -> bool:
    """End the pause; False when there was none. Raises PodwatchError."""
    path = _place(run_dir)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise PodwatchError(f"cannot remove {path}: {exc.strerror}") from exc
    return True


def read(run_dir: Path, now: float) -> Pause | None:
    """The pause that is going on at `now`, if one is.

    Raises StateUnreadable when there is a file that is none of ours.
    """
    path = _place(run_dir)
    text = read_whole(path, limit_bytes=4096)
    if text is None:
        return None
    try:
        found = json.loads(text)
        since, until = float(found["since"]), float(found["until"])
        reason, by = clean(found["reason"])[:_REASON_MOST], clean(found["by"])[:64]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise StateUnreadable(f"{path} is not a pause: {exc}", hint="podwatch resume") from exc
    # A clock that was set back must not make a pause longer than any can be.
    if not (math.isfinite(until) and now < until <= now + LONGEST_S + 1):
        return None
    return Pause(since, until, reason, by)


class PauseWatch:
    """The pause as the daemon sees it. `on_change` is called whenever the file changed."""

    def __init__(self, run_dir: Path, on_change: Callable[[], None]) -> None:
        self.complaint: PodwatchError | None = None
        self._run_dir = run_dir
        self._on_change = on_change
        self._watch: DirectoryChanges | None = None

    def open(self) -> int:
        """Begin to watch; the descriptor to call `drain` for. Raises PodwatchError."""
        directory = _place(self._run_dir).parent
        try:
            directory.mkdir(mode=0o755, exist_ok=True)
        except OSError as exc:
            raise PodwatchError(f"cannot make {directory}: {exc.strerror}") from exc
        self._watch = DirectoryChanges(directory)
        return self._watch.fileno()

    def drain(self) -> None:
        """Something in the directory changed."""
        if self._watch is not None:
            self._watch.drain()
            self._on_change()

    def close(self) -> None:
        """Stop to watch."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def now(self) -> Pause | None:
        """The pause that is going on; `complaint` is set when the file is no pause."""
        try:
            found, self.complaint = read(self._run_dir, time.time()), None
        except StateUnreadable as exc:
            found, self.complaint = None, exc
        return found
