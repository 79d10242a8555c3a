# SPDX-License-Identifier: Apache-2.0
"""The pause: what is one, when it ends, and that it is heard of at once."""

import asyncio
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from podwatch.daemon.pause import (
    DEFAULT_S,
    MAX_PAUSE_S,
    Pause,
    PauseWatch,
    begin,
    end,
    read,
    why_blocked,
)
from podwatch.words.errors import PodwatchError, StateUnreadable


def test_a_pause_is_there_until_its_end(tmp_path: Path) -> None:
    """It begins with the file and ends by itself; whoever reads it later is told the same."""
    pause = Pause(1000.0, 1060.0, "new firewall", "alice")
    begin(tmp_path / "pause/pause.json", pause)

    assert read(tmp_path / "pause/pause.json", 1001.0) == pause
    assert read(tmp_path / "pause/pause.json", 1059.9) == pause
    assert read(tmp_path / "pause/pause.json", 1060.0) is None


def test_a_pause_can_be_ended(tmp_path: Path) -> None:
    """resume ends it, and says so if there was none."""
    begin(tmp_path / "pause/pause.json", Pause(1000.0, 1060.0))

    assert end(tmp_path / "pause/pause.json") is True
    assert end(tmp_path / "pause/pause.json") is False
    assert read(tmp_path / "pause/pause.json", 1001.0) is None


def test_a_clock_set_back_makes_no_pause_longer(tmp_path: Path) -> None:
    """A pause that would last longer than any may is none."""
    begin(tmp_path / "pause/pause.json", Pause(1e9, 1e9 + 60))

    assert read(tmp_path / "pause/pause.json", 1e9 - 2 * MAX_PAUSE_S) is None


def test_a_pause_is_no_longer_than_any_can_be(tmp_path: Path) -> None:
    """A week, and a second for the time it takes to write it down; an hour where nobody says."""
    path = tmp_path / "pause/pause.json"
    week = 7 * 86400.0
    assert (MAX_PAUSE_S, DEFAULT_S) == (week, 3600.0)
    begin(path, Pause(1000.0, 1000.0 + week + 1))
    assert read(path, 1000.0) is not None
    assert read(path, 999.9) is None  # by a clock that was set back it would be too long
    begin(path, Pause(1000.0, 1000.0 + week + 1.1))
    with pytest.raises(StateUnreadable, match="longer than any can be"):
        read(path, 1001.0)


@pytest.mark.parametrize(
    ("since", "until"),
    [("NaN", "1060"), ("1000", "NaN"), ("Infinity", "1060"), ("-Infinity", "1060")],
)
def test_a_moment_that_is_none_makes_no_pause(tmp_path: Path, since: str, until: str) -> None:
    """JSON as Python reads it knows such numbers, and no comparison finds them too large."""
    path = tmp_path / "pause.json"
    path.write_text(f'{{"since": {since}, "until": {until}, "reason": "", "by": ""}}')
    with pytest.raises(StateUnreadable, match="longer than any can be"):
        read(path, 1001.0)


def test_what_others_read_of_a_pause_is_bounded(tmp_path: Path) -> None:
    """The reason and the name are cut, and a file that is too large is not read."""
    path = tmp_path / "pause/pause.json"
    begin(path, Pause(1000.0, 1060.0, "r" * 300, "b" * 100))
    pause = read(path, 1001.0)
    assert pause is not None
    assert (pause.reason, pause.by) == ("r" * 200, "b" * 64)
    path.write_text(path.read_text().ljust(4096))
    assert read(path, 1001.0) == pause
    path.write_text(path.read_text() + " ")
    with pytest.raises(StateUnreadable, match="larger than 4096 bytes"):
        read(path, 1001.0)


