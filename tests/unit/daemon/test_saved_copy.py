# SPDX-License-Identifier: Apache-2.0
"""When the rules are copied, and what a copy that is no good on disk does: nothing."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podwatch.daemon.config import Config
from podwatch.daemon.loop import Loop
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Missing, MissingKind, Notice, State, Verdict, WarningKind

SUBNET = ip_network("10.88.0.0/16")
NETWORK = Network("2f259bab", "podman0", (SUBNET,))
ENDPOINT = Endpoint("aa", NETWORK.id, "podman", ((ip_address("10.88.0.2"), SUBNET),))
RULES = Ruleset(present=True, chains={"FORWARD": Chain("", ("accept",))})
SNAPSHOT = Snapshot(Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,)), RULES, None)
LOST = Missing(MissingKind.RULE, "a rule", "accept", container_ids=("aa",))
TWICE = Notice(WarningKind.DUPLICATES, "1 rule is there more than once")
NOT_SEEN = Unknown(Part.CONTAINER, "a container", "no JSON")


@pytest.fixture
def copy(tmp_path: Path) -> SavedCopy:
    """A copy that was never taken."""
    return SavedCopy(tmp_path / "rules.json")


def keep(copy: SavedCopy, verdict: Verdict, snapshot: Snapshot = SNAPSHOT) -> None:
    """What the loop does with the copy after a look."""
    host = SimpleNamespace(copy=copy, configure=lambda _: None)
    Loop(cast("Any", host), Config(), cast("Any", None))._keep_copy(snapshot, verdict)


def test_a_look_that_finds_all_is_copied(copy: SavedCopy) -> None:
    """Nothing missing, unknown, twice or going on: the copy is in memory, and in its file."""
    keep(copy, Verdict(State.OK))
    again = SavedCopy(copy.path)
    again.load()

    assert copy.current is not None
    assert copy.current.chains == RULES.chains
    assert again.current == copy.current
    assert copy.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("verdict", "snapshot"),
    [
        (Verdict(State.LOST, (LOST,)), SNAPSHOT),
        (Verdict(State.UNKNOWN, unknown=(NOT_SEEN,)), SNAPSHOT),
        (Verdict(State.DEGRADED, warnings=(TWICE,)), SNAPSHOT),
        (Verdict(State.OK), replace(SNAPSHOT, busy="podman is changing a network")),
        (Verdict(State.OK), replace(SNAPSHOT, rules=None)),
        (Verdict(State.OK), replace(SNAPSHOT, rules=Ruleset(present=False, chains={}))),
    ],
    ids=["missing", "unknown", "twice", "busy", "unread", "no table"],
)
def test_never_from_a_damaged_table(copy: SavedCopy, verdict: Verdict, snapshot: Snapshot) -> None:
    """Whatever a look did not find whole is not copied, and a good copy is not replaced by it."""
    keep(copy, verdict, snapshot)
    assert not copy.of(FirewallDriver.NFTABLES).chains
    assert not copy.path.exists()

    whole = replace(SNAPSHOT, rules=Ruleset(present=True, chains={"INPUT": Chain("", ("drop",))}))
    keep(copy, Verdict(State.OK), whole)
    text = copy.path.read_text()
    keep(copy, verdict, snapshot)

    assert copy.of(FirewallDriver.NFTABLES).chains == {"INPUT": Chain("", ("drop",))}
    assert copy.path.read_text() == text
