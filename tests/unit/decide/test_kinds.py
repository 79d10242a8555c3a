# SPDX-License-Identifier: Apache-2.0
"""The rows: a kind of thing needs no more than its row and its means, and is known everywhere."""

import asyncio
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from podwatch.daemon.config import Config
from podwatch.daemon.host import limits
from podwatch.daemon.restore import Job, Restorer
from podwatch.daemon.settings import Restore
from podwatch.decide.decision import Decision, Limits, Memory
from podwatch.decide.judge import judge
from podwatch.decide.kinds import KINDS, RULES, SOURCES, SYSCTLS, Kind, is_quick, kind_of, reported
from podwatch.decide.policy import acted, due, hinted, step
from podwatch.report.history import RECORD, record
from podwatch.report.incidents import Incidents
from podwatch.report.metrics import Tally, exposition
from podwatch.report.status import SHAPE
from podwatch.words.cause import NO_CAUSE
from podwatch.words.errors import Outdated, RestoreFailed
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State, Verdict

TOP = Path(__file__).resolve().parents[3]

BELLS = Kind(
    "bells",
    "bell",
    "bells",
    words=("bell",),
    judge=lambda _setup, snapshot, _rules: [
        Missing("bell", f"{path} does not ring", path, place=path, value="ring")
        for path, value in sorted(snapshot.sysctls.items())
        if value == "silent"
    ],
    means=("ring",),
    switch="restore.sysctls",
    why="a bell is silent",
    part=Part.FIREWALLD,
    forbidden_by=frozenset({BlockedKind.PAUSED, BlockedKind.BUSY}),
    first_pause_s=0.5,
)
ROWS = (BELLS, *KINDS)
ALL = Limits(methods=frozenset({*Method, "ring"}))


@dataclass
class Tower:
    """Bells that can fall silent, podwatch's own parts, and a bell ringer who may fail."""

    bells: dict[str, str]
    failures: int = 0
    now: float = 1000.0
    memory: Memory = field(default_factory=Memory)
    incidents: Incidents = field(default_factory=lambda: Incidents(ROWS))
    tally: Tally = field(default_factory=Tally)
    rung: list[float] = field(default_factory=list)
    done: list[bool] = field(default_factory=list)

    async def ring(self, job: Job) -> Outcome:
        """The means: ring every bell that is missing."""
        self.rung.append(self.now)
        if len(self.rung) <= self.failures:
            raise RestoreFailed("the rope broke")
        for loss in job.decision.missing:
            self.bells[loss.place] = loss.value
        return job.done(f"{len(job.decision.missing)} rung")

    def look(self, restorer: Restorer) -> Decision:
        """What the daemon does at one look: judge, decide, restore, report."""
        setup = Setup(FirewallDriver.UNKNOWN)
        snapshot = Snapshot(setup, None, None, sysctls=dict(self.bells))
        verdict = judge(snapshot, ROWS)
        self.memory, decision = step(self.memory, verdict, self.now, ALL, kinds=ROWS)
        rests = decision.method is None
        self.incidents.looked(verdict, NO_CAUSE, now=1e9 + self.now, at=self.now, at_rest=rests)
        if decision.method is None:
            return decision
        outcome = asyncio.run(
            restorer.restore(decision.method, decision, snapshot, verdict, lambda _: None)
        )
        self.done.append(outcome.done)
        self.tally.tried(outcome.method, done=outcome.done)
        self.incidents.acted(outcome, took_s=0.0)
        self.memory = acted(self.memory, decision, self.now, ALL, done=outcome.done, kinds=ROWS)
        return decision


@pytest.fixture
def restorer(tmp_path: Path) -> Restorer:
    """A restorer on a host of which these tests need no more than its lock."""
    absent = cast("Any", None)
    return Restorer(absent, None, absent, absent, lock=tmp_path / "lock", at_once=1, timeout_s=1.0)


def test_a_made_up_kind_is_restored_at_once_and_counted(restorer: Restorer) -> None:
    """With one row and one means it is judged, repaired, reported and counted like the others."""
    tower = Tower({"great": "silent", "small": "silent", "cracked": "ring"})
    restorer.means["ring"] = tower.ring

    decision = tower.look(restorer)
    assert (decision.method, decision.why) == ("ring", "a bell is silent")
    assert [loss.place for loss in decision.missing] == ["great", "small"]
    assert tower.bells == {"great": "ring", "small": "ring", "cracked": "ring"}
    incident = tower.incidents.newest
    assert incident is not None
    assert incident.restored_at is None

    tower.now += 0.2
    assert tower.look(restorer).method is None
    assert incident.line == (
        "restored 2 bells in 200 ms, verified: great does not ring; small does not ring; "
        "cause: not known; how: 2 rung in 0 ms"
    )
    assert record(incident)["bells"] == incident.public()["bells"] == 2
    assert record(incident)["methods"] == ["ring"]
    assert (record(incident)["rules"], record(incident)["verified"]) == (0, True)


