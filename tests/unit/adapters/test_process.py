# SPDX-License-Identifier: Apache-2.0
"""Who did it, asked of the real /proc, and of one of the test's own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from podwatch.adapters import process
from podwatch.adapters.process import Processes, Watched, started
from podwatch.words.cause import Process, Writer


def test_a_process_that_is_gone_is_not_made_up(tmp_path: Path) -> None:
    """No process, another one under the number, or an empty /proc: only the kernel's word stays."""
    writer = Writer("nft", os.getpid())

    assert Processes().identify(writer) == writer
    assert Processes(proc=tmp_path).identify(writer) == writer


def test_a_process_with_an_odd_name_is_found() -> None:
    """What the kernel and /proc say of a name is cleaned alike: it is the same process."""
    program = "open('/proc/self/comm', 'w').write('a\\x9bb'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        found = Processes().identify(Writer("a\ufffdb", odd.pid))
        odd.kill()

    assert found.process is not None
    assert str(found) == f"a\ufffdb (pid {odd.pid})"


def test_in_another_pid_namespace_the_name_is_looked_for(tmp_path: Path) -> None:
    """Where the kernel's numbers mean nothing the only process of the name is taken."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532000]")
    for pid, name in ((7, "bash"), (8, "nft")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S 1 0\n")
    writer = Writer("nft", 70_000)

    found = Processes(proc=tmp_path).identify(writer)
    assert (found.pid, found.process) == (8, Process("nft", 8))

    (tmp_path / "7/comm").write_text("nft\n")
    assert Processes(proc=tmp_path).identify(writer) == writer


NOBODY = "4294967295"


def fill(proc: Path, pid: int, name: str, parent: int, command: str, **more: str) -> None:
    """A process in a /proc of the test's own."""
    (proc / str(pid)).mkdir()
    files = {
        "stat": f"{pid} ({name}) S {parent} 0\n",
        "cmdline": command.replace(" ", "\0") + "\0",
        "status": "Uid:\t0\t0\t0\t0\n",
        "loginuid": NOBODY,
        "cgroup": "0::/system.slice/cron.service\n",
        **more,
    }
    for file, text in files.items():
        (proc / str(pid) / file).write_text(text)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    """An nft that a script in sudo's shell has run."""
    proc, passwd = tmp_path / "proc", tmp_path / "passwd"
    proc.mkdir()
    passwd.write_text("root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n")
    fill(proc, 20, "nft", 19, "nft flush ruleset", loginuid="1000")
    fill(proc, 19, "sh", 18, "sh -c nft")
    fill(proc, 18, "sudo", 17, "sudo sh")
    fill(proc, 17, "backup.py", 16, "python3 backup.py")
    fill(proc, 16, "bash", 1, "-bash")
    fill(proc, 1, "systemd", 0, "/sbin/init")
    fill(proc, 9, "podman", 1, "podman run", status="Uid:\t1000\t0\t0\t0\n")
    fill(proc, 8, "nft", 1, "nft -f x")
    return Processes(proc=proc, passwd=passwd)


def test_a_writer_is_told_with_who_ran_it(processes: Processes) -> None:
    """Its command, unit, who logged in; and the first above it that is more than a wrapper."""
    found = processes.identify(Writer("nft", 20))

    assert found.process == Process(
        "nft",
        20,
        "nft flush ruleset",
        "cron.service",
        "",
        "alice",
        Process("backup.py", 17, "python3 backup.py"),
    )


def test_who_runs_a_program_that_is_no_tool_is_not_asked(processes: Processes) -> None:
    """podman does what it does by itself; its user counts where nobody logged in, unless root."""
    podman = processes.identify(Writer("podman", 9)).process
    nft = processes.identify(Writer("nft", 8)).process

    assert podman == Process("podman", 9, "podman run", "cron.service", "", "alice")
    assert nft == Process("nft", 8, "nft -f x", "cron.service")


def test_wrappers_all_the_way_up_are_better_than_nobody(tmp_path: Path) -> None:
    """The last one that can be seen is told; no more than six are asked."""
    fill(tmp_path, 30, "nft", 29, "nft flush ruleset")
    fill(tmp_path, 29, "sudo", 28, "sudo nft")
    found = Processes(proc=tmp_path).identify(Writer("nft", 30)).process
    assert found is not None
    assert found.parent == Process("sudo", 29, "sudo nft")

    for pid in range(28, 20, -1):
        fill(tmp_path, pid, "env", pid - 1, f"env {pid}")
    found = Processes(proc=tmp_path).identify(Writer("nft", 30)).process
    assert found is not None
    assert found.parent == Process("env", 24, "env 24")


def test_a_process_is_described_while_it_is_alive(processes: Processes, tmp_path: Path) -> None:
    """By name, number and user; one that has ended not at all."""
    assert processes.describe(9) == "podman (pid 9, user alice)"
    assert processes.describe(17) == "backup.py (pid 17, user root)"
    assert processes.describe(7) == ""
    (tmp_path / "proc/9/status").unlink()
    assert processes.describe(9) == ""


