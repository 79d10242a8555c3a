# SPDX-License-Identifier: Apache-2.0
"""Broken on purpose. Each test is one row: what is broken, and, in its docstring, what is promised.

Beside its own promise each row holds podwatch to the same two: while it lasts, what still worked
goes on working; and when it ends, every port answers and every rule is verified, by itself.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.installed import Installed, installed
from tests.lab.faults import PODMANS, podman_is

pytestmark = pytest.mark.e2e

KILLS = int(os.environ.get("PODWATCH_KILLS", "8"))
"""How often the daemon is killed at a random moment."""

MOST_RSS_KB = 40 * 1024
MOST_RSS_SPOILT_KB = 56 * 1024
"""After it was fed on tens of thousands of files, and huge ones."""
_RELOAD_ONLY = '[restore]\nmethods = ["reload"]\nquiet = 0\nlimit = 1000\nbackoff = "200ms"\n'
_STATE = "/run/containers/networks/firewall"


def _main_pid(there: Installed) -> str:
    return there.host.unit_show("podwatch", "MainPID")["MainPID"]


def _rss_kb(there: Installed) -> int:
    status = there.host.read(f"/proc/{_main_pid(there)}/status")
    return int(status.split("VmRSS:")[1].split()[0])


def _lose_the_table(there: Installed) -> None:
    there.host.nft("delete", "table", "inet", "netavark")


def _failed(there: Installed) -> int:
    return int(there.status()["counters"]["failed"])


def _since(there: Installed, cursor: str) -> str:
    return there.host.journal("podwatch", since_cursor=cursor)


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """One host for all rows: what they break is podwatch's surroundings, the same everywhere."""
    with installed("trixie") as host:
        yield host


@pytest.fixture(autouse=True)
def whole_afterwards(there: Installed) -> Iterator[None]:
    """Every row ends with a host on which everything works."""
    yield
    there.until_whole(40)


# podman and systemd


def test_podman_is_broken(there: Installed) -> None:
    """However podman fails, a lost table comes back at once: the saved copy needs no podman."""
    before = there.reloads()
    for script in PODMANS.values():
        with podman_is(there.host, script):
            _lose_the_table(there)
            there.until(lambda: not there.containers.probe_ports(), "healed without podman", 5)

    assert there.reloads() == before


@pytest.mark.parametrize("how", ["exits 125", "dies of a signal", "prints garbage"])
def test_podman_is_broken_and_needed(there: Installed, how: str) -> None:
    """Without a copy: told as failed, tried ever rarer, and what was left of the rules stays."""
    with there.configured(_RELOAD_ONLY):
        with podman_is(there.host, PODMANS[how]):
            failed, before = _failed(there), there.reloads()
            there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            there.until(lambda: _failed(there) >= failed + 2, "tried twice", 40)
            assert there.reloads() - before <= 3 * len(there.containers.containers)
            assert "dnat ip to" in there.host.nft("list", "table", "inet", "netavark")
        there.until_whole(40)


def test_systemd_refuses(there: Installed) -> None:
    """systemd will not start the unit: its word is told, and when it starts it again all heals."""
    unit = "podwatch-reload@.service"
    cursor = there.host.journal_cursor()
    with there.configured(_RELOAD_ONLY + 'backoff_max = "2s"\n'):
        there.host.run(["systemctl", "mask", "--runtime", unit])
        try:
            there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            there.until(lambda: "masked" in _since(there, cursor), "told that it is masked", 30)
        finally:
            there.host.run(["systemctl", "unmask", "--runtime", unit])
        there.until_whole(40)


def test_the_bus_is_killed_under_load(there: Installed) -> None:
    """The bus dies again and again, the table is lost again and again: one and the same pid."""
    pid = _main_pid(there)
    there.host.shell(
        """
        for _ in 1 2 3 4 5; do
            nft delete table inet netavark || true
            systemctl kill --signal=KILL dbus
            nft delete table inet netavark || true
            sleep 0.3
        done
        """,
        check=False,
    )
    there.until_whole(60)
    there.until(lambda: there.status()["watchers"]["firewalld"] == "connected", "connected", 60)
    _lose_the_table(there)
    there.until_whole(20)

    assert _main_pid(there) == pid


