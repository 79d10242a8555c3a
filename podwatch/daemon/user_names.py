# SPDX-License-Identifier: Apache-2.0
"""Starting a user's aardvark-dns: in the network namespace of the user's bridges, as netavark does.

It goes to the background by itself, in a unit of the user's own systemd.
"""

from pathlib import Path

from podwatch.adapters.name_server import LIMIT_S, PROGRAM, NameServerStart
from podwatch.adapters.paths import Paths
from podwatch.adapters.relay_start import Order, RelayStart
from podwatch.adapters.user_namespaces import find, member
from podwatch.words.errors import RestoreFailed

UNIT = "podwatch-dns"


class UserNameServerStart(NameServerStart):
    """As NameServerStart, for a user; the pid file is written from outside."""

    def __init__(self, paths: Paths, start: RelayStart | None = None) -> None:
        super().__init__(paths, None)
        if paths.rootless is None:
            raise RestoreFailed("root's name server needs no namespace")
        self._lock, self._directory = paths.aardvark_lock, paths.aardvark
        self._rootless = paths.rootless
        self._start = start or RelayStart(paths.rootless)

    async def start(self, aardvark: Path, port: int) -> None:
        """Start this aardvark-dns on this port, unless one runs by now. Raises PodwatchError."""
        target = member(self._rootless)
        try:
            path, mounted = find(self._rootless, target) if target else ("", 0)
        except OSError:
            path, mounted = "", 0
        if not mounted:
            raise RestoreFailed("the network namespace of the user's bridges has no file now")
        await self._start.start(
            Order(
                UNIT,
                f"{aardvark.name} of the user's networks",
                target,
                (
                    *("nsenter", f"--net={path}", "flock", "--close", "--timeout", f"{LIMIT_S:g}"),
                    *(str(self._lock), str(PROGRAM), "start", str(self._directory)),
                    *(str(aardvark), str(port)),
                ),
                itself=True,
            )
        )
