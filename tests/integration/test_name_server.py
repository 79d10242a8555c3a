# SPDX-License-Identifier: Apache-2.0
"""The program that starts aardvark-dns, with real processes: what it takes for aardvark-dns."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PROGRAM = TOP / "units/name-server"
_PYTHON = "/usr/bin/python3"  # another user can run it, too

_AS_AARDVARK = """
import sys
open("/proc/self/comm", "w").write(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""
_STARTED = """#!/bin/sh
echo "$*" > "$2/../started"
"""


class Stage:
    """A directory of names, who runs for it, and an aardvark-dns that only says it was started."""

    def __init__(self, top: Path) -> None:
        self.directory = top / "aardvark-dns"
        self.directory.mkdir()
        self.aardvark = top / "aardvark"
        self.aardvark.write_text(_STARTED)
        self.aardvark.chmod(0o755)
        self.started = top / "started"
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, *before: str, name: str = "aardvark-dns", directory: Path | None = None) -> int:
        """A process of this name that serves the directory; its pid."""
        served = str(directory or self.directory)
        argv = [*before, _PYTHON, "-c", _AS_AARDVARK, name, "--config", served, "run"]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        self.processes.append(process)
        return process.pid

    def do(self, what: str) -> subprocess.CompletedProcess[str]:
        """Run the program."""
        argv = [str(PROGRAM), what, str(self.directory), str(self.aardvark), "1053"]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    @property
    def named(self) -> str:
        """What the pid file says."""
        file = self.directory / "aardvark.pid"
        return file.read_text() if file.exists() else ""

    def end(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Where nobody runs yet."""
    if os.geteuid() != 0:
        pytest.skip("aardvark-dns is root's: run as root")
    made = Stage(tmp_path)
    yield made
    made.end()


def test_where_none_runs_it_is_started_as_netavark_does(stage: Stage) -> None:
    """With its directory and port; `mend` starts none."""
    assert stage.do("mend").returncode == 0
    assert not stage.started.exists()
    assert stage.do("start").returncode == 0
    assert stage.started.read_text() == f"--config {stage.directory} -p 1053 run\n"


@pytest.mark.parametrize("what", ["start", "mend"])
def test_where_one_runs_it_is_named(stage: Stage, what: str) -> None:
    """And no second one is started; whoever was named before."""
    pid = stage.run()
    (stage.directory / "aardvark.pid").write_text("1")
    assert stage.do(what).returncode == 0
    assert stage.named == str(pid)
    assert not stage.started.exists()
    assert [path.name for path in stage.directory.iterdir()] == ["aardvark.pid"]


@pytest.mark.parametrize("what", ["start", "mend"])
def test_where_two_run_nothing_is_done(stage: Stage, what: str) -> None:
    """It fails, and names both."""
    pids = {str(stage.run()), str(stage.run())}
    said = stage.do(what)
    assert said.returncode == 1
    assert pids <= set(said.stderr.split())
    assert (stage.named, stage.started.exists()) == ("", False)


def test_who_only_looks_like_it_is_not_it(stage: Stage, tmp_path: Path) -> None:
    """Another name, another directory, another user, or a container's own process."""
    elsewhere = tmp_path / "elsewhere"
    stage.run(name="aardvark")
    stage.run(directory=elsewhere)
    stage.run(directory=stage.directory / "below")
    stage.run("setpriv", "--reuid", "65534", "--clear-groups")
    if shutil.which("unshare"):
        stage.run("unshare", "--pid", "--fork", "--kill-child")
    assert stage.do("start").returncode == 0
    assert stage.started.exists()
    assert stage.named == ""