def test_its_directory_is_everybodys_to_see(tmp_path: Path) -> None:
    """Whether a pause is begun or listened for, or something else is taken out of its place."""
    path = tmp_path / "run/pause/pause.json"

    async def listen() -> None:
        watch = PauseWatch(path, lambda: None)
        watch.attach(asyncio.get_running_loop())
        watch.close()

    mask = os.umask(0)
    try:
        begin(path, Pause(1000.0, 1060.0))
        assert path.parent.stat().st_mode & 0o777 == 0o755
        end(path)
        path.parent.rmdir()
        path.parent.touch()
        end(path)
        assert path.parent.stat().st_mode & 0o777 == 0o755
        path.parent.rmdir()
        asyncio.run(listen())
        assert path.parent.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(mask)


GARBAGE: dict[str, str | bytes] = {
    "empty": "",
    "cut": "{",
    "a list": "[]",
    "no number": '{"since": 1, "until": "x", "reason": "", "by": ""}',
    "no time": '{"since": 1, "until": NaN, "reason": "", "by": ""}',
    "for ever": '{"since": 1, "until": 1e999, "reason": "", "by": ""}',
    "for years": '{"since": 1, "until": 9e9, "reason": "", "by": ""}',
    "too large": " " * 5000,
    "not UTF-8": b"\xff",
}


def _put(path: Path, what: str) -> None:
    """Something in the pause's place that is no pause."""
    path.parent.mkdir()
    if what in GARBAGE:
        content = GARBAGE[what]
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif what == "a link":
        path.symlink_to("/etc/hostname")
    elif what == "a dangling link":
        path.symlink_to("nowhere")
    elif what == "a FIFO":
        os.mkfifo(path)
    elif what == "a directory":
        path.mkdir()
        (path / "in it").write_text("x")
    elif what == "of somebody else":
        begin(path, Pause(1000.0, 1060.0))
        os.chown(path, 65534, 65534)
    elif what == "no directory":
        path.parent.rmdir()
        path.parent.write_text("x")
    elif what == "a linked directory":
        path.parent.rmdir()
        (path.parents[1] / "other").mkdir()
        path.parent.symlink_to(path.parents[1] / "other")


@pytest.mark.parametrize(
    "what",
    [
        *GARBAGE,
        *("a link", "a dangling link", "a FIFO", "a directory", "no directory"),
        "a linked directory",
        pytest.param(
            "of somebody else",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away"),
        ),
    ],
)
def test_what_cannot_be_read_is_a_pause(tmp_path: Path, what: str) -> None:
    """It counts, says why, without end; resume removes it, and a new pause can begin then."""
    _put(tmp_path / "pause/pause.json", what)
    watch = PauseWatch(tmp_path / "pause/pause.json", lambda: None)

    found = watch.now()
    assert found is not None
    assert found.until == math.inf
    assert str(found).startswith("paused until it is ended: ")
    assert str(tmp_path / "pause") in str(found)

    assert end(tmp_path / "pause/pause.json") is True
    assert watch.now() is None
    assert end(tmp_path / "pause/pause.json") is False
    begin(tmp_path / "pause/pause.json", Pause(time.time(), time.time() + 60))
    assert watch.now() is not None


def test_resume_touches_nothing_behind_a_link(tmp_path: Path) -> None:
    """It removes the link, and not what the link leads to."""
    for what in ("file", "directory"):
        other = tmp_path / f"their {what}"
        if what == "file":
            other.write_text("theirs")
        else:
            other.mkdir()
            (other / "pause.json").write_text("theirs")
        (tmp_path / "pause").mkdir(exist_ok=True)
        (tmp_path / "pause/pause.json").symlink_to(other)
        assert end(tmp_path / "pause/pause.json") is True
    (tmp_path / "pause").rmdir()
    (tmp_path / "pause").symlink_to(tmp_path / "their directory")
    assert end(tmp_path / "pause/pause.json") is True

    assert (tmp_path / "their file").read_text() == "theirs"
    assert (tmp_path / "their directory/pause.json").read_text() == "theirs"


