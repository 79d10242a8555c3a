# SPDX-License-Identifier: Apache-2.0
"""Whoever is nobody on the host may say what it likes on the bus: it is neither heard nor felt."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.installed import Installed, on_one_suite
from tests.lab import stranger
from tests.lab.client import HOST_V4
from tests.lab.containers import web

pytestmark = pytest.mark.e2e

MAX_MORE_KB = 6 * 1024
MAX_TIMES = 10
"""A repair that waited for the bus would take a hundred times what it takes in calm."""
SCRIPT = "/usr/local/lib/stranger.py"
ROUNDS = 3


def memory_kb(there: Installed, pid: str) -> tuple[int, int]:
    """Resident memory of a process, now and at most."""
    status = there.host.read(f"/proc/{pid}/status")
    now, most = (status.split(f"{field}:")[1].split()[0] for field in ("VmRSS", "VmHWM"))
    return int(now), int(most)


def run_stranger(there: Installed, what: str, *, seconds: int = 0, wait: bool = True) -> None:
    """Have uid nobody do something to podwatch's connections; see tests/lab/stranger.py."""
    if not there.host.exists(SCRIPT):
        there.host.write(SCRIPT, Path(stranger.__file__).read_text())
    unit = ["--unit=stranger", "--uid=nobody", "--collect", "--quiet"]
    argv = ["python3", "-u", SCRIPT, what, str(seconds), there.main_pid()]
    there.host.run(["systemd-run", *unit, *(["--wait"] if wait else []), *argv], timeout=100)


@contextmanager
def stranger_at_it(there: Installed, what: str) -> Iterator[None]:
    """A stranger goes on for the block, and is still at it at its end."""
    cursor = there.host.journal_cursor()
    run_stranger(there, what, seconds=600, wait=False)
    try:
        there.until(
            lambda: f"{what}: to :" in there.host.journal("stranger", since_cursor=cursor),
            "a stranger at it",
            20,
        )
        yield
        assert there.host.unit_state("stranger") == "active"
    finally:
        there.host.run(["systemctl", "stop", "stranger"], check=False)


def told(there: Installed) -> str:
    """What `podwatch status` says of everything."""
    return there.host.run(["podwatch", "status", "--all"], check=False).stdout


def restored_at(there: Installed) -> float:
    """When the last loss was verified to be gone, in seconds since the epoch; 0 while it is not."""
    return float((there.status()["last_incident"] or {}).get("restored_at") or 0)


def heal_s(there: Installed) -> float:
    """Seconds from the loss of all rules until podwatch has verified that they are back."""
    struck = time.time()
    there.host.run(["nft", "flush", "ruleset"])
    there.until(lambda: restored_at(there) > struck, "healed", 20)
    return restored_at(there) - struck


def is_at_rest(there: Installed) -> bool:
    """Whether podman's answer, for what has run since the last start, was the last to look for."""
    ports = (there.host.root / "run/containers/networks/firewall/ports").iterdir()
    look = there.status()["last_look"]
    listed = look["cause"] == "podman's containers were listed"
    return bool(listed and look["at"] > max(port.stat().st_mtime for port in ports))


def test_nobodys_word_is_no_cause(there: Installed) -> None:
    """That firewalld has reloaded, or gone, is heard from firewalld and the bus alone."""
    there.until(lambda: is_at_rest(there), "podman asked for what runs", 30)
    before = there.status()["counters"]["looks"]
    run_stranger(there, "reloaded")
    there.host.run(["systemctl", "reload", "podwatch"])
    there.until(lambda: there.status()["counters"]["looks"] > before, "looked")
    there.until_whole()

    assert "firewalld" not in there.status()["last_look"]["cause"]
    assert there.status()["counters"]["looks"] == before + 1


def test_nobodys_jobs_have_not_ended(there: Installed) -> None:
    """That podman has listed its containers is believed when systemd says that the job has ended.

    Else an old list would be, and a container that has just started would be called dead.
    """
    slow = "/run/systemd/system/podwatch-inspect.service.d/slow.conf"
    there.host.write(slow, "[Service]\nExecStartPre=/bin/sleep 2\n")
    there.host.run(["systemctl", "daemon-reload"])
    try:
        with stranger_at_it(there, "jobs"):
            name = web(there.host, "newcomer", publish=["8957:80"])[:12]
            there.until(
                lambda: any(each in told(there) for each in ("newcomer", f"{name}: not running")),
                "told of the new container",
                20,
            )
            assert "not running" not in told(there)
            heal_s(there)
            there.until(lambda: there.host.client.http(8957, HOST_V4) == "newcomer", "answering")
    finally:
        there.host.shell(f"rm -r {Path(slow).parent}; systemctl daemon-reload")
        there.host.podman("rm", "--force", "--time=0", "newcomer")
    there.until_whole()


@on_one_suite
def test_large_signals_are_passed_over(there: Installed) -> None:
    """62 MB to each of podwatch's connections take no memory, and the next loss is healed."""
    pid = there.main_pid()
    before, _ = memory_kb(there, pid)
    run_stranger(there, "large")
    heal_s(there)

    assert there.main_pid() == pid
    assert memory_kb(there, pid)[1] - before < MAX_MORE_KB
    there.until_whole()


@on_one_suite
def test_a_flood_delays_no_repair(there: Installed) -> None:
    """Beside 10,000 signals a second, and large ones, rules are back as in calm.

    The bus itself is deaf for seconds after each large one: what needs no bus does not wait.
    """
    pid = there.main_pid()
    calm = statistics.median(heal_s(there) for _ in range(ROUNDS))
    there.until_whole()
    calm_pace = there.pace_s()
    before, _ = memory_kb(there, pid)
    with stranger_at_it(there, "flood"):
        flooded = [heal_s(there) for _ in range(ROUNDS)]
        there.until_whole()
        slowed = max(1.0, there.pace_s() / calm_pace)

    assert statistics.median(flooded) <= MAX_TIMES * slowed * calm, (calm, slowed, flooded)
    assert there.main_pid() == pid
    assert memory_kb(there, pid)[1] - before < MAX_MORE_KB
    there.until_whole()
