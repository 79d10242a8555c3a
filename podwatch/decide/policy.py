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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from podwatch.words.means import Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import (
    Blocked,
    BlockedKind,
    Missing,
    MissingKind,
    Verdict,
)

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

    rules_since: float | None = None  # since when each kind of thing is missing
    sources_since: float | None = None
    sysctls_since: float | None = None
    held_since: float | None = None
    foreign_at: float = NEVER  # somebody else changed something
    settle_until: float = NEVER
    tried: tuple[Method, ...] = ()  # in this incident, since somebody else last changed anything
    rounds: tuple[float, ...] = ()  # reloads and escalations
    vain: int = 0  # reloads and escalations since no rule was missing
    reloaded: frozenset[str] = frozenset()  # by them
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
    stale: tuple[tuple[str, str], ...] = ()  # (chain, rule) of what is to be taken away


def hinted(memory: Memory, now: float, *, settle_until: float = NEVER) -> Memory:
    """Somebody else changed the rules; netavark's own units may be at it until `settle_until`."""
    return replace(
        memory,
        foreign_at=now,
        settle_until=max(memory.settle_until, settle_until),
        tried=(),
        next_sources=min(memory.next_sources, now + 1.0),
    )


def acted(memory: Memory, decision: Decision, now: float, limits: Limits, *, done: bool) -> Memory:
    """What was decided was tried, and came to its end at `now`; `done`: it went through."""
    method = decision.method
    since = now - limits.window
    if method is Method.SYSCTLS:
        tries = memory.sysctl_tries + 1
        pause = min(0.05 * 2 ** min(tries, 20), limits.backoff_max)
        return replace(memory, sysctl_tries=tries, next_sysctls=now + pause)
    if method is Method.SOURCES:
        tries = memory.source_tries + 1
        pause = min(0.2 * 2 ** min(tries, 20), limits.backoff_max)
        return replace(memory, source_tries=tries, next_sources=now + pause)
    tried = (*memory.tried, method) if done and method is not None else memory.tried
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
    reloaded = memory.reloaded.union(decision.container_ids)
    return replace(
        memory, tried=tried, rounds=rounds, vain=vain, reloaded=reloaded, next_reload=now + pause
    )


def step(
    memory: Memory, verdict: Verdict, now: float, limits: Limits, *, can_replay: bool = False
) -> tuple[Memory, Decision]:
    """Decide what to do about `verdict` at `now`; `can_replay` says there is a usable copy.

    What stands in the way is taken away together with a replay, and needs no copy.

    Each kind of thing is decided on by itself: one that stays missing, is unknown or has to wait
    delays no other.
    """
    unknown = {each.part for each in verdict.unknown}
    if Part.SETUP in unknown:
        return _again(memory, "could not look: unknown is not lost", now, limits)
    memory = _noted(memory, verdict, unknown, now, limits)
    held = {each.kind: each for each in verdict.blocked}
    wake: list[float] = []
    if unknown:
        memory, looks = _again(memory, "a part is unknown", now, limits)
        wake.append(now if looks.look_at is None else looks.look_at)
    if not verdict.missing:
        memory = replace(memory, held_since=None)
        decision = _about_duplicates(memory, verdict, now, limits, unknown, held)
        if decision.look_at is not None:
            wake.append(decision.look_at)
        if BlockedKind.LOCKED in held:
            wake.append(now + LOCKED_AGAIN_S)
        elif BlockedKind.BUSY in held:
            wake.append(now + BUSY_AGAIN_S)
        return memory, replace(decision, look_at=min(wake, default=None))

    for kind in (BlockedKind.PAUSED, BlockedKind.PANIC):
        if kind in held:
            return memory, Decision(None, held[kind].what, min(wake, default=None))
    waits = held.keys() & _PASSING
    since = now if memory.held_since is None else memory.held_since
    memory = replace(memory, held_since=since if waits else None)
    if BlockedKind.FIREWALLD_RELOADING in held and now < since + limits.hold_cap:
        return memory, Decision(
            None, held[BlockedKind.FIREWALLD_RELOADING].what, since + limits.hold_cap
        )

    about_rules = (
        _about_rules(memory, verdict, now, limits, unknown, held, can_replay=can_replay)
        if verdict.missing_rules and Part.RULES not in unknown
        else _about_duplicates(memory, verdict, now, limits, unknown, held)
    )
    decisions = [
        _about_sysctls(memory, verdict, now, limits),
        _about_sources(memory, verdict, now, limits, unknown, held),
        about_rules,
    ]
    if about_rules.method is Method.REPLAY:  # waits for nobody
        decisions.insert(1, about_rules)
    for decision in decisions:
        if decision.method is not None:
            return memory, decision
        if decision.look_at is not None:
            wake.append(decision.look_at)
    why = next((each.why for each in reversed(decisions) if each.why), "waiting to try again")
    # Where nothing may be done, somebody's setting may change without an event that tells.
    return memory, Decision(None, why, min(wake, default=now + limits.backoff_max))


