# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal of a host: logged in, with a session of logind's, and typing when asked.

polkit finds an agent only for who is in a unit of the host's systemd, so the command is started by
that, through PAM as login(1) does it, on a terminal that is its own.
"""

import os
import select
import subprocess
import termios
import time
from collections.abc import Sequence

from tests.lab.inside import Inside, Result

PROMPT = b"Password: "
_AT_TERMINAL = ("systemd-run", "--quiet", "--collect", "--wait", "--pty")


def at_terminal(
    host: Inside, user: str, argv: Sequence[str], password: str = "", limit_s: float = 60.0
) -> Result:
    """Run a command as a user at a terminal, and type the password whenever it is asked for.

    Everything the terminal shows is `stdout`. Raises TimeoutError for a command that does not end.
    """
    logged_in = ["--property=PAMName=login", f"--uid={user}"]
    end, shown, asked = time.monotonic() + limit_s, b"", 0
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with host.popen([*_AT_TERMINAL, *logged_in, *argv], **streams) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while time.monotonic() < end:
            if select.select([process.stdout], [], [], 0.05)[0]:
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    break
                shown += piece
            if shown.count(PROMPT) > asked and _is_hidden(host):
                process.stdin.write(f"{password}\n")
                process.stdin.flush()
                asked += 1
        else:
            process.kill()
            raise TimeoutError(f"{argv} did not end: {shown!r}")
    return Result(shown.decode().replace("\r\n", "\n"), "", process.returncode)


def _is_hidden(host: Inside) -> bool:
    """Whether some terminal of the host hides what is typed: before that it is thrown away."""
    for path in (host.root / "dev/pts").glob("[0-9]*"):
        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            if not termios.tcgetattr(terminal)[3] & termios.ECHO:
                return True
        finally:
            os.close(terminal)
    return False
