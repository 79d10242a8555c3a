# SPDX-License-Identifier: Apache-2.0
"""Which connections are lost, new ones and old ones, with each mode of the guard and without it.

Three settings of a host: firewalld as it comes, firewalld told to keep forwarding while it reloads
and to trust the containers' subnets for good, and no firewalld. All modes take turns, and each
measurement begins with a podwatch that has just started: it slows down for nobody.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.guard_report import MODES, NOBODY, NOTHING, Strike
from tests.e2e.installed import CONFIG, STATUS, built_package
from tests.lab.containers import Container, many
from tests.lab.errors import LabError
from tests.lab.faults import Fault
from tests.lab.host import Host
from tests.lab.losses import Losing, answering, lines_beside
from tests.lab.machine import until

EACH_CHAIN = Fault(
    "each chain flushed, one after another",
    "for chain in $(nft list table inet netavark | awk '/chain/ {print $2}'); do "
    "nft flush chain inet netavark $chain; done",
)
BY_NFT = (
    Fault("nft flush ruleset", "nft flush ruleset"),
    Fault("nft delete table inet netavark", "nft delete table inet netavark"),
    EACH_CHAIN,
    Fault("systemctl restart nftables", "systemctl restart nftables"),
)
BY_FIREWALLD = (
    Fault("firewall-cmd --reload", "firewall-cmd --reload"),
    Fault("systemctl restart firewalld", "systemctl restart firewalld"),
)
_NONE = Fault(NOTHING, "true")

DEFAULT, BOTH, WITHOUT = "firewalld", "firewalld with the two settings", "no firewalld"
SUBNET = "10.88.0.0/16"
"""That of podman's default network."""
_FIREWALLD_CONF = "/etc/firewalld/firewalld.conf"
_POLICY = "ReloadPolicy=INPUT:DROP,FORWARD:ACCEPT,OUTPUT:DROP"


@dataclass(frozen=True)
class Setting:
    """How firewalld is on the host: what makes it so, and which faults are tried then."""

    name: str
    script: str
    faults: tuple[Fault, ...]


SETTINGS = (
    Setting(DEFAULT, "true", (_NONE, *BY_NFT, *BY_FIREWALLD)),
    Setting(
        BOTH,
        f"sed -i '/^ReloadPolicy=/d' {_FIREWALLD_CONF}; echo '{_POLICY}' >> {_FIREWALLD_CONF}; "
        f"firewall-cmd -q --permanent --zone=trusted --add-source={SUBNET}; "
        "systemctl restart firewalld",
        (_NONE, BY_NFT[0], *BY_FIREWALLD),
    ),
    Setting(WITHOUT, "systemctl disable -q --now firewalld", (_NONE, *BY_NFT)),
)
"""In this order on one host."""

OBSERVED_S = 1.0
"""A fault is watched for so long after its command has ended, and until all is healed."""
HEALED_LIMIT_S = 10.0
_REST_LIMIT_S = 60.0
_QUICK_S = 0.5
_LISTING = "/run/podwatch-podman/podman.json"
_SAVED = "/root/saved.nft"
_SAVE = f"nft list table inet netavark > {_SAVED}"
_AGAIN = f"""
if nft list table inet netavark >/dev/null 2>&1; then nft delete table inet netavark; fi
nft -f {_SAVED}
if systemctl is-active -q firewalld; then
    firewall-cmd -q --zone=trusted --change-source={SUBNET}
fi
"""


