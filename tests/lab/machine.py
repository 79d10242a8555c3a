# SPDX-License-Identifier: Apache-2.0
"""Booting and halting one systemd-nspawn machine, and leaving nothing of it behind.

A machine owns a directory in the cache (``run/NAME``: the overlay's upper and work directories, its
/var/lib/containers, the console log), one control group in each hierarchy that systemd uses, and
the nspawn process. The overlay is mounted in a mount namespace that only nspawn lives in, so it
goes with the process whatever happens; when the process that started it dies, nspawn powers the
machine off. What a killed test run leaves behind is swept up by the next machine: each running
machine holds a lock on its directory.
"""

import fcntl
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.lab.errors import LabError, tail
from tests.lab.rootfs import cache_directory

_CGROUP = Path("/sys/fs/cgroup")
_NSPAWN_RUN = Path("/run/systemd/nspawn")
_TIED_TO_US = ("setpriv", "--pdeathsig", "TERM")
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_HALT = signal.SIGRTMIN + 4  # "systemd power off", systemd(1), SIGNALS
_REBOOT = 133  # EXIT_FORCE_RESTART, nspawn.c of systemd 252
_counter = itertools.count(1)


LONGEST_STEP_S = 0.5
"""Asking costs processors, which other hosts want: who has waited long is asked less often."""


def until(condition: Callable[[], object], limit_s: float, step_s: float = 0.02) -> bool:
    """Wait until ``condition()`` is true.

    Args:
        condition: asked again and again; its first true value ends the wait.
        limit_s: the longest wait in seconds.
        step_s: the pause between two questions in seconds, which grows with the wait.

    Returns:
        Whether the condition became true within the limit.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > limit_s:
            return False
        time.sleep(max(step_s, min(waited / 20, LONGEST_STEP_S)))
    return True


def children_of(pid: int) -> list[int]:
    """Return the process ids of the children of ``pid``; none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):  # it ended before or while being read
        return []
    return [int(word) for word in text.split()]


class Machine:
    """One systemd-nspawn container over a throw-away overlay; ``leader`` is its PID 1."""

    def __init__(self, rootfs: Path, name: str | None = None) -> None:
        """Take a name and make the directories; nothing runs yet.

        Args:
            rootfs: the root file system to boot from; it is never written to.
            name: a name no other machine of this computer has; made from the process id if None.
        """
        self.rootfs = rootfs
        self.name = name or f"podwatch-{os.getpid()}-{next(_counter)}"
        runs = cache_directory() / "run"
        runs.mkdir(exist_ok=True)
        sweep(runs)
        self.directory = runs / self.name
        try:
            self.directory.mkdir()
        except FileExistsError:
            raise LabError(
                f"a lab host named {self.name} runs already ({self.directory})"
            ) from None
        self._lock = (self.directory / "lock").open("w", encoding="ascii")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.upper = self.directory / "upper"
        for part in ("upper", "work", "root", "containers"):
            (self.directory / part).mkdir()
        self.console = self.directory / "console.log"
        self.leader = 0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._binds: dict[Path, str] = {}

    def boot(
        self,
        *,
        enable: Sequence[str] = (),
        disable: Sequence[str] = (),
        binds: Mapping[Path, str] | None = None,
        limit_s: float = 60.0,
    ) -> None:
        """Start nspawn and wait for its PID 1 to exist.

        Args:
            enable: units to enable before the boot.
            disable: units to disable before the boot.
            binds: directories of this computer to show read-only in the machine, each with the
                path it has there.
            limit_s: the longest wait for PID 1 in seconds.

        Raises:
            LabError: nspawn ended or no PID 1 appeared; the message holds the end of its log.
        """
        machine_id = self.upper / "etc/machine-id"
        machine_id.parent.mkdir(exist_ok=True)
        machine_id.write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
        self._binds = dict(binds or {})
        self._launch(enable, disable)
        self.await_leader(limit_s)

    def reboot(self, limit_s: float = 60.0) -> None:
        """Wait for a machine that was told to reboot to go down, and boot it again.

        With --keep-unit nspawn leaves the second half to its caller and ends with status 133.

        Args:
            limit_s: the longest wait for each half in seconds.

        Raises:
            LabError: it did not go down, went down for another reason, or did not come up.
        """
        gone = until(lambda: self.ended, limit_s)
        if self._nspawn is None or not gone or self._nspawn.returncode != _REBOOT:
            raise LabError(f"{self.name} did not reboot; its console ends:\n{self.console_tail()}")
        self.leader = 0
        # The mark by which the kernel refuses a volatile overlay that may have been cut short.
        shutil.rmtree(self.directory / "work" / "work" / "incompat", ignore_errors=True)
        _forget(self.name)
        self._launch()
        self.await_leader(limit_s)

    def _launch(self, enable: Sequence[str] = (), disable: Sequence[str] = ()) -> None:
        """Start nspawn in a mount namespace and control groups of its own."""
        groups = [parent / self.name for parent in _cgroup_parents()]
        for group in groups:
            group.mkdir(exist_ok=True)
        script = _boot_script(self.directory, self.rootfs, groups, enable, disable)
        nspawn = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={self.directory / 'root'}",
            "--boot",
            "--private-network",
            "--capability=all",
            "--register=no",
            "--keep-unit",
            "--bind=/dev/net/tun",
            "--bind=/dev/fuse",
            # podman's overlay storage refuses to sit on an overlay.
            f"--bind={self.directory / 'containers'}:/var/lib/containers",
            *(f"--bind-ro={source}:{target}" for source, target in self._binds.items()),
            f"--machine={self.name}",
            "--hostname=lab",
            "--console=pipe",
        ]
        with self.console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                [*_TIED_TO_US, *_OWN_MOUNTS, "sh", "-euc", script, "sh", *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )

    def await_leader(self, limit_s: float = 60.0) -> None:
        """Wait for PID 1 of the machine to exist, and take note of it.

        Args:
            limit_s: the longest wait in seconds.

        Raises:
            LabError: nspawn ended, or none appeared in time.
        """
        if not until(lambda: self.ended or self._find_leader(), limit_s) or self.ended:
            raise LabError(f"{self.name} did not start; its console ends:\n{self.console_tail()}")

    @property
    def ended(self) -> bool:
        """Whether nspawn is not running."""
        return self._nspawn is None or self._nspawn.poll() is not None

    def console_tail(self, lines: int = 30) -> str:
        """Return the last lines of what the machine wrote to its console."""
        return tail(self.console.read_text(encoding="utf-8", errors="replace"), lines)

    def halt(self, limit_s: float = 20.0) -> bool:
        """Power the machine off as an administrator would, and kill it if that takes too long.

        Args:
            limit_s: the longest wait for the orderly end in seconds.

        Returns:
            Whether it ended by itself.
        """
        try:
            if self.leader:
                os.kill(self.leader, _HALT)
            orderly = until(lambda: self.ended, limit_s)
        except ProcessLookupError:  # PID 1 is already on its way out
            orderly = until(lambda: self.ended, limit_s)
        if not orderly:
            self.kill()
        self.leader = 0
        return orderly

    def kill(self) -> None:
        """End the machine at once: PID 1 takes its whole pid namespace along; then nspawn."""
        if self.leader:
            try:
                os.kill(self.leader, signal.SIGKILL)
            except ProcessLookupError:  # it ended by itself just now
                pass
        if self._nspawn is not None:
            if not until(lambda: self.ended, 5 if self.leader else 0):
                self._nspawn.kill()
            self._nspawn.wait()
        self.leader = 0

    def close(self) -> None:
        """Kill what still runs and remove everything the machine owned; harmless when repeated."""
        self.kill()
        _remove(self.directory)
        self._lock.close()

    def _find_leader(self) -> bool:
        assert self._nspawn is not None
        own = os.stat("/proc/self/ns/pid").st_ino
        for pid in children_of(self._nspawn.pid):
            try:
                there = os.stat(f"/proc/{pid}/ns/pid").st_ino
                command = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended while being looked at; one that is ending shows no namespace
            if there != own and command in ("systemd", "init"):
                self.leader = pid
                return True
        return False