def test_firewalld_hangs(there: Installed) -> None:
    """firewalld answers nobody while all is flushed: Podman's rules are back all the same."""
    there.host.run(["systemctl", "restart", "firewalld"])  # the bus may have taken it along
    there.until_whole()
    before = there.incidents()
    there.host.run(["systemctl", "kill", "--signal=STOP", "firewalld"])
    try:
        hung = there.host.run("timeout 3 firewall-cmd --state", check=False)
        there.host.nft("flush", "ruleset")
        there.until(lambda: not there.containers.probe_ports(), "healed", 15)
        there.until(lambda: there.incidents() > before, "told")
    finally:
        there.host.run(["systemctl", "kill", "--signal=CONT", "firewalld"])

    assert hung.code == 124  # timeout(1)'s
    assert there.host.run(["firewall-cmd", "--state"]).code == 0


def test_rules_that_are_there_twice(there: Installed) -> None:
    """What netavark's unit doubles at firewalld's reloads is put right without a gap, if wanted."""

    def twice() -> bool:
        return any(each["kind"] == "duplicates" for each in there.status()["warnings"])

    with there.configured("[restore]\nduplicates = false\n"):
        for _ in range(8):
            there.host.run(["firewall-cmd", "--reload"])
        there.until(lambda: twice() and not there.containers.probe_all(), "twice", 30)
        time.sleep(5)  # the length of the observation: it would be put right after 3 s of calm
        assert twice()
        with there.host.client.watch([8081]) as watch, there.configured(""):
            there.until(lambda: not twice(), "put right", 30)

    assert watch.failures == 0


# The kernel's news


_STORM = """
import sys
batch = "".join(f"add rule inet storm c tcp dport {n % 60000 + 1} accept\\n" for n in range(50000))
print("add table inet storm\\nadd chain inet storm c\\n" + batch + "flush chain inet storm c")
"""


def _storm(there: Installed) -> None:
    there.host.shell(f"python3 -c '{_STORM}' > /run/storm.nft")


def test_more_news_than_can_be_read(there: Installed) -> None:
    """Frozen, as by a suspend, while 200,000 rules change and the table goes: found afterwards."""
    _storm(there)
    pid = _main_pid(there)
    there.host.run(["kill", "-STOP", pid])
    try:
        there.host.shell("nft -f /run/storm.nft; nft -f /run/storm.nft", timeout=120)
        _lose_the_table(there)
    finally:
        there.host.run(["kill", "-CONT", pid])
    there.until(lambda: not there.containers.probe_ports(), "healed", 10)
    there.host.nft("delete", "table", "inet", "storm")

    assert "too slow for the kernel" in there.status()["watchers"]["nftables"]
    assert _main_pid(there) == pid


def test_a_storm(there: Installed) -> None:
    """Another program changes rules as fast as it can: a table lost meanwhile is back."""
    _storm(there)
    script = "while [ -e /run/storm.nft ]; do nft -f /run/storm.nft && echo blown; done"
    blowing = there.host.popen(["sh", "-c", script], stdout=subprocess.PIPE)
    try:
        for _ in range(3):
            _lose_the_table(there)
            there.until(lambda: not there.containers.probe_ports(), "healed in the storm", 5)
    finally:
        there.host.run(["rm", "/run/storm.nft"])
        blown = blowing.communicate(timeout=60)[0].count("blown")
    there.host.nft("delete", "table", "inet", "storm")

    assert blown >= 1  # which are 100,000 changes, while a table was lost
    assert _rss_kb(there) <= MOST_RSS_KB


def test_many_rules_and_sets_of_others(there: Installed) -> None:
    """Beside 10,000 rules and 1,000 sets of others a repair takes no four times as long."""

    def took_ms() -> int:
        found = []
        for _ in range(3):  # others test beside it: the shortest counts
            before = there.incidents()
            _lose_the_table(there)
            there.until(lambda: there.incidents() > before, "noticed")  # noqa: B023 (waited for)
            there.until_whole(20)
            incident = there.status()["last_incident"]
            assert incident["verified"]
            found.append(int(incident["took_ms"]))
        return min(found)

    alone = took_ms()
    there.host.shell(
        """
        python3 - > /run/others.nft <<'end'
print("table inet others {")
for n in range(1000):
    print(f"set s{n} {{ type ipv4_addr; elements = {{ 198.51.{n // 250}.{n % 250 + 1} }} }}")
print("chain c {")
for n in range(10000):
    print(f"ip saddr @s{n % 1000} tcp dport {n + 1} accept")
print("}")
print("}")
end
        nft -f /run/others.nft
        """,
        timeout=120,
    )
    try:
        beside = took_ms()
        rss = _rss_kb(there)
    finally:
        there.host.nft("delete", "table", "inet", "others")

    assert beside <= 4 * alone, (beside, alone)
    assert rss <= MOST_RSS_KB


