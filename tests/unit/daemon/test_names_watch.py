# SPDX-License-Identifier: Apache-2.0
"""Hearing of the name server's end, from processes that really end and files that are written."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.aardvark import Aardvark
from podwatch.daemon.names_watch import NamesWatch
from tests.unit.waiting import until

_AS_AARDVARK = """
import sys
open("/proc/self/comm", "w").write("aardvark-dns")
print(flush=True)
sys.stdin.read()
"""


class Stage:
    """A directory of names, and processes that serve it; `heard` is what the watch told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.heard: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.watch = NamesWatch(Aardvark(directory), self._hear)
        self._rung = asyncio.Event()

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        self._rung.set()

    async def hears(self, what: str) -> None:
        """Wait until this is told."""
        await until(self._rung, lambda: what in self.heard)

    async def drained(self) -> None:
        """Let the watch read what the kernel has told by now."""
        for _ in range(3):
            await asyncio.sleep(0)

    def start(self) -> int:
        """One more process that serves the directory; its pid."""
        argv = [sys.executable, "-c", _AS_AARDVARK, "--config", str(self.directory), "run"]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        self.processes.append(process)
        return process.pid

    def name(self, pid: int) -> None:
        """Write the pid file."""
        (self.directory / "aardvark.pid").write_text(str(pid))

    def serve(self) -> None:
        """Write a network's file."""
        (self.directory / "app").write_text("10.89.0.1\naa 10.89.0.2  web\n")

    def end(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A directory that is there."""
    directory = tmp_path / "aardvark-dns"
    directory.mkdir()
    made = Stage(directory)
    yield made
    made.end()


WRITTEN = "aardvark-dns' pid file was written"


def run(stage: Stage, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run this while the watch listens."""

    async def whole() -> None:
        stage.watch.attach(asyncio.get_running_loop())
        try:
            await body()
        finally:
            stage.watch.close()

    asyncio.run(whole())


def test_its_end_is_heard(stage: Stage) -> None:
    """While a network has a file; whoever it was."""
    stage.serve()
    pid = stage.start()
    stage.name(pid)

    async def body() -> None:
        stage.end()
        await stage.hears(f"aardvark-dns ({pid}) ended")

    run(stage, body)
    assert len(stage.heard) == 1


def test_one_that_ends_with_its_last_container_is_no_news(stage: Stage) -> None:
    """It has taken its pid file away, and there is no file of any network."""
    stage.name(stage.start())

    async def body() -> None:
        (stage.directory / "aardvark.pid").unlink()
        stage.end()
        await stage.drained()
        stage.serve()
        stage.name(os.getpid())
        await stage.hears(WRITTEN)

    run(stage, body)
    assert set(stage.heard) == {WRITTEN}


def test_a_container_that_comes_is_no_news(stage: Stage) -> None:
    """The pid file still names the one that is known: the next thing heard is its end."""
    stage.serve()
    pid = stage.start()
    stage.name(pid)

    async def body() -> None:
        (stage.directory / "app").write_text("10.89.0.1\nbb 10.89.0.3  db\n")
        (stage.directory / "site").write_text("10.89.1.1\ncc 10.89.1.3  db\n")
        await stage.drained()
        stage.end()
        await stage.hears(f"aardvark-dns ({pid}) ended")

    run(stage, body)
    assert len(stage.heard) == 1


def test_another_one_is_followed(stage: Stage) -> None:
    """netavark has started one anew: that one's end is heard, and the old one's is none."""
    stage.serve()
    first = stage.start()
    stage.name(first)

    async def body() -> None:
        second = stage.start()
        stage.name(second)
        await stage.drained()
        assert set(stage.heard) == {WRITTEN}
        stage.end()
        await stage.hears(f"aardvark-dns ({second}) ended")

    run(stage, body)
    assert f"aardvark-dns ({first}) ended" not in stage.heard


def test_a_pid_file_of_somebody_else_is_told(stage: Stage) -> None:
    """The one that was known is listened to all the same."""
    stage.serve()
    pid = stage.start()
    stage.name(pid)

    async def body() -> None:
        stage.name(os.getpid())
        await stage.hears(WRITTEN)
        stage.end()
        await stage.hears(f"aardvark-dns ({pid}) ended")

    run(stage, body)


def test_it_says_whether_it_listens(stage: Stage) -> None:
    """In the words of its directory's watch; closed twice, or never opened, it does no harm."""
    stage.watch.close()
    assert stage.watch.describe() == "not listening"

    async def body() -> None:
        assert stage.watch.describe() == "listening"

    run(stage, body)
    stage.watch.close()
    assert stage.watch.describe() == "not listening"
