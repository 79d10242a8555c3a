# SPDX-License-Identifier: Apache-2.0
"""Who did it, asked of the real /proc, and of one of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from podwatch.adapters.process import Processes
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


_AGAIN = """
import os, sys, time
from podwatch.adapters.process import living, started

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
assert set(listed) == {first} and living(listed) == {first}, listed
end(first)
assert living(listed) == set() == set(started([first]))
while int(open("/proc/uptime").read().replace(".", "").split()[0]) <= listed[first]:
    time.sleep(0.01)  # a start is counted in ticks of 10 ms
open("/proc/sys/kernel/ns_last_pid", "w").write(str(first - 1))
again = child()
assert again == first, (again, first)
assert set(started([again])) == {first} and living(listed) == set(), listed
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