# Its own directories, memory, clock and life


@contextmanager
def _read_only(there: Installed) -> Iterator[None]:
    """/run/podwatch and /var/lib/podwatch as the daemon sees them, read-only."""
    enter = f"nsenter --target {_main_pid(there)} --mount"
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
    _lose_the_table(there)
    there.until_whole()
    pid, cursor = _main_pid(there), there.host.journal_cursor()
    with _read_only(there):
        for _ in range(3):
            _lose_the_table(there)
            there.until(lambda: not there.containers.probe_ports(), "healed", 5)
    _lose_the_table(there)
    there.until_whole()

    told = _since(there, cursor)
    assert told.count("cannot write /run/podwatch/status.json: Read-only file system") <= 4
    assert "Read-only file system" in told
    assert _main_pid(there) == pid
    assert there.status()["state"] == "ok"


def test_disk_full(there: Installed) -> None:
    """/run is full: that is told, repairs go on, and no file of podwatch's is left half written."""
    pid, cursor = _main_pid(there), there.host.journal_cursor()
    size = there.host.shell("findmnt -no OPTIONS /run | tr , '\\n' | sed -n s/^size=//p").stdout
    used = there.host.shell("df --output=used /run | tail -n 1").stdout.strip()
    there.host.run(["mount", "-o", f"remount,size={used}k", "/run"])
    try:
        for _ in range(3):
            _lose_the_table(there)
            there.until(lambda: not there.containers.probe_ports(), "healed", 5)
            json.loads(there.host.read("/run/podwatch/status.json"))
    finally:
        there.host.run(["mount", "-o", f"remount,size={size.strip()}", "/run"])
    _lose_the_table(there)
    there.until_whole()

    assert "No space left on device" in _since(there, cursor)
    assert there.host.shell("find /run/podwatch -name '.*'").stdout == ""
    assert _main_pid(there) == pid
    assert there.status()["state"] == "ok"


def test_history_has_no_room(there: Installed) -> None:
    """/var/lib/podwatch is full: told, repairs go on, and the history that was there stays."""
    _lose_the_table(there)
    there.until_whole()
    known, pid = there.history(), _main_pid(there)
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
            _lose_the_table(there)
            there.until(lambda: not there.containers.probe_ports(), "healed", 10)
            if f"cannot write {directory}" in _since(there, cursor):
                break
        there.until(lambda: f"cannot write {directory}" in _since(there, cursor), "told", 5)
        there.until(lambda: there.status()["state"] == "ok", "verified", 5)
        kept = there.host.shell(f"{enter} cat {directory}/history.jsonl").stdout
    finally:
        there.host.shell(f"{enter} umount {directory}; rm -r /run/history")
    _lose_the_table(there)
    there.until_whole()

    assert kept.count("\n") >= len(known)
    assert all(json.loads(line) for line in kept.splitlines())
    there.until(lambda: len(there.history()) == len(known) + 1, "written again", 5)
    assert _main_pid(there) == pid


def test_memory_limit(there: Installed) -> None:
    """It may have no more memory: dead or alive, it is back, and so is what was lost meanwhile."""
    pid = _main_pid(there)
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
    pid = _main_pid(there)
    try:
        for years in (10, -10, 0, -50, 50):
            there.host.write("/run/clock/offset", str(years * 365 * 86400))
            _lose_the_table(there)
            there.until(lambda: not there.containers.probe_ports(), "healed", 5)
            there.until(lambda: there.status()["state"] == "ok", "told", 10)
            assert there.host.run(["podwatch", "status"], check=False).code == 0
            off = there.status()["last_look"]["at"] - float(there.host.shell("date +%s").stdout)
            assert abs(off - years * 365 * 86400) < 86400  # it did live in that year
        there.host.write("/run/clock/offset", "0")
        assert _main_pid(there) == pid
    finally:
        there.host.shell(f"rm {drop_in}; systemctl daemon-reload; systemctl restart podwatch")


def _until_another(there: Installed, pid: str) -> None:
    there.until(lambda: _main_pid(there) not in (pid, "0"), "started again", 20)


def test_two_instances(there: Installed) -> None:
    """A second daemon refuses to start and names the first; the first is not disturbed."""
    pid = _main_pid(there)
    second = there.host.run(["podwatch", "run"], check=False, timeout=10)

    assert second.code == 3
    told = f"another podwatch (pid {pid}) holds /run/podwatch/run.lock"
    assert told in second.stdout + second.stderr
    assert _main_pid(there) == pid
    assert there.status()["state"] == "ok"


