# SPDX-License-Identifier: Apache-2.0
"""Publishing: how the parts of the report are put together, and when they are written."""

import json
import os
import time
from pathlib import Path

import pytest

from podwatch.decide.decision import Decision
from podwatch.report.events import Event
from podwatch.report.flapping import FLAPPING_LOSSES, FLAPPING_S
from podwatch.report.incident import Incident
from podwatch.report.listener import Listener, Looked
from podwatch.report.publish import Publisher
from podwatch.report.status import SHAPE, read_status
from podwatch.words.cause import Process, Writer, by_writer, other
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State, Verdict
from tests.unit.report.fakes import RecordingLog

SNAPSHOT = Snapshot(Setup(FirewallDriver.NFTABLES), None, None, generation=7)
FINE = Verdict(State.OK)
RULE = Missing(MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat", container_ids=("a",))
LOST = Verdict(State.LOST, (RULE,))
REST = Decision(None, "nothing is missing")


class Stage:
    """A publisher, with everything it logs, tells systemd and has exported."""

    def __init__(
        self, run_dir: Path, *, dry_run: bool = False, listener: Listener | None = None
    ) -> None:
        self.path = run_dir / "status.json"
        self.log = RecordingLog()
        self.notified: list[str] = []
        self.exported: list[object] = []
        self.ahead_s = 0.0
        self.watchers = {"nftables": "listening", "firewalld": "connected", "systemd": "yes"}
        self.publisher = Publisher(
            self.path,
            lambda: self.watchers,
            self.notified.append,
            exporter=lambda: self.exported.append(self.publisher.document.get("state")),
            dry_run=dry_run,
            log=self.log,
            clock=lambda: time.time() + self.ahead_s,
            listener=listener,
        )

    def looked(
        self,
        verdict: Verdict,
        decision: Decision = REST,
        snapshot: Snapshot = SNAPSHOT,
        at: float | None = None,
    ) -> None:
        """A look with this verdict is over."""
        at = time.monotonic() if at is None else at
        self.publisher.looked(
            snapshot, verdict, decision, cause=other("nft (1)"), took_s=0.0042, at=at
        )


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A publisher on its stage."""
    return Stage(tmp_path)


def test_what_is_written_is_what_is_described(stage: Stage) -> None:
    """The document has every field of SHAPE but the heartbeat's, and none beside."""
    stage.looked(LOST)
    document = read_status(stage.path)

    assert set(document) - {"heartbeat"} == set(SHAPE)
    assert set(document["last_incident"]) == set(SHAPE["last_incident"])
    for key in ("missing", "warnings", "blocked", "unknown", "networks", "containers"):
        assert all(set(entry) == set(SHAPE[key][0]) for entry in document[key])
    assert document["last_look"]["took_ms"] == 4.2
    assert document["last_look"]["generation"] == 7
    assert document["last_look"]["cause"] == "nft (1)"
    assert document["pid"] == os.getpid()
    assert stage.publisher.reported.is_set()


def test_an_outage_counts_from_the_look_that_found_it(stage: Stage) -> None:
    """However much later it is reported, as when the repair had its turn before."""
    stage.looked(LOST, at=time.monotonic() - 100)
    assert read_status(stage.path)["last_look"]["at"] < time.time() - 99
    stage.looked(FINE)

    assert read_status(stage.path)["last_incident"]["took_ms"] >= 100_000


def test_command_lines_are_not_for_everybody(stage: Stage) -> None:
    """No argument of the writer or its parent is in the status, the journal or systemd's line."""
    shell = Process("sh", 6, "sh deploy --token=secret")
    nft = Process("nft", 7, "nft delete table secret", "secret-less.service", parent=shell)
    cause = by_writer(Writer("nft", 7, nft))
    for _ in range(FLAPPING_LOSSES):
        for verdict in (LOST, FINE):
            stage.publisher.looked(
                SNAPSHOT, verdict, REST, cause=cause, took_s=0.1, at=time.monotonic()
            )

    reported = [stage.path.read_text(), *stage.notified]
    reported += [str(stage.log.entries), str(stage.log.fields)]
    assert Event.FLAPPING in stage.log.events
    assert not [text for text in reported if "secret" in text.replace("secret-less", "")]
    assert "run by sh (pid 6)" in reported[0]


def test_the_incident_stands_in_the_status_as_in_the_journal(stage: Stage) -> None:
    """Its line is the same, the counters go with it, and the status of a look has what was odd."""
    stage.looked(LOST)
    stage.publisher.acted(Outcome(Method.RELOAD, done=True, detail="reload of 1"), took_s=2)
    stage.looked(FINE)

    document = read_status(stage.path)
    assert document["last_incident"]["line"] == stage.log.entries[1][1]
    assert document["counters"] == {"looks": 2, "incidents": 1, "restored": 1, "failed": 0}
    assert stage.publisher.tally.attempts["reload", "done"] == 1


def test_why_the_last_try_failed_is_in_the_status(stage: Stage) -> None:
    """While something is missing; who is held back is a part of the incident's story."""
    held_back = "held back: web (paused: podman unpause)"
    stage.looked(LOST)
    outcome = Outcome(Method.RELOAD, done=False, detail=held_back, held=held_back)
    stage.publisher.acted(outcome, took_s=2)
    stage.looked(LOST, Decision(None, "pausing"))

    document = read_status(stage.path)
    assert document["next_try"] == f"pausing ({held_back})"
    assert document["last_incident"]["tried"] == [held_back]
    stage.looked(FINE)
    assert read_status(stage.path)["next_try"] == ""


def test_what_is_under_way_is_in_the_status(stage: Stage) -> None:
    """From the decision on, with what a long repair says of itself, until the next look."""
    stage.looked(LOST, Decision(Method.RELOAD, "1 rule is missing"))
    assert read_status(stage.path)["restoring"] == "1 rule is missing"
    stage.publisher.progress("reloading 2 of 7")
    assert read_status(stage.path)["restoring"] == "reloading 2 of 7"
    assert stage.log.entries[-1] == (Event.PROGRESS, "reloading 2 of 7")
    stage.publisher.refuse("podwatch.conf: no such setting")
    assert read_status(stage.path)["restoring"] == "reloading 2 of 7"

    stage.looked(FINE)
    assert read_status(stage.path)["restoring"] == ""


def test_a_dry_run_says_what_it_would_do(tmp_path: Path) -> None:
    """The means that is not used is in the status, and logged once while it stays the same."""
    stage = Stage(tmp_path, dry_run=True)
    replay = Decision(Method.REPLAY, "a verified copy is at hand")
    for _ in range(3):
        stage.looked(LOST, replay)
    would = "would replay: a verified copy is at hand"

    assert stage.log.entries[1:] == [(Event.PROGRESS, would)]
    document = read_status(stage.path)
    assert (document["dry_run"], document["restoring"]) == (True, would)
    stage.looked(FINE)
    assert read_status(stage.path)["restoring"] == ""


def test_remarks_of_a_look_reach_the_journal(stage: Stage) -> None:
    """What forbids a repair, the end of a pause, and what podwatch goes without."""
    paused = Snapshot(Setup(FirewallDriver.NFTABLES), None, None, paused="paused for 1 h")
    blocked = Verdict(State.DEGRADED, blocked=(Blocked(BlockedKind.PAUSED, "paused"),))
    stage.looked(blocked, snapshot=paused)
    stage.looked(FINE)
    stage.publisher.complain(PodwatchError("podman: not found"))

    assert stage.log.events == [Event.BLOCKED, Event.RESUMED, Event.COMPLAINT]


def test_the_next_look_is_told_in_the_time_of_day(stage: Stage) -> None:
    """The policy's moment, by another clock, is published as seconds since the epoch."""
    at = time.monotonic()
    stage.looked(LOST, Decision(None, "waiting", look_at=at + 30), at=at)

    document = read_status(stage.path)
    assert document["next_look_at"] - document["last_look"]["at"] == pytest.approx(30, abs=0.01)
    stage.looked(FINE)
    assert read_status(stage.path)["next_look_at"] == 0


def test_what_stands_beside_the_look_is_written_at_once(stage: Stage) -> None:
    """A new section on DHCP and a refused configuration; before the first look there is no file."""
    dhcp = {"state": "lost", "summary": "nobody serves"}
    stage.publisher.refuse("podwatch.conf: no such setting")
    stage.publisher.took_dhcp({"state": "ok", "summary": "fine"})
    assert not stage.path.exists()
    stage.looked(FINE)
    assert read_status(stage.path)["warnings"][0]["kind"] == "config"

    stage.publisher.took_dhcp(dhcp)
    assert read_status(stage.path)["dhcp"]["summary"] == "nobody serves"
    written = len(stage.exported)
    stage.publisher.took_dhcp(dict(dhcp))
    assert len(stage.exported) == written, "the same section is not written again"
    stage.publisher.refuse("")
    assert read_status(stage.path)["warnings"] == []


def test_a_beat_touches_the_file_and_brings_it_back(stage: Stage) -> None:
    """The heartbeat is the file's time; a file somebody removed is written again."""
    stage.looked(LOST)
    os.utime(stage.path, (5000, 5000))
    stage.publisher.beat()
    assert read_status(stage.path)["heartbeat"] == pytest.approx(time.time(), abs=5)

    stage.path.unlink()
    stage.publisher.beat()
    assert read_status(stage.path)["state"] == "lost"


def test_a_beat_ends_flapping(stage: Stage) -> None:
    """Without a look, since nobody looks on a host where nothing happens any more."""
    for _ in range(FLAPPING_LOSSES):
        stage.looked(LOST)
        stage.looked(FINE)
    assert read_status(stage.path)["fight"].startswith("nft (1) keeps removing the rules: 6 times")

    stage.publisher.beat()
    assert read_status(stage.path)["fight"]
    stage.ahead_s = FLAPPING_S + 5
    stage.publisher.beat()
    assert read_status(stage.path)["fight"] == ""


def test_metrics_follow_the_document_and_the_heartbeat(stage: Stage) -> None:
    """They are exported after each change, and at each beat."""
    stage.looked(LOST)
    stage.looked(FINE)
    stage.publisher.beat()

    assert stage.exported == ["lost", "ok", "ok"]


def test_what_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """Neither a status nor metrics that cannot be written end the daemon: they are complaints."""

    def fail() -> None:
        raise PodwatchError("metrics.prom: No space left on device")

    log = RecordingLog()
    gone = tmp_path / "gone" / "status.json"
    publisher = Publisher(gone, dict, lambda _: None, exporter=fail, log=log)
    for _ in range(2):
        publisher.looked(SNAPSHOT, FINE, REST, cause=other(""), took_s=0, at=time.monotonic())
        publisher.beat()

    assert log.events == 2 * [Event.COMPLAINT]
    assert "No such file or directory" in log.entries[0][1]
    assert "No space left" in log.entries[1][1]


def test_a_watcher_that_goes_is_logged_at_a_look_and_at_a_beat(stage: Stage) -> None:
    """Also when nothing is looked at; and the status has what each watcher says."""
    stage.looked(FINE)
    stage.watchers["firewalld"] = "the system bus went away"
    stage.publisher.beat()
    stage.watchers["firewalld"] = "connected"
    stage.looked(FINE)

    assert stage.log.events == [Event.WATCHER_LOST, Event.WATCHER_BACK]
    assert read_status(stage.path)["watchers"]["firewalld"] == "connected"


def test_the_service_manager_gets_the_state(stage: Stage) -> None:
    """`systemctl status podwatch` shows the state in one line."""
    stage.looked(FINE)

    assert stage.notified == ["ok: no container needs rules on this host"]


def test_the_guard_is_a_section_of_its_own(stage: Stage) -> None:
    """Written when it changes, once there was a look."""
    stage.publisher.took_guard({"mode": "anchor", "table": "podwatch-guard-1a2b"})
    assert not stage.path.exists()
    stage.looked(FINE)
    assert read_status(stage.path)["guard"]["mode"] == "anchor"
    before = stage.path.stat().st_ino
    stage.publisher.took_guard({"mode": "anchor", "table": "podwatch-guard-1a2b"})
    assert stage.path.stat().st_ino == before
    stage.publisher.took_guard({"mode": "full", "ports": 3})
    assert read_status(stage.path)["guard"]["ports"] == 3
    stage.publisher.took_guard({"mode": "full", "ports": 4})
    stage.publisher.took_guard({"mode": "off", "why": "paused"})
    stage.publisher.took_guard({"mode": "full", "table": "podwatch-guard-3c4d"})
    told = [what for event, what in stage.log.entries if event is Event.GUARD]
    assert told == [
        "the guard is full",
        "the guard is off: paused",
        "the guard is full (table inet podwatch-guard-3c4d)",
    ]


def test_what_the_guard_has_carried_is_entered_with_an_incident(stage: Stage) -> None:
    """As its section says by the look that finds everything back."""
    stage.publisher.took_guard({"carried": 4})
    stage.looked(FINE)
    stage.looked(LOST)
    stage.publisher.took_guard({"carried": 9})
    stage.looked(FINE)
    assert read_status(stage.path)["last_incident"]["carried"] == 5


def test_the_text_is_what_would_be_read_now(stage: Stage) -> None:
    """The document of the file, and the heartbeat of this moment; made anew when it has changed."""
    stage.looked(LOST)
    stage.ahead_s = 15.0
    stage.publisher.beat()
    told = json.loads(stage.publisher.text)
    assert told.pop("heartbeat") == pytest.approx(time.time() + 15, abs=5)
    assert told == json.loads(stage.path.read_text())
    stage.looked(FINE)
    assert json.loads(stage.publisher.text)["state"] == "ok"


class Recording(Listener):
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def looked(self, look: Looked) -> None:
        """A look."""
        self.told.append(f"looked {look.verdict.state} {round(look.ended - look.began, 4)}")

    def acted(self, outcome: Outcome) -> None:
        """A repair."""
        self.told.append(f"acted {outcome.method}")

    def entered(self, incident: Incident) -> None:
        """An incident."""
        self.told.append("ended" if incident.restored_at else "began")

    def wrote(self) -> None:
        """A document."""
        self.told.append("wrote")


def test_a_listener_is_told_of_all_of_it(tmp_path: Path) -> None:
    """In order, and of a look when its document is written; one that does nothing is no harm."""
    recording = Recording()
    for listener in (recording, None):
        stage = Stage(tmp_path, listener=listener)
        stage.looked(LOST)
        stage.publisher.acted(Outcome(Method.REPLAY, done=True, detail=""), took_s=0.1)
        stage.looked(FINE)
        stage.publisher.beat()
    assert recording.told == [
        *("began", "wrote", "looked lost 0.0042", "acted replay"),
        *("ended", "wrote", "looked ok 0.0042"),
    ]
