# SPDX-License-Identifier: Apache-2.0
"""Starting aardvark-dns, writing its pid file, and signals to it: what is not the daemon's to do.

aardvark-dns has to outlive podwatch, and wants all of root's rights. So where systemd runs the host
it is started as a unit of its own, elsewhere as a child. Either runs one small program under the
lock that netavark takes to write entries; it looks once more whether aardvark-dns runs already.

What is to be started the unit reads from a file of the daemon's, which need not be root: it starts
nothing but an aardvark-dns that nobody but root can have put there.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from podwatch.adapters.files import write_whole
from podwatch.adapters.paths import RUN, Paths
from podwatch.adapters.program import run
from podwatch.words.errors import RestoreFailed

START_UNIT = "podwatch-dns.service"
MEND_UNIT = "podwatch-dns-pid.service"
HANG_UP_UNIT = "podwatch-dns-hup.service"
PROGRAM = Path("/usr/libexec/podwatch/name-server")

LIMIT_S = 5.0
"""So long podman waits for its lock at most, while aardvark-dns is started."""

_PLAIN = re.compile(r"/[A-Za-z0-9_./+-]+")


class Units(Protocol):
    """Who starts units and waits for the end of their jobs: systemd's adapter."""

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """How each job ended, by the unit's name; "done" where it went well."""


class NameServerStart:
    """Who starts aardvark-dns on a host. `systemd` is None where it is to be run as a child."""

    def __init__(self, paths: Paths, systemd: Units | None, *, program: Path = PROGRAM) -> None:
        self._paths = paths
        self._systemd = systemd if paths.run == RUN else None
        self._program = program

    async def start(self, aardvark: Path, port: int) -> None:
        """Start this aardvark-dns on this port, unless one runs by now. Raises PodwatchError."""
        if not _PLAIN.fullmatch(str(aardvark)):  # it goes through a file of systemd's
            raise RestoreFailed(f"{aardvark} is no path that podwatch starts")
        if self._systemd is not None:
            text = f"AARDVARK_DNS={aardvark}\nPORT={port}\n"
            write_whole(self._paths.name_server, text, mode=0o600)
        await self._do(START_UNIT, "start", str(aardvark), str(port))

    async def mend(self) -> None:
        """Have the pid file name the one that runs. Raises PodwatchError."""
        await self._do(MEND_UNIT, "mend")

    async def hang_up(self) -> None:
        """Have the one that runs read its files again. Raises PodwatchError."""
        await self._do(HANG_UP_UNIT, "hang-up")

    async def _do(self, unit: str, *words: str) -> None:
        if self._systemd is None:
            argv = [
                *("flock", "--close", "--timeout", f"{LIMIT_S:g}", str(self._paths.aardvark_lock)),
                *(str(self._program), words[0], str(self._paths.aardvark), *words[1:]),
            ]
            failure = (await run(argv, timeout_s=LIMIT_S)).failure
            if failure:
                raise RestoreFailed(f"{self._program.name} {words[0]}: {failure}")
            return
        said = (await self._systemd.run_units([unit], at_once=1, timeout_s=LIMIT_S))[unit]
        if said != "done":
            raise RestoreFailed(f"{unit}: {said}", hint=f"journalctl -u {unit}")
