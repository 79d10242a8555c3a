# SPDX-License-Identifier: Apache-2.0
"""The ladder: what is done about missing rules, from the least disruptive means to the most.

replay     a verified copy of the rules in one transaction; touches no container
reload     `podman network reload` of the containers that miss something
escalate   delete the table and reload all its containers (nftables only)
"""

from collections.abc import Iterable
from dataclasses import replace

from podwatch.decide.decision import NEVER, Case, Decision, Limits, Memory
from podwatch.decide.kinds import NETNS, RULES
from podwatch.decide.pauses import doubled
from podwatch.words.means import Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import BlockedKind, Missing, MissingKind

_UNCLEARED = frozenset({MissingKind.TABLE, MissingKind.FORWARD})
"""Losses where there is no table to delete."""


def about_rules(memory: Memory, case: Case) -> Decision:
    """What to do about rules that are missing, or that close a way."""
    now, limits, blocked = case.now, case.limits, case.blocked
    waited = now - case.since(memory.blocked_since)
    busy = blocked.get(BlockedKind.LOCKED) or blocked.get(BlockedKind.BUSY)
    again = now + min(max(waited / 2, 0.05), 1.0)
    lost = tuple(loss for loss in case.lost_rules if loss.kind != MissingKind.STALE)
    can_replay = case.can_replay or len(lost) < len(case.lost_rules)
    if Method.REPLAY in limits.methods and can_replay and Method.REPLAY not in memory.tried:
        if busy and case.is_changing and waited < limits.busy_cap:
            return Decision(None, busy.what, again)
        return _replay(memory, case, lost)
    if not lost:
        return Decision(None, "a rule left over closes a way: podwatch restore --stale")
    if Method.RELOAD not in limits.methods:
        return Decision(None, "the reload command is switched off (restore.methods)")
    return forbids_reload(memory, case) or _round(memory, case, lost)


def forbids_reload(memory: Memory, case: Case) -> Decision | None:
    """The decision to leave podman alone; None where a container may be reloaded."""
    blocked, waited = case.blocked, case.now - case.since(memory.blocked_since)
    if BlockedKind.STRICT_FORWARD_PORTS in blocked:
        return Decision(None, blocked[BlockedKind.STRICT_FORWARD_PORTS].what)
    if case.missing.get(NETNS.name):
        return Decision(None, "podman would take the container off the network: it finds none")
    if busy := blocked.get(BlockedKind.LOCKED) or blocked.get(BlockedKind.BUSY):
        return Decision(None, busy.what, case.now + min(max(waited / 2, 0.05), 1.0))
    if Part.FIREWALLD in case.unknown:
        return Decision(None, "firewalld does not answer", case.now + case.limits.backoff)
    return None


def _replay(memory: Memory, case: Case, lost: tuple[Missing, ...]) -> Decision:
    ready = max(
        _after_others(memory, memory.next_replay, memory.replays, 1.0),
        _window_opens(memory.replays, case.limits.replay_limit, case),
    )
    if case.now < ready:
        return Decision(None, "somebody keeps removing the rules", ready)
    why = "a verified copy is at hand" if lost else "a rule left over closes a way"
    return Decision(Method.REPLAY, why, case.now, missing=case.lost_rules)


def _round(memory: Memory, case: Case, lost: tuple[Missing, ...]) -> Decision:
    """A reload or an escalation, as soon as its time has come."""
    now, limits, tries = case.now, case.limits, memory.of(RULES)
    method, ids, why = _reload_or_escalate(memory, case, lost)
    if not ids:
        return Decision(None, "podman does not list the containers whose rules are missing")
    since = case.since(tries.since)
    quiet = max(since, memory.foreign_at) + limits.quiet
    follows = method is Method.ESCALATE and Method.RELOAD in memory.tried
    again = _after_others(memory, tries.next_at, memory.rounds, limits.calm)
    fresh = tuple(key for key in ids if key not in memory.reloaded)
    if fresh and memory.reloaded and method is Method.RELOAD and now < again:
        ids, again = fresh, NEVER  # those that were reloaded in vain wait, these have not had a try
    ready, waiting = max(
        (min(quiet, since + limits.quiet_cap), "waiting until nobody changes the rules"),
        (min(memory.settle_until, since + limits.hold_cap), "netavark's own units are at it"),
        (NEVER if follows else again, "the last try was in vain: pausing"),
        (
            _window_opens(memory.rounds, limits.limit, case),
            f"{limits.limit} reloads in {limits.window:.0f} s are enough",
        ),
    )
    if now < ready:
        return Decision(None, waiting, ready)
    return Decision(method, why, now, container_ids=ids, missing=lost)


