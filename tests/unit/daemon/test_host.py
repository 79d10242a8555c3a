# SPDX-License-Identifier: Apache-2.0
"""The host, put together: how the policy's numbers follow from the configuration."""

import pytest

from podwatch.daemon.config import Config
from podwatch.daemon.host import limits
from podwatch.daemon.settings import Firewalld, Restore
from podwatch.decide.decision import Limits
from podwatch.words.means import Method

ALL = frozenset(Method)


def test_by_default_the_limits_are_those_of_the_policy() -> None:
    """Every means is allowed, and no number is another than the policy's own."""
    assert limits(Config()) == Limits()


@pytest.mark.parametrize(
    ("config", "forbidden"),
    [
        (Config(restore=Restore(sysctls=False)), {Method.SYSCTLS}),
        (Config(firewalld=Firewalld(sources=False)), {Method.SOURCES}),
        (Config(restore=Restore(escalate=False)), {Method.ESCALATE}),
        (Config(restore=Restore(methods=("reload",))), {Method.REPLAY}),
        (Config(restore=Restore(methods=("replay",))), {Method.RELOAD, Method.ESCALATE}),
    ],
    ids=["sysctls", "sources", "escalate", "reload alone", "replay alone"],
)
def test_a_switch_forbids_its_means_alone(config: Config, forbidden: set[Method]) -> None:
    """Without reload there is no escalation either: it ends with reloads."""
    assert limits(config).methods == ALL - forbidden


def test_numbers_are_taken_over() -> None:
    """Ten times as many replays as reloads; the wait for quiet has no end before its length."""
    found = limits(Config(restore=Restore(quiet=50, backoff=2, backoff_max=9, limit=3, window=7)))

    assert (found.quiet, found.quiet_cap) == (50, 50)
    assert (found.backoff, found.backoff_max) == (2, 9)
    assert (found.limit, found.replay_limit, found.window) == (3, 30, 7)
    assert not limits(Config(restore=Restore(duplicates=False))).duplicates
    assert limits(Config(restore=Restore(quiet=1))).quiet_cap == Limits().quiet_cap
