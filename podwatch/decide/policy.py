# SPDX-License-Identifier: Apache-2.0
"""The policy: what to do about a verdict, and when. The one place that waits, counts, backs off.

A pure step function. It is handed the time (seconds of any clock that never goes back), what it
remembers, and a verdict; it answers with what to do now and when to look again at the latest.
The ladder, from the least disruptive means to the most:

    sysctls    the kernel's settings are written; touches no container
    sources    firewalld's trusted sources over D-Bus; touches no container
    replay     a verified copy of the rules in one transaction; touches no container
    reload     `podman network reload` of the containers that miss something
    escalate   delete the table and reload all its containers (nftables only)

`hinted` and `acted` are the two other inputs: somebody changed something; a means was tried.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from podwatch.words.snapshot import Part
from podwatch.words.verdict import (
    Blocked,
    BlockedKind,
    Missing,
    MissingKind,
    Verdict,
    WarningKind,
)


class Method(StrEnum):
    """The means of restoring, the least disruptive first."""

    SYSCTLS = "sysctls"
    SOURCES = "sources"
    REPLAY = "replay"
    RELOAD = "reload"
    ESCALATE = "escalate"


BUSY_AGAIN_S = 2.0
"""podman at work, and nothing missing: looked at again after so long, to copy what is new."""

LOCKED_AGAIN_S = 20.0
"""podman's lock held, which was told: looked at again after so long, to tell its end."""

QUIET_CAP_S = 30.0
"""A reload that somebody flushes away half-way can take its container off the network for good, so
while somebody is at it a reload waits this long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy's numbers; times in seconds."""

    methods: frozenset[Method] = frozenset(Method)
    quiet: float = 0.3  # nobody changes anything for so long before a reload
    quiet_cap: float = QUIET_CAP_S  # but a loss waits no longer than this for it
    settle: float = 1.5  # netavark's own reload units get so long to do their work
    hold_cap: float = 10.0  # a firewalld reload that takes longer is stuck
    busy_cap: float = 2.0  # podman's lock held longer than this does not stop a replay
    calm: float = 3.0  # a fight is over when nothing was undone for so long
    backoff: float = 1.0
    backoff_max: float = 300.0
    duplicates: bool = True  # put right what is there twice, when it has been quiet for `calm`
    limit: int = 10  # reloads and escalations in any window
    replay_limit: int = 100
    replay_burst: int = 5
    window: float = 300.0


NEVER = float("-inf")

_PASSING = {BlockedKind.FIREWALLD_RELOADING, BlockedKind.BUSY, BlockedKind.LOCKED}


@dataclass(frozen=True, slots=True)
class Memory:
    """What the policy remembers between steps. Moments are -inf where there was none."""

    missing_since: float | None = None
    held_since: float | None = None
    foreign_at: float = NEVER  # somebody else changed something
    settle_until: float = NEVER
    tried: tuple[Method, ...] = ()  # in this incident, since somebody else last changed anything
    rounds: tuple[float, ...] = ()  # reloads and escalations
    vain: int = 0  # reloads and escalations since nothing was missing
    replays: tuple[float, ...] = ()
    sysctl_tries: int = 0
    source_tries: int = 0
    unknowns: int = 0
    next_sysctls: float = NEVER
    next_sources: float = NEVER
    next_replay: float = NEVER
    next_reload: float = NEVER


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and when to look again at the latest (None: when something happens)."""

    method: Method | None
    why: str
    look_at: float | None = None
    container_ids: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    sysctls: tuple[str, ...] = ()


def hinted(memory: Memory, now: float, *, settle_until: float = NEVER) -> Memory:
    """Somebody else changed the rules; netavark's own units may be at it until `settle_until`."""
    return replace(
        memory,
        foreign_at=now,
        settle_until=max(memory.settle_until, settle_until),
        tried=(),
        next_sources=min(memory.next_sources, now + 1.0),
    )


def acted(memory: Memory, method: Method, now: float, limits: Limits, *, done: bool) -> Memory:
    """A means was tried, and came to its end at `now`; `done` says whether it went through."""
    since = now - limits.window
    if method is Method.SYSCTLS:
        tries = memory.sysctl_tries + 1
        pause = min(0.05 * 2 ** min(tries, 20), limits.backoff_max)
        return replace(memory, sysctl_tries=tries, next_sysctls=now + pause)
    if method is Method.SOURCES:
        tries = memory.source_tries + 1
        pause = min(0.2 * 2 ** min(tries, 20), limits.backoff_max)
        return replace(memory, source_tries=tries, next_sources=now + pause)
    tried = (*memory.tried, method) if done else memory.tried
    if method is Method.REPLAY:
        replays = (*(at for at in memory.replays if at > since), now)
        recent = sum(at > now - 10 for at in replays) - limits.replay_burst
        pause = min(0.05 * 2 ** min(recent, 7), 5.0) if recent > 0 else 0.0
        # A copy that cannot be put back is not tried twice: the next means has its turn.
        return replace(
            memory, tried=(*memory.tried, method), replays=replays, next_replay=now + pause
        )
    rounds = (*(at for at in memory.rounds if at > since), now)
    # After a reload the rules are others than those the copy did not help with; and after an
    # escalation that failed the ladder begins anew, when the pause is over.
    again = {Method.REPLAY} if done or method is Method.RELOAD else set(Method)
    tried = tuple(each for each in tried if each not in again)
    vain = memory.vain + 1
    doublings = max(len(rounds), vain) - 1  # those of the window alone would never reach the cap
    pause = min(limits.backoff * 2 ** min(doublings, 20), limits.backoff_max)
    return replace(memory, tried=tried, rounds=rounds, vain=vain, next_reload=now + pause)


