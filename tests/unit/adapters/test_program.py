# SPDX-License-Identifier: Apache-2.0
"""Starting real processes: limits of time and output, and what a child gets to see."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from podwatch.adapters.program import Result, run

SOON_S = 30.0
"""Long for any machine, and half of what the programs here take when they are waited for."""


def sh(script: str, *, timeout_s: float = 10, **more: object) -> Result:
    """Run a shell script through the adapter."""
    return asyncio.run(run(["sh", "-c", script], timeout_s=timeout_s, **more))  # type: ignore[arg-type]


def is_running(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Whether a process that was sent its signal ends."""
    deadline = time.monotonic() + SOON_S
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def test_output_and_code_are_told_apart() -> None:
    """Both streams and the exit code come back, and failure quotes the last line of stderr."""
    result = sh("echo out; echo first >&2; echo last >&2; exit 7")

    assert (result.code, result.stdout, result.stderr) == (7, "out\n", "first\nlast\n")
    assert result.failure == "exit code 7: last"
    assert sh("true").failure == ""


def test_a_missing_program_is_an_answer() -> None:
    """A program that is not there, or not executable, is told by the shell's codes and in words."""
    absent = asyncio.run(run(["podwatch-no-such-program"], timeout_s=1))
    directory = asyncio.run(run(["/etc"], timeout_s=1))

    assert (absent.code, absent.failure) == (127, "podwatch-no-such-program: not found")
    assert directory.code == 126
    assert "cannot be run" in directory.failure


def test_a_program_over_its_time_is_ended_with_its_children(tmp_path: Path) -> None:
    """At the limit the program and what it started end, and what it printed is kept."""
    pids = tmp_path / "pids"
    began = time.monotonic()
    result = sh(f"echo begun; sleep 60 & echo $! $$ > {pids}; wait", timeout_s=0.5)

    assert time.monotonic() - began < SOON_S
    assert result.code == 124
    assert result.failure == "no end after 0.5 s"
    assert result.stdout == "begun\n"
    assert all(ends(int(pid)) for pid in pids.read_text().split())


def test_a_program_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    """A program that ignores SIGTERM is gone a few seconds after its limit."""
    pid = tmp_path / "pid"
    began = time.monotonic()
    result = sh(f"trap '' TERM; echo $$ > {pid}; while :; do sleep 1; done", timeout_s=0.3)

    assert result.code == 124
    assert time.monotonic() - began < SOON_S
    assert ends(int(pid.read_text()))


def test_cancelling_ends_the_program(tmp_path: Path) -> None:
    """When the waiting task is cancelled the program does not go on by itself."""
    pid = tmp_path / "pid"

    async def body() -> None:
        task = asyncio.ensure_future(run(["sh", "-c", f"echo $$ > {pid}; sleep 60"], timeout_s=60))
        async with asyncio.timeout(SOON_S):
            while not pid.exists() or not pid.read_text():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())
    assert ends(int(pid.read_text()))


def test_output_is_bounded_and_the_program_not_held_up() -> None:
    """A program that prints more than is kept ends by itself, and is told as a failure."""
    result = sh("head -c 5000000 /dev/zero; echo end >&2", limit_bytes=100_000)

    assert len(result.stdout) == 100_000
    assert result.stderr == "end\n"
    assert result.failure == "printed more than 100000 bytes"


def test_a_daemon_left_behind_is_not_waited_for() -> None:
    """A grandchild that keeps the pipes open does not keep the caller."""
    began = time.monotonic()
    result = sh("echo done; sleep 60 & exit 0", timeout_s=60)

    assert result == Result(0, "done\n", "")
    assert time.monotonic() - began < SOON_S


def test_input_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """stdin is fed whole; LC_ALL is C; what would send podman elsewhere is not passed on."""
    monkeypatch.setenv("CONTAINER_HOST", "ssh://elsewhere")
    monkeypatch.setenv("CONTAINER_CONNECTION", "elsewhere")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    text = "x" * 300_000
    result = sh("wc -c; env", stdin=text, env={"EXTRA": "1"})

    count, *environment = result.stdout.splitlines()
    assert count.strip() == "300000"
    assert "LC_ALL=C" in environment
    assert "EXTRA=1" in environment
    assert "elsewhere" not in result.stdout


def test_without_input_it_reads_nothing() -> None:
    """A program that reads its stdin gets its end at once, not the terminal."""
    assert sh("cat").stdout == ""


def test_a_hundred_commands_leave_no_descriptor_and_no_zombie() -> None:
    """Descriptors and children are as before after a hundred commands, failing ones among them."""

    async def body() -> None:
        await run(["true"], timeout_s=5)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(100):
            await run(["sh", "-c", f"exit {number % 3}"], timeout_s=5)
            await run(["podwatch-no-such-program"], timeout_s=5)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(body())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
