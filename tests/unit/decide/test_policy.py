# SPDX-License-Identifier: Apache-2.0
"""The policy, rung by rung: what it does about a verdict, when, and when it looks again."""

import itertools
from dataclasses import replace

import pytest

from podwatch.decide.decision import NEVER, Decision, Limits, Memory, Tries
from podwatch.decide.kinds import RULES, SOURCES, SYSCTLS
from podwatch.decide.policy import (
    BUSY_AGAIN_S,
    LOCKED_AGAIN_S,
    acted,
    due,
    hinted,
    step,
    without_back_off,
)
from podwatch.words.means import Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import BlockedKind, Missing, MissingKind, Verdict
from tests.unit.decide.world import EVERYONE, TWICE, verdict

LIMITS = Limits()
SOURCE = Missing(MissingKind.SOURCE, "no source", "10.88.0.0/16", container_ids=("aa", "bb"))
RULE = Missing(MissingKind.RULE, "no rule", "accept", container_ids=("bb",))
OTHER = Missing(MissingKind.RULE, "no rule", "drop", container_ids=("cc", "bb"))
STUCK = Missing(MissingKind.RULE, "no rule", "drop", container_ids=("aa", "bb"), reloadable=False)
ORDER = Missing(MissingKind.ORDER, "order", "drop", container_ids=("aa",), reloadable=False)
TABLE = Missing(MissingKind.TABLE, "no table", "table", container_ids=("aa", "bb", "cc"))
SYSCTL = Missing(MissingKind.SYSCTL, "sysctl", "net/ipv4/ip_forward=1")


def decide(
    case: Verdict,
    now: float = 100.0,
    memory: Memory | None = None,
    *,
    limits: Limits = LIMITS,
    can_replay: bool = False,
) -> Decision:
    """What is done about a verdict at a moment."""
    before = Memory() if memory is None else memory
    return step(before, case, now, limits, can_replay=can_replay)[1]


def since(case: Verdict, at: float = 100.0) -> Memory:
    """The memory of a policy that has seen a verdict first at a moment."""
    return step(Memory(), case, at, LIMITS)[0]


def after(method: str, memory: Memory, now: float, *, done: bool = True) -> Memory:
    """The memory after a means was tried."""
    return acted(memory, Decision(method, "", container_ids=EVERYONE), now, LIMITS, done=done)


def test_nothing_missing_is_left_alone() -> None:
    """Where nothing is missing nothing is done, and nothing is looked for before it happens."""
    assert decide(verdict()) == Decision(None, "nothing is missing")


def test_somebody_busy_is_looked_at_again() -> None:
    """Nothing is missing while podman works: it has to be seen when it is done, for the copy."""
    case = verdict(blocked=[BlockedKind.BUSY])
    assert decide(case) == Decision(None, "nothing is missing", 100 + BUSY_AGAIN_S)


def test_the_numbers_are_those_that_are_documented() -> None:
    """What the policy waits for, and how often it may do what, in seconds and times."""
    assert (BUSY_AGAIN_S, LOCKED_AGAIN_S) == (2.0, 20.0)
    assert Limits() == Limits(
        methods=frozenset(Method),
        quiet=0.3,
        quiet_cap=30.0,
        settle=1.5,
        hold_cap=10.0,
        busy_cap=2.0,
        calm=3.0,
        backoff=1.0,
        backoff_max=300.0,
        duplicates=True,
        limit=10,
        replay_limit=100,
        replay_burst=5,
        window=300.0,
    )


def test_a_lock_that_is_reported_is_looked_at_again() -> None:
    """Nothing is missing while somebody keeps podman from its lock: its end has to be seen."""
    case = verdict(blocked=[BlockedKind.LOCKED, BlockedKind.BUSY])
    assert decide(case).look_at == 100 + LOCKED_AGAIN_S


def test_rest_ends_the_incident() -> None:
    """Once nothing is missing, how long it took and how often sources were tried is forgotten."""
    memory = after(Method.SOURCES, since(verdict(SOURCE)), 100.0)
    rested, _ = step(memory, verdict(), 101.0, LIMITS)
    assert rested.of(SOURCES) == Tries(None, 0, 100.4)
    assert rested.blocked_since is None


