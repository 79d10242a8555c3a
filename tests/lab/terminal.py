# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal of a host: logged in, with a session of logind's, and typing when asked.

polkit finds an agent only for who is in a unit of the host's systemd, so the command is started by
that, through PAM as login(1) does it, on a terminal that is its own.
"""

import os
import pty
import select
import termios
import time
from collections.abc import Sequence

from tests.lab.inside import Inside, Result

PROMPT = b"Password: "
_LOGGED_IN = ("systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--property=PAMName=login")
_OWN_TERMINAL = ("setsid", "--ctty", "--wait")


def at_terminal(
    host: Inside, user: str, argv: Sequence[str], password: str = "", limit_s: float = 60.0
) -> Result:
    """Run a command as a user at a terminal, and type the password whenever it is asked for.

    Everything the terminal shows is `stdout`. Raises TimeoutError for a command that does not end.
    """
    mine, its = pty.openpty()
    end, shown, asked = time.monotonic() + limit_s, b"", 0
    try:
        with host.popen(
            [*_LOGGED_IN, f"--uid={user}", *_OWN_TERMINAL, *argv], stdin=its, stdout=its, stderr=its
        ) as process:
            while process.poll() is None or select.select([mine], [], [], 0)[0]:
                if select.select([mine], [], [], 0.05)[0]:
                    shown += os.read(mine, 65536)
                # What is typed before the prompt hides it would be thrown away.
                if shown.count(PROMPT) > asked and not termios.tcgetattr(its)[3] & termios.ECHO:
                    os.write(mine, f"{password}\n".encode())
                    asked += 1
                if time.monotonic() > end:
                    process.kill()
                    raise TimeoutError(f"{argv} did not end: {shown!r}")
    finally:
        os.close(mine)
        os.close(its)
    return Result(shown.decode().replace("\r\n", "\n"), "", process.returncode)
