# SPDX-License-Identifier: Apache-2.0
"""Publishing: what is written and logged, when, and how often."""

import os
import stat
import time
from pathlib import Path

import pytest

from podwatch.decide.policy import Decision
from podwatch.report import publish
from podwatch.report.events import Event
from podwatch.report.publish import Publisher
from podwatch.report.status import SHAPE, read_status
from podwatch.words.cause import Process, Writer, by_writer, other
from podwatch.words.errors import PodwatchError
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State, Verdict

SNAPSHOT = Snapshot(Setup(FirewallDriver.NFTABLES), None, None, generation=7)
FINE = Verdict(State.OK)
RULE = Missing(MissingKind.RULE, "web: 8080/tcp has no DNAT rule", "dnat", container_ids=("a",))
LOST = Verdict(State.LOST, (RULE,))
REST = Decision(None, "nothing is missing")


class Stage:
    """A publisher, with everything it logs and tells systemd."""

    def __init__(self, run_dir: Path, *, dry_run: bool = False) -> None:
        self.path = run_dir / "status.json"
        self.logged: list[tuple[Event, str]] = []
        self.fields: list[dict[str, object]] = []
        self.notified: list[str] = []
        self.watchers = {"nftables": "listening", "firewalld": "connected", "systemd": "yes"}
        self.publisher = Publisher(
            self.path, lambda: self.watchers, self.notified.append, dry_run=dry_run
        )

    def log(self, event: Event, message: str, **fields: object) -> None:
        """Stands in for logging.log."""
        self.logged.append((event, message))
        self.fields.append(fields)

    def looked(self, verdict: Verdict, decision: Decision = REST, cause: str = "nft (1)") -> None:
        """A look with this verdict is over."""
        self.publisher.looked(
            SNAPSHOT, verdict, decision, cause=other(cause), took_s=0.0042, at=time.monotonic()
        )

    @property
    def events(self) -> list[Event]:
        """The kinds of what was logged."""
        return [event for event, _ in self.logged]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A publisher on its stage."""
    made = Stage(tmp_path)
    monkeypatch.setattr(publish, "log", made.log)
    return made


def test_what_is_written_is_what_is_described(stage: Stage) -> None:
    """The document has every field of SHAPE but the heartbeat's, and none beside."""
    stage.looked(LOST)
    document = read_status(stage.path)

    assert set(document) - {"heartbeat"} == set(SHAPE)
    assert set(document["last_incident"]) == set(SHAPE["last_incident"])
    for key in ("missing", "warnings", "blocked", "unknown", "networks", "containers"):
        assert all(set(each) == set(SHAPE[key][0]) for each in document[key])
    assert document["last_look"]["took_ms"] == 4.2
    assert document["last_look"]["generation"] == 7
    assert document["pid"] == os.getpid()


def test_an_outage_counts_from_the_look_that_found_it(stage: Stage) -> None:
    """However much later it is told, as when the repair had its turn before."""
    ago = time.monotonic() - 100
    stage.publisher.looked(SNAPSHOT, LOST, REST, cause=other("nft (1)"), took_s=0.1, at=ago)
    assert read_status(stage.path)["last_look"]["at"] < time.time() - 99
    stage.looked(FINE)

    assert read_status(stage.path)["last_incident"]["took_ms"] >= 100_000


def test_command_lines_are_not_for_everybody(stage: Stage) -> None:
    """No argument of the writer or its parent is in the status, the journal or systemd's line."""
    shell = Process("sh", 6, "sh deploy --token=secret")
    nft = Process("nft", 7, "nft delete table secret", "secret-less.service", parent=shell)
    cause = by_writer(Writer("nft", 7, nft))
    for _ in range(publish.FIGHT_LOSSES):
        for verdict in (LOST, FINE):
            stage.publisher.looked(
                SNAPSHOT, verdict, REST, cause=cause, took_s=0.1, at=time.monotonic()
            )

    told = [stage.path.read_text(), *stage.notified, str(stage.logged), str(stage.fields)]
    assert Event.FIGHT in stage.events
    assert not [each for each in told if "secret" in each.replace("secret-less", "")]
    assert "run by sh (pid 6)" in told[0]