def _reload_or_escalate(
    memory: Memory, case: Case, lost: tuple[Missing, ...]
) -> tuple[Method, tuple[str, ...], str]:
    """The means, whom it is for, and why."""
    everyone, unlisted = case.verdict.all_container_ids, case.verdict.unlisted
    gone = any(loss.kind in _UNCLEARED for loss in lost)
    may_escalate = Method.ESCALATE in case.limits.methods and not case.unknown and not gone
    may_escalate = may_escalate and not unlisted  # nobody would set their rules up again
    if may_escalate and Method.ESCALATE not in memory.tried:
        if Method.RELOAD in memory.tried:
            return Method.ESCALATE, everyone, "the reload left rules missing"
        if not all(loss.reloadable for loss in lost):
            return Method.ESCALATE, everyone, "a reload alone would not bring these rules back"
    ids = dict.fromkeys(key for loss in lost for key in loss.container_ids if key not in unlisted)
    return Method.RELOAD, tuple(ids), "rules are missing"


def about_duplicates(memory: Memory, case: Case) -> Decision:
    """What is there twice is put right in a quiet moment, and once."""
    limits = case.limits
    wanted = limits.duplicates and Method.REPLAY in limits.methods
    forbidden = any(not reason.only_reload for reason in case.blocked.values())
    forbidden = forbidden or Part.RULES in case.unknown or Method.REPLAY in memory.tried
    if forbidden or not (case.verdict.has_duplicates and wanted):
        return Decision(None, "" if case.verdict.missing else "nothing is missing")
    ready = max(
        memory.foreign_at + limits.calm,
        memory.settle_until,
        memory.next_replay,
        _window_opens(memory.replays, limits.replay_limit, case),
    )
    if case.now < ready:
        return Decision(None, "rules are there twice: waiting until it is quiet", ready)
    return Decision(Method.REPLAY, "rules are there more than once", case.now)


def climbed(
    memory: Memory, decision: Decision, now: float, limits: Limits, *, done: bool
) -> Memory:
    """The memory after one of the ladder's means came to its end at `now`."""
    window = now - limits.window
    if decision.method == Method.REPLAY:
        replays = (*_later(memory.replays, window), now)
        excess = sum(1 for _ in _later(replays, now - 10)) - limits.replay_burst
        pause = doubled(0.05, excess, 5.0) if excess > 0 else 0.0
        # A copy that cannot be put back is not tried twice: the next means has its turn.
        return replace(
            memory,
            tried=(*memory.tried, Method.REPLAY),
            replays=replays,
            next_replay=now + pause,
        )
    rounds = (*_later(memory.rounds, window), now)
    # After a reload the rules are others than those the copy did not help with; and after an
    # escalation that failed the ladder begins anew, when the pause is over.
    again = {Method.REPLAY} if done or decision.method == Method.RELOAD else set(Method)
    gone_through = (means for means in RULES.means if done and means == decision.method)
    tried = (*memory.tried, *gone_through)
    tries = memory.of(RULES)
    tries = replace(tries, count=tries.count + 1)
    # Those of the window alone would never reach the longest pause.
    doublings = max(len(rounds), tries.count) - 1
    pause = doubled(limits.backoff, doublings, limits.backoff_max)
    return replace(
        memory.noting(RULES, replace(tries, next_at=now + pause)),
        tried=tuple(method for method in tried if method not in again),
        rounds=rounds,
        reloaded=memory.reloaded.union(decision.container_ids),
    )


def _later(moments: Iterable[float], than: float) -> Iterable[float]:
    return (at for at in moments if at > than)


def _after_others(memory: Memory, due: float, done: tuple[float, ...], calm: float) -> float:
    """When the next try is due: what somebody else undid need not wait out the whole pause."""
    if done and memory.foreign_at > done[-1]:
        return min(due, memory.foreign_at + calm)
    return due


def _window_opens(done: tuple[float, ...], limit: int, case: Case) -> float:
    recent = list(_later(done, case.now - case.limits.window))
    return recent[-limit] + case.limits.window if len(recent) >= limit else NEVER
