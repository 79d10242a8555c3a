# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain`: a look, what the kernel shows beside it, and each way told hop by hop."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from podwatch.adapters.kernel import read_sockets
from podwatch.adapters.paths import Paths
from podwatch.adapters.sockets import bound
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host
from podwatch.daemon.leftovers import settled_look
from podwatch.daemon.serve import look_once
from podwatch.decide.asked import Containers, port_of
from podwatch.decide.explain import explain
from podwatch.decide.facts import facts, with_sockets
from podwatch.decide.guard_hops import PLACE as GUARD
from podwatch.decide.guard_hops import with_guard
from podwatch.decide.reload_costs import notes_of
from podwatch.decide.user_notes import explained, user_notices
from podwatch.report.status import read_status, why_not_running
from podwatch.words.errors import RulesUnreadable, Unreadable
from podwatch.words.guard import FAMILY, GuardMode
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import clean
from podwatch.words.verdict import Notice, State
from podwatch.words.way import Mark, Way, WayKind

FIREWALLD = "firewalld"
"""The one target that is neither a container nor a port, unless a container is called so."""

SCHEMA = 1
_SIGNS = {
    Mark.OPEN: "✓",
    Mark.BROKEN: "✗",
    Mark.NOTE: "–",
    Mark.UNKNOWN: "?",
    Mark.CLOSED: "–",
}
_COLOURS = {
    Mark.OPEN: "32",
    Mark.BROKEN: "31",
    Mark.NOTE: "33",
    Mark.UNKNOWN: "35",
    Mark.CLOSED: "33",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look told: every way, podman's containers, what is worth a note, and the Snapshot."""

    ways: Sequence[Way]
    containers: Containers = field(default_factory=dict)
    notes: Sequence[Notice] = ()
    snapshot: Snapshot | None = None


async def look(paths: Paths, config: Config, target: str = "") -> Seen:
    """Look once, and tell all that there is to tell; `target` as for
    `chosen`.

    Raises Unreadable where there is no state to tell of.
    """
    host = await look_once(config, paths)
    try:
        if target == FIREWALLD and paths.rootless is None:
            await host.permanent.read(host.looker.setup)
        snapshot, _ = await settled_look(host)
        snapshot = host.looker.with_inside(snapshot)
        if snapshot.setup is None:
            why = snapshot.unknown[0]
            raise RulesUnreadable(f"{why.what}: {why.why}", hint=why.hint)
        pids = {
            key: container.pid for key, container in snapshot.containers.items() if container.pid
        }
        sockets = await asyncio.to_thread(read_sockets, pids, await asyncio.to_thread(bound))
        kernel = with_sockets(facts(snapshot), sockets)
        found = explain(snapshot, kernel, port_of(target, snapshot.containers))
        ways = await _guarded(found, snapshot, host)
        notes = [*notes_of(snapshot), *user_notices(snapshot), *explained(snapshot)]
        return Seen(ways, snapshot.containers, notes, snapshot)
    finally:
        host.close()


async def _guarded(found: Sequence[Way], snapshot: Snapshot, host: Host) -> Sequence[Way]:
    """The ways, with what the daemon's guard does for those that are broken."""
    try:
        document = read_status(host.installed.paths.status)
        told = document["guard"]
        is_there = told["mode"] == GuardMode.FULL and not why_not_running(document, time.time())
        if snapshot.setup is None or not is_there:
            return found
        listing = await host.nft.list_table(FAMILY, told["table"])
    except Unreadable:
        return found
    return list(with_guard(found, snapshot.setup, told["table"], listing))


def is_about_firewalld(target: str, containers: Containers) -> bool:
    """Whether firewalld itself is meant: no container, and no pod, is called so."""
    names = {name for one in containers.values() for name in (one.name, one.pod)}
    return target == FIREWALLD and target not in names


def state_of(found: Iterable[Way]) -> State:
    """The exit code's state: lost if a way is broken, unknown if one is unknown, else ok."""
    marks = {way.mark for way in found}
    if Mark.BROKEN in marks:
        return State.LOST
    return State.UNKNOWN if Mark.UNKNOWN in marks else State.OK


def as_json(found: Iterable[Way], notes: Iterable[Notice] = ()) -> str:
    """The ways, and what is worth a note, as one JSON document."""
    listed = [{**asdict(way), "mark": way.mark} for way in found]
    document = {"schema": SCHEMA, "ways": listed, "notes": [asdict(note) for note in notes]}
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_text(
    found: Sequence[Way], *, every_hop: bool, colour: bool, notes: Iterable[Notice] = ()
) -> str:
    """The ways for a person: a line for each, and its hops; all of them, or those that matter."""
    lines = [line for way in found for line in _lines(way, every_hop=every_hop, colour=colour)]
    lines = lines or ["no container needs rules on this host"]
    for note in notes:
        lines += [f"note: {note.what}", f"  → {note.advice}"]
    return "\n".join(lines)


def _lines(way: Way, *, every_hop: bool, colour: bool) -> Iterator[str]:
    words = {Mark.OPEN: "open", Mark.BROKEN: "BROKEN", Mark.UNKNOWN: "unknown"}
    if way.kind is WayKind.ISOLATION:
        words = {**words, Mark.OPEN: "in place"}
    word = words.get(way.mark, "closed")
    yield f"{_sign(way.mark, colour=colour)} {clean(way.title)}: {word}"
    broken = way.first_broken
    for hop in way.hops:
        # A note with something to do about it is for whoever asks why there is no answer.
        is_told = hop.mark is not Mark.NOTE or hop.advice or hop.place == GUARD
        if not every_hop and (hop.mark is Mark.OPEN or not is_told):
            continue
        yield f"    {_sign(hop.mark, colour=colour)} {hop.place:15} {clean(hop.what)}"
        if hop.advice and (hop is broken or hop.mark is not Mark.BROKEN):
            yield f"        → {clean(hop.advice)}"


def _sign(mark: Mark, *, colour: bool) -> str:
    sign = _SIGNS[mark]
    return f"\x1b[{_COLOURS[mark]}m{sign}\x1b[0m" if colour else sign
