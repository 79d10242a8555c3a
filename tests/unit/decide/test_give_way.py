# SPDX-License-Identifier: Apache-2.0
"""What is lost again right after its repair is somebody's will."""

from dataclasses import replace
from itertools import pairwise

from podwatch.decide.decision import Decision, Limits, Memory
from podwatch.decide.policy import LEFT_ALONE, acted, step
from podwatch.words.means import Method
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

LIMITS = Limits(give_way=30.0)
DOWN = Missing(MissingKind.LINK, "podman1 is down", "podman1", place="podman1")
OTHER = replace(DOWN, what="podman2 is down", place="podman2")
SYSCTL = Missing(MissingKind.SYSCTL, "sysctl", "net/ipv4/ip_forward=1")
WHOLE = Verdict(State.OK)


def lost(*missing: Missing) -> Verdict:
    """A verdict by which these are missing."""
    return Verdict(State.LOST, missing)


def look(memory: Memory, verdict: Verdict, now: float) -> tuple[Memory, Decision]:
    """One look, and its repair where one is decided on."""
    memory, decision = step(memory, verdict, now, LIMITS)
    if decision.method is not None:
        memory = acted(memory, decision, now, LIMITS, done=True)
    return memory, decision


def repaired(*missing: Missing, now: float = 100.0) -> Memory:
    """The memory after these were put right at a moment, and seen whole."""
    return look(look(Memory(), lost(*missing), now)[0], WHOLE, now)[0]


def test_a_link_that_is_set_down_is_set_up_once() -> None:
    """Set down again within half a minute it is left alone, and that is said."""
    assert step(Memory(), lost(DOWN), 100.0, LIMITS)[1].method == Method.LINKS
    memory, decision = look(repaired(DOWN), lost(DOWN), 129.9)
    assert (decision.method, decision.why) == (None, LEFT_ALONE)
    assert look(memory, lost(DOWN), 500.0)[1].method is None


def test_later_it_is_a_loss_like_the_first() -> None:
    """Half a minute after the repair nobody's will shows in it any more."""
    assert look(repaired(DOWN), lost(DOWN), 130.0)[1].method == Method.LINKS


def test_what_was_whole_once_is_forgotten() -> None:
    """Who sets it up again himself may lose it again, and have it repaired."""
    memory, _ = look(repaired(DOWN), lost(DOWN), 110.0)
    memory, _ = look(memory, WHOLE, 120.0)
    assert memory.left == frozenset()
    assert look(memory, lost(DOWN), 131.0)[1].method == Method.LINKS


def test_another_link_is_repaired_all_the_same() -> None:
    """What is left alone delays no other, and is not touched with it."""
    memory, decision = look(repaired(DOWN), lost(DOWN, OTHER), 110.0)
    assert (decision.method, decision.missing) == (Method.LINKS, (OTHER,))
    assert look(memory, lost(DOWN, OTHER), 111.0)[1].method is None


def test_what_is_lost_as_a_part_of_something_else_is_nobodys_will() -> None:
    """An address that goes with its link: left with it, and put back once the link is up again."""
    part = Missing(MissingKind.ADDRESS, "no address", "", place="podman1", value="fd89::1/64")
    part = replace(part, follows="podman1")
    memory = repaired(DOWN, part)
    memory, decision = look(memory, lost(DOWN, part), 110.0)
    assert decision.method is None
    assert set(memory.left) == {DOWN.thing}
    alone = replace(part, follows="")
    memory, decision = look(memory, lost(alone), 111.0)
    assert (decision.method, decision.missing) == (Method.LINKS, (alone,))


def test_a_port_that_goes_with_its_bridge_is_nobodys_will() -> None:
    """It was put back on it a moment ago; now the bridge is gone."""
    port = Missing(MissingKind.MASTER, "off", "", place="veth0", value="podman1")
    bridge = Missing(MissingKind.BRIDGE, "gone", "", place="podman1")
    memory = repaired(port)
    losses = (bridge, replace(port, follows="podman1"))
    assert look(memory, lost(*losses), 110.0)[1].missing == losses


def test_a_repair_that_failed_says_nothing_of_anybodys_will() -> None:
    """It is tried again after a pause."""
    memory, decision = step(Memory(), lost(DOWN), 100.0, LIMITS)
    memory = acted(memory, decision, 100.0, LIMITS, done=False)
    assert step(memory, lost(DOWN), 101.0, LIMITS)[1].method == Method.LINKS


def test_other_kinds_do_not_give_way() -> None:
    """A setting is set again however soon it was set back."""
    memory = repaired(SYSCTL)
    assert look(memory, lost(SYSCTL), 101.0)[1].method == Method.SYSCTLS


def test_what_is_remembered_stays_bounded() -> None:
    """A repair forgets those before it that are older than what it goes by."""
    memory = repaired(DOWN)
    memory = acted(memory, Decision(Method.LINKS, "", missing=(OTHER,)), 131.0, LIMITS, done=True)
    assert memory.mended == {OTHER.thing: 131.0}


ADDRESS = Missing(MissingKind.ADDRESS, "no address", "", place="podman1", value="10.89.0.1/24")


def test_who_flushes_in_rounds_has_one_will() -> None:
    """Taken away again at once, an address is put back again; a moment later it is left alone."""
    memory = repaired(ADDRESS)
    memory, decision = step(memory, lost(ADDRESS), 100.01, LIMITS)
    assert (decision.method, decision.look_at) == (None, 100.1), "the next try has its time"
    memory, decision = look(memory, lost(ADDRESS), 100.11)
    assert decision.method == Method.LINKS
    memory, decision = look(look(memory, WHOLE, 100.2)[0], lost(ADDRESS), 100.25)
    assert (decision.method, decision.why) == (None, LEFT_ALONE)
    assert look(repaired(ADDRESS), lost(ADDRESS), 100.11)[1].why == LEFT_ALONE


def test_an_address_that_does_not_stay_is_put_back_at_growing_intervals() -> None:
    """One that no look finds there again: a repair that does not hold is nobody's will."""
    memory, now = look(Memory(), lost(ADDRESS), 100.0)[0], 100.0
    repairs = [now]
    while now < 110:
        now += 0.05
        memory, decision = look(memory, lost(ADDRESS), now)
        repairs += [now] if decision.method is not None else []
    pauses = [later - before for before, later in pairwise(repairs)]
    assert 5 <= len(pauses) <= 8
    assert pauses == sorted(pauses)


def test_a_link_that_is_set_down_again_at_once_is_left() -> None:
    """That is done in one go."""
    memory, decision = step(repaired(DOWN), lost(DOWN), 100.01, LIMITS)
    assert (decision.method, decision.why) == (None, LEFT_ALONE)
    assert DOWN.thing in memory.left