def step(
    memory: Memory, verdict: Verdict, now: float, limits: Limits, *, can_replay: bool = False
) -> tuple[Memory, Decision]:
    """Decide what to do about `verdict` at `now`; `can_replay` says there is a usable copy."""
    unknown = {each.part for each in verdict.unknown}
    if unknown & {Part.RULES, Part.SETUP}:
        return _again(memory, "could not look: unknown is not lost", now, limits)
    if not unknown:
        memory = replace(memory, unknowns=0)
    if not verdict.missing:
        return _nothing_missing(memory, verdict, now, limits)
    if memory.missing_since is None:
        memory = replace(memory, missing_since=now, tried=())

    held = {each.kind: each for each in verdict.blocked}
    for kind in (BlockedKind.PAUSED, BlockedKind.PANIC):
        if kind in held:
            return memory, Decision(None, held[kind].what)
    waits = held.keys() & _PASSING
    since = now if memory.held_since is None else memory.held_since
    memory = replace(memory, held_since=since if waits else None)
    if BlockedKind.FIREWALLD_RELOADING in held and now < since + limits.hold_cap:
        return memory, Decision(
            None, held[BlockedKind.FIREWALLD_RELOADING].what, since + limits.hold_cap
        )

    wake: list[float] = []
    if verdict.missing_sysctls and Method.SYSCTLS in limits.methods:
        if now >= memory.next_sysctls:
            todo = tuple(each.detail for each in verdict.missing_sysctls)
            return memory, Decision(Method.SYSCTLS, "sysctls were set back", now, sysctls=todo)
        wake.append(memory.next_sysctls)
    sources = verdict.missing_sources
    if not sources:
        memory = replace(memory, source_tries=0)
    # netavark adds its sources after it has written its state: while it works they are not lost.
    works = _changes(held) and now < since + limits.busy_cap
    may_trust = Method.SOURCES in limits.methods and Part.FIREWALLD not in unknown
    if sources and works:
        wake.append(now + 0.05)
    elif sources and may_trust:
        if now >= memory.next_sources:
            subnets = tuple(each.detail for each in sources)
            return memory, Decision(
                Method.SOURCES, "trusted sources are missing", now, subnets=subnets
            )
        wake.append(memory.next_sources)
    decision = Decision(None, "waiting to try again")
    if verdict.missing_rules:
        memory, decision = _about_rules(
            memory, verdict, now, limits, unknown, held, can_replay=can_replay
        )
        if decision.method is not None:
            return memory, decision
    if decision.look_at is not None:
        wake.append(decision.look_at)
    # Where nothing may be done, somebody's setting may change without an event that tells.
    return memory, replace(decision, look_at=min(wake, default=now + limits.backoff_max))


def _again(memory: Memory, why: str, now: float, limits: Limits) -> tuple[Memory, Decision]:
    """Look again, ever rarer: nothing tells when what is unknown can be read."""
    pause = min(limits.backoff * 2 ** min(memory.unknowns, 20), limits.backoff_max)
    return replace(memory, unknowns=memory.unknowns + 1), Decision(None, why, now + pause)


def _nothing_missing(
    memory: Memory, verdict: Verdict, now: float, limits: Limits
) -> tuple[Memory, Decision]:
    """Rest; or put right what is there twice, in a quiet moment and once."""
    memory = replace(memory, missing_since=None, held_since=None, vain=0, source_tries=0)
    if now >= memory.next_sysctls + limits.calm:
        memory = replace(memory, sysctl_tries=0)
    twice = any(each.kind is WarningKind.DUPLICATES for each in verdict.warnings)
    wanted = twice and limits.duplicates and Method.REPLAY in limits.methods
    if not wanted or verdict.blocked or verdict.unknown or Method.REPLAY in memory.tried:
        # What podman is in the middle of is not copied; that it has ended nobody tells.
        kinds = {each.kind for each in verdict.blocked}
        busy = BlockedKind.BUSY in kinds
        if verdict.unknown and not busy:
            return _again(memory, "a part is unknown", now, limits)
        again = now + BUSY_AGAIN_S if busy else None
        if BlockedKind.LOCKED in kinds:
            again = now + LOCKED_AGAIN_S
        return memory, Decision(None, "nothing is missing", again)
    ready = max(
        memory.foreign_at + limits.calm,
        memory.settle_until,
        memory.next_replay,
        _window_opens(memory.replays, limits.replay_limit, now, limits),
    )
    if now < ready:
        return memory, Decision(None, "rules are there twice: waiting until it is quiet", ready)
    return memory, Decision(Method.REPLAY, "rules are there more than once", now)


