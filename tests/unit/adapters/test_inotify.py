# SPDX-License-Identifier: Apache-2.0
"""inotify, with the kernel's own events: directories that are there, come, and go."""

import asyncio
import errno
import os
import resource
import select
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from podwatch.adapters.inotify import DirectoryWatch


def heard(directories: list[Path], *changes: Callable[[], object]) -> list[bool]:
    """Whether each change was heard, within half a second."""

    async def run() -> list[bool]:
        event = asyncio.Event()
        watch = DirectoryWatch(directories, event.set)
        watch.attach(asyncio.get_running_loop())
        found = []
        for change in changes:
            event.clear()
            change()
            try:
                await asyncio.wait_for(event.wait(), 0.5)
            except TimeoutError:
                found.append(False)
            else:
                found.append(True)
        watch.close()
        return found

    return asyncio.run(run())


def test_changes_inside(tmp_path: Path) -> None:
    """A file made, written, renamed or removed in the directory is heard of."""
    file = tmp_path / "lan.json"
    changes = (
        lambda: file.write_text("{}"),
        lambda: file.rename(tmp_path / "b"),
        lambda: (tmp_path / "b").unlink(),
    )

    assert heard([tmp_path], *changes) == [True, True, True]


def test_a_directory_that_comes_and_goes(tmp_path: Path) -> None:
    """One that does not exist is waited for however deep it will be, and again once removed."""
    deep = tmp_path / "a" / "b"
    changes = (
        lambda: deep.mkdir(parents=True),
        lambda: (deep / "f").touch(),
        lambda: shutil.rmtree(deep),
        deep.mkdir,
        lambda: (deep / "f").touch(),
    )

    assert heard([deep], *changes) == [True] * 5


def test_strangers_are_not_heard(tmp_path: Path) -> None:
    """In the directory above one that is waited for, other names wake nobody."""
    assert heard([tmp_path / "a"], (tmp_path / "b").touch, (tmp_path / "a").mkdir) == [False, True]


def test_one_inside_another(tmp_path: Path) -> None:
    """A directory and one inside it that is still to come are both watched."""
    inside = tmp_path / "networks"
    changes = ((tmp_path / "conf").touch, inside.mkdir, (inside / "lan.json").touch)

    assert heard([tmp_path, inside], *changes) == [True, True, True]


def test_a_directory_that_is_replaced_is_watched_anew(tmp_path: Path) -> None:
    """What is renamed away is let go, and what comes in its place listened to."""
    wanted, aside = tmp_path / "networks", tmp_path / "aside"
    wanted.mkdir()
    changes = (
        lambda: wanted.rename(aside),
        wanted.mkdir,
        (wanted / "lan.json").touch,
        (aside / "old.json").touch,
    )

    assert heard([wanted], *changes) == [True, True, True, False]


@pytest.mark.parametrize(("links", "expected"), [(True, True), (False, False)])
def test_a_link_counts_where_it_may(tmp_path: Path, *, links: bool, expected: bool) -> None:
    """Without `links` what changes behind a link is not heard, but what takes its place is."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    found: list[bool] = []
    watch = DirectoryWatch([link], lambda: found.append(True), links=links)
    watch.open()
    try:
        (real / "f").touch()
        watch.read()
        assert bool(found) is expected
        link.unlink()
        link.mkdir()
        watch.read()
        found.clear()
        (link / "f").touch()
        watch.read()
        assert bool(found) is not links
    finally:
        watch.close()


def test_it_can_be_waited_for_without_a_loop(tmp_path: Path) -> None:
    """As a file is: readable when something changed, and no more once that was read."""
    found: list[bool] = []
    watch = DirectoryWatch([tmp_path], lambda: found.append(True))
    watch.open()
    try:
        watch.read()
        assert (select.select([watch], [], [], 0)[0], found) == ([], [])
        (tmp_path / "f").touch()
        assert select.select([watch], [], [], 10)[0] == [watch]
        watch.read()
        assert (select.select([watch], [], [], 0)[0], found) == ([], [True])
    finally:
        watch.close()


def test_other_directories_can_be_followed_later(tmp_path: Path) -> None:
    """That is news by itself, once it listens; the ones before are let go."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    found: list[bool] = []
    watch = DirectoryWatch([], lambda: found.append(True))
    watch.follow([one])
    assert found == []
    watch.open()
    try:
        watch.follow([one])
        assert found == []
        watch.follow([other])
        assert found == [True]
        watch.read()
        (one / "f").touch()
        watch.read()
        assert found == [True]
        (other / "f").touch()
        watch.read()
        assert found == [True, True]
    finally:
        watch.close()


def test_too_much_to_tell_is_a_change(tmp_path: Path) -> None:
    """Where the kernel's queue runs over, something has changed, and all is watched anew."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    deep = tmp_path / "a"
    deep.mkdir()
    found: list[bool] = []
    watch = DirectoryWatch([tmp_path, deep / "b"], lambda: found.append(True))
    watch.open()
    try:
        names = (tmp_path / "x", tmp_path / "y")
        for number in range(limit):
            os.close(os.open(names[number % 2], os.O_WRONLY | os.O_CREAT))
        (deep / "b").mkdir()  # what the kernel has no room to tell
        while select.select([watch], [], [], 0)[0]:
            watch.read()
        found.clear()
        (deep / "b" / "f").touch()
        watch.read()
        assert found == [True]
    finally:
        watch.close()


def test_a_refusal_has_its_reason(tmp_path: Path) -> None:
    """Where the kernel grants no instance it says why, and there is nothing to close."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    watch = DirectoryWatch([tmp_path], lambda: None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match=r"inotify_init1: .+") as refused:
            watch.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused.value.errno == errno.EMFILE
    watch.close()


def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    """The descriptor is closed and the loop no longer waits for it; twice is no fault."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        watch = DirectoryWatch([tmp_path], lambda: None)
        watch.attach(loop)
        descriptor = watch.fileno()
        watch.close()
        watch.close()
        assert loop.remove_reader(descriptor) is False
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)

    asyncio.run(run())