def test_missing_sources_come_at_once() -> None:
    """Trusted sources are put back over D-Bus without waiting, before anything is reloaded."""
    assert decide(verdict(RULE, SOURCE), can_replay=True).method is Method.REPLAY
    decision = decide(verdict(RULE, SOURCE))
    assert (decision.method, decision.missing) == (Method.SOURCES, (SOURCE,))
    assert decision.container_ids == ()


def test_sources_are_tried_again_rarer_and_rarer() -> None:
    """Each vain try doubles the pause before the next, up to the longest."""
    memory, now, pauses = since(verdict(SOURCE)), 100.0, []
    for _ in range(14):
        memory = after(Method.SOURCES, memory, now)
        memory, decision = step(memory, verdict(SOURCE), now, LIMITS)
        assert decision.method is None
        assert decision.look_at is not None
        pauses.append(round(decision.look_at - now, 3))
        now = decision.look_at
        assert decide(verdict(SOURCE), now, memory).method is Method.SOURCES
    assert pauses[:4] == [0.4, 0.8, 1.6, 3.2]
    assert pauses[-1] == LIMITS.backoff_max


def test_a_firewalld_that_comes_back_need_not_be_waited_for() -> None:
    """After many vain tries, a sign of life of firewalld brings the next try within a second."""
    memory, now = since(verdict(SOURCE)), 100.0
    for _ in range(10):
        memory = after(Method.SOURCES, memory, now)
    memory = hinted(memory, now + 5)
    _, decision = step(memory, verdict(SOURCE), now + 5, LIMITS)
    assert decision.look_at is not None
    assert decision.look_at <= now + 6


def test_sources_that_came_back_are_a_new_start() -> None:
    """Rules that stay missing do not make later losses of a source wait longer each time."""
    memory, now = Memory(), 100.0
    for _ in range(10):
        memory, decision = step(memory, verdict(SOURCE, RULE), now, LIMITS)
        assert decision.method is Method.SOURCES
        memory = after(Method.SOURCES, memory, now)
        memory, _ = step(memory, verdict(RULE), now, LIMITS)
        now += 1.0


def test_waiting_for_sources_does_not_hold_up_rules() -> None:
    """While the next try of the sources is not due, missing rules have their turn."""
    memory = after(Method.SOURCES, since(verdict(SOURCE, RULE)), 101.0)
    assert decide(verdict(SOURCE, RULE), 101.3, memory).method is Method.RELOAD


def test_a_saved_copy_is_put_back_at_once() -> None:
    """With a copy at hand there is nothing to wait for."""
    for missing in (RULE, STUCK, ORDER, TABLE):
        assert decide(verdict(missing), can_replay=True).method is Method.REPLAY


@pytest.mark.parametrize("done", [True, False])
def test_a_copy_is_put_back_once(*, done: bool) -> None:
    """A replay that changed nothing is not repeated: the reload has its turn."""
    memory = after(Method.REPLAY, since(verdict(RULE)), 100.0, done=done)
    assert decide(verdict(RULE), 100.5, memory, can_replay=True).method is Method.RELOAD


def test_what_is_removed_again_is_put_back_again() -> None:
    """When somebody else changed the rules since, the copy is worth another try."""
    memory = after(Method.REPLAY, since(verdict(RULE)), 100.0)
    memory = hinted(memory, 100.2)
    assert decide(verdict(RULE), 100.2, memory, can_replay=True).method is Method.REPLAY


def test_replays_in_a_fight_become_rarer() -> None:
    """Where rules are removed again and again, the pauses between replays grow."""
    memory, now, gaps = Memory(), 100.0, []
    for _ in range(20):
        memory = hinted(memory, now)
        memory, decision = step(memory, verdict(RULE), now, LIMITS, can_replay=True)
        began = now
        while decision.method is None:
            assert decision.look_at is not None
            now = decision.look_at
            memory, decision = step(memory, verdict(RULE), now, LIMITS, can_replay=True)
        assert decision.method is Method.REPLAY
        gaps.append(now - began)
        memory = after(Method.REPLAY, memory, now)
    assert gaps[: LIMITS.replay_burst] == [0.0] * LIMITS.replay_burst
    assert 0 < gaps[-1] <= 1.0