def _changes(held: dict[BlockedKind, Blocked]) -> bool:
    """Whether podman is in the middle of a change, and not only kept from one."""
    busy = held.get(BlockedKind.BUSY)
    return busy is not None and not busy.only_reload


def _about_rules(
    memory: Memory,
    verdict: Verdict,
    now: float,
    limits: Limits,
    unknown: set[Part],
    held: dict[BlockedKind, Blocked],
    *,
    can_replay: bool,
) -> tuple[Memory, Decision]:
    held_for = 0.0 if memory.held_since is None else now - memory.held_since
    busy = held.get(BlockedKind.LOCKED) or held.get(BlockedKind.BUSY)
    again = now + min(max(held_for / 2, 0.05), 1.0)
    if Method.REPLAY in limits.methods and can_replay and Method.REPLAY not in memory.tried:
        if busy and _changes(held) and held_for < limits.busy_cap:
            return memory, Decision(None, busy.what, again)
        ready = _after_fight(memory, memory.next_replay, memory.replays, 1.0)
        ready = max(ready, _window_opens(memory.replays, limits.replay_limit, now, limits))
        if now < ready:
            return memory, Decision(None, "somebody keeps removing the rules", ready)
        return memory, Decision(Method.REPLAY, "a verified copy is at hand", now)

    if Method.RELOAD not in limits.methods:
        return memory, Decision(None, "the reload command is switched off (restore.methods)")
    if BlockedKind.STRICT_FORWARD_PORTS in held:
        return memory, Decision(None, held[BlockedKind.STRICT_FORWARD_PORTS].what)
    if busy:
        return memory, Decision(None, busy.what, again)
    if Part.FIREWALLD in unknown:
        return memory, Decision(None, "firewalld does not answer", now + limits.backoff)

    method, ids, why = _reload_or_escalate(memory, verdict, limits, unknown)
    since = now if memory.missing_since is None else memory.missing_since
    quiet = max(since, memory.foreign_at) + limits.quiet
    follows = method is Method.ESCALATE and Method.RELOAD in memory.tried
    again = _after_fight(memory, memory.next_reload, memory.rounds, limits.calm)
    ready, waiting = max(
        (min(quiet, since + limits.quiet_cap), "waiting until nobody changes the rules"),
        (min(memory.settle_until, since + limits.hold_cap), "netavark's own units are at it"),
        (NEVER if follows else again, "the last try was in vain: pausing"),
        (
            _window_opens(memory.rounds, limits.limit, now, limits),
            f"{limits.limit} reloads in {limits.window:.0f} s are enough",
        ),
    )
    if now < ready:
        return memory, Decision(None, waiting, ready)
    return memory, Decision(method, why, now, container_ids=ids)


def _after_fight(memory: Memory, due: float, done: tuple[float, ...], calm: float) -> float:
    """When the next try is due: what somebody else undid need not wait out the whole pause."""
    if done and memory.foreign_at > done[-1]:
        return min(due, memory.foreign_at + calm)
    return due


def _window_opens(done: tuple[float, ...], limit: int, now: float, limits: Limits) -> float:
    recent = [at for at in done if at > now - limits.window]
    return recent[-limit] + limits.window if len(recent) >= limit else NEVER


def _reload_or_escalate(
    memory: Memory, verdict: Verdict, limits: Limits, unknown: set[Part]
) -> tuple[Method, tuple[str, ...], str]:
    rules = verdict.missing_rules
    ids = _union(rules)
    uncleared = (MissingKind.TABLE, MissingKind.FORWARD)
    gone = any(each.kind in uncleared for each in rules)
    may_escalate = Method.ESCALATE in limits.methods and not unknown and not gone
    if may_escalate and Method.ESCALATE not in memory.tried:
        if Method.RELOAD in memory.tried:
            return Method.ESCALATE, verdict.all_container_ids, "the reload left rules missing"
        if not all(each.reloadable for each in rules):
            why = "a reload alone would not bring these rules back"
            return Method.ESCALATE, verdict.all_container_ids, why
    return Method.RELOAD, ids, "rules are missing"


def _union(missing: tuple[Missing, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in missing for name in each.container_ids))
