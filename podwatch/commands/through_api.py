# SPDX-License-Identifier: Apache-2.0
"""What who is not root asks podwatch.service to do about the host's containers, if polkit agrees.

Each command prints what root's prints, as far as the API tells it, and ends with the same code. It
asks without a password first: where a rule of polkit's permits it, or refuses it for good, nobody
is bothered.
"""

import argparse
import asyncio
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pwd import getpwuid
from typing import Any

from podwatch.adapters.api_client import call
from podwatch.adapters.polkit_agent import asking_here
from podwatch.commands import typed
from podwatch.commands.printing import colour, show, show_json
from podwatch.report.recent import MOST
from podwatch.report.status import parse_status
from podwatch.words.api import ASK, NAME, Refused, method
from podwatch.words.errors import BusUnavailable, PodwatchError
from podwatch.words.text import clean, clean_lines, lasted
from podwatch.words.verdict import State
from podwatch.words.way import Hop, Mark, Way, WayKind

_HOUR = "1h"
"""A pause for which nothing has to be typed."""

_DENIED = "org.freedesktop.DBus.Error.AccessDenied"
"""What the bus itself says."""

_NOT_PERMITTED = (ASK, f"{NAME}.Error.NotAllowed", _DENIED)


def _ask(arguments: argparse.Namespace, name: str, *values: Any) -> Any:
    """Call a method, and let polkit ask for a password where it wants to.

    Raises PodwatchError, which for what is not permitted says what right is missing.
    """
    try:
        try:
            return asyncio.run(call(name, *values))
        except Refused as exc:
            if exc.name != ASK:
                raise
        with asking_here():
            return asyncio.run(call(name, *values, may_ask=True))
    except BusUnavailable as exc:
        raise PodwatchError(str(exc), hint=_as_root(arguments)) from exc
    except Refused as exc:
        if exc.name not in _NOT_PERMITTED:
            raise
        raise _not_permitted(arguments, name, exc) from exc


def _not_permitted(arguments: argparse.Namespace, name: str, exc: Refused) -> PodwatchError:
    asked, by_polkit = method(name), ""
    if exc.name != _DENIED and asked is not None and asked.action is not None:
        by_polkit = f" (polkit action {asked.action.name})"
    return PodwatchError(
        f"{typed.command(arguments)} is not permitted to {_who()}{by_polkit}: {exc}",
        hint=_as_root(arguments),
    )


def _as_root(arguments: argparse.Namespace) -> str:
    """What root would type for the same, no more: a dry run stays one."""
    words = ["sudo", "podwatch", arguments.command]
    given = vars(arguments)
    words += [f"--{name.replace('_', '-')}" for name in ("dry_run", "stale") if given.get(name)]
    if given.get("duration", _HOUR) != _HOUR:
        words += ["--for", given["duration"]]
    if given.get("reason"):
        words += ["--reason", given["reason"]]
    return shlex.join([*words, *filter(None, [given.get("target")])])


def _who() -> str:
    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _refuse(arguments: argparse.Namespace, *options: str) -> None:
    """Raise PodwatchError for what the service does not do for others."""
    for option in options:
        if getattr(arguments, option):
            raise PodwatchError(
                f"{typed.command(arguments)} --{option} needs root",
                hint=f"sudo podwatch {arguments.command} --{option}",
            )


def status() -> dict[str, Any]:
    """The status document as the service tells it. Raises PodwatchError."""
    return {**parse_status(str(asyncio.run(call("Status")))), "heartbeat": time.time()}


def _pause(arguments: argparse.Namespace) -> int:
    from podwatch.daemon.pause import Pause

    seconds = math.ceil(typed.duration(arguments.duration))
    _ask(arguments, "Pause", seconds, arguments.reason)
    now = time.time()
    show(
        f"{Pause(now, now + seconds, clean(arguments.reason), _who())}\n  → podwatch resume --host"
    )
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    was_paused = _ask(arguments, "Resume")
    show("the pause has ended" if was_paused else "there is no pause")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    _refuse(arguments, "config")
    show(clean_lines(_ask(arguments, "Restore", arguments.dry_run)).rstrip("\n"))
    if arguments.stale:
        show(clean_lines(_ask(arguments, "RemoveLeftovers", arguments.dry_run)).rstrip("\n"))
    return State(_ask(arguments, "Look")).exit_code


