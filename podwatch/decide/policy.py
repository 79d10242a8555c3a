# SPDX-License-Identifier: Apache-2.0
"""The policy: what to do about a verdict, and when. The one place that waits, counts, backs off.

A pure step function. It is handed the time (seconds of any clock that never goes back), what it
remembers, and a verdict; it answers with what to do now and when to look again at the latest.
Each kind of thing is decided on by itself, in the order of `kinds`: one that stays missing, is
unknown or has to wait delays no other. For the rules there is a ladder of means (ladder.py); for
every other kind one means, tried at growing intervals as its row says.

`hinted` and `acted` are the two other inputs: somebody changed something; a means was tried.
"""

from collections.abc import Sequence
from dataclasses import replace

from podwatch.decide.decision import (
    NEVER,
    Case,
    Decision,
    Limits,
    Memory,
)
from podwatch.decide.kinds import KINDS, RULES, Kind
from podwatch.decide.ladder import about_duplicates, about_rules, climbed, forbids_reload
from podwatch.decide.pauses import doubled
from podwatch.words.means import BY_PODMAN, Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import BlockedKind, Missing, Verdict

BUSY_AGAIN_S = 2.0
"""podman at work, and nothing missing: looked at again after so long, to copy what is new."""

LOCKED_AGAIN_S = 20.0
"""podman's lock held, which was reported: looked at again after so long, to report its end."""

ROUNDS_S = 0.1
"""Who flushes addresses or routes does so in rounds, until a list of them is empty (ip(8)): what he
takes away again so soon after the repair is the same deed, and no other will."""

BEYOND = "podwatch cannot bring it back: what is missing says what does"

LEFT_ALONE = "it was lost again right after its repair: somebody wants it so, and it is left alone"

_ALMOST_S = 0.05
"""Looked at again after so long while podman is about to finish."""

_BY_WORD = (BlockedKind.PAUSED, BlockedKind.PANIC)
"""The administrator's word: it forbids for as long as it holds."""

_PASSING = {BlockedKind.FIREWALLD_RELOADING, BlockedKind.BUSY, BlockedKind.LOCKED}


def hinted(
    memory: Memory,
    now: float,
    *,
    settle_until: float = NEVER,
    kinds: Sequence[Kind] = KINDS,
) -> Memory:
    """Somebody else changed the rules; netavark's own units may be at it until `settle_until`."""
    for kind in kinds:
        tries = memory.of(kind)
        soon = min(tries.next_at, now + kind.after_hint_s)
        memory = memory.noting(kind, replace(tries, next_at=soon))
    settle_until = max(memory.settle_until, settle_until)
    return replace(memory, foreign_at=now, settle_until=settle_until, tried=())


def without_back_off(memory: Memory) -> Memory:
    """Somebody asks for a repair: what was tried before is forgotten, and what others do is not."""
    return Memory(
        blocked_since=memory.blocked_since,
        foreign_at=memory.foreign_at,
        settle_until=memory.settle_until,
    )


def acted(
    memory: Memory,
    decision: Decision,
    now: float,
    limits: Limits,
    *,
    done: bool,
    kinds: Sequence[Kind] = KINDS,
) -> Memory:
    """What was decided was tried, and came to its end at `now`; `done`: it went through."""
    kind = next((kind for kind in kinds if decision.method in kind.means), RULES)
    if kind.name == RULES.name:
        return climbed(memory, decision, now, limits, done=done)
    tries = memory.of(kind)
    pause = doubled(kind.first_pause_s, tries.count, limits.backoff_max)
    if kind.yields and done:
        mended = {thing: at for thing, at in memory.mended.items() if now < at + limits.give_way}
        things = {loss.thing for loss in decision.missing}
        first = {thing for thing in things if _is_a_round(kind, memory, thing, now)}
        mended |= dict.fromkeys(things - first, now)
        seen = {thing: at for thing, at in memory.seen.items() if thing not in things}
        memory = replace(memory, mended=mended, seen=seen)
    return memory.noting(kind, replace(tries, count=tries.count + 1, next_at=now + pause))


