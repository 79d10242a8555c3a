# SPDX-License-Identifier: Apache-2.0
"""The host, put together: what it takes up and lets go of, and the numbers of its policy."""

from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon.config import Config
from podwatch.daemon.host import Host, limits
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.daemon.settings import Firewalld, Restore
from podwatch.decide.decision import Limits
from podwatch.drivers.driver import expected_rules
from podwatch.words.means import Method
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from tests.unit.daemon.damaged_host import SETUP, chains_of

ALL = frozenset(Method) - {Method.UPLINK}
"""By default pasta is not started anew for a new address of the host: that cuts connections off."""
SEEN = Snapshot(
    SETUP,
    Ruleset(present=True, chains=chains_of(SETUP)),
    None,
    sysctls_seen=frozenset({"net/ipv4/ip_forward"}),
)


def test_by_default_the_limits_are_those_of_the_policy() -> None:
    """Every means but one is allowed, and no number is another than the policy's own."""
    assert limits(Config()) == Limits(methods=ALL)
    assert limits(Config(restore=Restore(host_address=True))) == Limits()


@pytest.mark.parametrize(
    ("config", "forbidden"),
    [
        (Config(restore=Restore(sysctls=False)), {Method.SYSCTLS}),
        (Config(firewalld=Firewalld(sources=False)), {Method.SOURCES}),
        (Config(restore=Restore(escalate=False)), {Method.ESCALATE}),
        (Config(restore=Restore(methods=("reload",))), {Method.REPLAY}),
        (
            Config(restore=Restore(methods=("replay",))),
            {Method.REWIRE, Method.RELOAD, Method.ESCALATE},
        ),
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


class FakeSystemd:
    """A way to systemd that may be let go of; stands in for adapters.systemd.Systemd."""

    closed = 0

    def close(self) -> None:
        """Nobody asks it any more."""
        self.closed += 1


def host(tmp_path: Path, systemd: Any = None) -> Host:
    """A host whose copy and podman's lists are in a directory of the test's own."""
    paths = Paths(run=tmp_path, locks=())
    return Host(Config(), None, systemd, paths)


def test_what_is_opened_is_let_go_of(tmp_path: Path) -> None:
    """The way to systemd, where there is one."""
    systemd = FakeSystemd()
    host(tmp_path, systemd).close()
    assert systemd.closed == 1
    host(tmp_path).close()


def test_a_copy_is_taken_up_where_there_is_one(tmp_path: Path) -> None:
    """The settings an earlier podwatch saw; without a copy none were seen."""
    first = host(tmp_path)
    first.remember()
    assert first.looker.settings.seen == frozenset()
    first.close()

    kept = SavedCopy(tmp_path / "rules.json")
    kept.take(SEEN, expected_rules(SETUP, SEEN.rules or Ruleset(present=False)), whole=True)
    later = host(tmp_path)
    later.remember()
    assert later.looker.settings.seen == SEEN.sysctls_seen
    later.close()


def test_a_changed_configuration_is_the_restorers(tmp_path: Path) -> None:
    """How many reloads there are at once, and how long each may take."""
    there = host(tmp_path)
    there.configure(Config(restore=Restore(at_once=9, timeout=77.0)))
    assert (there.restorer.at_once, there.restorer.timeout_s) == (9, 77.0)
    there.close()
