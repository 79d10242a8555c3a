# SPDX-License-Identifier: Apache-2.0
"""The ladder, one condition at a time: what follows a try, what waits, and for what."""

from dataclasses import replace

import pytest

from podwatch.decide.decision import Decision, Limits, Memory, Tries
from podwatch.decide.kinds import RULES, SYSCTLS
from podwatch.decide.policy import acted, hinted, step
from podwatch.words.means import BY_PODMAN, Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import BlockedKind, Missing, MissingKind
from tests.unit.decide.test_policy import (
    LIMITS,
    OTHER,
    RULE,
    SOURCE,
    STUCK,
    SYSCTL,
    after,
    decide,
    since,
)
from tests.unit.decide.world import TWICE, verdict

VAIN = "the last try was in vain: pausing"
STALE = replace(RULE, kind=MissingKind.STALE)
BY_RELOAD = Decision(Method.RELOAD, "", container_ids=("bb",))


def test_what_was_lost_again_after_a_reload_that_helped_waits() -> None:
    """Nobody counts as reloaded in vain once all was there: all wait out the pause together."""
    memory = acted(since(verdict(RULE)), BY_RELOAD, 101.0, LIMITS, done=True)
    memory, _ = step(memory, verdict(), 101.1, LIMITS)
    assert memory.reloaded == frozenset()
    memory, decision = step(memory, verdict(OTHER), 101.2, LIMITS)

    assert decision == Decision(None, VAIN, 102.0)
    assert decide(verdict(OTHER), 102.0, memory).container_ids == ("cc", "bb")


def test_an_escalation_is_of_everybody_and_waits() -> None:
    """Those that were not reloaded yet do not bring it on."""
    memory = acted(since(verdict(STUCK)), BY_RELOAD, 101.0, LIMITS, done=False)

    assert decide(verdict(STUCK), 101.5, memory) == Decision(None, VAIN, 102.0)


def test_a_reload_that_failed_leaves_an_escalation_tried() -> None:
    """The table is not deleted a second time in one incident because podman failed between."""
    memory = after(Method.RELOAD, since(verdict(STUCK)), 101.0)
    memory = after(Method.ESCALATE, memory, 102.0)
    memory = after(Method.RELOAD, memory, 104.0, done=False)
    memory, _ = step(memory, verdict(STUCK), 104.0, LIMITS)

    assert memory.tried == (Method.RELOAD, Method.ESCALATE)
    assert decide(verdict(STUCK), 200.0, memory).method is Method.RELOAD


def test_an_escalation_that_failed_begins_the_ladder_anew() -> None:
    """Nothing counts as tried, the copy neither."""
    memory = after(Method.REPLAY, since(verdict(STUCK)), 100.0)
    memory = after(Method.RELOAD, memory, 101.0)
    assert memory.tried == (Method.RELOAD,)  # the rules are others than the copy did not help with
    memory = after(Method.REPLAY, memory, 101.0)
    assert memory.tried == (Method.RELOAD, Method.REPLAY)

    assert after(Method.ESCALATE, memory, 102.0, done=False).tried == ()
    assert after(Method.ESCALATE, memory, 102.0).tried == (Method.RELOAD, Method.ESCALATE)


def test_only_what_was_undone_after_the_last_try_is_put_back_early() -> None:
    """A change by others between two tries says nothing of the last one."""
    between = Memory(replays=(90.0, 100.0), next_replay=110.0, foreign_at=95.0)
    later = replace(between, foreign_at=100.5)

    assert decide(verdict(RULE), 101.0, between, can_replay=True).look_at == 110.0
    assert decide(verdict(RULE), 101.0, later, can_replay=True).look_at == 101.5
    soon = replace(later, next_replay=101.2)
    assert decide(verdict(RULE), 101.0, soon, can_replay=True).look_at == 101.2
    assert decide(verdict(RULE), 101.2, soon, can_replay=True).method is Method.REPLAY


def test_the_window_of_replays_opens() -> None:
    """With a hundred of them in it the next waits until the oldest has left it."""
    full = Memory(replays=(50.0, *[60.0] * 99))

    waits = decide(verdict(RULE), 101.0, full, can_replay=True)
    assert waits == Decision(None, "somebody keeps removing the rules", 350.0)
    assert decide(verdict(RULE), 350.0, full, can_replay=True).method is Method.REPLAY
    room = replace(full, replays=full.replays[1:])
    assert decide(verdict(RULE), 101.0, room, can_replay=True).method is Method.REPLAY


@pytest.mark.parametrize(
    ("memory", "why"),
    [
        (Memory(foreign_at=100.9), "waiting until nobody changes the rules"),
        (Memory(settle_until=102.5), "netavark's own units are at it"),
        (Memory(kinds={"rules": Tries(next_at=105.0)}), VAIN),
        (Memory(rounds=(90.0,) * 10), "10 reloads in 300 s are enough"),
    ],
)
def test_what_a_reload_waits_for_is_said(memory: Memory, why: str) -> None:
    """Of several reasons the one that lasts longest."""
    memory, decision = step(memory, verdict(RULE), 101.0, LIMITS)

    assert (decision.method, decision.why) == (None, why)
    assert decision.look_at is not None
    assert decide(verdict(RULE), decision.look_at, memory).method is Method.RELOAD


def test_a_copy_is_of_use_for_what_is_missing() -> None:
    """Without one only a rule too many can be put right."""
    assert decide(verdict(RULE, STALE)).method is Method.REPLAY
    assert decide(verdict(RULE)).method is None
    assert decide(verdict(STALE), can_replay=True).method is Method.REPLAY


