# SPDX-License-Identifier: Apache-2.0
"""The adapters of systemd, podman and the journal on booted Debian hosts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.containers import web
from tests.lab.host import Host

pytestmark = pytest.mark.integration

SOURCE = Path(__file__).resolve().parents[2]


def oneshot(command: str) -> str:
    """A oneshot unit's text."""
    return (
        "[Unit]\nStartLimitIntervalSec=0\nCollectMode=inactive-or-failed\n"
        f"[Service]\nType=oneshot\nExecStart={command}\n"
    )


@pytest.fixture(scope="module", params=["bookworm", "trixie", "forky"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with podwatch's own units, three units to try, and this source tree at /src."""
    units = {path.name: path.read_text() for path in (SOURCE / "units").glob("podwatch-*")}
    units |= {
        "ok@.service": oneshot(
            '/bin/sh -c "echo begun >>/run/jobs; sleep 0.2; echo ended >>/run/jobs"'
        ),
        "bad.service": oneshot("/bin/false"),
        "long.service": oneshot("/bin/sleep 60"),
    }
    files = {f"/etc/systemd/system/{name}": text for name, text in units.items()}
    with Host(request.param, files=files, binds={SOURCE: "/src"}) as booted:
        booted.shell("mkdir -p /run/podwatch /run/podwatch-podman")  # as systemd, tmpfiles.d do
        yield booted


def ask(host: Host, word: str) -> Any:
    """What on_host.py says there."""
    argv = ["env", "PYTHONPATH=/src", "PYTHONDONTWRITEBYTECODE=1", "python3"]
    return json.loads(host.run([*argv, "/src/tests/integration/on_host.py", word]).stdout)


def test_units_are_run_and_waited_for(host: Host) -> None:
    """Every unit's job result comes back, two at a time, over and over on one connection."""
    first, most, again, hung, states = ask(host, "jobs")

    assert first == {f"ok@{number}.service": "done" for number in range(6)} | {
        "bad.service": "failed"
    }
    assert most == 2
    assert again["ok@1.service"] == "done"
    assert again["bad.service"] == "failed"
    assert "not found" in again["missing.service"]
    assert hung == {"long.service": "timeout"}
    assert states == {
        "dbus.service": "active",
        "missing.service": "",
        "long.service": "activating",
    }
    host.shell("systemctl stop long.service")


def test_a_wait_can_be_given_up(host: Host) -> None:
    """States are told while a job is waited for, and a cancelled wait ends at once."""
    assert ask(host, "cancelled") == "activating"
    host.shell("systemctl stop long.service")


def test_a_hundred_rounds_leave_nothing(host: Host) -> None:
    """Descriptors and threads are the same after one round of jobs and after a hundred."""
    first, last = ask(host, "lasting")

    assert first == last


def test_podmans_lock_is_seen(host: Host) -> None:
    """podman's lock is seen held during a reload, a teardown and a setup, and free afterwards."""
    web(host, "w1", publish=["8080:80/tcp"])
    found = ask(host, "lock")

    assert len(found) == 3
    for command, (held, code, after) in found.items():
        assert code == 0, command
        assert held > 0, command
        assert after == "", command


def test_podmans_lock_is_seen_from_the_sandbox(host: Host) -> None:
    """A process under podwatch.service's restrictions sees the lock that podman holds."""
    leave_out = ("Type=", "ExecStart=", "ExecReload=", "Restart", "WatchdogSec=", "TimeoutStop")
    lines = (SOURCE / "units/podwatch.service").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(leave_out)]
    kept[kept.index("[Service]")] = (
        "[Service]\nType=oneshot\nEnvironment=PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1\n"
        "ExecStart=/usr/bin/python3 /src/tests/integration/on_host.py sandboxed"
    )
    host.write("/etc/systemd/system/sandboxed.service", "\n".join(kept))
    host.shell(
        "systemctl daemon-reload; systemctl start --no-block sandboxed.service; "
        "for i in $(seq 100); do podman network reload w1; "
        "case $(systemctl show -p ActiveState --value sandboxed.service) in "
        "inactive|failed) break;; esac; done"
    )
    assert "true" in host.journal("sandboxed.service", output="cat").split()


def test_containers_are_listed_and_reloaded_both_ways(host: Host) -> None:
    """The units and the child processes agree on podman's containers, and both reload them."""
    found = ask(host, "containers")

    assert found["same"]
    assert found["names"] == ["w1"]
    assert found["units"] == ["done"]
    assert list(found["failed"]) == ["a" * 64]
    assert found["bad"] == 0
    if host.suite == "bookworm":  # netavark 1.4 keeps no state
        assert (found["driver"], found["endpoints"]) == ("unknown", None)
    else:
        assert (found["driver"], found["endpoints"]) == ("nftables", True)


def test_an_entry_keeps_its_lines_and_fields(host: Host) -> None:
    """What send() sends is found by its field, newlines and priority included."""
    assert ask(host, "entry")
    output = host.run("journalctl --sync; journalctl -o json PODWATCH_TEST=yes").stdout
    (entry,) = [json.loads(line) for line in output.splitlines()]

    assert entry["MESSAGE"] == "two\nlines"
    assert entry["PRIORITY"] == "4"