def test_a_made_up_kind_is_tried_again_at_growing_intervals(restorer: Restorer) -> None:
    """While its means fails the pause doubles from what its row says, and is forgotten after."""
    tower = Tower({"great": "silent"}, failures=4)
    restorer.means["ring"] = tower.ring
    for _ in range(50):
        decision = tower.look(restorer)
        if not decision.missing and decision.look_at is not None:
            assert decision.look_at > tower.now
            tower.now = decision.look_at
        if tower.bells["great"] == "ring":
            break

    gaps = [after - before for before, after in zip(tower.rung, tower.rung[1:], strict=False)]
    assert gaps == [0.5, 1.0, 2.0, 4.0]
    assert tower.done == [False] * 4 + [True]
    tower.look(restorer)
    assert tower.memory.of(BELLS).count == 0
    assert tower.incidents.newest is not None
    assert tower.incidents.newest.attempts == ["ring failed (4 times)", "1 rung in 0 ms"]


def test_a_made_up_kind_is_in_the_metrics(restorer: Restorer) -> None:
    """What is missing of it, and its means by how they ended."""
    tower = Tower({"great": "silent"}, failures=1)
    restorer.means["ring"] = tower.ring
    tower.look(restorer)
    document = {"missing": [{"kind": "bell"}]}

    text = exposition(document, tower.tally, now=0.0, overruns=0, kinds=ROWS)
    assert 'podwatch_missing{kind="bell"} 1\n' in text
    assert 'podwatch_restores_total{method="ring",result="failed"} 1\n' in text
    assert 'podwatch_restores_total{method="ring",result="done"} 0\n' in text


def test_a_means_on_an_old_look_is_no_failure(restorer: Restorer) -> None:
    """One that finds the host changed says so, whatever kind it is of."""

    async def ring(_job: Job) -> Outcome:
        raise Outdated("the bell was sold")

    restorer.means["ring"] = ring
    verdict = Verdict(State.LOST)
    decision = Decision("ring", "")
    snapshot = Snapshot(None, None, None)
    outcome = asyncio.run(restorer.restore("ring", decision, snapshot, verdict, lambda _: None))
    assert outcome == Outcome("ring", done=False, detail="the bell was sold", outdated=True)


BELL = Missing("bell", "it does not ring", "great")


def decide(verdict: Verdict, now: float = 100.0, memory: Memory | None = None) -> Decision:
    """What is done about a verdict with the made-up row in the table."""
    return step(memory or Memory(), verdict, now, ALL, kinds=ROWS)[1]


def test_a_row_says_what_forbids_its_repair() -> None:
    """A pause stops it for good, podman at work for a moment, and firewalld's panic not at all."""

    def held(kind: BlockedKind) -> Verdict:
        return Verdict(State.LOST, (BELL,), blocked=(Blocked(kind, f"held by {kind}"),))

    assert decide(held(BlockedKind.PAUSED)) == Decision(None, "held by paused")
    assert decide(held(BlockedKind.PANIC)).method == "ring"
    assert decide(held(BlockedKind.FIREWALLD_RELOADING)).method == "ring"
    busy = held(BlockedKind.BUSY)
    memory, first = step(Memory(), busy, 100.0, ALL, kinds=ROWS)
    assert (first.method, first.look_at) == (None, 100.05)
    assert decide(busy, 100.0 + ALL.busy_cap, memory).method == "ring"


def test_what_forbids_one_kind_does_not_hold_up_another() -> None:
    """In panic mode the bell is rung, and the source stays as it is."""
    source = Missing(MissingKind.SOURCE, "no source", "10.88.0.0/16")
    panic = (Blocked(BlockedKind.PANIC, "panic mode"),)
    assert decide(Verdict(State.LOST, (source, BELL), blocked=panic)).method == "ring"
    memory = Memory()
    verdict = Verdict(State.LOST, (source, BELL), blocked=panic)
    memory, decision = step(memory, verdict, 100.0, ALL, kinds=ROWS)
    memory = acted(memory, decision, 100.0, ALL, done=False, kinds=ROWS)
    waiting = decide(verdict, 100.0, memory)
    assert (waiting.method, waiting.why) == (None, "panic mode")
    assert waiting.look_at == 100.5


def test_a_row_says_what_makes_its_kind_unknown() -> None:
    """While its part of a look is unknown nothing is done, and what was lost stays open."""
    incidents = Incidents(ROWS)
    lost = Verdict(State.LOST, (BELL,))
    blind = Verdict(State.UNKNOWN, unknown=(Unknown(Part.FIREWALLD, "it", "hangs"),))
    other = Verdict(State.UNKNOWN, unknown=(Unknown(Part.RULES, "it", "hangs"),))

    assert decide(Verdict(State.LOST, (BELL,), unknown=blind.unknown)).method is None
    incidents.looked(lost, NO_CAUSE, now=1.0, at=1.0, at_rest=True)
    assert not incidents.looked(blind, NO_CAUSE, now=2.0, at=2.0, at_rest=True).ended
    assert incidents.looked(other, NO_CAUSE, now=3.0, at=3.0, at_rest=True).ended


