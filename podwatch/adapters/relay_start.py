# SPDX-License-Identifier: Apache-2.0
"""Starting a relay again, so that it outlives podwatch.

As a unit of the user's own systemd, which gives it a cgroup of its own; where there is none, as a
child in a session of its own, which ends with the session podwatch runs in. Either runs one small
program, which enters the namespaces that podman's own relays are in.
"""

from dataclasses import dataclass
from pathlib import Path

from podwatch.adapters.paths import Rootless
from podwatch.adapters.program import run
from podwatch.words.errors import RestoreFailed

PROGRAM = Path("/usr/libexec/podwatch/relay")
LIMIT_S = 10.0
_ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """One relay to start: `unit` without its suffix, `target` a process in the namespaces.

    `itself`: it goes to the background by itself. `end` is the pipe that ends it, by its path in
    /proc, `pid_file` where its number goes, `config` what it reads; each "" for none.
    """

    unit: str
    what: str
    target: int
    argv: tuple[str, ...]
    itself: bool = False
    end: str = ""
    pid_file: str = ""
    config: str = ""


class RelayStart:
    """Who starts relays for a user."""

    def __init__(self, rootless: Rootless, *, program: Path = PROGRAM) -> None:
        self._program = program
        self._manager = rootless.directory / "systemd/private"

    @property
    def has_systemd(self) -> bool:
        """Whether the user has a systemd of their own."""
        return self._manager.exists()

    async def start(self, order: Order) -> str:
        """Start it, and wait until it is ready; where it runs now. Raises RestoreFailed."""
        argv = [
            *(str(self._program), "itself" if order.itself else "ready", str(order.target)),
            *(order.end, order.pid_file, order.config, *order.argv),
        ]
        if not self.has_systemd:
            failure = (await run(argv, timeout_s=LIMIT_S)).failure
            if failure:
                raise RestoreFailed(f"{order.what} cannot be started: {failure}")
            return "a session of its own, without systemd: it ends with this login"
        unit = f"{order.unit}.service"
        # What is left of one that was started before, and has ended.
        await run(("systemctl", "--user", "stop", unit), timeout_s=_ASK_S)
        await run(("systemctl", "--user", "reset-failed", unit), timeout_s=_ASK_S)
        begun = await run(
            (
                *("systemd-run", "--user", "--quiet", "--collect", f"--unit={order.unit}"),
                f"--description={order.what}",
                "--property=Type=forking",
                f"--property=TimeoutStartSec={LIMIT_S:g}",
                "--",
                # A dollar sign stands for a variable there.
                *(word.replace("$", "$$") for word in argv),
            ),
            timeout_s=LIMIT_S + _ASK_S,
        )
        if begun.failure:
            raise RestoreFailed(
                f"{order.what} cannot be started: {begun.failure}",
                hint=f"journalctl --user -u {unit}",
            )
        return unit
