# SPDX-License-Identifier: Apache-2.0
"""pkttyagent(1), by which polkit asks for a password at the terminal where a command was typed.

On a desktop there is an agent already, and this one steps back (`--fallback`). It is started as
systemctl(1) does it. Unlike what `program.py` runs it has the terminal, and so the process group
of who typed: in another one the kernel would let it read nothing. It serves its parent alone.
"""

import os
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# setpriv becomes the agent, which then ends with podwatch, also where that is killed.
_SETPRIV, _PKTTYAGENT = "/usr/bin/setpriv", "/usr/bin/pkttyagent"
_AGENT = (_SETPRIV, "--pdeathsig", "TERM", _PKTTYAGENT, "--fallback", "--notify-fd")
_REGISTERED_WITHIN_S = 10.0
_ENDED_WITHIN_S = 2.0


@contextmanager
def asking_here() -> Iterator[None]:
    """For the block polkit can ask at this terminal, if there is one, and an agent."""
    is_there = all(os.access(program, os.X_OK) for program in (_SETPRIV, _PKTTYAGENT))
    if not (is_there and _is_at_terminal()):
        yield
        return
    terminal = sys.stdin.fileno()
    settings = termios.tcgetattr(terminal)
    registered, told = os.pipe()
    agent = None
    try:
        with suppress(OSError):
            agent = subprocess.Popen([*_AGENT, str(told)], pass_fds=[told])
        os.close(told)
        # The agent closes its end once polkit knows it, and when it ends.
        select.select([registered], [], [], _REGISTERED_WITHIN_S)
        yield
    finally:
        os.close(registered)
        if agent is not None:
            _end(agent)
            # One that ends while it waits for a password leaves a terminal that shows nothing.
            with suppress(termios.error):
                termios.tcsetattr(terminal, termios.TCSADRAIN, settings)


def _is_at_terminal() -> bool:
    """Whether the command has a terminal to itself: what runs in the background reads nothing."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # no terminal, another's, or a closed one
        return False


def _end(agent: subprocess.Popen[bytes]) -> None:
    agent.terminate()
    try:
        agent.wait(_ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()