@dataclass
class GuardBench:
    """A host with podwatch installed, and containers of which a few are asked."""

    host: Host
    answering: Sequence[Container]
    count: int
    setting: Setting = SETTINGS[0]
    losing: Losing | None = None

    def set(self, setting: Setting) -> None:
        """Have firewalld so, and keep a copy of what there is then."""
        self.setting = setting
        self.host.shell(setting.script)
        if not self._is_whole(HEALED_LIMIT_S):
            self.host.shell(_AGAIN)
        self.host.shell(_SAVE)

    def strike(self, fault: Fault, mode: str) -> Strike:
        """Do it once in this mode of the guard, count what is lost, and have all whole again."""
        rss_mib = self._in_mode(mode)
        if not self._is_whole(HEALED_LIMIT_S):
            raise LabError(f"not whole before {fault}: nothing to measure")
        if self.losing is None:
            self.losing = Losing(self.host, self.answering)
        with self.losing:
            self.host.shell(f"systemctl reset-failed firewalld; {fault.script}", check=False)
            time.sleep(OBSERVED_S)  # the length of the observation
            healed = mode != NOBODY and self._is_whole(HEALED_LIMIT_S)
        assert self.losing.losses is not None
        healed = healed or self._is_whole(0.0)
        self.host.run(["systemctl", "stop", "podwatch"])
        if mode == NOBODY or not healed:
            # firewalld may yet be starting, and ask nothing of anybody.
            self.host.shell(_AGAIN)
        return Strike(
            self.host.suite,
            self.count,
            self.setting.name,
            mode,
            fault.name,
            healed,
            self.losing.losses,
            rss_mib,
        )

    def _in_mode(self, mode: str) -> float:
        """Start podwatch with this guard and wait until it rests, or none; its memory in MiB."""
        if mode == NOBODY:
            return 0.0
        self.host.write(CONFIG, f'[restore]\nguard = "{mode}"\n')
        began = time.time()
        self.host.run(["systemctl", "start", "podwatch"])
        if not until(lambda: self._rests(mode, began), _REST_LIMIT_S):
            raise LabError(f"podwatch does not say ok with the guard {mode}")
        pid = json.loads(self.host.read(STATUS))["pid"]
        rss = self.host.shell(f"awk '/^VmRSS/ {{print $2}}' /proc/{pid}/status").stdout
        return round(int(rss) / 1024, 1)

    def _rests(self, mode: str, began: float) -> bool:
        """Whether the one started since then has looked, asked podman, and holds this guard."""
        told = json.loads(self.host.read(STATUS))
        if told["started"] < began or told["state"] != "ok" or told["guard"]["mode"] != mode:
            return False
        listed = self.host.run(["stat", "--format=%.Y", _LISTING], check=False)
        return listed.code == 0 and float(listed.stdout) > began

    def _is_whole(self, limit_s: float) -> bool:
        """Whether those that are asked answer, and get out, within so long."""
        asked = [probe for container in self.answering for probe in container.probes]
        end = time.monotonic() + limit_s
        while True:
            ports = (probe.ask(self.host.client, _QUICK_S) is None for probe in asked)
            if all(ports) and self.host.egress(self.answering[-1].name):
                return True
            if time.monotonic() > end:
                return False


def bench_on(host: Host, count: int) -> GuardBench:
    """podwatch installed on a fresh host and stopped; of `count` containers three are asked.

    They are the first, one in the middle, and the last that netavark's rules have.
    """
    host.install(built_package())
    host.run(["systemctl", "stop", "podwatch"])
    host.run(["systemctl", "mask", "--now", "netavark-firewalld-reload.service"])
    half = (count - 3) // 2
    first = answering(host, 0)
    many(host, half)
    middle = answering(host, 1)
    many(host, count - 3 - half, first=1 + half)
    return GuardBench(host, (first, middle, answering(host, 2)), count)


@contextmanager
def host_of(suite: str, count: int) -> Iterator[GuardBench]:
    """A booted host with so many containers."""
    with Host(suite) as host, lines_beside(host):
        yield bench_on(host, count)


def strikes(bench: GuardBench, repeat: int) -> Iterator[Strike]:
    """Measure every setting, fault and mode.

    What nobody heals is the same each time, so that is measured once.
    """
    for setting in SETTINGS:
        bench.set(setting)
        for turn in range(repeat):
            for fault in setting.faults:
                for mode in MODES:
                    if mode != NOBODY or turn == 0:
                        yield bench.strike(fault, mode)