def step(
    memory: Memory,
    verdict: Verdict,
    now: float,
    limits: Limits,
    *,
    can_replay: bool = False,
    kinds: Sequence[Kind] = KINDS,
) -> tuple[Memory, Decision]:
    """Decide what to do about `verdict` at `now`; `can_replay` says there is a usable copy.

    What stands in the way is taken away together with a replay, and needs no copy.
    """
    case = Case.of(verdict, now, limits, can_replay=can_replay, kinds=kinds)
    if Part.SETUP in case.unknown:
        memory, look_at = _again(memory, case)
        return memory, Decision(None, "could not look: unknown is not lost", look_at)
    memory = _noted(memory, case, kinds)
    wake: list[float] = []
    if case.unknown:
        memory, look_at = _again(memory, case)
        wake.append(look_at)
    if not verdict.missing:
        return replace(memory, blocked_since=None), _at_rest(memory, case, wake)
    if not any(word in case.blocked for word in _BY_WORD):
        passing = case.blocked.keys() & _PASSING
        since = case.since(memory.blocked_since) if passing else None
        memory = replace(memory, blocked_since=since)
    lost = [kind for kind in kinds if case.missing[kind.name]]
    forbidden = [answer for kind in lost if (answer := _forbidden(kind, memory, case))]
    if lost and len(forbidden) == len(lost):  # the end of what forbids everything is an event
        if (last := forbidden[-1]).look_at is not None:
            return memory, last
        return memory, replace(last, look_at=min(wake, default=None))
    return memory, _first(_decisions(memory, case, kinds), case, wake)


def due(
    memory: Memory,
    verdict: Verdict,
    decision: Decision,
    now: float,
    limits: Limits,
    kinds: Sequence[Kind] = KINDS,
) -> tuple[Verdict, float]:
    """What may be reported of a verdict now, and when the rest may: a time past if all may.

    netavark writes its state before its rules, so for some milliseconds at each start of a
    container something is missing. It is a loss once it is acted on, or stays.
    """
    is_busy = any(reason.kind is BlockedKind.BUSY for reason in verdict.blocked)
    stays = limits.busy_cap if is_busy else limits.quiet
    told: list[Missing] = []
    later = NEVER
    for kind in kinds:
        for loss in kind.of(verdict.missing):
            since = memory.seen.get(loss.thing, memory.of(kind).since)
            if since is None or decision.method in kind.means or now >= since + stays:
                told.append(loss)
            else:
                later = max(later, since + stays)
    return replace(verdict, missing=tuple(told)), later


def _noted(memory: Memory, case: Case, kinds: Sequence[Kind]) -> Memory:
    """The memory with what this look says of each kind of thing, where it is not unknown."""
    if not case.unknown:
        memory = replace(memory, unknowns=0)
    for kind in kinds:
        if kind.part in case.unknown:
            continue
        if kind.yields:
            memory = _given_way(memory, case, kind)
        tries = memory.of(kind)
        is_lost = bool(case.missing[kind.name])
        if kind.name == RULES.name:
            begins = is_lost and tries.since is None
            memory = replace(
                memory,
                tried=() if begins else memory.tried,
                reloaded=memory.reloaded if is_lost else frozenset(),
            )
        if is_lost:
            tries = replace(tries, since=case.since(tries.since))
        elif not kind.needs_calm or case.now >= tries.next_at + case.limits.calm:
            tries = replace(tries, since=None, count=0)
        else:
            tries = replace(tries, since=None)
        memory = memory.noting(kind, tries)
    return memory


def _given_way(memory: Memory, case: Case, kind: Kind) -> Memory:
    """The memory with what is left alone until it was whole once.

    It was lost again right after its repair, and by itself: what is lost as a part of something
    else says nothing of anybody's will.
    """
    missing = case.missing[kind.name]
    parts = {loss.thing for loss in missing if loss.follows}
    lost = {loss.thing for loss in missing} - parts
    mended = {thing: at for thing, at in memory.mended.items() if thing not in parts}
    others = {thing for thing in memory.left if thing[0] not in kind.words}
    since = case.now - case.limits.give_way
    # One that lasts makes none that comes beside it older than it is.
    seen = {thing: at for thing, at in memory.seen.items() if thing[0] not in kind.words}
    seen |= {loss.thing: memory.seen.get(loss.thing, case.now) for loss in missing}
    again = {
        thing
        for thing in lost
        if mended.get(thing, NEVER) > since and not _is_a_round(kind, memory, thing, seen[thing])
    }
    left = frozenset(others | again | (memory.left & lost))
    return replace(memory, mended=mended, left=left, seen=seen)


def _is_a_round(kind: Kind, memory: Memory, thing: tuple[str, str, str], at: float) -> bool:
    """Whether what is lost at a moment is so by the same deed as what was put right before."""
    return thing[0] in kind.in_rounds and at < memory.mended.get(thing, NEVER) + ROUNDS_S


def _wanted(kind: Kind, memory: Memory, missing: Sequence[Missing]) -> tuple[Missing, ...]:
    """What is to be repaired: neither left alone, nor a part of what is, nor beyond the means."""
    places = {place for _, place, _ in memory.left}
    return tuple(
        loss
        for loss in missing
        if loss.thing not in memory.left
        and loss.follows not in places
        and (loss.reloadable or not kind.tells_the_rest)
    )


