# SPDX-License-Identifier: Apache-2.0
"""`podwatch check` and `podwatch restore`: when they look again, what they do, what they print."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.lock import hold
from podwatch.adapters.paths import Paths
from podwatch.commands import once
from podwatch.daemon.config import Config
from podwatch.daemon.settings import Dhcp, Restore
from podwatch.report.status import SHAPE
from podwatch.words.errors import RestoreFailed
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State, Verdict
from tests.unit.commands.fakes import FINE, FakeHost, Seen
from tests.unit.decide.test_leftovers import installed, rules_of, seen, setup_of

CONFIG = Config(dhcp=Dhcp(manage=False))
SNAPSHOT = FINE[0]
SYSCTL = Missing(MissingKind.SYSCTL, "forwarding is off", "net/ipv4/ip_forward=1")
RULE = Missing(MissingKind.RULE, "web: 8080/tcp\x1b has no DNAT rule", "dnat", container="web")
LOST: Seen = (SNAPSHOT, Verdict(State.LOST, (SYSCTL,)))
BUSY: Seen = (replace(SNAPSHOT, busy="podman changes a network"), LOST[1])


def restored(host: Any, config: Config = CONFIG, **more: Any) -> State:
    """What `podwatch restore` leaves of the host."""
    return asyncio.run(once.restore_host(host, config, **{"dry_run": False, **more}))


def taken_away(host: Any, *, dry_run: bool = False) -> State:
    """What `podwatch restore --stale` leaves of the host."""
    return asyncio.run(once.take_away(host, dry_run=dry_run))


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

    _, verdict = asyncio.run(once.settled_look(host, again_s=0))

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


# Taking away


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


def _guards(*numbers: str) -> str:
    """A listing of the chains of such tables, and of somebody else's."""
    names = [f"podwatch-guard-{number}" for number in numbers]
    chain = "\tchain prerouting {\n\t\ttype nat hook prerouting priority -99; policy accept;\n\t}\n"
    return "".join(f"table inet {name} {{\n{chain}}}\n" for name in (*names, "filter"))


@pytest.mark.parametrize("dry_run", [False, True])
def test_copies_of_the_guard_are_left_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, dry_run: bool
) -> None:
    """But for the daemon's own, and for what another program owns."""
    host: Any = FakeHost((Snapshot(None, None, None), Verdict(State.OK)))
    host.chains, host.refuses = _guards("0001", "0002", "0003"), "podwatch-guard-0003"
    status = tmp_path / "status.json"
    guard = {"mode": "full", "table": "podwatch-guard-0001"}
    status.write_text(json.dumps({"schema": 1, "state": "ok", "guard": guard}), encoding="utf-8")
    asyncio.run(once.take_away_copies(host, status, dry_run=dry_run))
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


def test_without_a_daemon_every_guard_is_a_copy(tmp_path: Path) -> None:
    """Its own is gone with it."""
    host: Any = FakeHost((Snapshot(None, None, None), Verdict(State.OK)))
    host.chains = _guards("0001")
    asyncio.run(once.take_away_copies(host, tmp_path / "none", dry_run=False))
    assert host.done == ["delete table inet podwatch-guard-0001"]
