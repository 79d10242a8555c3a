# SPDX-License-Identifier: Apache-2.0
"""A host for the guard: a kernel that keeps what it is told, files of netavark's, and a keeper."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podwatch.adapters.nft_files import NftFiles
from podwatch.adapters.paths import Paths
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon.guard import Guard
from podwatch.daemon.guard_table import GuardTable
from podwatch.daemon.who_runs import WhoRuns
from podwatch.drivers.nftables import expected_rules
from podwatch.words.errors import PodwatchError, RulesUnreadable
from podwatch.words.guard import GuardMode
from podwatch.words.network import Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from tests.unit.drivers.installed import chains_of

SOON_S = 10.0
NETWORK = "a" * 64


@dataclass
class FakeNft:
    """A socket that commits, or fails: `fails` has what the next commits raise, None for none.

    `done` are the scripts that were committed; `counted` is what the counter says.
    """

    done: list[str] = field(default_factory=list)
    fails: list[PodwatchError | None] = field(default_factory=list)
    counted: int | None = 0
    closed: int = 0

    async def apply(self, script: str) -> None:
        """Commit a script."""
        failure = self.fails.pop(0) if self.fails else None
        if failure is not None:
            raise failure
        self.done.append(script)

    async def count(self, family: str, table: str, counter: str) -> int:
        """The packets of a counter."""
        if self.counted is None:
            raise RulesUnreadable(f"no counter {family} {table} {counter}")
        return self.counted

    def close(self) -> None:
        """Let go of the socket."""
        self.closed += 1


class GuardHost:
    """The files that a guard reads, below a directory of the test's, and all that it tells."""

    def __init__(self, tmp_path: Path, mode: GuardMode = GuardMode.FULL) -> None:
        self.nft = FakeNft()
        self.now, self.against = 1000.0, ""
        self.ended: set[str] = set()
        self.sections: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.conf = tmp_path / "nftables.conf"
        self.paths = Paths(netavark_state=tmp_path / "firewall", addresses=tmp_path / "ipam.db")
        for kind in ("networks", "ports"):
            (self.paths.netavark_state / kind).mkdir(parents=True)
        self.write("firewall-driver", "nftables")
        self.network()
        names = iter(range(0x10, 0x100))
        self.guard = Guard(
            self.paths,
            mode,
            lambda: self.against,
            self.sections.append,
            self._complain,
            table=GuardTable(
                lambda: self.nft,
                is_there=lambda *_: False,
                fresh=lambda: f"podwatch-guard-00{next(names):x}",
            ),
            files=NftFiles((self.conf,)),
            who_runs=WhoRuns(self.paths, lambda: self.now, ended=lambda *_: self.ended),
        )

    def _complain(self, error: PodwatchError) -> None:
        self.complaints.append(str(error))

    @property
    def section(self) -> dict[str, Any]:
        """What the status says by now."""
        return self.sections[-1]

    def write(self, name: str, text: str) -> None:
        """A file of netavark's state."""
        (self.paths.netavark_state / name).write_text(text, encoding="utf-8")

    def network(self) -> None:
        """The state of the one network."""
        found = {"subnets": ["10.89.3.0/24"], "bridge_name": "podman1", "network_id": NETWORK}
        self.write(f"networks/{NETWORK}", json.dumps(found))

    def container(self, number: int) -> Path:
        """The state of a container that publishes a port of its number."""
        name = f"ports/{NETWORK}_{number:064x}"
        mapping = {"container_port": 80, "host_ip": "", "host_port": number, "protocol": "tcp"}
        found = {
            "container_id": f"{number:064x}",
            "network_id": NETWORK,
            "network_name": "net",
            "port_mappings": [{**mapping, "range": 1}],
            "container_ip_v4": f"10.89.3.{number}",
            "subnet_v4": "10.89.3.0/24",
        }
        self.write(name, json.dumps(found))
        return self.paths.netavark_state / name

    def look(
        self,
        *,
        alive: Setup | None = None,
        knows: bool = True,
        front: str = "",
        lost: bool = False,
        unread: bool = False,
    ) -> None:
        """A look at all that is set up: everybody runs, or those `alive`; or it knows nothing.

        Rules are there, with somebody else's in `front` of one chain's, or they are `lost`, or
        `unread`.
        """
        whole = StateDirectory(self.paths.netavark_state).read() if knows else None
        rules = expected_rules(whole, Ruleset(present=True)) if whole else []
        chains = chains_of(rules)
        if front:
            post = chains["POSTROUTING"]
            chains["POSTROUTING"] = replace(post, rules=(front, *post.rules))
        seen = Ruleset(present=not lost, chains={} if lost else chains)
        missing = (Missing(MissingKind.TABLE, "table inet netavark is gone", ""),) if lost else ()
        verdict = Verdict(State.OK, missing, setup=alive or whole, rules=tuple(rules))
        self.guard.seen(
            Snapshot(setup=whole, rules=None if unread else seen, firewalld=None), verdict
        )

    def keep(self, *during: Callable[[], Awaitable[None]]) -> None:
        """Run the keeper, do this while it runs, and stop it."""

        async def body() -> None:
            loop = asyncio.get_running_loop()
            self.guard.watch.attach(loop)
            running = loop.create_task(self.guard.run())
            try:
                for act in during:
                    await act()
            finally:
                running.cancel()
                self.guard.watch.close()
                await asyncio.wait([running])
            if not running.cancelled() and (error := running.exception()):
                raise error

        asyncio.run(body())

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until this is so."""
        async with asyncio.timeout(SOON_S):
            while not is_so():
                await asyncio.sleep(0.001)

    async def reports(self, **what: object) -> None:
        """Wait until the status says this."""
        await self.until(lambda: self.sections and {key: self.section[key] for key in what} == what)