def _again(memory: Memory, case: Case) -> tuple[Memory, float]:
    """Look again, at growing intervals: nothing tells when what is unknown can be read."""
    limits = case.limits
    pause = doubled(limits.backoff, memory.unknowns, limits.backoff_max)
    return replace(memory, unknowns=memory.unknowns + 1), case.now + pause


def _at_rest(memory: Memory, case: Case, wake: list[float]) -> Decision:
    """What is done while nothing is missing; `wake` are moments to look again at."""
    decision = about_duplicates(memory, case)
    if decision.look_at is not None:
        wake = [*wake, decision.look_at]
    if BlockedKind.LOCKED in case.blocked:
        wake = [*wake, case.now + LOCKED_AGAIN_S]
    elif BlockedKind.BUSY in case.blocked:
        wake = [*wake, case.now + BUSY_AGAIN_S]
    return replace(decision, look_at=min(wake, default=None))


def _forbidden(kind: Kind, memory: Memory, case: Case) -> Decision | None:
    """The decision to leave a kind alone; None where nothing forbids its repair."""
    for reason in _BY_WORD:
        if reason in kind.forbidden_by and reason in case.blocked:
            return Decision(None, case.blocked[reason].what)
    reason = BlockedKind.FIREWALLD_RELOADING
    until = case.since(memory.blocked_since) + case.limits.hold_cap
    if reason in kind.forbidden_by and reason in case.blocked and case.now < until:
        return Decision(None, case.blocked[reason].what, until)
    return None


def _decisions(memory: Memory, case: Case, kinds: Sequence[Kind]) -> list[Decision]:
    """What to do about each kind, in the order of repair."""
    decisions = [_about(kind, memory, case) for kind in kinds]
    # A replay waits for nobody: it goes before what does.
    at = next((at for at, kind in enumerate(kinds) if kind.waits), len(kinds))
    decisions[at:at] = [decision for decision in decisions if decision.method == Method.REPLAY]
    return decisions


def _about(kind: Kind, memory: Memory, case: Case) -> Decision:
    """What to do about one kind of thing."""
    now, limits, missing = case.now, case.limits, case.missing[kind.name]
    if kind.name == RULES.name and not (missing and kind.part not in case.unknown):
        return about_duplicates(memory, case)
    if not missing:
        return Decision(None, "")
    if forbidden := _forbidden(kind, memory, case):
        return forbidden
    if kind.name == RULES.name:
        return about_rules(memory, case)
    is_busy = BlockedKind.BUSY in kind.forbidden_by and case.is_changing
    if is_busy and now < case.since(memory.blocked_since) + limits.busy_cap:
        return Decision(None, "", now + _ALMOST_S)
    if kind.means[0] not in limits.methods:
        return Decision(None, f"{kind.switch} forbids it")
    if kind.part in case.unknown:
        return Decision(None, "")
    if not (missing := _wanted(kind, memory, missing)):
        return Decision(None, BEYOND if kind.tells_the_rest else LEFT_ALONE)
    next_at = memory.of(kind).next_at
    if now < next_at:
        return Decision(None, "", next_at)
    if kind.means[0] in BY_PODMAN:
        return _by_podman(kind, memory, case, missing)
    return Decision(kind.means[0], kind.why, now, missing=missing)


def _by_podman(kind: Kind, memory: Memory, case: Case, missing: tuple[Missing, ...]) -> Decision:
    """A reload of those that miss what it brings back, and of no others."""
    lost = tuple(loss for loss in missing if loss.reloadable)
    unlisted = case.verdict.unlisted
    ids = dict.fromkeys(key for loss in lost for key in loss.container_ids if key not in unlisted)
    if not ids:
        return Decision(None, f"no {kind.word} is lost that a reload would bring back")
    if forbidden := forbids_reload(memory, case):
        return forbidden
    return Decision(kind.means[0], kind.why, case.now, container_ids=tuple(ids), missing=lost)


def _first(decisions: list[Decision], case: Case, wake: list[float]) -> Decision:
    """The first of the decisions to do something; else to look again when the first is due."""
    for decision in decisions:
        if decision.method is not None:
            return decision
        if decision.look_at is not None:
            wake = [*wake, decision.look_at]
    whys = [decision.why for decision in reversed(decisions) if decision.why]
    # Where nothing may be done, somebody's setting may change without an event that tells.
    look_at = min(wake, default=case.now + case.limits.backoff_max)
    return Decision(None, whys[0] if whys else "waiting to try again", look_at)
