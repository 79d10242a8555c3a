# SPDX-License-Identifier: Apache-2.0
"""What each row of the table says is followed: in the policy, in incidents and in what is told."""

from dataclasses import replace

import pytest

from podwatch.decide.decision import Decision, Limits, Memory
from podwatch.decide.kinds import KINDS, RULES, SOURCES, SYSCTLS, Kind, is_quick
from podwatch.decide.policy import acted, hinted, step
from podwatch.report.incidents import Incidents
from podwatch.words.cause import NO_CAUSE, Cause, Writer, by_writer
from podwatch.words.means import Method
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

LIMITS = Limits()
SYSCTL = Missing(MissingKind.SYSCTL, "a sysctl is 0", "a=1", container_ids=("aa",))
SOURCE = Missing(MissingKind.SOURCE, "no source", "10.88.0.0/16", container_ids=("aa",))
RULE = Missing(MissingKind.RULE, "no rule", "accept", network="podman", container_ids=("aa", "bb"))


def begun(loss: Missing, cause: Cause = NO_CAUSE) -> tuple[str, Cause]:
    """How much is said to be missing in the incident of a loss, and its cause."""
    incidents = Incidents()
    verdict = Verdict(State.LOST, (loss,), all_container_ids=("aa", "bb", "cc"))
    incidents.looked(verdict, cause, now=1.0, at=1.0, at_rest=True)
    assert incidents.newest is not None
    return incidents.newest.amount, incidents.newest.cause


@pytest.mark.parametrize(
    ("loss", "amount"),
    [(SYSCTL, "1 sysctl"), (SOURCE, "1 trusted source"), (RULE, "1 rule of 2 containers")],
)
def test_whose_losses_are_counted(loss: Missing, amount: str) -> None:
    """The rules are certain containers'; sysctls and sources are everybody's."""
    assert begun(loss)[0] == amount


def test_who_commits_a_transaction_has_changed_no_sysctl() -> None:
    """What changed rules may have changed sources with them; sysctls are written otherwise."""
    writer = by_writer(Writer("nft", 7))

    assert begun(RULE, writer)[1] == begun(SOURCE, writer)[1] == writer
    assert begun(SYSCTL, writer)[1] == NO_CAUSE


@pytest.mark.parametrize(
    ("kind", "means", "count"),
    [(SYSCTLS, Method.SYSCTLS, 1), (SOURCES, Method.SOURCES, 0), (RULES, Method.RELOAD, 0)],
)
def test_when_tries_are_forgotten(kind: Kind, means: str, count: int) -> None:
    """A sysctl's are once it was right for a moment, as some program may keep setting it back."""
    memory = acted(Memory(), Decision(means, ""), 100.0, LIMITS, done=True)
    assert memory.of(kind).count == 1

    rested, _ = step(memory, Verdict(State.OK), 100.2, LIMITS)
    assert rested.of(kind).count == count
    calm, _ = step(memory, Verdict(State.OK), 104.5, LIMITS)
    assert calm.of(kind).count == 0


def test_a_name_server_that_ends_again_and_again_is_started_once_a_second() -> None:
    """However often it was before; one that ends later than that is started at once."""
    ended = Verdict(State.LOST, (Missing(MissingKind.NAMES, "aardvark-dns does not run", ""),))
    memory, now = Memory(), 100.0
    for _ in range(8):
        memory, decision = step(memory, ended, now, LIMITS)
        assert decision.method == Method.NAMES
        memory = acted(memory, decision, now, LIMITS, done=True)
        memory, _ = step(memory, Verdict(State.OK), now, LIMITS)
        memory, soon = step(hinted(memory, now + 0.4), ended, now + 0.4, LIMITS)
        assert (soon.method, soon.look_at) == (None, now + 1.0)
        now += 1.0


def test_what_a_replay_goes_before() -> None:
    """What waits for firewalld comes after it, what waits for nobody before."""
    verdict = Verdict(State.LOST, (RULE, SOURCE, SYSCTL))
    memory, order = Memory(), []
    for _ in range(3):
        memory, decision = step(memory, verdict, 100.0, LIMITS, can_replay=True)
        order.append(decision.method)
        memory = acted(memory, decision, 100.0, LIMITS, done=True)
    assert order == [Method.SYSCTLS, Method.REPLAY, Method.SOURCES]


def test_a_kind_may_be_slow() -> None:
    """Its loss is then reported before its means has ended."""
    slow = [replace(kind, is_quick=False) for kind in KINDS]

    assert not any(is_quick(method, slow) for method in Method)
    assert not is_quick(Method.RELOAD)
    assert is_quick(Method.REPLAY)
