# SPDX-License-Identifier: Apache-2.0
"""libcni's cache: what CNI's plugins set up for each container, by Podman 3 and 4.

The directory is on disk and outlives a reboot, which its containers do not: files from before it
are passed over. When that was cannot be told for sure where the clock is set later; a file is then
rather read than passed over, as the kernel tells whose container is dead.
A file is parsed once, and again only when it has changed.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

from podwatch.adapters.files import read_whole
from podwatch.formats.cni_results import Joined, parse_result, setup_of
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import BadFile, Setup

MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 20_000
_MADE_AT_BOOT = Path("/run/systemd/private")
"""systemd makes this socket when it starts, and never again."""

_Stamp = tuple[int, int, int]


class CniCache:
    """The cache, with what was parsed of it before. `stamp` is that of the last `read`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp: object = None
        self._booted_ns = _made_at_boot_ns()
        self._parsed: dict[str, tuple[_Stamp, Joined | BadFile | None]] = {}

    def read(self) -> Setup | None:
        """What CNI set up since the host booted; None if nothing.

        Raises StateUnreadable when the directory cannot be read.
        """
        # The clock may have been set since the boot: the earliest of what it says is believed.
        self._booted_ns = min(
            self._booted_ns, time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        )
        found: dict[str, tuple[_Stamp, Joined | BadFile | None]] = {}
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
                    if info.st_mtime_ns < self._booted_ns:
                        continue
                    known = self._parsed.get(entry.name)
                    parsed = known[1] if known and known[0] == stamp else self._parse(entry.name)
                    found[entry.name] = (stamp, parsed)
                    if len(found) > MAX_FILES:
                        raise StateUnreadable(f"{self.path} holds more than {MAX_FILES} files")
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StateUnreadable(f"cannot read {self.path}: {exc.strerror}") from exc
        self._parsed = found
        names = sorted(found)
        self.stamp = hash(tuple((name, found[name][0]) for name in names))
        if not found:
            return None
        joined: list[Joined] = []
        bad: list[BadFile] = []
        stamps: dict[str, tuple[object, ...]] = {}
        for name in names:
            stamp, parsed = found[name]
            if isinstance(parsed, Joined):
                joined.append(parsed)
                key = parsed.endpoint.container_id
                stamps[key] = (*stamps.get(key, ()), name, stamp)
            elif parsed is not None:
                bad.append(parsed)
        return replace(setup_of(tuple(joined), tuple(bad)), stamps=stamps)

    def _parse(self, name: str) -> Joined | BadFile | None:
        path = self.path / name
        try:
            text = read_whole(path, limit_bytes=MAX_BYTES)
            return None if text is None else parse_result(text)
        except StateUnreadable as exc:
            return BadFile(str(path), str(exc))


def _made_at_boot_ns() -> int:
    """When the host booted, by the clock it had then; now where nothing tells."""
    try:
        return _MADE_AT_BOOT.lstat().st_mtime_ns
    except OSError:
        return time.time_ns()
