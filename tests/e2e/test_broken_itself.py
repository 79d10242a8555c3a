# SPDX-License-Identifier: Apache-2.0
"""Broken on purpose, as in test_broken.py: podwatch's own directories, memory, clock and life."""

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.installed import Installed

pytestmark = [
    pytest.mark.e2e,
    # What is broken is podwatch's own, the same everywhere.
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
    pytest.mark.usefixtures("whole_afterwards"),
]

KILLS = int(os.environ.get("PODWATCH_KILLS", "8"))
"""How often the daemon is killed at a random moment."""

_RELOAD_ONLY = '[restore]\nmethods = ["reload"]\nquiet = 0\nlimit = 1000\nbackoff = "200ms"\n'


def _since(there: Installed, cursor: str) -> str:
    return there.host.journal("podwatch", since_cursor=cursor)


@contextmanager
def _read_only(there: Installed) -> Iterator[None]:
    """/run/podwatch and /var/lib/podwatch as the daemon sees them, read-only."""
    enter = f"nsenter --target {there.main_pid()} --mount"
    for mode in ("ro", "rw"):
        for directory in ("/run/podwatch", "/var/lib/podwatch"):
            remount = f"{enter} mount -o remount,bind,{mode} {directory}"
            # Busy while podwatch or a unit of its own writes a file there.
            there.until(lambda: there.host.shell(remount, check=False).code == 0, mode)  # noqa: B023
        if mode == "ro":
            try:
                yield
            except BaseException:
                there.host.run(["systemctl", "restart", "podwatch"])
                raise


def test_read_only_directories(there: Installed) -> None:
    """It cannot write: that is told once, repairs go on, and then the status is right again."""
    there.lose_the_table()
    there.until_whole()
    pid, cursor = there.main_pid(), there.host.journal_cursor()
    with _read_only(there):
        for _ in range(3):
            there.lose_the_table()
            there.until(lambda: not there.containers.probe_ports(), "healed", 5)
    there.lose_the_table()
    there.until_whole()

    told = _since(there, cursor)
    assert told.count("cannot write /run/podwatch/status.json: Read-only file system") <= 4
    assert "Read-only file system" in told
    assert there.main_pid() == pid
    assert there.status()["state"] == "ok"


def test_disk_full(there: Installed) -> None:
    """/run is full: that is told, repairs go on, and no file of podwatch's is left half written."""
    pid, cursor = there.main_pid(), there.host.journal_cursor()
    size = there.host.shell("findmnt -no OPTIONS /run | tr , '\\n' | sed -n s/^size=//p").stdout
    used = there.host.shell("df --output=used /run | tail -n 1").stdout.strip()
    there.host.run(["mount", "-o", f"remount,size={used}k", "/run"])
    try:
        for _ in range(3):
            there.lose_the_table()
            there.until(lambda: not there.containers.probe_ports(), "healed", 5)
            json.loads(there.host.read("/run/podwatch/status.json"))
    finally:
        there.host.run(["mount", "-o", f"remount,size={size.strip()}", "/run"])
    there.lose_the_table()
    there.until_whole()

    assert "No space left on device" in _since(there, cursor)
    assert there.host.shell("find /run/podwatch -name '.*'").stdout == ""
    assert there.main_pid() == pid
    assert there.status()["state"] == "ok"


