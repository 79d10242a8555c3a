# SPDX-License-Identifier: Apache-2.0
"""The sandbox as the kernel has it, not as the unit asks for it: systemd leaves out in silence what
a host cannot do. And the other side of it: what podman starts is never inside."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import SUITES
from tests.e2e.installed import CONFIG, Installed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", [*SUITES, "bookworm"], indirect=True, scope="module"),
]

_CAP_NET_ADMIN = 1 << 12  # linux/capability.h
_SECCOMP_MODE_FILTER = "2"
_RELOAD_ONLY = '[restore]\nmethods = ["reload"]\nquiet = 0\n'


def _lose(there: Installed) -> None:
    flush = "nft delete table inet netavark"
    there.host.shell("iptables -t nat -F" if there.host.suite == "bookworm" else flush)


def _pids(there: Installed, names: str) -> list[str]:
    """Of all processes whose name is one of `names`; Debian 12 is without pgrep here."""
    script = f"grep -lxE '{names}' /proc/[0-9]*/comm 2>/dev/null | cut -d / -f 3"
    return there.host.shell(script, check=False).stdout.split()


def _proc_status(there: Installed, pid: str) -> dict[str, str]:
    lines = there.host.read(f"/proc/{pid}/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize(
    "directory", ["/", "/boot", "/etc", "/etc/podwatch", "/home", "/root", "/usr/bin", "/var/lib"]
)
def test_writes_nowhere(there: Installed, directory: str) -> None:
    """In the daemon's view of the file system even an almighty root writes to none of these."""
    enter = ["nsenter", "--target", there.main_pid(), "--mount"]
    tried = there.host.run([*enter, "touch", f"{directory}/podwatch-was-here"], check=False)

    assert tried.code != 0, "written"
    assert not there.host.exists(f"{directory}/podwatch-was-here")
    assert "Read-only file system" in tried.stderr or "Permission denied" in tried.stderr


def test_writes_its_own_directories(there: Installed) -> None:
    """It writes to /run/podwatch and /var/lib/podwatch; its /tmp and its /dev are its own."""
    enter = ["nsenter", "--target", there.main_pid(), "--mount"]
    for directory in ("/run/podwatch", "/var/lib/podwatch", "/tmp"):
        there.host.run([*enter, "touch", f"{directory}/probe"])
        there.host.run([*enter, "rm", f"{directory}/probe"])
    there.host.run(["touch", "/tmp/of-the-host"])

    assert there.host.run([*enter, "test", "-e", "/tmp/of-the-host"], check=False).code != 0
    assert there.host.run([*enter, "test", "-e", "/dev/fuse"], check=False).code != 0