def test_anybody_may_read_it(stage: Stage) -> None:
    """The file's mode is 0644 whatever the umask, and nothing is left beside it."""
    before = os.umask(0o077)
    try:
        stage.looked(FINE)
    finally:
        os.umask(before)

    assert stat.S_IMODE(stage.path.stat().st_mode) == 0o644
    assert [each.name for each in stage.path.parent.iterdir()] == ["status.json"]


def test_an_incident_is_logged_when_it_begins_and_when_it_ends(stage: Stage) -> None:
    """One loss, however often it is looked at, is one incident with two entries."""
    stage.looked(LOST)
    stage.looked(LOST)
    stage.publisher.acted(Outcome(Method.RELOAD, done=True, detail="reload of 1"), took_s=2)
    stage.looked(FINE)

    assert stage.events == [Event.LOSS_FOUND, Event.RESTORED]
    assert stage.logged[0][1] == "missing: web: 8080/tcp has no DNAT rule; cause: nft (1)"
    assert "how: reload of 1 in 2.0 s" in stage.logged[1][1]
    document = read_status(stage.path)
    assert document["last_incident"]["line"] == stage.logged[1][1]
    assert document["counters"] == {"looks": 3, "incidents": 1, "restored": 1, "failed": 0}


def test_an_incident_does_not_end_unseen(stage: Stage) -> None:
    """While something is unknown nothing is called restored."""
    stage.looked(LOST)
    stage.looked(Verdict(State.UNKNOWN, unknown=(Unknown(Part.RULES, "nftables", "timed out"),)))

    assert Event.RESTORED not in stage.events
    assert read_status(stage.path)["last_incident"]["verified"] is False


def test_a_means_that_failed_is_logged_and_counted(stage: Stage) -> None:
    """A failure is an entry of its own, and part of the incident's story."""
    stage.looked(LOST)
    stage.publisher.acted(Outcome(Method.RELOAD, done=False, detail="podman: exit 125"), took_s=2)
    stage.looked(FINE)

    assert stage.logged[1] == (Event.RESTORE_FAILED, "reload: podman: exit 125")
    assert "how: reload failed" in stage.logged[2][1]


def test_who_is_held_back_is_a_part_of_the_story(stage: Stage) -> None:
    """The status says of a loss that goes on who must not be reloaded, and why."""
    held = "held back: web (paused: podman unpause)"
    stage.looked(LOST)
    stage.publisher.acted(Outcome(Method.RELOAD, done=False, detail=held, held=held), took_s=2)
    stage.publisher.write()

    assert read_status(stage.path)["last_incident"]["tried"] == [held]
    assert stage.logged[1] == (Event.RESTORE_FAILED, f"reload: {held}")


def test_why_the_last_try_failed_is_told_until_one_works(stage: Stage) -> None:
    """While podwatch waits after a failure, the status says what failed; a success ends that."""
    waiting = Decision(None, "pausing")
    stage.looked(LOST)
    stage.publisher.acted(Outcome(Method.RELOAD, done=False, detail="nft fails"), took_s=2)
    stage.looked(LOST, waiting)
    assert read_status(stage.path)["next_try"] == "pausing (nft fails)"

    stage.publisher.acted(Outcome(Method.RELOAD, done=True, detail="reload of 1"), took_s=2)
    stage.looked(LOST, waiting)
    assert read_status(stage.path)["next_try"] == "pausing"


