# SPDX-License-Identifier: Apache-2.0
"""A real system bus and a real firewalld, of any Debian release, in a namespace of the test's own.

They run from a lab root file system under a throw-away overlay, without systemd: a test can kill,
stop and restart either within milliseconds. For use inside `@in_private_network`.
"""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from tests.lab import rootfs

SUITES = ("bookworm", "trixie", "forky")
_LIMIT_S = 20.0


class FirewallStage:
    """A root file system with a bus and firewalld; a context manager.

    Inside, the environment sends D-Bus clients to the stage's bus. Everything ends with the block.
    """

    def __init__(self, suite: str) -> None:
        self._lower = rootfs.build(suite)
        self._top = Path(tempfile.mkdtemp(prefix="podwatch-stage-"))
        self.root = self._top / "root"
        self._bus: subprocess.Popen[bytes] | None = None
        self._firewalld: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "FirewallStage":
        mount("tmpfs", "none", self._top)
        for name in ("upper", "work", "root"):
            (self._top / name).mkdir()
        options = f"lowerdir={self._lower},upperdir={self._top}/upper,workdir={self._top}/work"
        mount("overlay", "overlay", self.root, "-o", options)
        mount("proc", "proc", self.root / "proc")
        mount("sysfs", "sysfs", self.root / "sys")
        mount("tmpfs", "run", self.root / "run")
        subprocess.run(["mount", "--bind", "/dev", self.root / "dev"], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        (self.root / "run/dbus").mkdir()
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={self.socket}"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_firewalld()
        self.stop_bus()
        subprocess.run(["umount", "--recursive", "--lazy", self._top], check=True)
        self._top.rmdir()

    @property
    def socket(self) -> Path:
        """The bus' socket, as seen from the test."""
        return self.root / "run/dbus/system_bus_socket"

    def start_bus(self) -> None:
        """Start dbus-daemon and wait for its socket."""
        self._bus = self._spawn(["dbus-daemon", "--system", "--nofork", "--nopidfile"])
        until(self.socket.exists, "the bus' socket")

    def stop_bus(self) -> None:
        """Kill the bus; all its clients lose their connection."""
        _end(self._bus)
        self._bus = None
        self.socket.unlink(missing_ok=True)
        # polkitd, which the bus started for firewalld, ends when it loses the bus.

    def start_firewalld(self, *, wait: bool = True) -> None:
        """Start firewalld, and wait until it answers."""
        self._firewalld = self._spawn(["/usr/sbin/firewalld", "--nofork", "--nopid"])
        if wait:
            until(lambda: self.firewall_cmd("--state", check=False) == "running", "firewalld")

    def stop_firewalld(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End firewalld: with SIGKILL it leaves its rules, otherwise it takes them away."""
        _end(self._firewalld, number)
        self._firewalld = None

    def freeze_firewalld(self, *, frozen: bool) -> None:
        """Stop or continue firewalld's process: while stopped it hangs on every call."""
        assert self._firewalld is not None
        self._firewalld.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def firewall_cmd(self, *arguments: str, check: bool = True) -> str:
        """Run firewall-cmd in the root file system; what it printed."""
        return self.run("firewall-cmd", *arguments, check=check)

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a program of the root file system; what it printed."""
        done = subprocess.run(
            ["chroot", self.root, *argv],
            text=True,
            capture_output=True,
            timeout=_LIMIT_S,
            env=_environment(),
        )
        if check and done.returncode:
            raise AssertionError(f"{argv}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _spawn(self, argv: Sequence[str]) -> "subprocess.Popen[bytes]":
        log = (self._top / "log").open("ab")
        with log:
            return subprocess.Popen(
                ["chroot", self.root, *argv], stdout=log, stderr=log, env=_environment()
            )

    def log(self) -> str:
        """What the bus and firewalld printed."""
        return (self._top / "log").read_text()


def on_stage(
    body: Callable[[FirewallStage], Coroutine[Any, Any, None]],
    suite: str = "trixie",
    *,
    firewalld: bool = True,
) -> None:
    """Run a test's body where a bus runs, and firewalld if it is wanted from the start."""
    with FirewallStage(suite) as stage:
        stage.start_bus()
        if firewalld:
            stage.start_firewalld()
        asyncio.run(body(stage))


def mount(kind: str, source: str, target: Path, *options: str) -> None:
    """Mount a file system, making its directory if there is none."""
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, source, target, *options], check=True)


def until(condition: "object", what: str) -> None:
    """Wait for `condition` to be true, with a limit."""
    assert callable(condition)
    deadline = time.monotonic() + _LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {_LIMIT_S:.0f} s for {what}")
        time.sleep(0.02)


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANG": "C"}


def _end(
    process: "subprocess.Popen[bytes] | None", number: signal.Signals = signal.SIGKILL
) -> None:
    if process is None or process.poll() is not None:
        return
    if number != signal.SIGKILL:  # which ends a frozen one, too, before it can answer anybody
        process.send_signal(signal.SIGCONT)
    process.send_signal(number)
    process.wait(_LIMIT_S)
