# SPDX-License-Identifier: Apache-2.0
"""Leftovers: what is taken away, what is kept, and what is told of it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.lock import hold
from podwatch.daemon import leftovers
from podwatch.words.errors import RestoreFailed
from podwatch.words.network import FirewallDriver
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State, Verdict
from tests.unit.commands.fakes import FINE, FakeHost
from tests.unit.decide.test_leftovers import installed, rules_of, seen, setup_of


def taken_away(host: Any, *, dry_run: bool = False) -> State:
    """What taking away leaves of the host."""
    return asyncio.run(leftovers.take_away(host, print, dry_run=dry_run))


class Stale:
    """A host with the rules of a container that runs no more, at 10.88.0.3."""

    def __init__(self, lock: Path) -> None:
        both = setup_of(FirewallDriver.NFTABLES, "10.88.0.2", "10.88.0.3")
        self.gone = both.endpoints[1]
        self.setup = replace(both, endpoints=both.endpoints[:1])
        rules = installed(both)
        verdict = Verdict(State.DEGRADED, rules=tuple(rules_of(self.setup, rules)))
        self.host = FakeHost((seen(self.setup, rules), verdict), FINE, lock=lock)

    def alter(self, **fields: Any) -> None:
        """The look finds this instead."""
        snapshot, verdict = self.host.seen[0]
        self.host.seen[0] = replace(snapshot, **fields), verdict


@pytest.fixture
def stale(tmp_path: Path) -> Stale:
    """The host, and the lock that whoever repairs holds."""
    return Stale(tmp_path / "restore.lock")


def test_what_nobody_needs_is_taken_away(stale: Stale, capsys: pytest.CaptureFixture[str]) -> None:
    """Each rule is named, its chain is put right, and another look has the last word."""
    assert taken_away(stale.host) is State.OK

    printed = capsys.readouterr().out
    assert "left over: " in printed
    assert "dnat ip to 10.88.0.3:80" in printed
    assert "10.88.0.2:80" not in printed
    assert "taking away " in printed
    assert any("NETAVARK-HOSTPORT-DNAT" in done or "_dnat" in done for done in stale.host.done)


def test_a_dry_run_takes_nothing_away(stale: Stale, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many rules it would take."""
    assert taken_away(stale.host, dry_run=True) is State.DEGRADED

    assert "would take away " in capsys.readouterr().out
    assert stale.host.done == []


def test_what_podman_lists_is_kept(stale: Stale, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that podman knows of a running container is somebody's, whatever else is seen."""
    stale.host.running = replace(stale.setup, endpoints=(stale.gone,))
    taken_away(stale.host)

    printed = capsys.readouterr().out
    assert "kept, as somebody may need it: " in printed
    assert not [done for done in stale.host.done if "_dnat" in done]


def test_a_host_that_changed_is_left_alone(
    stale: Stale, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was decided from is compared at the moment of use."""
    stale.host.changed = "a container started"

    assert taken_away(stale.host) is State.DEGRADED
    assert "not taken away: a container started since the look" in capsys.readouterr().out
    assert stale.host.done == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"setup": None}, ""),
        ({"rules": None}, ""),
        ({"inside": None}, "nothing is taken away: the kernel does not tell"),
    ],
    ids=["no setup", "no rules", "no namespaces"],
)
def test_what_is_unknown_is_not_left_over(
    stale: Stale, fields: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without netavark's state, the rules, or who has a namespace, nothing is taken away."""
    stale.alter(**fields)

    assert taken_away(stale.host) is State.DEGRADED
    assert capsys.readouterr().out.startswith(says)
    assert stale.host.done == []


def test_nothing_left_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where every rule is somebody's."""
    setup = setup_of(FirewallDriver.NFTABLES, "10.88.0.2")
    rules = installed(setup)
    verdict = Verdict(State.OK, rules=tuple(rules_of(setup, rules)))
    host = FakeHost((seen(setup, rules), verdict), lock=tmp_path / "lock")

    assert taken_away(host) is State.OK
    assert capsys.readouterr().out == "nothing is left over\n"


def test_two_do_not_repair_at_once(stale: Stale) -> None:
    """While another podwatch holds the lock, nothing is looked at or taken away."""
    with hold(stale.host.lock), pytest.raises(RestoreFailed):
        taken_away(stale.host)
    assert stale.host.done == []


def _guards(*numbers: str) -> str:
    """A listing of the chains of such tables, and of somebody else's."""
    names = [f"podwatch-guard-{number}" for number in numbers]
    chain = "\tchain prerouting {\n\t\ttype nat hook prerouting priority -99; policy accept;\n\t}\n"
    return "".join(f"table inet {name} {{\n{chain}}}\n" for name in (*names, "filter"))


@pytest.mark.parametrize("dry_run", [False, True])
def test_copies_of_the_guard_are_left_over(
    capsys: pytest.CaptureFixture[str], *, dry_run: bool
) -> None:
    """But for the daemon's own, and for what another program owns."""
    host: Any = FakeHost((Snapshot(None, None, None), Verdict(State.OK)))
    host.chains, host.refuses = _guards("0001", "0002", "0003"), "podwatch-guard-0003"
    asyncio.run(leftovers.take_away_copies(host, "podwatch-guard-0001", print, dry_run=dry_run))
    told = capsys.readouterr().out.splitlines()
    if dry_run:
        left = "left over, unless a program owns it: table inet podwatch-guard-000"
        assert (told, host.done) == ([f"{left}2", f"{left}3"], [])
        return
    assert host.done == ["delete table inet podwatch-guard-0002"]
    assert told == [
        "taken away: table inet podwatch-guard-0002, a copy of a guard",
        "kept: table inet podwatch-guard-0003: Operation not permitted",
    ]


def test_without_a_daemon_every_guard_is_a_copy() -> None:
    """Its own is gone with it."""
    host: Any = FakeHost((Snapshot(None, None, None), Verdict(State.OK)))
    host.chains = _guards("0001")
    asyncio.run(leftovers.take_away_copies(host, "", print, dry_run=False))
    assert host.done == ["delete table inet podwatch-guard-0001"]
