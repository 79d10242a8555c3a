# SPDX-License-Identifier: Apache-2.0
"""`podwatch history`: every incident that was written down, for people and for programs."""

import json
import re
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from podwatch.adapters.inotify import DirectoryWatch
from podwatch.report.history import Told, read
from podwatch.report.incident import by_guard
from podwatch.words.errors import StateUnreadable
from podwatch.words.text import clean, counted, lasted, listed

_AGO = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_since(text: str, now: float) -> float:
    """A moment a person typed, in seconds since the epoch: "2h", "3d", "2026-11-24 10:00".

    Raises ValueError for anything else.
    """
    if found := _AGO.fullmatch(text.strip()):
        return now - float(found[1]) * _SECONDS[found[2]]
    moment = datetime.fromisoformat(text.strip())
    return moment.timestamp()  # without a zone: the local time, as it is printed


def show(path: Path, *, since: float, last: int, as_json: bool, tell: Callable[[str], None]) -> int:
    """Print the incidents; how many there were. Raises StateUnreadable."""
    found = read(path, since=since, last=last)
    for incident in found.incidents:
        tell(_shown(incident, as_json=as_json))
    if not as_json:
        for line in _remarks(found):
            tell(line)
    return len(found.incidents)


def follow(
    path: Path, *, since: float, last: int, as_json: bool, tell: Callable[[str], None]
) -> None:
    """Print what `show` does, and each incident that begins or ends, until interrupted.

    Raises StateUnreadable when there is no directory to watch.
    """
    if not path.parent.is_dir():
        raise StateUnreadable(f"cannot watch {path.parent}: No such file or directory")
    watch = DirectoryWatch([path.parent], lambda: None)
    try:
        watch.open()
    except OSError as exc:
        raise StateUnreadable(f"cannot watch {path.parent}: {exc.strerror}") from exc
    try:
        seen: dict[float, float] = {}
        newest = read(path, since=since, last=last).incidents
        begin = newest[0]["began"] if newest else since or time.time()
        while True:
            for incident in read(path, since=begin).incidents:
                if seen.get(incident["began"]) != incident["ended"]:
                    seen[incident["began"]] = incident["ended"]
                    tell(_shown(incident, as_json=as_json))
            sys.stdout.flush()  # whoever reads may be a pipe
            select.select([watch], [], [])
            watch.read()
    finally:
        watch.close()


def lines_of(incident: Mapping[str, Any]) -> Iterator[str]:
    """One incident for a person: when, for how long, what, who and how."""
    began = datetime.fromtimestamp(incident["began"]).astimezone()
    yield f"{began:%Y-%m-%d %H:%M:%S}  {_outcome(incident)}"
    if incident["told"]:
        yield f"    told:    {clean(listed(incident['told']))}"
        return
    missing = [clean(sentence) for sentence in incident["missing"]]
    more = incident["missing_count"] - len(missing)
    yield f"    missing: {listed(missing)}" + (f" (and {more} not kept)" if more > 0 else "")
    yield f"    cause:   {clean(incident['cause']) or 'not known'}"
    if incident["how"]:
        yield f"    how:     {clean('; '.join(incident['how']))}{by_guard(incident['carried'])}"
    elif incident["ended"]:
        yield f"    how:     by somebody else{by_guard(incident['carried'])}"


def _outcome(incident: Mapping[str, Any]) -> str:
    if not incident["ended"]:
        return "going on, or nobody saw its end"
    if incident["told"]:
        return f"over after {lasted(incident['took_ms'] / 1000)}"
    verified = "verified" if incident["verified"] else "not verified"
    # When the loss happened while nobody looked, the outage began earlier than the incident.
    since = " of podwatch's start" if incident["by"] == "absent" else ""
    return f"restored in {lasted(incident['took_ms'] / 1000)}{since}, {verified}"


def _remarks(found: Told) -> Iterator[str]:
    if not found.incidents:
        yield "no incidents"
    if found.unreadable:
        yield f"({counted(found.unreadable, 'line')} of the history could not be read)"


def _shown(incident: Mapping[str, Any], *, as_json: bool) -> str:
    return json.dumps(incident, ensure_ascii=False) if as_json else "\n".join(lines_of(incident))