def test_a_loss_is_reported_once_it_is_acted_on_or_stays() -> None:
    """Each kind by itself: the bell that is rung is, the rules that wait are not yet."""
    rule = Missing(MissingKind.RULE, "no rule", "accept", container_ids=("aa",))
    verdict = Verdict(State.LOST, (BELL, rule))
    memory, decision = step(Memory(), verdict, 100.0, ALL, kinds=ROWS)

    told, later = due(memory, verdict, decision, 100.0, ALL, ROWS)
    assert (told.missing, later) == ((BELL,), 100.0 + ALL.quiet)
    told, later = due(memory, verdict, decision, 100.0 + ALL.quiet, ALL, ROWS)
    assert told.missing == (BELL, rule)
    assert later < 100.0


def test_a_replay_goes_before_what_waits_for_others() -> None:
    """In the order of the table, but that rules from the copy come before the first that waits."""
    source = Missing(MissingKind.SOURCE, "no source", "10.88.0.0/16")
    rule = Missing(MissingKind.RULE, "no rule", "accept", container_ids=("aa",))
    sysctl = Missing(MissingKind.SYSCTL, "no sysctl", "a=1")
    verdict = Verdict(State.LOST, (rule, source, sysctl, BELL))
    memory, order = Memory(), []
    for _ in range(4):
        memory, decision = step(memory, verdict, 100.0, ALL, can_replay=True, kinds=ROWS)
        order.append(decision.method)
        memory = acted(memory, decision, 100.0, ALL, done=True, kinds=ROWS)
    assert order == ["ring", Method.SYSCTLS, Method.REPLAY, Method.SOURCES]


def test_a_change_by_others_brings_on_what_waits_for_it() -> None:
    """A sign of life of firewalld brings the next try of the sources, and of nothing else."""
    memory = Memory()
    for kind in (SOURCES, SYSCTLS):
        for _ in range(10):
            lost = Decision(kind.means[0], "")
            memory = acted(memory, lost, 100.0, ALL, done=False)
    before = memory.of(SYSCTLS)
    memory = hinted(memory, 101.0)
    assert memory.of(SOURCES).next_at == 102.0
    assert memory.of(SYSCTLS) == before


def test_every_loss_has_one_row() -> None:
    """Each word for a loss, and each means, is of exactly one kind."""
    words = [word for kind in KINDS for word in kind.words]
    means = [method for kind in KINDS for method in kind.means]
    assert sorted(words) == sorted(MissingKind)
    assert sorted(means) == sorted(Method)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert [kind_of(word) for word in ("sysctl", "source", "stale")] == [SYSCTLS, SOURCES, RULES]
    with pytest.raises(KeyError, match="bell"):
        kind_of("bell")


def test_the_first_means_is_the_quick_one() -> None:
    """A reload takes longer than to report a loss; what comes before it does not."""
    assert [method for method in Method if is_quick(method)] == [
        Method.NETNS,
        Method.LINKS,
        Method.NAMES,
        Method.RELAYS,
        Method.SYSCTLS,
        Method.SOURCES,
        Method.REPLAY,
    ]


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All pages of the manual, as the packages have them."""
    directory = tmp_path_factory.mktemp("manual")
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    program = TOP / "packaging/manual.py"
    subprocess.run([sys.executable, "-B", program, directory], env=environment, check=True)
    pages = [*directory.glob("*.[158]"), *(TOP / "packaging/man").iterdir()]
    return "\n".join(page.read_text() for page in pages)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_known_everywhere(kind: Kind, manual: str) -> None:
    """Metrics, history, status, the manual and the configuration have each kind of the table."""
    text = exposition({}, Tally(), now=0.0, overruns=0)
    for word in kind.words:
        assert f'podwatch_missing{{kind="{word}"}} 0\n' in text
    for method in kind.means:
        assert f'podwatch_restores_total{{method="{method}",result="done"}} 0\n' in text
    assert RECORD[kind.name] == SHAPE["last_incident"][kind.name] == 0
    assert kind.word in manual
    section, _, key = kind.switch.partition(".")
    shipped = (TOP / "packaging/podwatch.conf").read_text().replace("\n#", "\n")
    lines = [line for line in shipped.splitlines() if not line.startswith(" ")]
    assert key in tomllib.loads("\n".join(lines))[section]
    asked_for = Config(restore=Restore(host_address=True))
    assert kind.means[0] in limits(asked_for).methods


def test_kinds_are_reported_in_the_order_of_their_weight() -> None:
    """What is repaired last, as it matters most, stands first in what is reported."""
    assert [kind.name for kind in reported()] == [
        "rules",
        "places",
        "sources",
        "relays",
        "host_address",
        "names",
        "sysctls",
        "links",
        "netns",
    ]