def test_a_process_has_its_start_as_long_as_it_is_alive() -> None:
    """Number and start together name it; a number alone may be another's by then."""
    with subprocess.Popen(["sleep", "60"]) as child:
        listed = started([child.pid, 1 << 22])
        assert set(listed) == {child.pid}
        child.kill()
    assert started([child.pid]) == {}


@pytest.mark.parametrize("held", [0, 1, 400])
def test_who_is_watched_has_not_ended(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many descriptors there may be; who was never there is not alive."""
    monkeypatch.setattr(process, "MAX_WATCHED", held)
    watched = Watched()
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        watched.follow({one.pid, other.pid, 1 << 22})
        assert watched.alive() == {one.pid, other.pid}
        one.kill()
        one.wait()
        assert watched.alive() == {other.pid}
        watched.follow({other.pid})
        assert watched.alive() == {other.pid}
        watched.follow(set())
        assert watched.alive() == set()
        other.kill()
    watched.close()


def test_the_end_of_who_is_watched_is_heard_once() -> None:
    """Of those who were followed before somebody listened, and of those after; of nobody else."""
    watched, ends = Watched(), asyncio.Queue[None]()

    async def body() -> None:
        with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
            watched.follow({one.pid})
            watched.listen(asyncio.get_running_loop(), lambda: ends.put_nowait(None))
            watched.follow({one.pid, other.pid})
            for child, left in ((one, {other.pid}), (other, set())):
                child.kill()
                await ends.get()
                assert watched.alive() == left
            await asyncio.sleep(0)
            assert ends.empty()
        watched.close()

    asyncio.run(asyncio.wait_for(body(), 30))


def test_who_is_watched_is_not_read_again() -> None:
    """His number is his until he has ended: /proc is read for who is new, and for another one."""
    asked: list[set[int]] = []

    def when(pids: set[int]) -> Mapping[int, int]:
        asked.append(set(pids))
        return started(pids)

    watched = Watched(when)
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        watched.follow({one.pid})
        watched.follow({one.pid, other.pid})
        assert asked == [{one.pid}, {other.pid}]
        assert watched.alive() == {one.pid, other.pid}
        one.kill()
        one.wait()
        watched.follow({one.pid, other.pid})
        assert asked[2:] == [{one.pid}]
        assert watched.alive() == {other.pid}
        other.kill()
    watched.close()


def test_another_process_with_the_number_of_one_is_not_that_one() -> None:
    """Of who has no descriptor the start tells."""
    nobody = 1 << 22
    starts = {nobody: 100}
    watched = Watched(lambda pids: {pid: starts[pid] for pid in pids})
    watched.follow({nobody})
    assert watched.alive() == {nobody}
    starts[nobody] = 101
    assert watched.alive() == set()


def test_who_asks_with_systemds_number_is_networkd(processes: Processes, tmp_path: Path) -> None:
    """Its socket is opened by systemd; where it does not run, and for any other, the number is."""
    pids = tmp_path / "cgroup.procs"
    processes = Processes(proc=tmp_path / "proc", passwd=tmp_path / "passwd", networkd=pids)

    def name(port: int) -> str:
        asker = processes.asker(port)
        return "" if asker is None else str(asker)

    assert name(1) == "systemd (pid 1)"
    pids.write_text("8\n9\n")
    assert (name(1), name(16), name(7)) == ("nft (pid 8)", "bash (pid 16)", "")
    pids.write_text("")
    assert name(1) == "systemd (pid 1)"


def test_a_proc_that_cannot_be_read_knows_nobody(tmp_path: Path) -> None:
    """Where names have to be looked for, and there is nothing to look in."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532000]")
    processes = Processes(proc=tmp_path)
    (tmp_path / "self/ns/pid").unlink()
    (tmp_path / "self/ns").rmdir()
    (tmp_path / "self").rmdir()
    tmp_path.rmdir()
    writer = Writer("nft", 70_000)

    assert processes.identify(writer) == writer
    tmp_path.mkdir()


_AGAIN = """
import os, sys, time
from podwatch.adapters.process import Watched, started

def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid

def end(pid):
    os.kill(pid, 9)
    os.waitpid(pid, 0)

first = child()
listed = started([first, 1 << 22])
watched = Watched()
watched.follow({first})
assert set(listed) == {first} == watched.alive(), listed
end(first)
assert watched.alive() == set() == set(started([first]))
while int(open("/proc/uptime").read().replace(".", "").split()[0]) <= listed[first]:
    time.sleep(0.01)  # a start is counted in ticks of 10 ms
open("/proc/sys/kernel/ns_last_pid", "w").write(str(first - 1))
again = child()
assert again == first, (again, first)
assert set(started([again])) == {first} and watched.alive() == set(), listed
watched.follow({again})
assert watched.alive() == {again}
end(again)
print("ok")
"""


def test_a_number_used_again_is_another_process() -> None:
    """A process that gets the number of one that has ended does not keep that one alive."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a pid namespace of its own")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", _AGAIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("ok\n", "")
