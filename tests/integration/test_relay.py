# SPDX-License-Identifier: Apache-2.0
"""The program that starts a relay, with real namespaces: what it hands on, and when it is back."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PROGRAM = TOP / "units/relay"
LIMIT_S = 10.0

# As rootlessport it keeps the descriptor open by which it says that it is ready.
_READY = """#!/bin/sh
cat > {0}/config
readlink /proc/self/ns/user > {0}/user
echo "$@" > {0}/words
printf 1 >&4
cat <&3 > /dev/null
echo ended > {0}/ended
"""
_FAILS = """#!/bin/sh
echo "no port" >&2
exit 1
"""
_ITSELF = """#!/bin/sh
readlink /proc/self/ns/user > {0}/user
echo "$@" > {0}/words
exit 7
"""


class Stage:
    """A process in namespaces of its own, and programs that run as relays there."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.inside = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "echo; read -r _"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.inside.stdout is not None
        if self.inside.stdout.readline() != b"\n":
            self.inside.communicate()
            pytest.skip("this machine makes no user namespaces")
        self.read_end, self.write_end = os.pipe()

    def do(
        self, how: str, script: str, *words: str, pid_file: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Start a script as a relay, and wait until the program is back."""
        relay = self.top / "pasta"
        relay.write_text(script.format(self.top))
        relay.chmod(0o755)
        end = f"/proc/{os.getpid()}/fd/{self.write_end}" if how == "ready" else ""
        argv = [
            str(PROGRAM),
            how,
            str(self.inside.pid),
            end,
            pid_file,
            '{"a": "b c"}',
            str(relay),
            *words,
        ]
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=LIMIT_S, close_fds=True
        )

    def said(self, name: str) -> str:
        """What a script wrote to this file, once it has."""
        file = self.top / name
        until = time.monotonic() + LIMIT_S
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < until, f"{name} was not written"
            time.sleep(0.01)
        return file.read_text()

    def close(self) -> None:
        """End all: whoever waits for the pipe's end, too."""
        for descriptor in (self.read_end, self.write_end):
            if descriptor >= 0:
                os.close(descriptor)
        self.inside.communicate()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Namespaces of a user's containers."""
    made = Stage(tmp_path)
    yield made
    made.close()


def test_it_is_back_when_the_relay_is_ready(stage: Stage) -> None:
    """Which runs on in the user's namespace, and reads what it is to do."""
    done = stage.do("ready", _READY, "-c", "a b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stage.said("config") == '{"a": "b c"}'
    assert stage.said("words") == "-c a b\n"
    assert stage.said("user").strip() == os.readlink(f"/proc/{stage.inside.pid}/ns/user")
    assert not (stage.top / "ended").exists()


def test_the_relay_ends_with_whoever_holds_its_pipe(stage: Stage) -> None:
    """conmon does, and ends with its container."""
    stage.do("ready", _READY)
    os.close(stage.write_end)
    stage.write_end = -1
    assert stage.said("ended") == "ended\n"


def test_its_number_is_written_without_a_newline(stage: Stage) -> None:
    """podman 4 takes none."""
    stage.do("ready", _READY, pid_file=str(stage.top / "pid"))
    pid = (stage.top / "pid").read_text()
    assert pid.isdecimal()
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert str(stage.top / "pasta").encode() in command


def test_one_that_does_not_become_ready_is_told(stage: Stage) -> None:
    """And has no pid file."""
    done = stage.do("ready", _FAILS, pid_file=str(stage.top / "pid"))
    assert done.returncode == 1
    assert "did not become ready" in done.stderr
    assert not (stage.top / "pid").exists()


def test_one_that_goes_to_the_background_by_itself_is_run_as_it_is(stage: Stage) -> None:
    """How it ends is how the program ends."""
    done = stage.do("itself", _ITSELF, "--netns", "/x y")
    assert done.returncode == 7
    assert stage.said("words") == "--netns /x y\n"
    assert stage.said("user").strip() == os.readlink(f"/proc/{stage.inside.pid}/ns/user")


def test_a_container_that_has_ended_has_no_relay_any_more(stage: Stage) -> None:
    """The pipe is not there: nothing is started."""
    os.close(stage.write_end)
    stage.write_end = -1
    done = stage.do("ready", _READY)
    assert done.returncode != 0
    assert not (stage.top / "config").exists()
