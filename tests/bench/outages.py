# SPDX-License-Identifier: Apache-2.0
"""How long containers are off the network, by fault and by who puts the rules back.

One host for all numbers of containers, which only grow. Of the published ports a sample is watched,
and the way out of one container, both as the client outside sees them; the load of watching every
port of hundreds would be most of what is measured. All ways take turns, so that whatever else the
machine does falls on each of them alike.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.report import NEVER, Outage
from tests.e2e.installed import STATUS, built_package
from tests.lab.containers import ContainerSet, many
from tests.lab.errors import LabError
from tests.lab.faults import Fault
from tests.lab.host import Host

PODWATCH = "podwatch"
LIMIT = "nft -f of the saved table"
RELOAD = "podman network reload --all"
UNIT = "netavark-firewalld-reload.service"
ONE_SHOT = "netavark firewall-reload"

WAYS = (PODWATCH, LIMIT, RELOAD, UNIT, ONE_SHOT)

_FLUSH = "nft flush ruleset"
FAULTS = tuple(
    Fault(script, script)
    for script in (
        _FLUSH,
        "nft delete table inet netavark",
        "nft flush table inet netavark",
        "firewall-cmd --reload",
        "systemctl restart firewalld",
    )
)

_NETAVARK = "/usr/lib/podman/netavark"

SAMPLE = 10
INTERVAL_S = 0.01
HEALED_LIMIT_S = 10.0
_LISTING = "/run/podwatch-podman/podman.json"
_SAVED = "/root/saved.nft"
_TRUST = "/root/trust.sh"
_AGAIN = f"""
systemctl reset-failed firewalld
nft list table inet netavark >/dev/null 2>&1 && nft delete table inet netavark
nft -f {_SAVED}
sh {_TRUST}
"""
_READ_SOURCES = (
    "firewall-cmd --zone=trusted --list-sources | tr ' ' '\\n' | grep / | "
    f"sed 's|.*|firewall-cmd -q --zone=trusted --change-source=&|' > {_TRUST}"
)


@dataclass
class Bench:
    """A host with podwatch installed and stopped, and containers on the default network."""

    host: Host
    containers: ContainerSet
    ways: tuple[str, ...] = WAYS

    def grow(self, count: int) -> None:
        """Have `count` containers, verified to answer, and a saved copy of their rules."""
        have = len(self.containers.containers)
        more = many(self.host, count - have, first=have + 1)
        self.containers = ContainerSet(self.host, (*self.containers.containers, *more.containers))
        assert not self.sampled().probe_all()
        self.host.shell(f"nft list table inet netavark > {_SAVED}; {_READ_SOURCES}")

    def sampled(self) -> ContainerSet:
        """A few containers, spread over all."""
        everyone = self.containers.containers
        step = max(1, len(everyone) // SAMPLE)
        return ContainerSet(self.host, (*everyone[:-1:step][: SAMPLE - 1], everyone[-1]))

    def measure(self, fault: Fault, way: str) -> Outage:
        """Strike once, and see how long it lasts until `way` has put everything back."""
        sample = self.sampled()
        self._prepare(way)
        try:
            with ExitStack() as watches:
                ports = watches.enter_context(
                    self.host.client.watch(sample.http_ports, interval_s=INTERVAL_S)
                )
                egress = watches.enter_context(
                    self.host.watch_egress(sample.containers[-1].name, INTERVAL_S)
                )
                self.host.shell(f"{fault.script}\n{self._means(way)}", timeout=900)
                healed = self._healed(sample)
        finally:
            self._clean_up(way)
        count = len(self.containers.containers)
        return Outage(
            count,
            fault.name,
            way,
            ports.longest_ms if healed else NEVER,
            egress.longest_ms if healed else NEVER,
        )

    def _healed(self, sample: ContainerSet) -> bool:
        end = time.monotonic() + HEALED_LIMIT_S
        while sample.probe_ports() or not self.host.egress(sample.containers[-1].name):
            if time.monotonic() > end:
                return False
        return True

    def start(self) -> None:
        """Start podwatch, and wait until it has come to rest."""
        began = time.time()
        self.host.run(["systemctl", "start", "podwatch"])
        deadline = time.monotonic() + 60
        while not self._at_rest(began):
            if time.monotonic() > deadline:
                raise LabError("podwatch does not say ok")
            time.sleep(0.05)

    def _prepare(self, way: str) -> None:
        if way == PODWATCH:
            self.start()
        elif way == UNIT:
            self.host.run(["systemctl", "start", UNIT])

    def _at_rest(self, began: float) -> bool:
        """Whether a daemon that was started since then has looked, and asked podman for names.

        Before that the status is the one before it wrote, and podman keeps the machine busy.
        """
        told = json.loads(self.host.read(STATUS))
        if told["started"] < began or told["state"] != "ok":
            return False
        listed = self.host.run(["stat", "--format=%.Y", _LISTING], check=False)
        return listed.code == 0 and float(listed.stdout) > began

    def _means(self, way: str) -> str:
        return {
            LIMIT: f"nft -f {_SAVED}",
            RELOAD: "podman network reload --all >/dev/null",
            ONE_SHOT: f"{_NETAVARK} firewall-reload",
        }.get(way, "")

    def _clean_up(self, way: str) -> None:
        if way == PODWATCH:
            self.host.run(["systemctl", "stop", "podwatch"])
        elif way == UNIT:
            self.host.run(["systemctl", "stop", UNIT])
        self.host.shell(_AGAIN)
        if not self._healed(self.sampled()):
            raise LabError(f"not whole again after {way}: {self.sampled().probe_all()}")


def applies(fault: Fault, way: str) -> bool:
    """Whether a way can be told anything by a fault, or knows what to put back after it.

    A saved table holds no trusted source; netavark's unit hears of firewalld alone.
    """
    about_firewalld = "firewall" in fault.name
    if way == LIMIT:
        return not about_firewalld
    return about_firewalld if way == UNIT else True


def rounds(fault: Fault, way: str, containers: int, repeat: int) -> int:
    """How often a way is measured: reloading hundreds of containers takes minutes each time."""
    if way == RELOAD and containers >= 100:
        return int(containers < 500 or fault is FAULTS[0])
    return repeat


def outages(bench: Bench, faults: tuple[Fault, ...], repeat: int) -> Iterator[Outage]:
    """Measure every fault with every way that applies, the ways taking turns."""
    count = len(bench.containers.containers)
    for fault in faults:
        for turn in range(repeat):
            for way in bench.ways:
                if applies(fault, way) and turn < rounds(fault, way, count, repeat):
                    yield bench.measure(fault, way)


def installed_on(host: Host) -> Bench:
    """podwatch installed on a fresh host, and neither it nor netavark's own unit running."""
    host.install(built_package())
    host.run(["systemctl", "stop", "podwatch", UNIT])
    # The one-shot came with netavark 1.17.
    has_one_shot = "firewall-reload" in host.run([_NETAVARK, "--help"]).stdout
    ways = tuple(way for way in WAYS if way != ONE_SHOT or has_one_shot)
    return Bench(host, ContainerSet(host, ()), ways)
