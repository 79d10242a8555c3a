# SPDX-License-Identifier: Apache-2.0
"""`podwatch check` and `podwatch restore`: when they look again, what they do, what they print."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.commands import once
from podwatch.daemon import leftovers
from podwatch.daemon.config import Config
from podwatch.daemon.settings import Dhcp, Restore
from podwatch.report.status import SHAPE
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State, Verdict
from tests.unit.commands.fakes import FINE, FakeHost, Seen

CONFIG = Config(dhcp=Dhcp(manage=False))
SNAPSHOT = FINE[0]
SYSCTL = Missing(MissingKind.SYSCTL, "forwarding is off", "net/ipv4/ip_forward=1")
RULE = Missing(MissingKind.RULE, "web: 8080/tcp\x1b has no DNAT rule", "dnat", container="web")
LOST: Seen = (SNAPSHOT, Verdict(State.LOST, (SYSCTL,)))
BUSY: Seen = (replace(SNAPSHOT, busy="podman changes a network"), LOST[1])


def restored(host: Any, config: Config = CONFIG, **more: Any) -> State:
    """What `podwatch restore` leaves of the host."""
    return asyncio.run(once.restore_host(host, config, **{"dry_run": False, **more}))


# Looking


@pytest.mark.parametrize(
    ("looks", "state", "made"),
    [
        ([LOST], State.LOST, 1),
        ([BUSY, BUSY, FINE], State.OK, 3),
        ([(BUSY[0], FINE[1])], State.OK, 1),
        (10 * [BUSY], State.LOST, 10),
    ],
    ids=["a loss", "on its way", "busy, and nothing is missing", "busy for long"],
)
def test_while_networks_change_a_loss_is_looked_at_again(
    looks: list[Seen], state: State, made: int
) -> None:
    """What is missing then may be on its way; but the last of ten looks counts."""
    host: Any = FakeHost(*looks, *2 * [FINE])

    _, verdict = asyncio.run(leftovers.settled_look(host, again_s=0))

    assert verdict.state is state
    assert len(looks) + 2 - len(host.seen) == made


def test_check_is_a_part_of_the_status_document() -> None:
    """Fields of SHAPE alone, with when and how long was looked, and that it was by hand."""
    host: Any = FakeHost(LOST)

    document = asyncio.run(once.check_host(host, CONFIG, "paused by root"))

    assert not document.keys() - SHAPE.keys()
    assert (document["schema"], document["state"], document["missing_count"]) == (1, "lost", 1)
    assert document["last_look"].keys() == SHAPE["last_look"].keys()
    assert (document["last_look"]["generation"], document["last_look"]["cause"]) == (7, "by hand")
    assert host.done == ["looked while paused by root"]


# Restoring


def test_a_loss_is_repaired_and_looked_at_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step is a line: what is missing, the means and why, what came of it, the end."""
    host = FakeHost(LOST, FINE)

    assert restored(host) is State.OK
    assert host.done == [Method.SYSCTLS]
    assert capsys.readouterr().out.splitlines() == [
        "missing: forwarding is off",
        "sysctls: sysctls were set back",
        "done: ok",
        "ok: nothing is missing that podwatch puts back",
    ]


def test_a_dry_run_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what would be done, and the state is what it was."""
    host = FakeHost(LOST, FINE)

    assert restored(host, dry_run=True) is State.LOST
    assert host.done == []
    assert capsys.readouterr().out.splitlines()[-1] == "would sysctls: sysctls were set back"


def test_what_failed_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    """As the policy says; one that found another host than it was decided for is no failure."""
    host = FakeHost(LOST, LOST, FINE)
    host.outcomes += [
        Outcome(Method.SYSCTLS, done=False, detail="another generation", outdated=True),
        Outcome(Method.SYSCTLS, done=False, detail="read-only\x1b"),
    ]

    assert restored(host) is State.OK
    printed = capsys.readouterr().out.splitlines()
    assert "looking again: another generation" in printed
    assert "failed: read-only�" in printed
    assert host.done == [Method.SYSCTLS, Method.SYSCTLS]


def test_it_waits_for_what_the_policy_waits_for() -> None:
    """Rules are put back once nobody has changed them for a moment."""
    host = FakeHost((SNAPSHOT, Verdict(State.LOST, (RULE,))), FINE, FINE)
    host.seen.extendleft([host.seen[0]] * 3)

    assert restored(host) in (State.OK, State.LOST)
    assert Method.REPLAY in host.done


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (Verdict(State.LOST), "lost: nothing is missing that podwatch puts back; what closes a"),
        (
            Verdict(State.LOST, (RULE,), blocked=(Blocked(BlockedKind.PANIC, "panic\x1b mode"),)),
            "lost: panic� mode",
        ),
    ],
    ids=["closed by another", "blocked"],
)
def test_what_it_cannot_do_is_said(
    verdict: Verdict, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A way that somebody closed is not podwatch's to open, and panic mode forbids a repair."""
    host = FakeHost((SNAPSHOT, verdict))

    assert restored(host, patience_s=1.0) is State.LOST
    assert host.done == []
    assert capsys.readouterr().out.startswith(says)


def test_it_gives_up_on_a_host_that_does_not_hold_still(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """When its patience is over, something is still missing, and the state says so."""
    assert restored(FakeHost(LOST), patience_s=-1.0) is State.LOST
    assert capsys.readouterr().out == "lost: the host changes faster than it can be repaired\n"


def test_a_means_that_is_not_configured_is_not_used() -> None:
    """restore.sysctls = false holds for the command, too."""
    host = FakeHost(LOST)

    restored(host, Config(restore=Restore(sysctls=False)), patience_s=0.5)
    assert host.done == []


# Whole commands


@pytest.mark.parametrize("stale_too", [False, True])
def test_the_commands_close_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stale_too: bool
) -> None:
    """Whatever comes of them; a pause is read from the run directory."""
    empty = Snapshot(Setup(FirewallDriver.NFTABLES), None, None)
    host: Any = FakeHost((empty, Verdict(State.OK)), lock=tmp_path / "lock")

    async def look_once(*_: object) -> Any:
        return host

    monkeypatch.setattr(once, "look_once", look_once)
    paths = Paths(run=tmp_path / "run", state=tmp_path)
    state = asyncio.run(once.restore(paths, CONFIG, dry_run=False, stale=stale_too))
    assert (state, host.done) == (State.OK, ["closed"])
    assert asyncio.run(once.check(paths, CONFIG))["state"] == "ok"
    assert host.done == ["closed", "closed"]
