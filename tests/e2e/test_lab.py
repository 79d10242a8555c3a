# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what the other end-to-end tests take for granted about its hosts."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.containers import many, standard_set
from tests.lab.errors import CommandFailed, LabError
from tests.lab.host import Host
from tests.lab.machine import Machine, until
from tests.lab.rootfs import build, cache_directory, containers_conf

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.e2e

TOP = Path(__file__).resolve().parents[2]


def traces_of(name: str) -> list[Path]:
    """Everything outside that a lab host of this name may own."""
    groups = [Path("/sys/fs/cgroup") / part / name for part in ("", "systemd", "unified")]
    nspawn = [Path("/run/systemd/nspawn") / part / name for part in ("propagate", "unix-export")]
    return [path for path in [cache_directory() / "run" / name, *groups, *nspawn] if path.exists()]


def test_every_container_of_the_standard_set_is_reached_and_reaches_out(host: Host) -> None:
    """With firewalld running, each published port answers and each container gets out."""
    containers = standard_set(host)

    assert host.unit_state("firewalld.service") == "active"
    assert containers.probe_all() == []


def test_a_lost_ruleset_is_seen_by_the_probes(lab_host: Callable[..., Host]) -> None:
    """The probes report every published port, and the way out, once the rules are gone."""
    host = lab_host("trixie", firewalld=False)
    containers = many(host, 3)
    assert containers.probe_all() == []

    host.nft("flush", "ruleset")

    assert len(containers.probe_ports()) == 3
    assert len(containers.probe_egress()) == 3


def test_a_watch_measures_an_outage(lab_host: Callable[..., Host]) -> None:
    """A Watch reports an outage of half a second as such, and none where there was none."""
    host = lab_host("trixie", firewalld=False)
    containers = many(host, 2)
    with host.client.watch(containers.http_ports) as quiet:
        time.sleep(0.5)  # the length of the observation, not a wait for anything
    with host.client.watch(containers.http_ports) as broken:
        began = time.monotonic()
        host.shell("nft list ruleset > /root/saved; nft flush ruleset")
        time.sleep(0.5)  # the length of the outage
        host.nft("-f", "/root/saved")
        for port in containers.http_ports:
            host.client.until_http(port)
        most_ms = 1000 * (time.monotonic() - began)

    assert quiet.failures == 0
    # An outage is seen between two answers, of which each may come a probe late.
    longest = [report.longest_ms for report in broken.reports.values()]
    assert all(500 <= outage <= most_ms + quiet.longest_ms for outage in longest), (
        longest,
        most_ms,
    )
    assert quiet.longest_ms < min(longest)


def test_commands_fail_loudly_and_in_time(lab_host: Callable[..., Host]) -> None:
    """A failing command raises with what it said; an endless one is killed on the host too."""
    host = lab_host("trixie", firewalld=False)
    with pytest.raises(CommandFailed, match="status 3") as failed:
        host.shell("echo told >&2; exit 3")
    assert failed.value.stderr == "told\n"

    with pytest.raises(CommandFailed, match="did not end within"):
        host.run("exec sleep 4321", timeout=0.3)
    assert host.shell("grep -lzx '432[1]' /proc/[0-9]*/cmdline", check=False).stdout == ""


def test_files_and_journal_round_trip(lab_host: Callable[..., Host]) -> None:
    """A file is read back as written, mode included, and the journal is read on from a cursor."""
    host = lab_host("trixie", firewalld=False)
    host.write("/etc/new/directory/file", "text 'quoted'\n", 0o640)
    assert host.read("/etc/new/directory/file") == "text 'quoted'\n"
    assert host.run("stat -c %a /etc/new/directory/file").stdout == "640\n"

    cursor = host.journal_cursor()
    host.run(["systemd-cat", "-t", "here", "echo", "a line"])
    after = [entry["MESSAGE"] for entry in host.journal_json(since_cursor=cursor)]
    assert "a line" in after


def test_a_reboot_keeps_the_disk_and_the_client(lab_host: Callable[..., Host]) -> None:
    """After a reboot the disk is as it was, /run is new and the client is connected again."""
    host = lab_host("trixie", firewalld=False)
    host.write("/root/kept", "kept")
    host.write("/run/gone", "gone")
    host.reboot()

    assert host.read("/root/kept") == "kept"
    assert not host.exists("/run/gone")
    many(host, 1)
    host.client.until_http(20001)


def test_two_hosts_at_a_time_share_nothing() -> None:
    """Each of two hosts has its own rules, client and control group, and leaves no trace."""
    with Host("trixie", firewalld=False) as one, Host("trixie", firewalld=False) as two:
        names = [one.machine.name, two.machine.name]
        groups = {Path(f"/proc/{host.leader}/cgroup").read_text() for host in (one, two)}
        one.nft("add", "table", "inet", "mine")
        many(one, 1)

        assert len(groups) == 2
        assert "mine" not in two.nft("list", "tables")
        assert one.client.http(20001) == "many-1"
        assert two.client.http(20001) is None

    assert [traces_of(name) for name in names] == [[], []]


def test_a_halt_is_orderly() -> None:
    """A host powers itself off when told to, without being killed."""
    with Host("trixie", firewalld=False) as host:
        assert host.halt()


def test_a_failed_boot_shows_why_and_leaves_nothing() -> None:
    """A host without an init to boot raises LabError and is removed."""
    machine = Machine(build("trixie"))
    (machine.upper / "usr").mkdir()
    (machine.upper / "usr/lib").write_text("no directory, and so no systemd in it")
    try:
        with pytest.raises(LabError, match="did not start"):
            machine.boot(limit_s=20)
    finally:
        machine.close()
    assert traces_of(machine.name) == []


def test_a_killed_run_leaves_no_host_behind() -> None:
    """When the process that booted a host is killed, the host ends and the next one sweeps up."""
    script = (
        "from tests.lab.host import Host; import sys, time\n"
        "with Host('trixie', firewalld=False) as host:\n"
        "    print(host.machine.name, host.leader, flush=True); time.sleep(600)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=TOP
    )
    assert child.stdout is not None
    name, leader = child.stdout.readline().split()
    child.send_signal(signal.SIGKILL)
    child.communicate()

    assert until(lambda: not Path(f"/proc/{leader}").exists(), 30)
    with Host("trixie", firewalld=False):
        assert traces_of(name) == []


def test_bookworm_runs_on_cni(lab_host: Callable[..., Host]) -> None:
    """On request bookworm's podman uses the CNI plugins, and the standard set works there too."""
    conf = containers_conf("bookworm", network_backend="cni")
    host = lab_host("bookworm", containers_conf=conf)
    info = json.loads(host.podman("info", "--format=json"))
    assert info["host"]["networkBackend"] == "cni"
    assert standard_set(host).probe_all() == []