def test_a_dry_run_says_what_it_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The means that is not used is in the status, and logged once while it stays the same."""
    stage = Stage(tmp_path, dry_run=True)
    monkeypatch.setattr(publish, "log", stage.log)
    replay = Decision(Method.REPLAY, "a verified copy is at hand")
    for _ in range(3):
        stage.looked(LOST, replay)
    would = "would replay: a verified copy is at hand"

    assert stage.logged[1:] == [(Event.PROGRESS, would)]
    document = read_status(stage.path)
    assert (document["dry_run"], document["restoring"]) == (True, would)
    stage.looked(FINE)
    assert read_status(stage.path)["restoring"] == ""


def test_a_reason_not_to_repair_is_logged_once(stage: Stage) -> None:
    """What stays the same is not logged again; when it comes back, it is."""
    panic = Verdict(State.LOST, (RULE,), blocked=(Blocked(BlockedKind.PANIC, "panic mode"),))
    for verdict in (panic, panic, LOST, panic):
        stage.looked(verdict)

    assert stage.events.count(Event.BLOCKED) == 2


def test_the_state_has_been_so_since_it_changed(stage: Stage) -> None:
    """`since` moves with the state, not with the looks."""
    stage.looked(FINE)
    first = read_status(stage.path)["since"]
    stage.looked(FINE)
    assert read_status(stage.path)["since"] == first
    stage.looked(LOST)
    assert read_status(stage.path)["since"] > first


def test_the_next_look_is_told_in_the_time_of_day(stage: Stage) -> None:
    """The policy's moment, by another clock, is published as seconds since the epoch."""
    stage.looked(LOST, Decision(None, "waiting", look_at=time.monotonic() + 30))

    document = read_status(stage.path)
    assert document["next_try"] == "waiting"
    assert document["next_look_at"] == pytest.approx(time.time() + 30, abs=2)


def test_a_beat_touches_the_file_and_brings_it_back(stage: Stage) -> None:
    """The heartbeat is the file's time; a file somebody removed is written again."""
    stage.looked(LOST)
    os.utime(stage.path, (5000, 5000))
    stage.publisher.beat()
    assert read_status(stage.path)["heartbeat"] == pytest.approx(time.time(), abs=5)

    stage.path.unlink()
    stage.publisher.beat()
    assert read_status(stage.path)["state"] == "lost"


def test_a_directory_that_cannot_be_written_is_told_once(tmp_path: Path, stage: Stage) -> None:
    """A status that cannot be written is a complaint in the journal, not the daemon's end."""
    stage.publisher.path = tmp_path / "gone" / "status.json"
    stage.looked(FINE)
    stage.looked(FINE)

    assert stage.events == [Event.COMPLAINT]
    assert "No such file or directory" in stage.logged[0][1]


def test_a_watcher_that_goes_and_comes_is_logged_once_each(stage: Stage) -> None:
    """A bus that goes away is one entry, its return another, also when nothing is looked at."""
    stage.looked(FINE)
    stage.watchers["firewalld"] = "the system bus went away"
    stage.publisher.beat()
    stage.watchers["firewalld"] = "the system bus does not answer"
    stage.looked(FINE)
    stage.watchers["firewalld"] = "connected"
    stage.looked(FINE)

    assert stage.logged == [
        (Event.WATCHER_LOST, "goes without firewalld: the system bus went away"),
        (Event.WATCHER_BACK, "listens to firewalld again"),
    ]


def test_the_same_complaint_is_logged_once(stage: Stage) -> None:
    """What podwatch goes without is said once, with what to do."""
    for _ in range(3):
        stage.publisher.complain(PodwatchError("podman: not found", hint="install it"))

    assert stage.logged == [(Event.COMPLAINT, "podman: not found; install it")]


def test_the_service_manager_is_told_the_state(stage: Stage) -> None:
    """`systemctl status podwatch` shows the state in one line."""
    stage.looked(FINE)

    assert stage.notified == ["ok: no container needs rules on this host"]


def test_a_fight_is_told_with_the_other_side(stage: Stage) -> None:
    """Who removes the rules again and again is named once, in the journal and in the status."""
    for _ in range(publish.FIGHT_LOSSES + 4):
        stage.looked(LOST, cause="flusher (pid 7)")
        stage.looked(FINE)

    told = [message for event, message in stage.logged if event is Event.FIGHT]
    assert len(told) == 1
    assert told[0].startswith("flusher (pid 7) keeps removing the rules: 6 times in")
    assert read_status(stage.path)["fight"].startswith("flusher (pid 7) keeps")


def test_losses_now_and_then_are_no_fight(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of losses over a longer time, or a fight that is over, is none."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    for _ in range(publish.FIGHT_LOSSES):
        stage.looked(LOST)
        stage.looked(FINE)
        now += publish.FIGHT_S / 2
    assert Event.FIGHT not in stage.events

    for _ in range(publish.FIGHT_LOSSES):
        stage.looked(LOST)
        stage.looked(FINE)
    assert Event.FIGHT in stage.events
    now += 2 * publish.FIGHT_S
    stage.looked(FINE)
    assert read_status(stage.path)["fight"] == ""
