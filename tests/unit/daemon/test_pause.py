# SPDX-License-Identifier: Apache-2.0
"""The pause: what is one, when it ends, and that it is heard of at once."""

import select
import time
from pathlib import Path

import pytest

from podwatch.daemon.pause import LONGEST_S, Pause, PauseWatch, begin, end, read
from podwatch.words.errors import StateUnreadable


def test_a_pause_is_there_until_its_end(tmp_path: Path) -> None:
    """It begins with the file and ends by itself; whoever reads it later is told the same."""
    pause = Pause(1000.0, 1060.0, "new firewall", "alice")
    begin(tmp_path, pause)

    assert read(tmp_path, 1001.0) == pause
    assert read(tmp_path, 1059.9) == pause
    assert read(tmp_path, 1060.0) is None


def test_a_pause_can_be_ended(tmp_path: Path) -> None:
    """resume ends it, and says so if there was none."""
    begin(tmp_path, Pause(1000.0, 1060.0))

    assert end(tmp_path) is True
    assert end(tmp_path) is False
    assert read(tmp_path, 1001.0) is None


def test_a_clock_set_back_makes_no_pause_longer(tmp_path: Path) -> None:
    """A pause that would last longer than any may is none."""
    begin(tmp_path, Pause(1e9, 1e9 + 60))

    assert read(tmp_path, 1e9 - 2 * LONGEST_S) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"since": 1, "until": "x"}', '{"until": 1e999}'])
def test_what_is_no_pause_is_refused(tmp_path: Path, text: str) -> None:
    """A file that somebody else wrote stops nothing, and is complained about."""
    begin(tmp_path, Pause(1000.0, 1060.0))
    (tmp_path / "pause/pause.json").write_text(text)
    watch = PauseWatch(tmp_path, lambda: None)

    with pytest.raises(StateUnreadable, match=r"pause\.json"):
        read(tmp_path, 1001.0)
    assert watch.now() is None
    assert watch.complaint is not None


def test_it_is_for_root_alone(tmp_path: Path) -> None:
    """Who paused and why is told by the status; the file itself is nobody else's to read."""
    begin(tmp_path, Pause(1000.0, 1060.0, "new firewall", "alice"))

    assert (tmp_path / "pause/pause.json").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of the directory is refused by whoever would read, write or watch."""
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "pause").symlink_to(other)
    for refused in (
        lambda: begin(tmp_path, Pause(1.0, 2.0)),
        lambda: end(tmp_path),
        lambda: read(tmp_path, 1.0),
        PauseWatch(tmp_path, lambda: None).open,
    ):
        with pytest.raises(StateUnreadable, match="not followed"):
            refused()
    assert list(other.iterdir()) == []


def test_it_tells_who_until_when_and_why() -> None:
    """The sentence that status and journal show."""
    told = str(Pause(0.0, time.time() + 60, "new firewall", "alice"))

    assert told.startswith("paused by alice until 20")
    assert told.endswith(": new firewall")


def test_begin_and_end_are_heard_of_at_once(tmp_path: Path) -> None:
    """Each change of the file makes the watch readable, without anybody polling."""
    heard: list[bool] = []
    watch = PauseWatch(tmp_path, lambda: heard.append(True))
    descriptor = watch.open()
    try:
        for change in (lambda: begin(tmp_path, Pause(1.0, 2.0)), lambda: end(tmp_path)):
            assert not select.select([descriptor], [], [], 0)[0]
            change()
            assert select.select([descriptor], [], [], 5)[0]
            watch.drain()
    finally:
        watch.close()

    assert heard == [True, True]
