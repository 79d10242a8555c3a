# SPDX-License-Identifier: Apache-2.0
"""The name server as looks see it, and its repair.

It is started by whoever finds it dead: netavark with the next container, or podwatch. Two that
start it at once would cost a container its network, as the second one fails. So podwatch keeps
podman off its networks while it looks for the last time and starts it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from podwatch.adapters import links
from podwatch.adapters.aardvark import PROGRAM, Aardvark, started_with
from podwatch.daemon.installed import Installed
from podwatch.decide.reload_gates import no_start
from podwatch.words.errors import RestoreFailed, Unreadable
from podwatch.words.gates import Gates
from podwatch.words.links import Links
from podwatch.words.names import HUNG_S, NameServer, Place
from podwatch.words.network import Setup
from podwatch.words.snapshot import Part, Unknown

HUNG_ONCE_S = 2.0
"""So long who looks once waits for a query to be read; the daemon waits for a busy host, too."""

_AGAIN_S = 0.1


class Names:
    """aardvark-dns with what was seen of it before. `clock` counts seconds."""

    def __init__(
        self,
        installed: Installed,
        *,
        aardvark: Aardvark | None = None,
        read_links: Callable[[], Links] = links.read,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._installed = installed
        self._aardvark = aardvark or Aardvark(installed.paths.aardvark)
        self._read_links = read_links
        self._clock = clock
        self._seen: NameServer | None = None
        self._unread: dict[Place, tuple[float, int]] = {}
        """Where bytes wait: since when, and how many by now."""
        self._hung_s = HUNG_S

    def read(self, setup: Setup | None, unknown: list[Unknown]) -> NameServer | None:
        """aardvark-dns; None where there are no files of names, or where that is `unknown`."""
        try:
            found = self._aardvark.read()
        except Unreadable as exc:
            unknown.append(Unknown(Part.NAMES, "aardvark-dns", str(exc), exc.hint))
            found = None
        self._seen = found and self._completed(found, setup)
        return self._seen

    def are_others(self, setup: Setup | None) -> bool:
        """Whether files or processes are not what they were at the last look, or one hangs now."""
        before = self._seen
        now = self.read(setup, [])
        if before is None or now is None:
            return before is not now
        return _kept(before) != _kept(now)

    async def listen(self, setup: Setup | None) -> None:
        """Where queries wait to be read: see for a moment whether any is.

        For who looks once, and cannot see later how long they have been waiting.
        """
        self._hung_s = HUNG_ONCE_S
        for _ in range(round(HUNG_ONCE_S / _AGAIN_S) + 2):
            if not self._unread:
                return
            await asyncio.sleep(_AGAIN_S)
            self.read(setup, [])

    def has_ended(self) -> bool:
        """Whether one that ran at the last look does so no more: names do not resolve now."""
        seen = self._seen
        return seen is not None and not all(map(self._aardvark.serves, seen.running))

    async def mend(self, setup: Setup | None) -> str:
        """Have one aardvark-dns run, listen and be named; what was done about it.

        Raises PodwatchError where it cannot be, or must not be now.
        """
        with self._installed.lock.keeping_off():
            server = self._aardvark.read(scan=True)
            if server is None or not server.served:
                return "no container asks for names any more"
            server = self._completed(server, setup)
            if len(server.running) > 1:
                raise RestoreFailed(f"{PROGRAM} runs {len(server.running)} times")
            if not server.running:
                return await self._start(server)
            pid = server.running[0]
            if not server.is_alive:
                await self._installed.name_server.mend()
                return f"{server.pid_file} names {pid} again"
            if not self._aardvark.hang_up(pid):
                await self._installed.name_server.hang_up()
            return f"{PROGRAM} ({pid}) was told to listen on all its addresses"

    async def _start(self, server: NameServer) -> str:
        """Start it where nothing forbids it."""
        gates = Gates(
            self._read_links(),
            self._installed.networks.read_files(),
            server,
            frozenset({server.port}),
            frozenset(server.sockets),
        )
        if forbidden := no_start(gates):
            raise RestoreFailed(f"{PROGRAM} cannot be started: {forbidden[0]}")
        program = self._installed.networks.read_program(PROGRAM)
        if program is None:
            raise RestoreFailed(f"{PROGRAM} is not installed", hint=f"install {PROGRAM}")
        await self._installed.name_server.start(program, server.port)
        found = self._aardvark.read(scan=True)
        if found is None or not found.is_alive:
            raise RestoreFailed(f"{PROGRAM} was started, and does not run")
        return f"{PROGRAM} was started again ({found.named})"

    def _completed(self, server: NameServer, setup: Setup | None) -> NameServer:
        """The server with its port, and for how long it has read nothing."""
        ports = [] if setup is None else [endpoint.dns_port for endpoint in setup.endpoints]
        port = (
            started_with(self._aardvark.command)
            or next(iter(ports), 0)
            or self._installed.networks.read_dns_port()
        )
        sockets = {place: waiting for place, waiting in server.sockets.items() if place[1] == port}
        own = {(address, port) for served in server.served for address in served.addresses}
        now = self._clock()
        unread = {}
        for place in own & sockets.keys() if server.running else ():
            if waiting := sockets[place]:
                since, before = self._unread.get(place, (now, 0))
                unread[place] = (since if waiting >= before else now, waiting)
        self._unread = unread
        deaf_s = max((now - since for since, _ in unread.values()), default=0.0)
        return replace(server, sockets=sockets, port=port, deaf_s=deaf_s, hung_s=self._hung_s)


def _kept(server: NameServer) -> tuple[NameServer, bool]:
    """What changes only when something has happened."""
    sockets = dict.fromkeys(server.sockets, 0)
    return replace(server, sockets=sockets, deaf_s=0.0), server.hangs
