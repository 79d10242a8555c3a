# SPDX-License-Identifier: Apache-2.0
"""The status file: how it is written, since when its state lasts, and its heartbeat."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from podwatch.report.status_file import HEARTBEAT_S, StatusFile, as_text
from podwatch.words.errors import PodwatchError

FINE = {"state": "ok", "summary": "all is well", "warnings": []}
LOST = {"state": "lost", "summary": "1 thing is missing", "warnings": []}


class Stage:
    """A status file whose clock stands, with what the service manager gets."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.notified: list[str] = []
        self.path = directory / "status.json"
        self.file = StatusFile(self.path, self.notified.append, clock=lambda: self.now)

    def write(self, found: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Write what a look found; what stands in the file then."""
        self.file.found = found
        self.file.write(more)
        read: dict[str, Any] = json.loads(self.path.read_text())
        assert read == self.file.document
        return read


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Nothing has been written yet."""
    return Stage(tmp_path)


def test_it_names_the_daemon(stage: Stage) -> None:
    """The pid, when it started, and how often it shows that it is alive."""
    stage.now += 5
    written = stage.write(FINE, counters={"looks": 1})

    assert (written["pid"], written["started"]) == (os.getpid(), 1000.0)
    assert (written["heartbeat_every"], written["dry_run"]) == (HEARTBEAT_S, False)
    assert written["counters"] == {"looks": 1}
    assert written["schema"] == 1


def test_since_moves_with_the_state(stage: Stage) -> None:
    """Not with each time that it is written."""
    stage.now = 1001.0
    assert stage.write(FINE)["since"] == 1001.0
    stage.now = 1002.0
    assert stage.write(FINE)["since"] == 1001.0
    assert stage.write(LOST)["since"] == 1002.0


def test_dhcp_and_a_refused_configuration_change_the_state(stage: Stage) -> None:
    """What stands beside the look is merged into each document."""
    stage.file.refused = "podwatch.conf: no such setting"
    assert stage.write(FINE)["state"] == "degraded"

    stage.file.dhcp = {"state": "lost", "summary": "nobody serves"}
    assert stage.write(FINE)["state"] == "lost"


def test_the_service_manager_gets_each_line_once(stage: Stage) -> None:
    """`systemctl status` shows state and summary; the same line is not sent again."""
    for found in (FINE, FINE, LOST):
        stage.write(found)

    assert stage.notified == ["ok: all is well", "lost: 1 thing is missing"]


def test_anybody_may_read_it(stage: Stage) -> None:
    """The file's mode is 0644 whatever the umask, and nothing is left beside it."""
    before = os.umask(0o077)
    try:
        stage.write(FINE)
    finally:
        os.umask(before)

    assert stat.S_IMODE(stage.path.stat().st_mode) == 0o644
    assert [path.name for path in stage.path.parent.iterdir()] == ["status.json"]


def test_the_heartbeat_is_the_files_time(stage: Stage) -> None:
    """To touch the file is enough; where it is gone there is nothing to touch."""
    stage.write(FINE)
    os.utime(stage.path, (5000, 5000))
    assert stage.file.beat()
    assert stage.path.stat().st_mtime != 5000

    stage.path.unlink()
    assert not stage.file.beat()


def test_what_cannot_be_written_is_there_all_the_same(tmp_path: Path) -> None:
    """The error names the file; metrics read the new document nevertheless."""
    file = StatusFile(tmp_path / "gone" / "status.json", lambda _: None)
    file.found = LOST
    with pytest.raises(PodwatchError, match="gone"):
        file.write({})

    assert file.document["state"] == "lost"


def test_an_old_status_is_not_shown_to_be_of_now(stage: Stage) -> None:
    """Where the newer one could not be written, as on a full disk, no heartbeat says it holds."""
    stage.write(FINE)
    directory = stage.path.parent
    directory.rename(directory.with_name("away"))
    with pytest.raises(PodwatchError):
        stage.file.write({})
    directory.with_name("away").rename(directory)

    assert not stage.file.beat()
    stage.file.write({})
    assert stage.file.beat()


def test_a_line_for_each_entry() -> None:
    """Each field, and each container in its list, has a line of its own, which tools can find."""
    document = {"state": "ok", "none": [], "containers": [{"name": "a\n", "ways": [1, 2]}, {}]}
    text = as_text(document)
    assert json.loads(text) == document
    assert text.splitlines() == [
        "{",
        '"state": "ok",',
        '"none": [],',
        '"containers": [',
        ' {"name": "a\\n", "ways": [1, 2]},',
        " {}",
        "]",
        "}",
    ]