def test_it_is_for_root_alone(tmp_path: Path) -> None:
    """Who paused and why is told by the status; the file itself is nobody else's to read."""
    begin(tmp_path / "pause/pause.json", Pause(1000.0, 1060.0, "new firewall", "alice"))

    assert (tmp_path / "pause/pause.json").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of the directory is refused by whoever would read or write."""
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "pause").symlink_to(other)
    with pytest.raises(StateUnreadable, match="not followed"):
        begin(tmp_path / "pause/pause.json", Pause(1.0, 2.0))
    with pytest.raises(StateUnreadable, match="not followed"):
        read(tmp_path / "pause/pause.json", 1.0)
    assert list(other.iterdir()) == []


def test_its_end_is_told_on_the_clock_of_the_loops() -> None:
    """A moment after it, so that the look then finds none; never for one without an end."""
    ends_at = Pause(0.0, time.time() + 60).ends_at(500.0)

    assert ends_at is not None
    assert 550.0 < ends_at <= 560.01
    assert Pause(0.0, time.time() - 60).ends_at(500.0) == 500.01
    assert Pause(0.0, math.inf).ends_at(500.0) is None


def test_what_forbids_repairs_is_one_sentence() -> None:
    """A pause, the configuration, a dry run: the first that holds is told."""
    pause = Pause(0.0, math.inf, "new firewall")

    assert why_blocked(None, enabled=True) == ""
    assert why_blocked(pause, enabled=False, dry_run=True) == str(pause)
    assert why_blocked(None, enabled=False, dry_run=True).endswith("(restore.enabled)")
    assert why_blocked(None, enabled=True, dry_run=True) == "dry run: nothing is repaired"


def test_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    """Where there is no directory to be made, each of begin, end and listening names it."""
    path = tmp_path / "file/pause/pause.json"
    (tmp_path / "file").touch()

    with pytest.raises(PodwatchError, match=f"cannot make {path.parent}: Not a directory"):
        begin(path, Pause(1.0, 2.0))
    with pytest.raises(PodwatchError, match=f"cannot remove {path}: Not a directory"):
        end(path)

    async def listen() -> None:
        watch = PauseWatch(path, lambda: None)
        try:
            watch.attach(asyncio.get_running_loop())
        finally:
            watch.close()

    with pytest.raises(PodwatchError, match="a pause is noticed late: Not a directory"):
        asyncio.run(listen())


def test_it_tells_who_until_when_and_why() -> None:
    """The sentence that status and journal show."""
    told = str(Pause(0.0, time.time() + 60, "new firewall", "alice"))

    assert told.startswith("paused by alice until 20")
    assert told.endswith(": new firewall")


@pytest.mark.parametrize("at_first", ["nothing", "a linked directory", "no directory"])
def test_begin_and_end_are_heard_of_at_once(tmp_path: Path, at_first: str) -> None:
    """Each change is heard of without anybody polling, whatever was in the place at the start."""
    path = tmp_path / "pause/pause.json"
    if at_first != "nothing":
        _put(path, at_first)
    changes: tuple[Callable[[], object], ...] = (
        lambda: end(tmp_path / "pause/pause.json"),
        lambda: begin(tmp_path / "pause/pause.json", Pause(1.0, 2.0)),
        lambda: end(tmp_path / "pause/pause.json"),
        lambda: os.mkfifo(path),
        lambda: path.rename(tmp_path / "aside"),
        path.mkdir,
        lambda: end(tmp_path / "pause/pause.json"),
        lambda: path.parent.rename(tmp_path / "moved"),
        lambda: path.parent.symlink_to(tmp_path / "moved"),
        lambda: end(tmp_path / "pause/pause.json"),
        lambda: begin(tmp_path / "pause/pause.json", Pause(1.0, 2.0)),
    )

    async def follow() -> None:
        heard = asyncio.Event()
        watch = PauseWatch(tmp_path / "pause/pause.json", heard.set)
        watch.attach(asyncio.get_running_loop())
        try:
            for change in changes[at_first == "nothing" :]:
                for _ in range(3):  # what is left of the change before
                    await asyncio.sleep(0)
                heard.clear()
                change()
                async with asyncio.timeout(10):
                    await heard.wait()
        finally:
            watch.close()

    asyncio.run(follow())
