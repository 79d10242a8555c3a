# SPDX-License-Identifier: Apache-2.0
"""A user without any rights does all he can for five minutes: losses heal as in the calm.

What he can do is in `tests/lab/adversary.py`. He runs with `nice`, and his floods rest: an attacker
that only burns CPU is the scheduler's business, not podwatch's. Other hosts are tested beside this
one, so each loss is measured against the same loss in the calm, on the same host.
"""

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import pytest

from podwatch.adapters.paths import Paths
from tests.e2e.installed import Installed
from tests.lab import adversary, stranger
from tests.lab.faults import DEMONSTRATED, Fault

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
]

SECONDS = 300
"""How long he is at it."""
EVERY_S = 4.0
"""From one loss to the next."""
CALM_ROUNDS = 3
MAX_TIMES = 5
"""So many times as long as in the calm nine losses of ten may take, on a machine as busy."""
CALLS = 3
"""So many messages that wait for the bus a lost source takes: heard of, asked for, called."""
MORE_MEMORY = 1.2
"""So many times the memory of the calm podwatch may have."""

_PORT = 9842
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_ZONE = (
    "org.fedoraproject.FirewallD1 /org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.zone"
)
_SOURCE = "ss trusted 10.88.0.0/16"
_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_ZONES = "nft list table inet firewalld | grep 10.88.0.0/16"
_TABLE = "nft list table inet netavark"
_OVER_THE_BUS = "source removed"
LOSSES = (
    *((fault, _TABLE) for fault in DEMONSTRATED if fault.name.startswith(("nft", "one"))),
    (Fault(_OVER_THE_BUS, f"busctl call -q {_ZONE} removeSource {_SOURCE}"), _ZONES),
    (Fault("forwarding set back", f"echo 0 > {_FORWARD}"), f"cat {_FORWARD}"),
)
"""Each loss, and what shows that it has healed: read from the kernel alone, past the bus."""
_HIS = "find /run /tmp /var/tmp /dev/shm -user nobody"
"""What he has left behind."""


@pytest.fixture(scope="module")
def attacked(there: Installed) -> Installed:
    """The host with the metrics' port open to its users, and the adversary's scripts."""
    dropins = "/etc/systemd/system/podwatch.service.d"
    there.host.shell(
        f"mkdir -p {dropins}; cp /usr/share/podwatch/metrics-http.conf {dropins}/; "
        "systemctl daemon-reload"
    )
    listen = f'[metrics]\nlisten = "127.0.0.1:{_PORT}"\n'
    there.host.write("/etc/podwatch/podwatch.conf.d/metrics.conf", listen)
    there.host.run(["systemctl", "restart", "podwatch"])
    for script in (adversary, stranger):
        assert script.__file__
        there.host.write(_on_host(script.__file__), Path(script.__file__).read_text())
    there.until_whole()
    return there


def _on_host(path: str) -> str:
    return f"/usr/local/share/adversary/{Path(path).name}"


def _took_s(there: Installed, loss: Fault, shows: str) -> float:
    """Lose something; the seconds until all of it is there again, seen from outside podwatch."""

    def seen() -> list[str]:
        return sorted(there.host.shell(shows, check=False).stdout.splitlines())

    whole = seen()
    assert whole
    loss.strike(there.host)
    began = time.monotonic()
    there.until(lambda: seen() == whole, f"healed after {loss}")
    return time.monotonic() - began