def _noted(
    memory: Memory, verdict: Verdict, unknown: set[Part], now: float, limits: Limits
) -> Memory:
    """The memory with what this look says of each kind of thing, where it is not unknown."""

    def since(before: float | None, missing: Sequence[Missing]) -> float | None:
        return None if not missing else now if before is None else before

    if not unknown:
        memory = replace(memory, unknowns=0)
    if Part.RULES not in unknown:
        begins = memory.rules_since is None and bool(verdict.missing_rules)
        memory = replace(
            memory,
            rules_since=since(memory.rules_since, verdict.missing_rules),
            tried=() if begins else memory.tried,
        )
        if not verdict.missing_rules:
            memory = replace(memory, vain=0, reloaded=frozenset())
    if Part.FIREWALLD not in unknown:
        memory = replace(memory, sources_since=since(memory.sources_since, verdict.missing_sources))
        if not verdict.missing_sources:
            memory = replace(memory, source_tries=0)
    if not verdict.missing_sysctls and now >= memory.next_sysctls + limits.calm:
        memory = replace(memory, sysctl_tries=0)
    return replace(memory, sysctls_since=since(memory.sysctls_since, verdict.missing_sysctls))


def _again(memory: Memory, why: str, now: float, limits: Limits) -> tuple[Memory, Decision]:
    """Look again, ever rarer: nothing tells when what is unknown can be read."""
    pause = min(limits.backoff * 2 ** min(memory.unknowns, 20), limits.backoff_max)
    return replace(memory, unknowns=memory.unknowns + 1), Decision(None, why, now + pause)


def _about_duplicates(
    memory: Memory,
    verdict: Verdict,
    now: float,
    limits: Limits,
    unknown: set[Part],
    held: dict[BlockedKind, Blocked],
) -> Decision:
    """What is there twice is put right in a quiet moment, and once."""
    twice = verdict.has_duplicates and limits.duplicates and Method.REPLAY in limits.methods
    forbidden = any(not each.only_reload for each in held.values()) or Part.RULES in unknown
    if not twice or forbidden or Method.REPLAY in memory.tried:
        return Decision(None, "" if verdict.missing else "nothing is missing")
    ready = max(
        memory.foreign_at + limits.calm,
        memory.settle_until,
        memory.next_replay,
        _window_opens(memory.replays, limits.replay_limit, now, limits),
    )
    if now < ready:
        return Decision(None, "rules are there twice: waiting until it is quiet", ready)
    return Decision(Method.REPLAY, "rules are there more than once", now)


def _about_sysctls(memory: Memory, verdict: Verdict, now: float, limits: Limits) -> Decision:
    if not verdict.missing_sysctls or Method.SYSCTLS not in limits.methods:
        return Decision(None, "")
    if now < memory.next_sysctls:
        return Decision(None, "", memory.next_sysctls)
    todo = tuple(each.detail for each in verdict.missing_sysctls)
    return Decision(Method.SYSCTLS, "sysctls were set back", now, sysctls=todo)


