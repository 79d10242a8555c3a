# SPDX-License-Identifier: Apache-2.0
"""Verdict and ways never disagree, whatever is wrong with a host."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.commands.explain import state_of
from podwatch.decide.explain import Told, explain
from podwatch.decide.facts import facts, with_sockets
from podwatch.decide.judge import judge
from podwatch.decide.ways import with_ways
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import CLOSING, State
from podwatch.words.way import Kernel, Mark, WayKind
from tests.unit.decide.whole_host import FAULTS, WHOLE


def agree(snapshot: Snapshot) -> State:
    """The state that `status` and `check` tell; whatever they and `explain` say fits together."""
    verdict, found = judge(snapshot), explain(snapshot)
    told, explained = with_ways(verdict, found).state, state_of(found)
    broken = [way.title for way in found if way.mark is Mark.BROKEN]
    closed = [notice.what for notice in verdict.warnings if notice.kind in CLOSING]

    assert (told is State.LOST) == bool(broken or verdict.missing or closed)
    assert broken or not closed, closed
    if not verdict.missing:
        assert (told is State.LOST) == (explained is State.LOST)
    if explained is State.UNKNOWN:
        assert told in (State.UNKNOWN, State.LOST)
    if told is State.UNKNOWN:
        assert verdict.unknown or explained is State.UNKNOWN
    # What only root sees outside of the sandbox makes no way another.
    sockets = Kernel(held={}, listens=dict.fromkeys(snapshot.containers, frozenset()))
    rooted = explain(snapshot, with_sockets(facts(snapshot), sockets))
    assert [way.mark for way in rooted] == [way.mark for way in found]
    return told


def test_a_whole_host_is_ok() -> None:
    """Each kind of way is there, and open."""
    assert agree(WHOLE) is State.OK
    found = explain(WHOLE)
    assert {way.kind for way in found} == set(WayKind) - {WayKind.HOST}  # a user's
    assert {way.mark for way in found} == {Mark.OPEN}


def test_panic_mode_closes_all_that_meets_firewalld() -> None:
    """No name, no port and no way out; neighbours where their bridge hands packets over."""
    panic = FAULTS["panic"](WHOLE)
    handed = replace(panic, around=replace(panic.around, bridged=frozenset({4, 6})))

    def broken(snapshot: Snapshot) -> set[WayKind]:
        return {way.kind for way in explain(snapshot) if way.mark is Mark.BROKEN}

    assert broken(panic) == {WayKind.IN, WayKind.OUT, WayKind.NAMES}
    assert broken(handed) == {WayKind.IN, WayKind.OUT, WayKind.NAMES, WayKind.NEIGHBOURS}


OPEN = {"nothing", "no default route", "no firewalld", "paused", "ended", "just ended"}
"""What is nobody's loss."""

NO_WAY = {"forward gone", "renamed"}
"""What keeps no packet back, as far as podwatch knows: the state may say so all the same."""


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_alike(fault: str) -> None:
    """What is wrong is lost or unknown, and some way says where; what is nobody's loss is ok."""
    snapshot = FAULTS[fault](WHOLE)
    state = agree(snapshot)
    if fault in OPEN:
        assert state in (State.OK, State.DEGRADED)
    elif fault.endswith("unknown"):
        assert state is State.UNKNOWN
    elif fault not in NO_WAY:
        assert state is State.LOST
        assert state_of(explain(snapshot)) is State.LOST


@given(st.lists(st.sampled_from(sorted(FAULTS)), max_size=4))
def test_faults_together_are_told_alike(faults: list[str]) -> None:
    """No fault hides another, or makes verdict and ways disagree; nor does what was told before."""
    snapshot, told = WHOLE, Told()
    explain(WHOLE, told=told)
    for fault in faults:
        snapshot = FAULTS[fault](snapshot)
        assert explain(snapshot, told=told) == explain(snapshot)
    agree(snapshot)
    assert explain(WHOLE, told=told) == explain(WHOLE)
