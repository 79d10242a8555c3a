# SPDX-License-Identifier: Apache-2.0
"""Verdict and ways never disagree on a user's host either."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.words.verdict import State
from tests.unit.decide.test_agreement import agree
from tests.unit.decide.user_host import FAULTS, USER
from tests.unit.decide.whole_host import FAULTS as OF_ROOT

IN_THE_WAY = {"return first", "port taken", "dropped in"}
"""Rules of others in a user's namespace, where nobody but podman has any: what they say of ports
is about packets that do not pass them there."""

INSIDE = sorted(OF_ROOT.keys() - IN_THE_WAY)

EXPECTED = {
    "nothing ever seen": State.OK,
    "offline": State.OK,
    "relays unknown": State.UNKNOWN,
    "not entered": State.UNKNOWN,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_users_is_told_alike(fault: str) -> None:
    """What was lost is lost, what nobody could look at is unknown, and the rest is fine."""
    assert agree(FAULTS[fault](USER)) is EXPECTED.get(fault, State.LOST)


def test_a_whole_host_of_a_user_is_ok() -> None:
    """Nothing is told of it."""
    assert agree(USER) is State.OK


@given(st.sampled_from(INSIDE), st.lists(st.sampled_from(sorted(FAULTS)), max_size=4))
def test_faults_together_are_told_alike(inside: str, faults: list[str]) -> None:
    """With one of the rules and links inside, too: none makes verdict and ways disagree."""
    snapshot = OF_ROOT[inside](USER)
    for fault in faults:
        snapshot = FAULTS[fault](snapshot)
    agree(snapshot)
