# SPDX-License-Identifier: Apache-2.0
"""inotify, with the kernel's own events: directories that are there, come, and go."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

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
