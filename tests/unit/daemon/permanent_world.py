# SPDX-License-Identifier: Apache-2.0
"""firewalld's permanent configuration, Podman's files of networks, and podwatch beside them."""

import asyncio
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from podwatch.daemon.kept_sources import KeptSources
from podwatch.daemon.permanent import PermanentLook
from podwatch.words.errors import BusUnavailable, PodwatchError
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass, FirewallDriver, Setup
from podwatch.words.snapshot import Firewalld, Permanent, Snapshot
from tests.unit.decide.one_network import NETWORK, SUBNET, endpoint

FIRST = str(SUBNET)
APP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (endpoint("a" * 64),))
NOBODY = Setup(FirewallDriver.NFTABLES)
FILE = NetworkFile("podman", ContainerClass.BRIDGE, "podman0", (SUBNET,))
REFUSED = BusUnavailable("addSource: ZONE_CONFLICT", hint="org.fedoraproject.FirewallD1.Exception")
RUNS = Firewalld(running=True)


class FakePermanent:
    """The adapter, and firewalld behind it: `asked` is what was asked of it, in order."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.policy = {"INPUT": "DROP", "FORWARD": "ACCEPT", "OUTPUT": "DROP"}
        self.asked: list[str] = []
        self.changes = 0
        self.conf = 1
        self.fails: PodwatchError | None = None
        self.refuses: PodwatchError | None = None

    def stamp(self) -> object:
        """firewalld.conf's."""
        return self.conf

    async def read(self, subnets: Iterable[str]) -> Permanent:
        """What it has."""
        self.asked.append(f"read {' '.join(subnets)}".strip())
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails
        return Permanent("2.3.1", by_nftables=True, sources=dict(self.sources), policy=self.policy)

    async def add(self, subnet: str) -> None:
        """A source more, of which it tells."""
        self.asked.append(f"add {subnet}")
        if self.refuses:
            raise self.refuses
        self.sources[subnet] = "trusted"
        self.changes += 1

    async def remove(self, subnet: str) -> None:
        """A source less, of which it tells."""
        self.asked.append(f"remove {subnet}")
        if self.refuses:
            raise self.refuses
        del self.sources[subnet]
        self.changes += 1


class FakeNetworks:
    """Podman's files of networks."""

    def __init__(self) -> None:
        self.files: dict[str, NetworkFile] = {"podman": FILE}
        self.has_all = True

    def read_files(self) -> dict[str, NetworkFile]:
        """Each by its name."""
        return dict(self.files)


class World:
    """The real look and keeper between them; `heard` counts the news, `now` is the clock's."""

    def __init__(self, path: Path, *, tells: bool = True, keeps: bool = False) -> None:
        self.path = path
        self.firewalld = FakePermanent()
        self.networks = FakeNetworks()
        self.heard = 0
        self.now = 1000.0
        self.permanent = self.anew(tells=tells, keeps=keeps)

    def anew(self, *, tells: bool = True, keeps: bool = False) -> PermanentLook:
        """podwatch, started once more."""
        firewalld: Any = self.firewalld
        networks: Any = self.networks
        kept = KeptSources(firewalld, networks, self.path, lambda: self.now)
        made = PermanentLook(
            firewalld, lambda: self.firewalld.changes, kept, self._hear, lambda: self.now
        )
        made.tells, made.keeps = tells, keeps
        made.remember()
        self.permanent = made
        return made

    def _hear(self) -> None:
        self.heard += 1

    async def look(
        self,
        setup: Setup | None = APP,
        firewalld: Firewalld | None = RUNS,
        *,
        acts: bool = True,
        **how: Any,
    ) -> list[str]:
        """A look, and all that comes of it; what firewalld was asked."""
        self.firewalld.asked.clear()
        self.permanent.look_soon(Snapshot(setup, None, firewalld, **how), setup, acts=acts)
        await self.settle()
        return self.firewalld.asked

    async def settle(self) -> None:
        """Wait for what was begun."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run it."""
    asyncio.run(body)