def sweep(runs: Path) -> None:
    """Remove what machines left in ``runs`` whose test run is gone.

    Args:
        runs: the directory that holds one directory for each machine.
    """
    for directory in runs.iterdir():
        try:
            with (directory / "lock").open("r+", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(directory)
        except (
            FileNotFoundError,
            BlockingIOError,
        ):  # just being made, just being removed, or alive
            continue


def _cgroup_parents() -> list[Path]:
    """Return the roots of the control group hierarchies that systemd inside a machine will use."""
    if (_CGROUP / "cgroup.controllers").exists():
        return [_CGROUP]
    return [path for path in (_CGROUP / "systemd", _CGROUP / "unified") if path.is_dir()]


def _boot_script(
    directory: Path,
    rootfs: Path,
    groups: Sequence[Path],
    enable: Sequence[str],
    disable: Sequence[str],
) -> str:
    """Return the shell script that prepares the mount namespace and becomes nspawn ("$@").

    The process enters control groups of its own first: with --keep-unit nspawn puts the machine
    into a child ("payload") of the group it is in, and two machines must not share one.
    """
    lines = [f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}" for group in groups]
    root = directory / "root"
    options = f"lowerdir={rootfs},upperdir={directory / 'upper'},workdir={directory / 'work'}"
    # volatile: nobody will want this file system back after a crash, so nothing waits for the disk.
    mount = ["mount", "-t", "overlay", "-o", f"{options},volatile", "lab", str(root)]
    lines.append(shlex.join(mount))
    for verb, units in (("enable", enable), ("disable", disable)):
        if units:
            lines.append(shlex.join(["systemctl", f"--root={root}", "--quiet", verb, *units]))
    lines.append('exec "$@"')
    return "\n".join(lines)


def _remove(directory: Path) -> None:
    """Remove a machine's directory and whatever else it owned."""
    _forget(directory.name)
    shutil.rmtree(directory, ignore_errors=True)


def _forget(name: str) -> None:
    """Remove the control groups of a machine that ended, and what nspawn made for it in /run."""
    for group in [parent / name for parent in _cgroup_parents()]:
        if (group / "cgroup.kill").exists():
            (group / "cgroup.kill").write_text("1", encoding="ascii")
        until(partial(_remove_groups, group), 5)
    for part in ("propagate", "unix-export"):
        try:
            (_NSPAWN_RUN / part / name).rmdir()
        except OSError:  # not there: this nspawn does not make it, or has removed it
            continue


def _remove_groups(group: Path) -> bool:
    """Remove a control group with all below it; return whether it is gone.

    The kernel refuses until the last process in it is.
    """
    for path, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            return False
    return not group.exists()