def test_killed_at_random_moments(there: Installed) -> None:
    """SIGKILL at any moment of a repair, by copy or by podman: it comes back and heals."""
    seed = random.SystemRandom().randrange(1 << 32)
    moments = random.Random(seed)  # noqa: S311 - no secret
    print(f"seed {seed}")
    for _ in range(KILLS):
        with there.configured(_RELOAD_ONLY if moments.random() < 0.3 else ""):
            pid = _main_pid(there)
            there.host.shell("nft delete table inet netavark", check=False)
            time.sleep(moments.uniform(0, 0.5))  # the moment is what varies
            there.host.run(["kill", "-KILL", pid], check=False)
            _until_another(there, pid)
            there.until_whole(40)


# netavark's state

MESSES = {
    "10,000 files": "seq 10000 | sed 's,^,ports/junk,' | xargs touch",
    "40,000 files": "seq 40000 | sed 's,^,ports/junk,' | xargs touch",
    "FIFOs": "mkfifo ports/fifo networks/fifo",
    "huge files": "truncate -s 1G ports/huge networks/huge",
    "binary garbage": "for n in 1 2 3; do head -c 100000 /dev/urandom > ports/garbage$n; done",
    "links": "ln -s /dev/zero ports/zero; ln -s /dev/stdin networks/stdin; ln -s loop ports/loop",
    "directories": "mkdir -p ports/directory/in/it networks/directory",
    "odd names": "touch 'ports/--all' 'ports/a\\\\b' 'networks/;reboot;'; mkfifo 'ports/a\nb'",
    "cut in the middle": 'for f in ports/*; do truncate -s 40 "$f"; done',
    "an unknown driver": "echo pf > firewall-driver",
    "nothing in it": "rm ports/* networks/*",
    "no file at all": "rm -r ports networks firewall-driver",
    "no directory at all": "rm -r $PWD",
}


@pytest.mark.parametrize("mess", MESSES.values(), ids=MESSES)
def test_netavarks_state_is_spoilt(there: Installed, mess: str) -> None:
    """Whatever is in the state directory: soon read, unknown at worst, and nothing repaired."""
    before, rules = there.incidents(), there.host.nft("list", "table", "inet", "netavark")
    reloads, pid = there.reloads(), _main_pid(there)
    there.host.shell(f"cp -a {_STATE} /run/state-as-it-was; cd {_STATE}; {mess}", timeout=120)
    try:
        checked = there.host.run(["podwatch", "check", "--json"], check=False, timeout=20)
        told = json.loads(checked.stdout)
        # A chain that concerns nobody makes the daemon look too.
        looks = there.status()["counters"]["looks"]
        there.host.shell("nft add chain inet netavark x; nft delete chain inet netavark x")
        there.until(lambda: there.status()["counters"]["looks"] > looks, "looked", 20)
    finally:
        there.host.shell(f"rm -rf {_STATE}; mv /run/state-as-it-was {_STATE}", timeout=120)
    there.until_whole(40)

    assert told["state"] in ("ok", "unknown"), told["summary"]
    assert told["missing"] == []
    assert there.host.nft("list", "table", "inet", "netavark") == rules
    assert (there.incidents(), there.reloads(), _main_pid(there)) == (before, reloads, pid)
    assert _rss_kb(there) <= MOST_RSS_SPOILT_KB


def _unknown(there: Installed) -> set[str]:
    """What is unknown, where that is the state of it all."""
    status = there.status()
    return {each["what"] for each in status["unknown"] if status["state"] == "unknown"}


@pytest.mark.parametrize(
    "part", ["ports", "networks", "ports/*_$(podman inspect -f {{.Id}} web-b)"]
)
def test_a_part_of_netavarks_state_is_away(there: Installed, part: str) -> None:
    """What it stood for is unknown, never well; it heals soon after the part is there again."""
    there.host.shell(f"mkdir /run/aside; cd {_STATE}; mv {part} /run/aside; nft flush ruleset")
    try:
        # A look amid the move names netavark's state; the next one what it stood for.
        there.until(lambda: _unknown(there) & {"web-b", "network podman"} != set(), "named", 10)
        assert there.check().code == 3
    finally:
        kind = part.partition("/")[0]
        back = f"cp -a /run/aside/{kind} {_STATE}" if part == kind else f"mv /run/aside/* {kind}"
        there.host.shell(f"cd {_STATE}; {back}; rm -r /run/aside")
    there.until_whole(45)
