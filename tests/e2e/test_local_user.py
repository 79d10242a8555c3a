# SPDX-License-Identifier: Apache-2.0
"""What a user without any rights can do to the daemon: losses are healed all the same."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podwatch.adapters.paths import Paths
from tests.e2e.installed import Installed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
]

_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_LISTEN = "127.0.0.1:9842"
_METRICS = f'[metrics]\nlisten = "{_LISTEN}"\n'
_HOLD = """
import fcntl, os, sys
descriptor = os.open("/run/lock/netavark.lock", os.O_RDONLY)
fcntl.lockf(descriptor, fcntl.LOCK_SH)
print("done", flush=True)
sys.stdin.read()
"""
_CONNECT = """
import socket, sys
clients = [socket.create_connection(("127.0.0.1", 9842)) for _ in range(500)]
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def _by_nobody(there: Installed, script: str) -> Iterator[None]:
    """A user without rights runs a script of Python, which stays until the block ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with there.host.popen([*_NOBODY, "python3", "-c", script], **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        yield
        process.communicate("")


def _restarts(there: Installed) -> str:
    return there.host.unit_show("podwatch", "NRestarts")["NRestarts"]


def _heals(there: Installed) -> None:
    """A table that is deleted comes back by the same process, and every port answers."""
    before, incidents = _restarts(there), there.incidents()
    there.host.nft("delete", "table", "inet", "netavark")
    there.until(lambda: there.incidents() > incidents, "seen")
    there.until(lambda: not there.status()["missing"], "healed")
    assert _restarts(there) == before


@pytest.mark.parametrize("make", ["mkfifo", "mkdir", "ln -s /dev/zero", "touch"])
def test_nothing_in_the_place_of_a_lock_is_waited_for(there: Installed, make: str) -> None:
    """At every path of podman's locks where he may write he puts something: healed, and told."""
    cursor = there.host.journal_cursor()
    locks = [str(path) for path in Paths().locks]
    tried = "; ".join(f"{make} {path} 2>/dev/null" for path in locks)
    there.host.run([*_NOBODY, "sh", "-c", f"{tried}; :"])
    owners = there.host.shell(f"stat -c '%u %n' {' '.join(locks)} 2>/dev/null", check=False)
    made = [line.split()[1] for line in owners.stdout.splitlines() if line.startswith("65534 ")]
    try:
        assert made == ["/run/lock/podman-cni.lock"]
        _heals(there)
        told = f"{made[0]} of uid 65534 is no lock of podman's"
        there.until(lambda: told in there.host.journal("podwatch", since_cursor=cursor), "told", 40)
    finally:
        there.host.run(["rm", "-rf", "/run/lock/podman-cni.lock"])
    there.until_whole()


def test_a_held_lock_is_told_and_stops_no_repair(there: Installed) -> None:
    """podman waits for his read lock; lost rules come back, and after a while he is named."""

    def locked() -> dict[str, object]:
        return next((e for e in there.status()["blocked"] if e["kind"] == "locked"), {})

    with _by_nobody(there, _HOLD):
        _heals(there)
        there.until(lambda: bool(locked()), "told", 70)  # half a minute, and a heartbeat
        what = str(locked()["what"])
        assert what.startswith("python3 (pid ")
        assert ", user nobody) has held /run/lock/netavark.lock for more than 30 s" in what
        assert "kill " in str(locked()["advice"])
        assert there.status()["state"] == "degraded"
        assert what in there.host.journal("podwatch")
        _heals(there)
    there.until(lambda: there.status()["state"] == "ok", "free", 60)
    assert not locked()


def test_slow_connections_keep_no_scraper_out(there: Installed) -> None:
    """With 500 of his connections to the metrics' port open, each scrape is answered."""
    dropins = "/etc/systemd/system/podwatch.service.d"
    there.host.shell(
        f"mkdir -p {dropins}; cp /usr/share/podwatch/metrics-http.conf {dropins}/; "
        "systemctl daemon-reload"
    )
    there.host.write("/etc/podwatch/podwatch.conf.d/metrics.conf", _METRICS)
    there.host.run(["systemctl", "restart", "podwatch"])

    def scrape() -> str:
        return there.host.run(["curl", "-fsS", f"http://{_LISTEN}/metrics"], check=False).stdout

    there.until(lambda: "podwatch_build_info" in scrape(), "scraped")
    with _by_nobody(there, _CONNECT):
        for _ in range(5):
            assert "podwatch_build_info" in scrape()
        _heals(there)
    there.until_whole()