def _about_sources(
    memory: Memory,
    verdict: Verdict,
    now: float,
    limits: Limits,
    unknown: set[Part],
    held: dict[BlockedKind, Blocked],
) -> Decision:
    if not verdict.missing_sources:
        return Decision(None, "")
    # netavark adds its sources after it has written its state: while it works they are not lost.
    if _changes(held) and now < (memory.held_since or now) + limits.busy_cap:
        return Decision(None, "", now + 0.05)
    if Method.SOURCES not in limits.methods or Part.FIREWALLD in unknown:
        return Decision(None, "")
    if now < memory.next_sources:
        return Decision(None, "", memory.next_sources)
    subnets = tuple(each.detail for each in verdict.missing_sources)
    return Decision(Method.SOURCES, "trusted sources are missing", now, subnets=subnets)


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
) -> Decision:
    held_for = 0.0 if memory.held_since is None else now - memory.held_since
    busy = held.get(BlockedKind.LOCKED) or held.get(BlockedKind.BUSY)
    again = now + min(max(held_for / 2, 0.05), 1.0)
    lost = tuple(each for each in verdict.missing_rules if each.kind is not MissingKind.STALE)
    stale = tuple((e.chain, e.detail) for e in verdict.missing_rules if e.kind is MissingKind.STALE)
    can_replay = (can_replay and bool(lost)) or bool(stale)
    if Method.REPLAY in limits.methods and can_replay and Method.REPLAY not in memory.tried:
        if busy and _changes(held) and held_for < limits.busy_cap:
            return Decision(None, busy.what, again)
        ready = _after_fight(memory, memory.next_replay, memory.replays, 1.0)
        ready = max(ready, _window_opens(memory.replays, limits.replay_limit, now, limits))
        if now < ready:
            return Decision(None, "somebody keeps removing the rules", ready)
        why = "a verified copy is at hand" if lost else "a rule left over closes a way"
        return Decision(Method.REPLAY, why, now, stale=stale)

    if not lost:
        return Decision(None, "a rule left over closes a way: podwatch restore --stale")
    if Method.RELOAD not in limits.methods:
        return Decision(None, "the reload command is switched off (restore.methods)")
    if BlockedKind.STRICT_FORWARD_PORTS in held:
        return Decision(None, held[BlockedKind.STRICT_FORWARD_PORTS].what)
    if busy:
        return Decision(None, busy.what, again)
    if Part.FIREWALLD in unknown:
        return Decision(None, "firewalld does not answer", now + limits.backoff)

    method, ids, why = _reload_or_escalate(memory, verdict, limits, unknown)
    if not ids:
        return Decision(None, "podman does not list the containers whose rules are missing")
    since = now if memory.rules_since is None else memory.rules_since
    quiet = max(since, memory.foreign_at) + limits.quiet
    follows = method is Method.ESCALATE and Method.RELOAD in memory.tried
    again = _after_fight(memory, memory.next_reload, memory.rounds, limits.calm)
    fresh = tuple(each for each in ids if each not in memory.reloaded)
    if fresh and memory.reloaded and method is Method.RELOAD and now < again:
        ids, again = fresh, NEVER  # those that were reloaded in vain wait, these have not had a try
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
        return Decision(None, waiting, ready)
    return Decision(method, why, now, container_ids=ids)


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
    rules = tuple(each for each in verdict.missing_rules if each.kind is not MissingKind.STALE)
    ids = tuple(each for each in _union(rules) if each not in verdict.unlisted)
    uncleared = (MissingKind.TABLE, MissingKind.FORWARD)
    gone = any(each.kind in uncleared for each in rules)
    may_escalate = Method.ESCALATE in limits.methods and not unknown and not gone
    may_escalate = may_escalate and not verdict.unlisted  # nobody would set their rules up again
    if may_escalate and Method.ESCALATE not in memory.tried:
        if Method.RELOAD in memory.tried:
            return Method.ESCALATE, verdict.all_container_ids, "the reload left rules missing"
        if not all(each.reloadable for each in rules):
            why = "a reload alone would not bring these rules back"
            return Method.ESCALATE, verdict.all_container_ids, why
    return Method.RELOAD, ids, "rules are missing"


def _union(missing: tuple[Missing, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in missing for name in each.container_ids))
