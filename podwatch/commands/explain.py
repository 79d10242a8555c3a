# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain`: a look, what the kernel shows beside it, and each way told hop by hop."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from podwatch.adapters.kernel import read_sockets
from podwatch.adapters.paths import Paths
from podwatch.adapters.sockets import bound
from podwatch.commands.render import NO_RULES, placed
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host
from podwatch.daemon.leftovers import settled_look
from podwatch.daemon.serve import look_once
from podwatch.decide.explain import explain
from podwatch.decide.facts import facts, with_sockets
from podwatch.decide.guard_hops import PLACE as GUARD
from podwatch.decide.guard_hops import with_guard
from podwatch.decide.reload_costs import notes_of
from podwatch.decide.user_notes import explained, user_notices
from podwatch.report.status import read_status, why_not_running
from podwatch.words.errors import PodwatchError, RulesUnreadable, Unreadable
from podwatch.words.guard import FAMILY, GuardMode
from podwatch.words.network import Container
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import clean
from podwatch.words.verdict import Notice, State
from podwatch.words.way import Mark, Way, WayKind

Containers = Mapping[str, Container]

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
    """Look once, and tell all that there is to tell; `target` as for `chosen`.

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
        found = explain(snapshot, kernel, _port(target, snapshot.containers))
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


def chosen(found: Sequence[Way], target: str, containers: Containers) -> list[Way]:
    """The ways of a container (name, or the beginning of its id) or of a port ("8080/tcp").

    A member of a pod has no network of its own: its ways are its infra container's, and say so.
    With a container's ways goes the isolation of its networks.
    Raises PodwatchError when there is none.
    """
    if not target:
        return list(found)
    port = _port(target, containers)
    if port is not None:
        mine = [way for way in found if _covers(way, port)]
    else:
        mine = _of_container(found, target, containers)
    if not mine:
        raise _nothing(found, target, containers)
    return mine


def _of_container(found: Sequence[Way], target: str, containers: Containers) -> list[Way]:
    mine = [
        way
        for way in found
        if _is(target, way.container_id, way.container)
        or target in _other_names(way, containers)
        or any(_is(target, key, name) for key, name in way.among.items())
    ] or [
        replace(way, title=f"{way.title}, the network of {name}")
        for way in found
        for key, name in way.members.items()
        if _is(target, key, name)
    ]
    networks = {way.network for way in mine}
    apart = (way for way in found if way.kind is WayKind.ISOLATION and way.network in networks)
    return [*mine, *apart]


def _other_names(way: Way, containers: Containers) -> tuple[str, ...]:
    """What a pod may be called beside its title: by its own name, and as its infra container."""
    infra = containers.get(way.container_id)
    return (way.container.removeprefix("pod "), infra.name if infra else "")


def _port(target: str, containers: Containers) -> tuple[int, str] | None:
    """The port that is meant; None where it is a container, which may be called by a number."""
    number, _, protocol = target.partition("/")
    named = any(target in (container.name, container.pod) for container in containers.values())
    is_port = number.isdecimal() and len(number) <= 5 and not named
    return (int(number), protocol or "tcp") if is_port else None


def _is(target: str, key: str, name: str) -> bool:
    """Whether a container with this id and name is meant."""
    return target == name or (len(target) >= 4 and key.startswith(target))


def _nothing(found: Sequence[Way], target: str, containers: Containers) -> PodwatchError:
    """Why there is no way to tell of."""
    for key, container in containers.items():
        if not _is(target, key, container.name):
            continue
        if container.is_doubtful:
            return PodwatchError(f"{target} is not running", hint=f"podman start {container.name}")
        where = placed(
            container.kind, ", ".join(container.networks), container.shares
        ).removesuffix(NO_RULES)
        hint = (
            f"podwatch explain {container.shares.removeprefix('pod ')}" if container.shares else ""
        )
        what = f"{target} has no rules to explain"
        return PodwatchError(f"{what}: {where}" if where else what, hint=hint)
    if target.partition("/")[0].isdecimal():
        mapped = (way.title.partition(" → ")[0] for way in found if way.kind is WayKind.IN)
        ports = ", ".join(dict.fromkeys(mapped)) or "no port"
        return PodwatchError(f"{target}: no container publishes it", hint=f"published: {ports}")
    names = ", ".join(dict.fromkeys(way.container for way in found if way.container))
    return PodwatchError(
        f"{target}: there is no such container", hint=f"with rules: {names or 'none'}"
    )


def _covers(way: Way, port: tuple[int, str]) -> bool:
    first, last = way.ports
    return first <= port[0] <= last and way.port is not None and way.port[1] == port[1]


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