def test_the_pauses_between_replays_double_up_to_five_seconds() -> None:
    """From the sixth within ten seconds on; those before that do not count any more."""
    memory, pauses = Memory(), []
    for _ in range(14):
        memory = after(Method.REPLAY, memory, 100.0)
        pauses.append(round(memory.next_replay - 100.0, 3))
    assert pauses == [0.0] * 5 + [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert after(Method.REPLAY, memory, 110.0).next_replay == 110.0
    assert after(Method.REPLAY, memory, 109.9).next_replay > 110.0


def test_what_has_left_the_window_is_forgotten() -> None:
    """Replays and rounds are remembered for as long as they count, and no longer."""
    memory = after(Method.RELOAD, after(Method.REPLAY, Memory(), 100.0), 100.0)
    later = after(Method.RELOAD, after(Method.REPLAY, memory, 399.0), 399.0)
    assert (later.replays, later.rounds) == ((100.0, 399.0), (100.0, 399.0))
    later = after(Method.RELOAD, after(Method.REPLAY, memory, 400.0), 400.0)
    assert (later.replays, later.rounds) == ((400.0,), (400.0,))


def test_who_was_not_reloaded_yet_does_not_wait_for_those_who_were() -> None:
    """While the pause of a reload in vain lasts, the ones that lose something then have a try."""
    memory = since(verdict(RULE))
    memory = acted(
        memory, Decision(Method.RELOAD, "", container_ids=("bb",)), 101.0, LIMITS, done=False
    )
    decision = decide(verdict(RULE, OTHER), 101.5, memory)
    assert (decision.method, decision.container_ids) == (Method.RELOAD, ("cc",))
    assert decide(verdict(RULE), 101.5, memory).look_at == 102.0
    assert decide(verdict(RULE, OTHER), 102.0, memory).container_ids == ("bb", "cc")


def test_a_decision_carries_what_it_is_about() -> None:
    """A replay all that is wrong with the rules, a reload all that is missing of them."""
    stale = replace(RULE, kind=MissingKind.STALE)
    case = verdict(RULE, stale, SYSCTL)
    lasting = Limits(methods=frozenset(Method) - {Method.SYSCTLS})
    assert decide(case, limits=lasting).missing == (RULE, stale)
    without = Limits(methods=frozenset({Method.RELOAD}))
    memory = step(Memory(), case, 100.0, without)[0]
    assert decide(case, 101.0, memory, limits=without).missing == (RULE,)


def test_what_is_undone_at_once_is_put_back_after_a_second() -> None:
    """After a burst of replays the pause is no longer than that; not if it was before the last."""
    memory = Memory()
    for _ in range(14):
        memory = after(Method.REPLAY, memory, 100.0)
    undone = decide(verdict(RULE), 102.0, hinted(memory, 102.0), can_replay=True)
    assert (undone.method, undone.look_at) == (None, 103.0)
    before = decide(verdict(RULE), 102.0, hinted(memory, 100.0), can_replay=True)
    assert (before.method, before.look_at) == (None, 105.0)


def test_a_replay_says_what_it_is_for() -> None:
    """Rules that are missing, or one that closes a way."""
    stale = replace(RULE, kind=MissingKind.STALE)
    assert decide(verdict(RULE, stale), can_replay=True).why == "a verified copy is at hand"
    assert decide(verdict(stale)).why == "a rule left over closes a way"


def test_the_tries_of_a_sysctl_are_forgotten_after_a_calm_moment() -> None:
    """One that is set back at once each time is not set at once for ever."""
    memory = after(Method.SYSCTLS, since(verdict(SYSCTL)), 100.0)
    for now, count in ((103.0, 1), (103.1, 0), (110.0, 0)):
        assert step(memory, verdict(), now, LIMITS)[0].of(SYSCTLS).count == count


def test_a_loss_while_podman_works_is_reported_later() -> None:
    """At the start of a container something is missing for longer than on a quiet host."""
    for blocked, stays in (((), LIMITS.quiet), ((BlockedKind.BUSY,), LIMITS.busy_cap)):
        case = verdict(RULE, blocked=blocked)
        memory, decision = step(Memory(), case, 100.0, LIMITS)
        told, later = due(memory, case, decision, 100.0, LIMITS)
        assert (told.missing, later) == ((), 100.0 + stays)


def test_the_first_of_several_moments_is_looked_at() -> None:
    """What is unknown, who is at work and what is there twice: whichever comes first."""
    case = verdict(blocked=[BlockedKind.BUSY], unknown=[Part.CONTAINER])
    assert decide(case).look_at == 101.0
    memory = step(Memory(), case, 100.0, LIMITS)[0]
    memory = step(memory, case, 100.0, LIMITS)[0]
    assert decide(case, 100.0, memory).look_at == 102.0


def test_a_reload_waits_until_it_is_quiet() -> None:
    """Rules that netavark is about to add are no loss: a reload waits a moment first."""
    decision = decide(verdict(RULE))
    assert decision.method is None
    assert decision.look_at == pytest.approx(100.0 + LIMITS.quiet)
    memory = since(verdict(RULE))
    assert decide(verdict(RULE), 100.0 + LIMITS.quiet, memory).method is Method.RELOAD


def test_a_reload_waits_no_longer_than_the_cap() -> None:
    """Somebody who changes the rules all the time cannot put a repair off for ever."""
    memory, now = since(verdict(RULE)), 100.0
    while now < 100.0 + LIMITS.quiet_cap:
        memory = hinted(memory, now)
        memory, decision = step(memory, verdict(RULE), now, LIMITS)
        assert decision.method is None
        now += 0.1
    memory = hinted(memory, now)
    assert decide(verdict(RULE), now, memory).method is Method.RELOAD


def test_netavarks_own_units_get_their_time() -> None:
    """Where netavark's own units are at work, the reload does not race them."""
    memory = hinted(since(verdict(RULE)), 100.0, settle_until=101.5)
    early = decide(verdict(RULE), 101.4, memory)
    assert (early.method, early.look_at) == (None, 101.5)
    assert decide(verdict(RULE), 101.5, memory).method is Method.RELOAD


def test_netavarks_own_units_cannot_put_a_repair_off_for_ever() -> None:
    """A firewalld that reloads every second does not keep the rules from being repaired."""
    memory, now = since(verdict(RULE)), 100.0
    decision = decide(verdict(RULE), now, memory)
    while decision.method is None and now < 200:
        memory = hinted(memory, now, settle_until=now + LIMITS.settle)
        memory, decision = step(memory, verdict(RULE), now, LIMITS)
        now += 1
    assert decision.method is Method.RELOAD


def test_a_reload_is_of_those_that_miss_something() -> None:
    """Only the containers that miss a rule are reloaded, each once."""
    memory = since(verdict(RULE, OTHER))
    assert decide(verdict(RULE, OTHER), 101.0, memory).container_ids == ("bb", "cc")


@pytest.mark.parametrize("missing", [STUCK, ORDER])
def test_what_a_reload_cannot_heal_is_escalated(missing: Missing) -> None:
    """Rules that a reload is known not to bring back need the table deleted first."""
    memory = since(verdict(RULE, missing))
    decision = decide(verdict(RULE, missing), 101.0, memory)
    assert (decision.method, decision.container_ids) == (Method.ESCALATE, EVERYONE)


def test_what_a_reload_left_is_escalated_at_once() -> None:
    """A reload that went through and left rules missing is followed by the escalation."""
    memory = after(Method.RELOAD, since(verdict(RULE)), 101.0)
    decision = decide(verdict(RULE), 101.0, memory)
    assert (decision.method, decision.container_ids) == (Method.ESCALATE, EVERYONE)


def test_what_firewalld_forwards_is_never_escalated() -> None:
    """There is no table to delete: what a reload left is reloaded again, at growing intervals."""
    forward = replace(RULE, kind=MissingKind.FORWARD)
    memory = after(Method.RELOAD, since(verdict(forward)), 101.0)
    waiting = decide(verdict(forward), 101.0, memory)
    assert (waiting.method, waiting.look_at) == (None, 102.0)
    assert decide(verdict(forward), 102.0, memory).method is Method.RELOAD


def test_whom_podman_does_not_list_nobody_reloads() -> None:
    """The others are; the table is not cleared, as nobody would set his rules up again."""
    case = replace(verdict(OTHER, STUCK), unlisted=("bb",))
    decision = decide(case, 200.0, since(case))
    assert (decision.method, decision.container_ids) == (Method.RELOAD, ("cc", "aa"))
    alone = replace(verdict(RULE), unlisted=("bb",))
    assert decide(alone, 200.0, since(alone)).method is None
    assert decide(alone, 200.0, since(alone), can_replay=True).method is Method.REPLAY


def test_a_reload_that_failed_is_not_escalated() -> None:
    """When podman could not reload, deleting the table would only make it worse."""
    memory = after(Method.RELOAD, since(verdict(RULE)), 101.0, done=False)
    waiting = decide(verdict(RULE), 101.0, memory)
    assert (waiting.method, waiting.look_at) == (None, 102.0)
    assert decide(verdict(RULE), 102.0, memory).method is Method.RELOAD


def test_an_escalation_is_tried_once() -> None:
    """After an escalation in vain there are only reloads, at growing intervals."""
    memory = after(Method.RELOAD, since(verdict(STUCK)), 101.0)
    memory = after(Method.ESCALATE, memory, 102.0)
    waiting = decide(verdict(STUCK), 102.0, memory)
    assert (waiting.method, waiting.look_at) == (None, 104.0)
    assert decide(verdict(STUCK), 104.0, memory).method is Method.RELOAD


@pytest.mark.parametrize("missing", [RULE, STUCK])
def test_an_escalation_that_failed_waits_like_any_other_try(missing: Missing) -> None:
    """Deleting the table is not tried again and again, and not without the pause that grows."""
    memory, now, escalations = since(verdict(missing)), 101.0, []
    while now < 160.0:
        memory, decision = step(memory, verdict(missing), now, LIMITS)
        if decision.method is None:
            assert decision.look_at is not None
            now = decision.look_at
            continue
        done = decision.method is Method.RELOAD
        memory = after(decision.method, memory, now, done=done)
        if not done:
            escalations.append(now)
    assert 1 < len(escalations) <= 6
    gaps = [later - earlier for earlier, later in itertools.pairwise(escalations)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= LIMITS.backoff


def test_a_table_that_is_gone_is_only_reloaded() -> None:
    """There is no table to delete: reloading everybody is all there is."""
    memory = since(verdict(TABLE))
    decision = decide(verdict(TABLE), 101.0, memory)
    assert (decision.method, decision.container_ids) == (Method.RELOAD, EVERYONE)
    memory = after(Method.RELOAD, memory, 101.0)
    assert decide(verdict(TABLE), 101.0, memory).method is None
    assert decide(verdict(TABLE), 102.0, memory).method is Method.RELOAD


def test_vain_reloads_back_off() -> None:
    """Each vain round doubles the pause, until the window's limit says when."""
    memory, now = after(Method.ESCALATE, since(verdict(TABLE)), 100.0), 100.0
    pauses: list[float] = []
    while len(pauses) < LIMITS.limit:
        memory, decision = step(memory, verdict(TABLE), now, LIMITS)
        if decision.method is None:
            assert decision.look_at is not None
            pauses.append(decision.look_at - now)
            now = decision.look_at
        else:
            memory = after(decision.method, memory, now)
    assert pauses[:6] == [1, 2, 4, 8, 16, 32]
    assert max(pauses) <= LIMITS.backoff_max


def test_who_was_held_back_is_tried_again() -> None:
    """While a container cannot be reloaded (paused, say) it is tried again, for ever."""
    memory, now = Memory(), 100.0
    tried = []
    for _ in range(100):
        memory, decision = step(memory, verdict(RULE), now, LIMITS)
        if decision.method is not None:
            assert decision.container_ids
            tried.append(now)
            memory = acted(memory, decision, now, LIMITS, done=False)
            memory, decision = step(memory, verdict(RULE), now, LIMITS)
        assert decision.look_at is not None
        now = decision.look_at

    longest = max(LIMITS.backoff_max, LIMITS.window)
    assert len(tried) > 20
    assert all(after - before < longest + 1 for before, after in itertools.pairwise(tried))


def test_the_pauses_reach_the_longest_one() -> None:
    """A reload that never helps is tried rarer and rarer, beyond the window that counts rounds."""
    memory, now = since(verdict(TABLE)), 100.0
    pauses: list[float] = []
    while len(pauses) < 14:
        now = max(now, memory.of(RULES).next_at, *(at + LIMITS.window for at in memory.rounds[:-9]))
        memory = after(Method.RELOAD, memory, now)
        pauses.append(memory.of(RULES).next_at - now)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LIMITS.backoff_max
    rested, _ = step(memory, verdict(), now, LIMITS)
    assert rested.of(RULES).count == 0


def test_what_somebody_undid_is_repaired_after_a_calm_moment() -> None:
    """A loss by somebody else's hand does not wait out the pause of the last repair."""
    memory = Memory()
    for at in (100.0, 110.0, 120.0, 130.0, 140.0):
        memory = after(Method.RELOAD, memory, at)
    memory = hinted(memory, 141.0)
    decision = decide(verdict(RULE), 141.0, memory)
    assert decision.look_at == pytest.approx(141.0 + LIMITS.calm)


def test_the_window_bounds_the_rounds() -> None:
    """When the window is full, even a fresh loss waits until it opens."""
    memory = Memory()
    for number in range(LIMITS.limit):
        memory = after(Method.RELOAD, memory, 100.0 + number)
    memory = hinted(memory, 120.0)
    decision = decide(verdict(RULE), 130.0, memory)
    assert (decision.method, decision.look_at) == (None, 100.0 + LIMITS.window)
    memory, _ = step(memory, verdict(RULE), 130.0, LIMITS)
    assert decide(verdict(RULE), 100.0 + LIMITS.window, memory).method is Method.RELOAD


@pytest.mark.parametrize("kind", [BlockedKind.PAUSED, BlockedKind.PANIC])
@pytest.mark.parametrize("missing", [SOURCE, RULE, STUCK, TABLE])
def test_nothing_is_done_in_panic_or_while_paused(kind: BlockedKind, missing: Missing) -> None:
    """An administrator's word holds every means back, however long it lasts."""
    memory = since(verdict(missing))
    for now in (100.0, 1e4, 1e6):
        decision = decide(verdict(missing, blocked=[kind]), now, memory, can_replay=True)
        assert (decision.method, decision.why) == (None, f"held by {kind}")


def test_a_firewalld_reload_is_waited_for_with_a_cap() -> None:
    """While firewalld reloads nothing is done, unless it never comes to its end."""
    case = verdict(SOURCE, RULE, blocked=[BlockedKind.FIREWALLD_RELOADING])
    memory, decision = step(Memory(), case, 100.0, LIMITS, can_replay=True)
    assert (decision.method, decision.look_at) == (None, 100.0 + LIMITS.hold_cap)
    assert decide(case, 109.9, memory, can_replay=True).method is None
    assert decide(case, 110.0, memory, can_replay=True).method is Method.REPLAY
    assert decide(case, 110.0, memory).method is Method.SOURCES


def test_the_cap_counts_from_the_start_of_each_hold() -> None:
    """Two reloads of firewalld with a moment between them are two waits."""
    held = verdict(RULE, blocked=[BlockedKind.FIREWALLD_RELOADING])
    memory, _ = step(Memory(), held, 100.0, LIMITS)
    memory, _ = step(memory, verdict(RULE), 105.0, LIMITS)
    memory, decision = step(memory, held, 108.0, LIMITS)
    assert decision.look_at == 108.0 + LIMITS.hold_cap


def test_strict_forward_ports_forbid_the_reload_only() -> None:
    """Under StrictForwardPorts sources and the copy are put back, and nothing is reloaded."""
    strict = [BlockedKind.STRICT_FORWARD_PORTS]
    assert decide(verdict(SOURCE, blocked=strict)).method is Method.SOURCES
    assert decide(verdict(RULE, blocked=strict), can_replay=True).method is Method.REPLAY
    memory = since(verdict(STUCK))
    decision = decide(verdict(STUCK, blocked=strict), 200.0, memory)
    assert decision.method is None
    assert decision.look_at is not None
    assert decision.look_at > 200.0


def test_somebody_busy_is_waited_for() -> None:
    """While podman is at work there is no reload; the copy waits for a moment only."""
    case = verdict(RULE, blocked=[BlockedKind.BUSY])
    memory, decision = step(Memory(), case, 100.0, LIMITS, can_replay=True)
    assert decision.method is None
    assert decision.look_at is not None
    assert decision.look_at == 100.05
    assert decide(case, 101.0, memory, can_replay=True).look_at == 101.5
    assert decide(case, 100.0 + LIMITS.busy_cap, memory, can_replay=True).method is Method.REPLAY
    late = decide(case, 1000.0, memory)
    assert late.method is None
    assert late.look_at == 1001.0


def test_sources_wait_for_netavark_at_work() -> None:
    """netavark writes its state before it trusts a subnet: that moment is no loss."""
    case = verdict(SOURCE, blocked=[BlockedKind.BUSY])
    memory, decision = step(Memory(), case, 100.0, LIMITS)
    assert decision.method is None
    assert decision.look_at is not None
    assert 100.0 < decision.look_at <= 101.0
    assert decide(case, 100.0 + LIMITS.busy_cap, memory).method is Method.SOURCES


@pytest.mark.parametrize("part", [Part.RULES, Part.SETUP])
def test_unknown_never_repairs(part: Part) -> None:
    """What could not be read is looked at again, rarer and rarer, and nothing is done."""
    memory, now, pauses = Memory(), 100.0, []
    for _ in range(12):
        case = verdict(RULE, TABLE, unknown=[part])
        memory, decision = step(memory, case, now, LIMITS, can_replay=True)
        assert decision.method is None
        assert decision.look_at is not None
        pauses.append(decision.look_at - now)
        now = decision.look_at
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == LIMITS.backoff_max
    rested, _ = step(memory, verdict(), now, LIMITS)
    assert rested.unknowns == 0


def test_rules_that_cannot_be_read_keep_nothing_else_back() -> None:
    """While nft fails, a source comes back, and a sysctl is set."""
    assert decide(verdict(SOURCE, unknown=[Part.RULES])).method is Method.SOURCES
    assert decide(verdict(SYSCTL, unknown=[Part.RULES])).method is Method.SYSCTLS


def test_a_loss_that_lasts_costs_a_later_one_nothing() -> None:
    """With a sysctl wrong for good, rules lost twice are put back twice, each at once."""
    memory, lasting = Memory(), Limits(methods=frozenset(Method) - {Method.SYSCTLS})
    for now in (100.0, 200.0):
        memory, decision = step(memory, verdict(SYSCTL), now, lasting)
        assert decision.method is None
        memory, decision = step(memory, verdict(SYSCTL, RULE), now + 1, lasting, can_replay=True)
        assert decision.method is Method.REPLAY
        memory = acted(memory, decision, now + 1, lasting, done=True)


def test_what_is_there_twice_is_put_right_beside_a_loss() -> None:
    """Duplicates do not wait for a sysctl that nobody may set."""
    lasting = Limits(methods=frozenset(Method) - {Method.SYSCTLS})
    case = verdict(SYSCTL, warnings=(TWICE,))
    assert decide(case, limits=lasting).method is Method.REPLAY
    strict = verdict(blocked=[BlockedKind.STRICT_FORWARD_PORTS], warnings=(TWICE,))
    only = replace(strict.blocked[0], only_reload=True)
    assert decide(replace(strict, blocked=(only,))).method is Method.REPLAY


def test_an_unknown_part_is_looked_at_again() -> None:
    """With nothing missing either: nothing tells when a state file is there again."""
    case = verdict(unknown=[Part.CONTAINER])
    memory, first = step(Memory(), case, 100.0, LIMITS)
    _, second = step(memory, case, 100.0, LIMITS)
    assert (first.look_at, second.look_at) == (101.0, 102.0)


def test_a_hung_firewalld_holds_the_reload_back() -> None:
    """netavark asks firewalld too: with it hung only the copy is put back."""
    case = verdict(RULE, unknown=[Part.FIREWALLD])
    memory = since(case)
    assert decide(case, 105.0, memory, can_replay=True).method is Method.REPLAY
    decision = decide(case, 105.0, memory)
    assert (decision.method, decision.look_at) == (None, 105.0 + LIMITS.backoff)


@pytest.mark.parametrize("part", [Part.CONTAINER, Part.FIREWALLD])
def test_nothing_is_escalated_while_anything_is_unknown(part: Part) -> None:
    """The table is not deleted when nobody knows all that has to be in it."""
    case = verdict(STUCK, unknown=[part])
    memory = after(Method.RELOAD, since(case), 101.0)
    for now in (101.0, 110.0, 1000.0):
        assert decide(case, now, memory).method is not Method.ESCALATE


@pytest.mark.parametrize(
    ("off", "instead"),
    [
        (Method.REPLAY, Method.RELOAD),
        (Method.RELOAD, None),
        (Method.ESCALATE, Method.RELOAD),
    ],
)
def test_a_means_that_is_switched_off_is_not_used(off: Method, instead: Method | None) -> None:
    """The ladder goes on without the rung, and without the reload it ends."""
    limits = Limits(methods=frozenset(Method) - {off})
    memory = since(verdict(STUCK))
    replay = off is Method.REPLAY
    case = verdict(RULE) if replay else verdict(STUCK)
    decision = decide(case, 101.0, memory, limits=limits, can_replay=replay)
    assert decision.method is instead
    assert decision.look_at is not None


def test_sources_switched_off_are_left_missing() -> None:
    """With the means for sources switched off nothing is done about them."""
    limits = Limits(methods=frozenset(Method) - {Method.SOURCES})
    decision = decide(verdict(SOURCE), limits=limits)
    assert decision.method is None
    assert decision.look_at is not None


def test_duplicates_are_put_right_once_in_a_calm_moment() -> None:
    """Rules that are there twice are nothing urgent: one replay when it has been quiet."""
    case = verdict(warnings=(TWICE,))
    memory = hinted(Memory(), 100.0)
    memory, decision = step(memory, case, 100.0, LIMITS)
    assert (decision.method, decision.look_at) == (None, 100.0 + LIMITS.calm)
    memory, decision = step(memory, case, 100.0 + LIMITS.calm, LIMITS)
    assert decision.method is Method.REPLAY
    memory = after(Method.REPLAY, memory, 104.0)
    assert decide(case, 1e6, memory) == Decision(None, "nothing is missing")


def test_duplicates_wait_for_whatever_else_has_to_be_waited_for() -> None:
    """For netavark's own units, for the pause between replays, and for the window to open."""
    case = verdict(warnings=(TWICE,))
    for memory, ready in (
        (hinted(Memory(), 90.0, settle_until=101.5), 101.5),
        (replace(Memory(), next_replay=102.0), 102.0),
        (replace(Memory(), replays=(1.0, *[150.0] * 99)), 301.0),
    ):
        now = min(ready - 0.5, 200.0)
        waiting = decide(case, now, memory)
        assert (waiting.method, waiting.look_at) == (None, ready)
        assert decide(case, ready, memory).method is Method.REPLAY


@pytest.mark.parametrize(
    "limits",
    [Limits(duplicates=False), Limits(methods=frozenset(Method) - {Method.REPLAY})],
    ids=["switched off", "no replay"],
)
def test_duplicates_are_left_where_that_is_wanted(limits: Limits) -> None:
    """Without the wish or the means, what is there twice stays."""
    assert decide(verdict(warnings=(TWICE,)), limits=limits).method is None


@pytest.mark.parametrize("kind", BlockedKind)
def test_duplicates_wait_while_anything_holds(kind: BlockedKind) -> None:
    """What is there twice is not touched while anything forbids a repair."""
    assert decide(verdict(warnings=(TWICE,), blocked=[kind])).method is None


def test_a_fresh_memory_has_no_past() -> None:
    """A policy that just started owes no waiting to what happened before."""
    memory = Memory()
    assert memory.next_replay == NEVER
    assert memory.of(RULES) == memory.of(SOURCES) == Tries(None, 0, NEVER)
    assert decide(verdict(SOURCE), -1e9, memory).method is Method.SOURCES


def test_who_asks_for_a_repair_waits_for_no_back_off() -> None:
    """What was tried is forgotten, what others do is not: a reload waits for quiet all the same."""
    lost = verdict(SYSCTL)
    memory = since(lost)
    for _ in range(5):
        memory = acted(memory, decide(lost), 100.0, LIMITS, done=False)
    assert decide(lost, 100.1, memory).method is None
    assert decide(lost, 100.1, without_back_off(memory)).method is Method.SYSCTLS
    busy = hinted(since(verdict(RULE)), 100.0)
    assert decide(verdict(RULE), 100.1, without_back_off(busy)).method is None