def test_capabilities(there: Installed) -> None:
    """Every thread has CAP_NET_ADMIN alone, can gain none, and runs under a system call filter."""
    pid = there.main_pid()
    threads = there.host.run(["ls", f"/proc/{pid}/task"]).stdout.split()

    assert threads
    for thread in threads:
        status = _proc_status(there, thread)
        for held in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[held], 16) == _CAP_NET_ADMIN, held
        assert int(status["CapAmb"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == _SECCOMP_MODE_FILTER


def test_exposure(there: Installed) -> None:
    """systemd rates the running unit's exposure at 2.0 or less."""
    rated = there.host.run(
        ["systemd-analyze", "security", "--no-pager", "--threshold=20", "podwatch"], check=False
    )

    assert rated.code == 0, rated.stdout[-400:]


@pytest.fixture(scope="module")
def dns_started_by_a_repair(there: Installed) -> Iterator[str]:
    """The pid of an aardvark-dns that a repair by podwatch has started."""
    there.host.write(CONFIG, _RELOAD_ONLY)
    there.host.run(["systemctl", "reload", "podwatch"])
    (before,) = _pids(there, "aardvark-dns")
    there.host.shell(f"kill -KILL {before}")
    _lose(there)
    there.until_whole(30)
    (pid,) = _pids(there, "aardvark-dns")
    assert pid != before
    yield pid
    there.host.run(["rm", "-f", CONFIG])
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until_whole()


def test_nothing_of_podman_is_in_the_sandbox(
    there: Installed, dns_started_by_a_repair: str
) -> None:
    """After a repair no process of podman is in podwatch's cgroup, or bound by its limits."""
    podwatch = there.main_pid()
    inside = there.host.run(["systemctl", "show", "--value", "-p", "ControlGroup", "podwatch"])
    group = inside.stdout.strip()
    pids = _pids(there, "aardvark-dns|conmon|busybox")
    namespaces = there.host.run(["readlink", f"/proc/{podwatch}/ns/mnt"]).stdout

    assert group.endswith("/podwatch.service")
    assert dns_started_by_a_repair in pids
    for pid in pids:
        assert "podwatch.service" not in there.host.read(f"/proc/{pid}/cgroup")
        assert there.host.run(["readlink", f"/proc/{pid}/ns/mnt"]).stdout != namespaces
    status = _proc_status(there, dns_started_by_a_repair)
    assert status["NoNewPrivs"] == "0"
    assert int(status["CapBnd"], 16) & ~_CAP_NET_ADMIN


def test_stopping_podwatch_stops_nothing_else(
    there: Installed, dns_started_by_a_repair: str
) -> None:
    """`systemctl stop podwatch` leaves aardvark-dns, conmon and every container as they were."""
    before = _pids(there, "aardvark-dns|conmon|busybox")
    there.host.run(["systemctl", "stop", "podwatch"])
    try:
        after = _pids(there, "aardvark-dns|conmon|busybox")
        lost = there.containers.probe_all()
    finally:
        there.host.run(["systemctl", "start", "podwatch"])

    assert dns_started_by_a_repair in after
    assert (after, lost) == (before, [])


def test_others_read_the_status_alone(there: Installed) -> None:
    """Of what podwatch keeps, a user without privileges reads status.json and writes nothing."""
    as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    keeps = "/run/podwatch /run/podwatch-podman /var/lib/podwatch"
    find = f"{as_nobody} find {keeps} 2>/dev/null"
    there.host.run(["podwatch", "pause", "--reason", "nobody's business"])

    assert there.host.shell(f"find {keeps} -type f | wc -l").stdout.strip() > "1"
    readable = there.host.shell(f"{find} -type f -readable || true").stdout.split()
    writable = there.host.shell(f"{find} -writable || true").stdout
    there.host.run(["podwatch", "resume"])

    assert readable == ["/run/podwatch/status.json"]
    assert writable == ""


def test_no_link_is_followed(there: Installed) -> None:
    """Links in place of podwatch's files are replaced; what they point at is not touched."""
    victim = "/etc/victim"
    there.host.write(victim, "untouched\n")
    lists = ("podman.json", "networks.json", "network-podman.json")
    of_root = ("networks.ids", *lists, *(f"{path}.new" for path in lists))
    there.host.run(["systemctl", "stop", "podwatch"])
    for name in ("status.json", "rules.json"):
        there.host.run(["ln", "-sfn", victim, f"/run/podwatch/{name}"])
    for name in of_root:
        there.host.run(["ln", "-sfn", victim, f"/run/podwatch-podman/{name}"])
    there.host.run(["systemctl", "start", "podwatch"])
    for unit in ("podwatch-inspect", "podwatch-networks", "podwatch-network@podman"):
        there.host.run(["systemctl", "start", unit])
    there.until_whole()
    there.until(
        lambda: (
            there.host.shell("find /run/podwatch /run/podwatch-podman -type l").stdout == ""
            and there.host.exists("/run/podwatch/rules.json")
        ),
        "every link replaced",
    )

    assert there.host.read(victim) == "untouched\n"
    assert there.status()["state"] == "ok"