def _explain(arguments: argparse.Namespace) -> int:
    from podwatch.commands import explain

    _refuse(arguments, "config", "svg")
    try:
        told = _ask(arguments, "Explain", arguments.target)
    except Refused as exc:
        if arguments.target == explain.FIREWALLD:
            hint = "sudo podwatch explain firewalld"
            raise PodwatchError("explain firewalld needs root", hint=hint) from exc
        raise
    found = [_way(*each) for each in told]
    if arguments.json:
        show_json({"schema": explain.SCHEMA, "ways": [_told(way) for way in found]})
    else:
        every_hop = arguments.all or bool(arguments.target)
        show(explain.as_text(found, every_hop=every_hop, colour=colour()))
        if any(way.kind is WayKind.IN for way in found):
            show(f"(root sees whose sockets listen: {_as_root(arguments)})")
    return explain.state_of(found).exit_code


def _way(kind: str, title: str, container: str, hops: list[list[str]]) -> Way:
    """A way as the service told it. Raises PodwatchError for what a later podwatch may tell."""
    try:
        passed = tuple(
            Hop(clean(place), what, Mark(mark), advice) for place, what, mark, advice in hops
        )
        return Way(WayKind(kind), clean(title), clean(container), "", "", passed)
    except ValueError as exc:
        raise PodwatchError(
            f"podwatch.service is of another version: {exc}", hint="podwatch version"
        ) from exc


def _told(way: Way) -> dict[str, Any]:
    """A way as JSON: what the API does not tell of it is left out."""
    hops = [
        {"place": hop.place, "what": hop.what, "mark": hop.mark, "advice": hop.advice}
        for hop in way.hops
    ]
    known = {"kind": way.kind, "title": way.title, "container": way.container}
    return {**known, "hops": hops, "mark": way.mark}


def history(arguments: argparse.Namespace) -> int:
    """Print the incidents, without command lines: those are root's. Raises PodwatchError."""
    _refuse(arguments, "follow")
    since, last = typed.incidents(arguments)
    most = min(last or MOST, MOST)
    told = _ask(arguments, "Incidents", most)
    incidents = [each for each in reversed(told) if each["began"] >= since]
    if arguments.json:
        for incident in incidents:
            print(json.dumps(incident, ensure_ascii=False))
        return 0
    for incident in incidents:
        show("\n".join(_lines(incident)))
    if not incidents:
        show("no incidents")
    if len(told) == MOST != last:
        show(f"(no more than {MOST} are told to others than root)")
    show("(root sees the commands: sudo podwatch history)")
    return 0


def _lines(incident: Mapping[str, Any]) -> Iterator[str]:
    """One incident for a person, as `history.lines_of` tells it to root."""
    began = datetime.fromtimestamp(incident["began"]).astimezone()
    took, outcome = lasted(incident["took_ms"] / 1000), incident["outcome"]
    words = {"restored": f"restored in {took}", "told": f"over after {took}"}
    yield f"{began:%Y-%m-%d %H:%M:%S}  {words.get(outcome, 'going on, or nobody saw its end')}"
    if outcome == "told":
        yield f"    told:    {clean(incident['what'])}"
        return
    yield f"    missing: {clean(incident['what'])}"
    yield f"    cause:   {clean(incident['cause']) or 'not known'}"
    if incident["how"]:
        yield f"    how:     {clean('; '.join(incident['how']))}"
    elif outcome == "restored":
        yield "    how:     by somebody else"


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "restore": _restore,
    "explain": _explain,
    "pause": _pause,
    "resume": _resume,
}
"""What each of `whose.is_for_service` runs: as main.py's, for who is not root."""
