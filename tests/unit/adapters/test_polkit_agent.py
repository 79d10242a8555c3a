# SPDX-License-Identifier: Apache-2.0
"""The agent at the terminal: when there is one, what it is started with, and that it ends.

Each test runs in a process with a real terminal of its own; a script is in pkttyagent's place.
"""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_ASK = """
import os, sys, termios
from podwatch.adapters import polkit_agent
agent, told = sys.argv[1:]
polkit_agent._PKTTYAGENT = agent
polkit_agent._AGENT = (*polkit_agent._AGENT[:3], agent, *polkit_agent._AGENT[4:])
with polkit_agent.asking_here():
    pid = open(told).read().strip() if os.path.exists(told) else "none"
    print("asks" if os.path.exists(f"/proc/{pid}") else "nobody", flush=True)
    BLOCK
print("echo" if termios.tcgetattr(0)[3] & termios.ECHO else "mute", flush=True)
"""
_AGENT = """#!/bin/sh
test "$1 $2" = "--fallback --notify-fd" || exit 1
echo $$ > "${0%/*}/pid"; stty -echo
eval "exec $3>&-"
exec sleep 600
"""
_IN_BACKGROUND = ("sh", "-mc", '"$@" & wait', "sh")


def at_terminal(agent: Path, block: str = "pass", shell: Sequence[str] = ()) -> list[str]:
    """What a command prints that has the agent ask; its terminal is a new one, and its own."""
    script = _ASK.replace("BLOCK", block)
    mine, its = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", *shell, sys.executable, "-c", script, agent, agent.parent / "pid"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=its,
        stdout=its,
        stderr=its,
    ):
        os.close(its)
        printed = b""
        try:
            while piece := os.read(mine, 4096):
                printed += piece
        except OSError:  # how a terminal says that nobody has its other end
            pass
    os.close(mine)
    return printed.decode().split()


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent that registers, hides what is typed, and waits; `pid` beside it is its process."""
    path = tmp_path / "agent"
    path.write_text(_AGENT)
    path.chmod(0o755)
    return path


def has_ended(agent: Path) -> bool:
    """Whether the agent that was there is no more; waits for it a while."""
    pid = (agent.parent / "pid").read_text().strip()
    argv = ["timeout", "10", "tail", f"--pid={pid}", "-f", "/dev/null"]
    return subprocess.run(argv, check=False).returncode == 0


def test_the_agent_is_there_for_the_block(agent: Path) -> None:
    """It is known to polkit before the block begins; behind it, it has ended, and one can type."""
    assert at_terminal(agent) == ["asks", "echo"]
    assert has_ended(agent)


def test_an_interrupt_leaves_no_agent(agent: Path) -> None:
    """Nor a terminal that shows nothing."""
    block = """
    try: os.kill(os.getpid(), 2)
    finally: sys.excepthook = lambda *_: print(
        "echo" if termios.tcgetattr(0)[3] & termios.ECHO else "mute", flush=True)"""
    assert at_terminal(agent, block) == ["asks", "echo"]
    assert has_ended(agent)


def test_a_killed_command_leaves_no_agent(agent: Path) -> None:
    """It ends with who started it, however that ends."""
    assert at_terminal(agent, "os.kill(os.getpid(), 9)") == ["asks"]
    assert has_ended(agent)


def test_an_agent_that_fails_asks_nobody(agent: Path) -> None:
    """As where polkit does not run: the call is made all the same, and says what is missing."""
    agent.write_text("#!/bin/sh\nexit 1\n")

    assert at_terminal(agent) == ["nobody", "echo"]


def test_in_the_background_no_agent_is_started(agent: Path) -> None:
    """The kernel would stop it as soon as it reads."""
    assert at_terminal(agent, shell=_IN_BACKGROUND) == ["nobody", "echo"]
    assert not (agent.parent / "pid").exists()


def test_without_the_program_nobody_is_asked(tmp_path: Path) -> None:
    """polkit need not be installed."""
    assert at_terminal(tmp_path / "nowhere") == ["nobody", "echo"]


def test_without_a_terminal_no_agent_is_started(agent: Path) -> None:
    """As under cron."""
    script = _ASK.replace("BLOCK", "raise SystemExit")
    done = subprocess.run(
        [sys.executable, "-c", script, agent, agent.parent / "pid"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "nobody\n"
    assert not (agent.parent / "pid").exists()