class _Bus:
    """How long the bus keeps anybody waiting: dbus-daemon is deaf while it checks 31 MB."""

    def __init__(self, there: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
        path = f"{there.host.root}/run/dbus/system_bus_socket"
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
        self._caller = stranger.Stranger()
        self._calls: list[tuple[float, float]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)
        self._caller.sock.close()

    def _call(self) -> None:
        while not self._is_over.wait(0.1):  # its pace, not a wait for anything
            sent = time.monotonic()
            self._caller.call(stranger.DBUS, "/org/freedesktop/DBus", stranger.DBUS, "GetId")
            self._calls.append((sent, time.monotonic()))

    def longest_s(self, since: float) -> float:
        """What the longest call took of those that ended since then."""
        return max((end - sent for sent, end in list(self._calls) if end >= since), default=0.0)


def _process(there: Installed) -> tuple[str, str]:
    shown = there.host.unit_show("podwatch", "MainPID", "NRestarts")
    return shown["MainPID"], shown["NRestarts"]


def _memory_kb(there: Installed) -> dict[str, int]:
    """What podwatch has of memory, and the most it had."""
    lines = there.host.read(f"/proc/{_process(there)[0]}/status").splitlines()
    fields = [line.split() for line in lines if line.startswith(("VmRSS:", "VmHWM:"))]
    return {field[0]: int(field[1]) for field in fields}


def _texts(document: Any) -> Iterator[str]:
    """Every text of a JSON document."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(document, list):
        for entry in document:
            yield from _texts(entry)


def _told(there: Installed) -> Iterator[str]:
    """Every text that podwatch's commands say, with JSON's escapes undone."""
    for words in ("status --all", "history -n 0", "explain", "check"):
        yield there.host.run(["podwatch", *words.split()], check=False).stdout
    for words in ("status --json", "explain --json"):
        yield from _texts(
            json.loads(there.host.run(["podwatch", *words.split()], check=False).stdout)
        )
    yield from _texts(there.history())


@pytest.mark.timeout(1200)
def test_five_minutes_of_an_adversary(attacked: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses heal about as fast as in the calm, by the same process in the same memory.

    What goes over the bus has in addition the time for which the bus hears nobody. How busy the
    machine is shows in what a listing of the table takes before each loss.
    """
    there = attacked
    calm: dict[str, list[float]] = {str(loss): [] for loss, _ in LOSSES}
    calm_paces = []
    for loss, shows in LOSSES * CALM_ROUNDS:
        calm_paces.append(there.pace_s())
        calm[str(loss)].append(_took_s(there, loss, shows))
        time.sleep(1.0)
    there.until_whole()
    usual = {name: statistics.median(times) for name, times in calm.items()}
    calm_pace = statistics.median(calm_paces)
    process, memory = _process(there), _memory_kb(there)

    script = ["nice", "-n", "19", "python3", _on_host(str(adversary.__file__))]
    arguments = [str(SECONDS), process[0], str(_PORT), *map(str, Paths().locks)]
    took: list[tuple[str, float, float]] = []
    times: list[float] = []
    """What each loss took, less what the bus kept it waiting, in what it takes in the calm."""
    texts: set[str] = set()
    with (
        there.host.popen(
            [*_NOBODY, *script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as bad,
        _Bus(there, monkeypatch) as bus,
    ):
        began = time.monotonic()
        for loss, shows in cycle(LOSSES):
            if time.monotonic() - began > SECONDS or bad.poll() is not None:
                break
            slowed = max(1.0, there.pace_s() / calm_pace)
            struck = time.monotonic()
            seconds = _took_s(there, loss, shows)
            deaf = CALLS * bus.longest_s(struck) if loss.name == _OVER_THE_BUS else 0.0
            took.append((loss.name, seconds, deaf))
            times.append((seconds - deaf) / (slowed * usual[loss.name]))
            texts.update(_texts(there.status()))
            time.sleep(EVERY_S)
        did = bad.communicate(timeout=60)[0]
    now = _memory_kb(there)
    print(did, memory, now, usual, took, sorted(times), sep="\n")  # shown where it fails

    assert did.endswith("ended\n")
    assert "Traceback" not in did
    assert all(f"\n{way.__name__}: " in f"\n{did}" for way in adversary.WAYS)
    assert statistics.quantiles(times, n=10)[-1] <= MAX_TIMES, sorted(times)
    assert len(took) >= SECONDS / (2 * EVERY_S)
    assert _process(there) == process
    assert all(now[measure] <= MORE_MEMORY * memory[measure] for measure in memory)
    there.until_whole()
    there.until(lambda: there.status()["state"] == "ok", "ok", 60)
    assert not there.host.shell(_HIS).stdout
    assert any("user nobody) has held /run/lock/netavark.lock" in text for text in texts)
    texts.update(_told(there))
    assert not [text for text in texts if not text.replace("\n", "").isprintable()]
