# SPDX-License-Identifier: Apache-2.0
"""States, exit codes and the parts of a verdict."""

import os

import pytest

from podwatch.words.cause import Writer
from podwatch.words.errors import ConfigError, PodwatchError, StateUnreadable, Unreadable
from podwatch.words.verdict import (
    ExitCode,
    Missing,
    MissingKind,
    Notice,
    State,
    Verdict,
    WarningKind,
)


@pytest.mark.parametrize(
    ("state", "code"),
    [(State.OK, 0), (State.DEGRADED, 1), (State.LOST, 2), (State.UNKNOWN, 3)],
)
def test_exit_codes_are_those_of_monitors(state: State, code: int) -> None:
    """0 to 3 as Nagios-style monitors expect them, and 64 for wrong usage is none of them."""
    assert state.exit_code == code
    assert ExitCode.USAGE == os.EX_USAGE == 64


def test_what_is_missing_of_the_rules_is_told_from_the_rest() -> None:
    """Of all that can be missing these five are in the firewall driver's rules."""
    missing = tuple(Missing(kind, "what", "detail") for kind in MissingKind)
    verdict = Verdict(State.LOST, missing)
    found = {str(loss.kind) for loss in verdict.missing_rules}
    assert found == {"table", "rule", "order", "forward", "stale"}


@pytest.mark.parametrize(
    "kind", [WarningKind.DUPLICATES, WarningKind.FOREIGN_ZONE], ids=["duplicates", "other"]
)
def test_duplicates_are_one_kind_of_warning(kind: WarningKind) -> None:
    """No other one says that rules are there more than once, nor does none."""
    verdict = Verdict(State.DEGRADED, warnings=(Notice(kind, "what"),))
    assert verdict.has_duplicates == (kind is WarningKind.DUPLICATES)
    assert not Verdict(State.OK).has_duplicates


def test_errors_carry_a_hint() -> None:
    """An error says what to do, and what could not be read is told from what is wrong."""
    error = StateUnreadable("no", hint="look there")
    assert (str(error), error.hint) == ("no", "look there")
    assert isinstance(error, Unreadable)
    assert not isinstance(ConfigError("no"), Unreadable)
    assert issubclass(Unreadable, PodwatchError)
    assert ConfigError("no").hint == ""


def test_a_writer_is_shown_with_its_process() -> None:
    """Who changed the rules is told by name and process id."""
    assert str(Writer("nft", 42)) == "nft (pid 42)"
