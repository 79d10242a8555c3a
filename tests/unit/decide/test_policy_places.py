# SPDX-License-Identifier: Apache-2.0
"""What the policy does about containers' links: a reload, of whom it helps, when podman is free."""

from dataclasses import replace

import pytest

from podwatch.decide.decision import Decision, Limits, Memory
from podwatch.decide.kinds import PLACES
from podwatch.decide.policy import acted, due, step
from podwatch.words.means import Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import BlockedKind, Missing, MissingKind, Verdict
from tests.unit.decide.world import verdict

LIMITS = Limits()


def out(key: str, *, reloadable: bool = True) -> Missing:
    """A container that has lost its link."""
    return Missing(
        MissingKind.VETH,
        f"{key} has no link",
        key,
        container_ids=(key,),
        reloadable=reloadable,
        place=key,
    )


RULE = Missing(MissingKind.RULE, "no rule", "accept", container_ids=("aa",))


def decide(case: Verdict, now: float = 100.0, memory: Memory | None = None) -> Decision:
    """What is done about a verdict."""
    return step(memory or Memory(), case, now, LIMITS)[1]


def test_all_who_are_out_are_reloaded_at_once() -> None:
    """One command is for each of them once, whatever he misses, and for nobody else."""
    found = decide(verdict(out("aa"), out("bb"), out("aa")))
    assert (found.method, found.container_ids) == (Method.REWIRE, ("aa", "bb"))
    assert len(found.missing) == 3


def test_whom_a_reload_would_not_help_is_left_alone() -> None:
    """He is told of; beside others he is not among those who are reloaded."""
    lone = decide(verdict(out("aa", reloadable=False)))
    assert lone.method is None
    both = decide(verdict(out("aa", reloadable=False), out("bb")))
    assert both.container_ids == ("bb",)


def test_whom_podman_does_not_list_it_cannot_reload() -> None:
    """A container of another storage is left as it is."""
    case = replace(verdict(out("aa"), out("bb")), unlisted=("aa",))
    assert decide(case).container_ids == ("bb",)


@pytest.mark.parametrize(
    "kind",
    [
        BlockedKind.PAUSED,
        BlockedKind.PANIC,
        BlockedKind.BUSY,
        BlockedKind.LOCKED,
        BlockedKind.STRICT_FORWARD_PORTS,
        BlockedKind.FIREWALLD_RELOADING,
    ],
)
def test_what_forbids_a_reload_forbids_this_one(kind: BlockedKind) -> None:
    """The administrator, firewalld, and podman while it is at work, for however long that is."""
    case = verdict(out("aa"), blocked=[kind])
    memory, first = step(Memory(), case, 100.0, LIMITS)
    assert first.method is None
    if kind is not BlockedKind.FIREWALLD_RELOADING:
        assert step(memory, case, 100.0 + 60, LIMITS)[1].method is None


@pytest.mark.parametrize("part", [Part.LINKS, Part.FIREWALLD])
def test_nobody_is_reloaded_while_it_is_unknown_what_there_is(part: Part) -> None:
    """Neither where the links cannot be listed, nor while firewalld does not answer."""
    assert decide(verdict(out("aa"), unknown=[part])).method is None


def test_a_reload_in_vain_is_tried_again_rarer_and_rarer() -> None:
    """The pauses begin with a second, and double."""
    case, memory, now = verdict(out("aa")), Memory(), 100.0
    pauses = []
    for _ in range(4):
        memory, found = step(memory, case, now, LIMITS)
        assert found.method == Method.REWIRE
        memory = acted(memory, found, now, LIMITS, done=False)
        memory, waits = step(memory, case, now, LIMITS)
        assert (waits.method, waits.look_at) == (None, memory.of(PLACES).next_at)
        pauses.append(memory.of(PLACES).next_at - now)
        now = memory.of(PLACES).next_at
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_rules_that_can_be_put_back_come_first() -> None:
    """A replay takes no container off the network, and waits for none that is reloaded."""
    both = verdict(out("bb"), RULE)
    assert step(Memory(), both, 100.0, LIMITS, can_replay=True)[1].method == Method.REPLAY
    # A reload of those without a link comes before one for rules: it brings those back, too.
    assert decide(both).method == Method.REWIRE


def test_a_loss_that_lasts_makes_no_other_one_older() -> None:
    """Whose link is gone beside it only now may be in the middle of his end: he is told later."""
    lasting, fresh = out("aa", reloadable=False), out("bb", reloadable=False)
    memory, _ = step(Memory(), verdict(lasting), 100.0, LIMITS)
    both = verdict(lasting, fresh)
    memory, decision = step(memory, both, 200.0, LIMITS)
    told, later = due(memory, both, decision, 200.0, LIMITS)
    assert told.missing == (lasting,)
    assert later == 200.0 + LIMITS.quiet
    memory, decision = step(memory, both, later, LIMITS)
    assert due(memory, both, decision, later, LIMITS)[0].missing == both.missing
    # Once it was whole, it is fresh again.
    memory, _ = step(memory, verdict(lasting), 300.0, LIMITS)
    memory, decision = step(memory, both, 301.0, LIMITS)
    assert due(memory, both, decision, 301.0, LIMITS)[0].missing == (lasting,)