@pytest.mark.parametrize(
    ("blocked", "why"),
    [
        ((BlockedKind.BUSY,), "held by busy"),
        ((BlockedKind.LOCKED,), "held by locked"),
        ((BlockedKind.LOCKED, BlockedKind.BUSY), "held by locked"),
    ],
)
def test_who_keeps_podman_waiting_is_said(blocked: tuple[BlockedKind, ...], why: str) -> None:
    """Who has the lock, before what podman is at."""
    case = verdict(RULE, blocked=blocked)
    assert decide(case, 200.0, since(case)).why == why


def test_a_lock_that_podman_only_waits_for_stops_no_copy() -> None:
    """Nobody is in the middle of a change then; and where there is no copy, the reload waits."""
    case = verdict(RULE, blocked=[BlockedKind.LOCKED])
    assert decide(case, can_replay=True).method is Method.REPLAY
    assert decide(case, 101.0, since(case)).look_at == 101.5
    assert decide(case, 100.02, since(case)).look_at == pytest.approx(100.07)
    assert decide(case, 109.0, since(case)).look_at == 110.0


def test_duplicates_wait_while_the_rules_cannot_be_read() -> None:
    """What was seen of them may be no more."""
    assert decide(verdict(warnings=(TWICE,))).method is Method.REPLAY
    unread = verdict(warnings=(TWICE,), unknown=[Part.RULES])
    assert decide(unread).method is None


def test_beside_a_loss_it_is_not_said_that_nothing_is_missing() -> None:
    """What must not be set is waited for, and the setting is named that forbids it."""
    lasting = Limits(methods=frozenset(Method) - {Method.SYSCTLS})
    decision = decide(verdict(SYSCTL), limits=lasting)

    assert decision == Decision(None, "restore.sysctls forbids it", 100.0 + LIMITS.backoff_max)


def test_duplicates_beside_missing_rules_are_no_reason_of_their_own() -> None:
    """The rules' own ladder decides, and its replay says what it is for."""
    case = verdict(RULE, warnings=(TWICE,))

    assert decide(case).method is None
    assert decide(case, can_replay=True).missing == (RULE,)


def test_a_loss_of_no_kind_holds_nothing_up() -> None:
    """What has no row is nobody's to repair."""
    assert decide(verdict(Missing("bell", "it does not ring", "x"))).method is None


def test_an_unknown_is_looked_at_again_beside_what_is_forbidden() -> None:
    """A pause ends by an event; that a part can be read again is told by nobody."""
    held = verdict(RULE, blocked=[BlockedKind.PAUSED])
    assert decide(held) == Decision(None, "held by paused")
    unread = verdict(RULE, blocked=[BlockedKind.PAUSED], unknown=[Part.CONTAINER])
    assert decide(unread) == Decision(None, "held by paused", 101.0)


def test_what_needs_no_podman_waits_for_none() -> None:
    """A sysctl is set while podman changes a network; a source waits for a moment."""
    busy = [BlockedKind.BUSY]
    assert decide(verdict(SYSCTL, blocked=busy)).method is Method.SYSCTLS
    assert decide(verdict(SOURCE, blocked=busy)).method is None
    assert decide(verdict(SOURCE, unknown=[Part.FIREWALLD])).method is None
    assert decide(verdict(SYSCTL, unknown=[Part.FIREWALLD])).method is Method.SYSCTLS


def test_a_hint_only_brings_forward() -> None:
    """It postpones no try that is due sooner, and ends no time that netavark's units have."""
    memory = Memory(settle_until=150.0, kinds={"sources": Tries(next_at=100.2)})
    hint = hinted(memory, 100.0)

    assert (hint.settle_until, hint.foreign_at) == (150.0, 100.0)
    assert hint.kinds["sources"].next_at == 100.2
    assert hinted(memory, 100.0, settle_until=160.0).settle_until == 160.0


def test_tries_are_counted_by_kind() -> None:
    """A means that no row names is the rules'; each try counts once."""
    memory = acted(Memory(), Decision(Method.SYSCTLS, ""), 100.0, LIMITS, done=True)
    assert memory.of(SYSCTLS) == Tries(None, 1, 100.1)
    memory = acted(memory, Decision(Method.SYSCTLS, ""), 100.0, LIMITS, done=False)
    assert memory.of(SYSCTLS) == Tries(None, 2, 100.2)
    assert memory.of(RULES) == Tries()
    memory = after(Method.RELOAD, memory, 100.0)
    assert memory.of(RULES) == Tries(None, 1, 101.0)
    assert (memory.rounds, memory.replays) == ((100.0,), ())


NETNS = Missing(MissingKind.NETNS, "nothing is mounted on it", "/x", container_ids=("bb",))
SPLIT = replace(NETNS, reloadable=False)


ONLY_RULES = Limits(methods=LIMITS.methods - {Method.NETNS})


@pytest.mark.parametrize("netns", [NETNS, SPLIT], ids=["lost", "split"])
@pytest.mark.parametrize("loss", [RULE, STUCK], ids=["reload", "escalate"])
def test_nothing_is_reloaded_while_podman_finds_no_namespace(netns: Missing, loss: Missing) -> None:
    """podman would make another one, and take the container off the network."""
    case = verdict(netns, loss)
    decision = decide(case, 150.0, since(case), limits=ONLY_RULES)
    assert (decision.method, decision.why) == (
        None,
        "podman would take the container off the network: it finds none",
    )
    whole = verdict(loss)
    assert decide(whole, 150.0, since(whole), limits=ONLY_RULES).method in BY_PODMAN


def test_the_namespace_is_mounted_before_anything_is_reloaded() -> None:
    """It takes no podman; a copy of the rules waits for nothing of it."""
    assert decide(verdict(NETNS, RULE)).method is Method.NETNS
    replayed = decide(verdict(NETNS, RULE), limits=ONLY_RULES, can_replay=True)
    assert replayed.method is Method.REPLAY
