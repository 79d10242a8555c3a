# SPDX-License-Identifier: Apache-2.0
"""The pause: an administrator at work, who wants nothing put back for a while.

It is a file in a directory of its own below the run directory: root can begin and end a pause
whether the daemon runs or not, a restart of podwatch keeps it, and a reboot ends it. Whoever
puts it there, it belongs to whom the directory belongs: podwatch.service need not be root. The
daemon hears of the file by inotify, and its loops wait for the pause's end: nothing is polled.

What is there and cannot be read counts as a pause, until `podwatch resume` removes it: whoever put
it there wanted something, and the last thing they wanted is a repair.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from podwatch.adapters.files import make_own_directory, read_whole, remove, write_whole
from podwatch.adapters.inotify import DirectoryWatch
from podwatch.words.errors import PodwatchError, StateUnreadable
from podwatch.words.text import clean

MAX_PAUSE_S = 7 * 86400.0
DEFAULT_S = 3600.0
MAX_REASON = 200
_AFTER_S = 0.01
_HINT = "podwatch resume"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause; `since` and `until` in seconds since the epoch. Infinite: until it is ended."""

    since: float
    until: float
    reason: str = ""
    by: str = ""

    def __str__(self) -> str:
        until = "it is ended"
        if math.isfinite(self.until):
            until = f"{datetime.fromtimestamp(self.until).astimezone():%Y-%m-%d %H:%M:%S}"
        whom = f" by {self.by}" if self.by else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"paused{whom} until {until}{reason}"

    def ends_at(self, now: float) -> float | None:
        """Just after its end, on the clock of time.monotonic(), which says `now`; None: never."""
        left_s = max(0.0, self.until - time.time())
        return now + left_s + _AFTER_S if math.isfinite(left_s) else None


def why_blocked(pause: Pause | None, *, enabled: bool, dry_run: bool = False) -> str:
    """Why nothing may be repaired now; "" when it may. `enabled` is restore.enabled."""
    if pause is not None:
        return str(pause)
    if not enabled:
        return "restoring is switched off (restore.enabled)"
    return "dry run: nothing is repaired" if dry_run else ""


def _refuse_link(path: Path) -> None:
    """Raise StateUnreadable where the pause's directory is a link."""
    if path.parent.is_symlink():
        raise StateUnreadable(f"{path.parent} is a link, and not followed", hint=_HINT)


def begin(path: Path, pause: Pause) -> None:
    """Begin a pause, or replace the one there is. Raises PodwatchError."""
    _refuse_link(path)
    try:
        if not path.parent.parent.exists():
            path.parent.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            make_own_directory(path.parent)
    except OSError as exc:
        raise PodwatchError(f"cannot make {path.parent}: {exc.strerror}") from exc
    write_whole(path, json.dumps(asdict(pause)) + "\n", mode=0o600, own=True)


def end(path: Path) -> bool:
    """End the pause, whatever is in its place; False when there was none. Raises PodwatchError."""
    directory = path.parent
    try:
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            path = directory
            directory.unlink()
            make_own_directory(directory)  # the daemon hears of it
        else:
            remove(path)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise PodwatchError(f"cannot remove {path}: {exc.strerror}") from exc
    return True


def read(path: Path, now: float) -> Pause | None:
    """The pause that is going on at `now`, if one is.

    Raises StateUnreadable for what is there and is none that podwatch wrote.
    """
    _refuse_link(path)
    text = read_whole(path, limit_bytes=4096, of_root=True)
    if text is None:
        return None
    try:
        found = json.loads(text)
        since, until = float(found["since"]), float(found["until"])
        reason, by = clean(found["reason"])[:MAX_REASON], clean(found["by"])[:64]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise StateUnreadable(f"{path} is not a pause: {clean(str(exc))}", hint=_HINT) from exc
    if not (math.isfinite(since) and math.isfinite(until)) or until > since + MAX_PAUSE_S + 1:
        raise StateUnreadable(f"{path} is not a pause: longer than any can be", hint=_HINT)
    # It is over; or the clock was set back, which must not make it longer than any can be.
    if not now < until <= now + MAX_PAUSE_S + 1:
        return None
    return Pause(since, until, reason, by)


class PauseWatch:
    """The pause as the daemon sees it. `on_change` is called whenever the file changed."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path = path
        self._watch = DirectoryWatch(
            [path.parent], on_change, links=False, lacking="a pause is noticed late"
        )

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, on this loop. Raises PodwatchError."""
        self._watch.attach(loop)
        try:
            with suppress(FileExistsError):
                self._path.parent.mkdir(mode=0o755)
        except OSError as exc:
            raise PodwatchError(f"a pause is noticed late: {exc.strerror}") from exc

    def close(self) -> None:
        """Stop listening."""
        self._watch.close()

    def describe(self) -> str:
        """Whether it listens, in words."""
        return self._watch.describe()

    def now(self) -> Pause | None:
        """The pause that is going on; what cannot be read is one without end."""
        now = time.time()
        try:
            return read(self._path, now)
        except StateUnreadable as exc:
            return Pause(now, math.inf, str(exc))
