# SPDX-License-Identifier: Apache-2.0
"""A lab host with the built package installed and its containers running.

Owns the waiting: everything here waits for a condition, up to a limit, and says what it last saw.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.containers import ContainerSet, standard_set
from tests.lab.host import Host
from tests.lab.inside import Inside, Result
from tests.lab.machine import until

TOP = Path(__file__).resolve().parent.parent.parent
STATUS = "/run/podwatch/status.json"
CONFIG = "/etc/podwatch/podwatch.conf"


def built_package() -> Path:
    """The deb that `make test` built in its stage before the end-to-end tests."""
    packages = sorted((TOP / "dist").glob("podwatch_*_all.deb"))
    if not packages:
        raise AssertionError("no package in dist/: make deb")
    return packages[-1]


on_one_suite = pytest.mark.parametrize("there", ["trixie"], indirect=True)
"""For what is podwatch's own doing, and the same whatever the suite brings."""

LOSSES_AT_ONCE = 6
"""So many losses within seconds are no flapping yet: the next repair is as quick as the first."""

PATIENCE = 3
"""How much longer than on a machine that does nothing else a condition is waited for: other tests'
hosts boot beside."""
MIN_LIMIT_S = 8.0
"""So long, times PATIENCE, anything is waited for: less than until the next slow look."""


class Told(ABC):
    """What podwatch says to one who asks it: to root of the host, to a user of their own."""

    @property
    @abstractmethod
    def asks(self) -> Inside:
        """Who asks, and whose podwatch.service it is."""

    @property
    @abstractmethod
    def status_file(self) -> str:
        """Where that podwatch writes its status."""

    @property
    @abstractmethod
    def config(self) -> str:
        """Their file of settings."""

    def status(self) -> dict[str, Any]:
        """The status document as it is now."""
        text = Path(f"{self.asks.root}{self.status_file}").read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text)
        return document

    def check(self) -> Result:
        """One look by `podwatch check`."""
        return self.asks.run(["podwatch", "check"], check=False)

    def until(self, condition: Callable[[], bool], what: str, limit_s: float = 15.0) -> float:
        """Wait for a condition; the seconds it took. Fails, naming `what` and the status.

        `limit_s` is what it may take on a machine that does nothing else.
        """
        limit_s = PATIENCE * max(limit_s, MIN_LIMIT_S)
        began = time.monotonic()
        if not until(condition, limit_s):
            told = self.asks.run(["podwatch", "status", "--all"], check=False).stdout
            journal = self.asks.journal("podwatch")[-3000:]
            raise AssertionError(f"not {what} within {limit_s:.0f} s:\n{told}\n{journal}")
        return time.monotonic() - began

    def main_pid(self) -> str:
        """The process of podwatch.service; 0 where it does not run."""
        return self.asks.unit_show("podwatch", "MainPID")["MainPID"]

    def rss_kb(self) -> int:
        """The resident memory of podwatch.service's process."""
        status = self.asks.read(f"/proc/{self.main_pid()}/status")
        return int(status.split("VmRSS:")[1].split()[0])

    def until_another(self, pid: str) -> None:
        """Wait until podwatch.service has another process than this one."""
        self.until(lambda: self.main_pid() not in (pid, "0"), "started again", 20)

    def start_anew(self) -> None:
        """Restart podwatch: it forgets how often it has repaired, and slows down for nobody."""
        self.asks.run([*self.asks.systemctl, "restart", "podwatch"])
        self.until(lambda: self.status()["state"] == "ok", "ok after a restart")

    def incidents(self) -> int:
        """How many losses podwatch has seen since it started."""
        return int(self.status()["counters"]["incidents"])

    def history(self) -> list[dict[str, Any]]:
        """Every loss that is written down, the oldest first."""
        return [incident for incident in self.written() if incident["missing"]]

    def written(self) -> list[dict[str, Any]]:
        """The whole history: what was told and left, too."""
        told = self.asks.run(["podwatch", "history", "--json", "-n", "0"]).stdout
        return [json.loads(line) for line in told.splitlines()]

    @contextmanager
    def configured(self, text: str) -> Iterator[None]:
        """Run podwatch with this configuration for the block."""
        self.asks.write(self.config, text)
        self.asks.run([*self.asks.systemctl, "reload", "podwatch"])
        try:
            yield
        finally:
            self.asks.run(["rm", "-f", self.config])
            self.asks.run([*self.asks.systemctl, "reload", "podwatch"])


@dataclass
class Installed(Told):
    """The host, its containers, and what root's podwatch says there."""

    host: Host
    containers: ContainerSet
    status_file = STATUS
    config = CONFIG

    @property
    def asks(self) -> Inside:
        """Root asks."""
        return self.host

    def until_whole(self, limit_s: float = 15.0) -> float:
        """Wait until every port answers, every container gets out, and `check` finds all."""
        return self.until(
            lambda: not self.containers.probe_all() and self.check().code == 0, "whole", limit_s
        )

    def lose_the_table(self) -> None:
        """Delete netavark's table."""
        self.host.nft("delete", "table", "inet", "netavark")

    def pace_s(self) -> float:
        """What a listing of netavark's table takes root at this moment, in seconds.

        By how much it grows, anything slows down that other processes alone hold up.
        """
        took = []
        for _ in range(3):
            began = time.monotonic()
            self.host.nft("list", "table", "inet", "netavark")
            took.append(time.monotonic() - began)
        return min(took)

    def reloads(self) -> int:
        """How many times a container's network was reloaded since the host booted."""
        script = "journalctl --no-pager --quiet _PID=1 | grep -c 'Starting podwatch-reload@'"
        return int(self.host.shell(script, check=False).stdout)


@contextmanager
def installed(suite: str, *, containers_conf: str | None = None) -> Iterator[Installed]:
    """Boot a host of this suite, install the package, start the standard containers."""
    with Host(suite, containers_conf=containers_conf) as host:
        host.install(built_package())
        there = Installed(host, standard_set(host))
        there.until_whole(30)
        yield there
