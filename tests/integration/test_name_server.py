# SPDX-License-Identifier: Apache-2.0
"""The program that starts aardvark-dns, with real processes: what it takes for aardvark-dns."""

import os
import shutil
import signal
import subprocess
import tempfile
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


@pytest.fixture
def asked(stage: Stage, tmp_path: Path) -> Iterator[Path]:
    """Where podwatch says what is to be started: an aardvark-dns that only root can have put there.

    Not below /tmp, where anybody may write.
    """
    place = Path(tempfile.mkdtemp(dir="/root"))
    stage.aardvark = place / "aardvark-dns"
    stage.aardvark.write_text(_STARTED)
    stage.aardvark.chmod(0o755)
    file = tmp_path / "name-server.env"
    file.write_text(f"AARDVARK_DNS={stage.aardvark}\nPORT=1053\n")
    yield file
    shutil.rmtree(place)


def ask(stage: Stage, file: Path) -> str:
    """Have started what the file names; what is said where that is refused."""
    argv = [str(PROGRAM), "asked", str(stage.directory), str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode == 0) is (not done.stderr)
    return done.stderr


def test_what_podwatch_asks_for_is_started(stage: Stage, asked: Path) -> None:
    """The program and port of its file, a link of root's on the way resolved."""
    assert ask(stage, asked) == ""
    assert stage.started.read_text() == f"--config {stage.directory} -p 1053 run\n"
    stage.started.unlink()
    (stage.aardvark.parent / "link").symlink_to(stage.aardvark)
    asked.write_text(f"AARDVARK_DNS={stage.aardvark.parent}/link\nPORT=53\n")
    assert ask(stage, asked) == ""
    assert stage.started.exists()


@pytest.mark.parametrize(
    "said",
    [
        "",
        "PORT=53",
        "AARDVARK_DNS={}",
        "AARDVARK_DNS={}\nPORT=5x",
        "AARDVARK_DNS={}\nPORT=100000",
        "AARDVARK_DNS={}\nPORT=53 --evil",
        "AARDVARK_DNS=/bin/true\nPORT=53",
        "AARDVARK_DNS=/none/aardvark-dns\nPORT=53",
        "LD_PRELOAD=/run/podwatch/evil.so\nPORT=53",
    ],
)
def test_what_makes_no_sense_starts_nothing(stage: Stage, asked: Path, said: str) -> None:
    """Who writes the file need not be root."""
    asked.write_text(said.format(stage.aardvark))
    assert "refused: " in ask(stage, asked)
    assert not stage.started.exists()


@pytest.mark.parametrize("whose", ["file", "group", "world", "directory", "link"])
def test_a_program_that_another_can_have_put_there_is_not_started(
    stage: Stage, asked: Path, tmp_path: Path, whose: str
) -> None:
    """It, or a directory above it, is another's, or for another to write; a link leads nowhere."""
    if whose == "file":
        os.chown(stage.aardvark, 65534, -1)
    elif whose == "directory":
        os.chown(stage.aardvark.parent, 65534, -1)
    elif whose == "link":
        theirs = tmp_path / "aardvark-dns-of-theirs"
        theirs.write_text(_STARTED)
        theirs.chmod(0o755)
        stage.aardvark.unlink()
        stage.aardvark.symlink_to(theirs)
    else:
        stage.aardvark.chmod(0o775 if whose == "group" else 0o757)
    assert "is no aardvark-dns of root's alone" in ask(stage, asked)
    assert not stage.started.exists()


def test_a_link_is_no_file_to_be_asked_by(stage: Stage, asked: Path) -> None:
    """Nor is a FIFO, which would be waited for."""
    link = asked.with_name("link")
    link.symlink_to(asked)
    assert "is no file" in ask(stage, link)
    os.mkfifo(asked.with_name("fifo"))
    assert "is no file" in ask(stage, asked.with_name("fifo"))
    assert not stage.started.exists()


def test_one_that_runs_is_told_to_read_its_files(stage: Stage) -> None:
    """By SIGHUP; where none runs, none is started."""
    assert stage.do("hang-up").returncode == 0
    assert not stage.started.exists()
    stage.run()
    assert stage.do("hang-up").returncode == 0
    assert stage.processes[0].wait(10) == -signal.SIGHUP
    assert stage.named == ""