def test_history_has_no_room(there: Installed) -> None:
    """/var/lib/podwatch is full: told, repairs go on, and the history that was there stays."""
    there.lose_the_table()
    there.until_whole()
    known, pid = there.history(), there.main_pid()
    enter = f"nsenter --target {pid} --mount"
    directory = "/var/lib/podwatch"
    cursor = there.host.journal_cursor()
    there.host.shell(
        f"cp -a {directory} /run/history; {enter} mount -t tmpfs -o size=1m - {directory};"
        f"{enter} cp /run/history/history.jsonl {directory}/; "
        f"{enter} sh -c 'cat /dev/zero > {directory}/full' 2>/dev/null || true"
    )
    try:
        # The history's last page may have room for a few incidents more.
        for _ in range(12):
            there.lose_the_table()
            there.until(lambda: not there.containers.probe_ports(), "healed", 10)
            if f"cannot write {directory}" in _since(there, cursor):
                break
        there.until(lambda: f"cannot write {directory}" in _since(there, cursor), "told", 5)
        there.until(lambda: there.status()["state"] == "ok", "verified", 5)
        kept = there.host.shell(f"{enter} cat {directory}/history.jsonl").stdout
    finally:
        there.host.shell(f"{enter} umount {directory}; rm -r /run/history")
    there.lose_the_table()
    there.until_whole()

    assert kept.count("\n") >= len(known)
    assert all(json.loads(line) for line in kept.splitlines())
    there.until(lambda: len(there.history()) == len(known) + 1, "written again", 5)
    assert there.main_pid() == pid


def test_memory_limit(there: Installed) -> None:
    """It may have no more memory: dead or alive, it is back, and so is what was lost meanwhile."""
    pid = there.main_pid()
    size = int(there.host.read(f"/proc/{pid}/statm").split()[0]) * 4096
    there.host.run(["prlimit", "--pid", pid, f"--as={size + 65536}"])
    for _ in range(3):
        there.host.shell("nft delete table inet netavark", check=False)
        there.until(lambda: not there.containers.probe_ports(), "healed", 20)
    there.host.run(["systemctl", "restart", "podwatch"])


_CLOCK = """\
import time
_time = time.time
def time_and_offset():
    try:
        with open("/run/clock/offset") as file:
            return _time() + float(file.read() or 0)
    except OSError:
        return _time()
time.time = time_and_offset
"""


def test_the_clock_jumps(there: Installed) -> None:
    """The wall clock jumps by years while something is lost: nothing that is decided goes by it."""
    drop_in = "/run/systemd/system/podwatch.service.d/clock.conf"
    there.host.write("/run/clock/sitecustomize.py", _CLOCK)
    there.host.write(drop_in, "[Service]\nEnvironment=PYTHONPATH=/run/clock\n")
    there.host.shell("systemctl daemon-reload; systemctl restart podwatch")
    there.until_whole()
    pid = there.main_pid()
    try:
        for years in (10, -10, 0, -50, 50):
            there.host.write("/run/clock/offset", str(years * 365 * 86400))
            there.lose_the_table()
            there.until(lambda: not there.containers.probe_ports(), "healed", 5)
            there.until(lambda: there.status()["state"] == "ok", "told", 10)
            assert there.host.run(["podwatch", "status"], check=False).code == 0
            off = there.status()["last_look"]["at"] - float(there.host.shell("date +%s").stdout)
            assert abs(off - years * 365 * 86400) < 86400  # it did live in that year
        there.host.write("/run/clock/offset", "0")
        assert there.main_pid() == pid
    finally:
        there.host.shell(f"rm {drop_in}; systemctl daemon-reload; systemctl restart podwatch")


def test_two_instances(there: Installed) -> None:
    """A second daemon refuses to start and names the first; the first is not disturbed."""
    pid = there.main_pid()
    second = there.host.run(["podwatch", "run"], check=False, timeout=10)

    assert second.code == 3
    told = f"another podwatch (pid {pid}) holds /run/podwatch/run.lock"
    assert told in second.stdout + second.stderr
    assert there.main_pid() == pid
    assert there.status()["state"] == "ok"


def test_killed_at_random_moments(there: Installed) -> None:
    """SIGKILL at any moment of a repair, by copy or by podman: it comes back and heals."""
    seed = random.SystemRandom().randrange(1 << 32)
    moments = random.Random(seed)  # noqa: S311 - no secret
    print(f"seed {seed}")
    for _ in range(KILLS):
        with there.configured(_RELOAD_ONLY if moments.random() < 0.3 else ""):
            pid = there.main_pid()
            there.host.shell("nft delete table inet netavark", check=False)
            time.sleep(moments.uniform(0, 0.5))  # the moment is what varies
            there.host.run(["kill", "-KILL", pid], check=False)
            there.until_another(pid)
            there.until_whole(40)
