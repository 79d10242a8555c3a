# SPDX-License-Identifier: Apache-2.0
"""When the rules are copied, and what a copy that is no good on disk does: nothing."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podwatch.daemon.config import Config
from podwatch.daemon.hints import Hints
from podwatch.daemon.loop import Loop
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.drivers.driver import expected_rules
from podwatch.words.links import Link, Links
from podwatch.words.means import Method
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from tests.unit.drivers.installed import chains_of

SUBNET = ip_network("10.88.0.0/16")
NETWORK = Network("2f259bab", "podman0", (SUBNET,))
ENDPOINT = Endpoint("aa", NETWORK.id, "podman", ((ip_address("10.88.0.2"), SUBNET),))
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))


WHOLE = chains_of(expected_rules(SETUP, Ruleset(present=False)))
SNAPSHOT = Snapshot(SETUP, Ruleset(present=True, chains=WHOLE), None)
LOST = Verdict(State.LOST, (Missing(MissingKind.RULE, "a rule", "accept", container_ids=("aa",)),))
SYSCTL = Missing(MissingKind.SYSCTL, "ip_forward is 0, not 1", "net/ipv4/ip_forward=1")
NOT_SEEN = Unknown(Part.CONTAINER, "a container", "no JSON")


@pytest.fixture
def copy(tmp_path: Path) -> SavedCopy:
    """A copy that was never taken."""
    return SavedCopy(tmp_path / "rules.json")


def keep(
    copy: SavedCopy, verdict: Verdict, snapshot: Snapshot, method: Method | None = None
) -> None:
    """What the loop does with the copy after a look."""
    assert snapshot.setup is not None
    rules = expected_rules(snapshot.setup, snapshot.rules or Ruleset(present=False))
    verdict = replace(verdict, rules=tuple(rules))
    host = SimpleNamespace(copy=copy, configure=lambda _: None)
    Loop(cast("Any", host), Hints(), Config(), cast("Any", None))._keep_copy(
        snapshot, verdict, method
    )


def lose(*names: str) -> Snapshot:
    """The same moment with these chains emptied."""
    chains = {
        name: Chain(chain.hook, () if name in names else chain.rules)
        for name, chain in WHOLE.items()
    }
    return replace(SNAPSHOT, rules=Ruleset(present=True, chains=chains))


def test_a_look_that_finds_all_is_copied(copy: SavedCopy) -> None:
    """Nothing missing, twice or going on: the copy is in memory, and in its file."""
    keep(copy, Verdict(State.OK), SNAPSHOT)
    again = SavedCopy(copy.path)
    again.load()

    assert copy.current is not None
    assert copy.current.chains == WHOLE
    assert again.current == copy.current
    assert copy.path.stat().st_mode & 0o777 == 0o600


def test_the_mac_of_a_bridge_outlives_it(copy: SavedCopy) -> None:
    """One that is deleted while nobody watches is made anew with it; of no other bridge it is."""
    mac = "02:ea:4c:00:11:22"
    bridges = (Link("podman0", 3, kind="bridge", mac=mac), Link("br9", 4, kind="bridge", mac=mac))
    there = Links({link.name: link for link in bridges})
    keep(copy, Verdict(State.OK), replace(SNAPSHOT, links=there))
    for links in (Links({}), None):
        keep(copy, Verdict(State.OK), replace(SNAPSHOT, links=links))
        again = SavedCopy(copy.path)
        again.load()
        assert again.of(FirewallDriver.NFTABLES).macs == {"podman0": mac}


@pytest.mark.parametrize(
    "verdict",
    [Verdict(State.UNKNOWN, unknown=(NOT_SEEN,)), Verdict(State.LOST, (SYSCTL,))],
    ids=["a container is unknown", "a sysctl is lost"],
)
def test_what_does_not_concern_the_rules_costs_no_copy(copy: SavedCopy, verdict: Verdict) -> None:
    """While something else is unknown or lost, for however long, the rules are copied."""
    keep(copy, verdict, SNAPSHOT)
    assert copy.of(FirewallDriver.NFTABLES).chains == WHOLE


def test_what_is_whole_is_copied_whoever_is_at_work(copy: SavedCopy) -> None:
    """Whether podman changes something, and whatever is put back: all rules are there."""
    busy = replace(SNAPSHOT, busy="podman is changing a network")
    keep(copy, Verdict(State.OK), busy, Method.REPLAY)
    assert copy.of(FirewallDriver.NFTABLES).chains == WHOLE


def test_what_the_copy_covers(copy: SavedCopy) -> None:
    """A rule that it holds and that is missing; nothing where setup or rules could not be read."""
    keep(copy, Verdict(State.OK), SNAPSHOT)
    rules = expected_rules(SETUP, Ruleset(present=False))
    assert copy.covers(lose("FORWARD"), rules)
    assert not copy.covers(SNAPSHOT, rules)
    assert not copy.covers(replace(SNAPSHOT, rules=None), rules)
    assert not copy.covers(replace(lose("FORWARD"), setup=None), rules)


def test_a_setup_that_could_not_be_read_changes_no_copy(copy: SavedCopy) -> None:
    """Nor do rules of which none is expected."""
    rules = expected_rules(SETUP, Ruleset(present=False))
    copy.take(replace(SNAPSHOT, setup=None), rules, whole=True)
    copy.take(SNAPSHOT, [], whole=True)
    assert copy.current is None


def test_what_is_lost_keeps_its_copy(copy: SavedCopy) -> None:
    """Of a table that has lost something, what is there is copied and what is lost is kept."""
    keep(copy, Verdict(State.OK), SNAPSHOT)
    keep(copy, LOST, lose("FORWARD", "POSTROUTING"))
    kept = copy.of(FirewallDriver.NFTABLES).chains
    assert set(kept["FORWARD"].rules) == set(WHOLE["FORWARD"].rules)
    assert set(kept["POSTROUTING"].rules) == set(WHOLE["POSTROUTING"].rules)
    keep(copy, LOST, replace(SNAPSHOT, rules=Ruleset(present=False)))
    assert set(copy.of(FirewallDriver.NFTABLES).chains["FORWARD"].rules) == set(
        WHOLE["FORWARD"].rules
    )


def test_what_was_never_seen_is_not_made_up(copy: SavedCopy) -> None:
    """A rule that is missing since before the first look is in no copy."""
    keep(copy, LOST, lose("FORWARD"))
    kept = copy.of(FirewallDriver.NFTABLES).chains
    assert not kept["FORWARD"].rules
    assert kept["POSTROUTING"] == WHOLE["POSTROUTING"]


@pytest.mark.parametrize(
    ("verdict", "snapshot", "method"),
    [
        (LOST, replace(lose("FORWARD"), busy="podman is changing a network"), None),
        (LOST, lose("FORWARD"), Method.REPLAY),
        (Verdict(State.OK), replace(SNAPSHOT, rules=None), None),
        (LOST, replace(SNAPSHOT, rules=Ruleset(present=False)), None),
    ],
    ids=["busy", "being put back", "unread", "no table"],
)
def test_never_of_a_change_that_is_going_on(
    copy: SavedCopy, verdict: Verdict, snapshot: Snapshot, method: Method | None
) -> None:
    """What somebody is in the middle of is not copied, nor what could not be read."""
    keep(copy, verdict, snapshot, method)
    assert not copy.of(FirewallDriver.NFTABLES).chains
    assert not copy.path.exists()
