# SPDX-License-Identifier: Apache-2.0
"""What a test does on a host whose PID 1 it knows: commands, files, packages, units, the journal.

Everything goes through :meth:`Inside.run`: nsenter(1) into all namespaces of PID 1, with a clean
environment, as an administrator's root shell would have it.
"""

import json
import os
import shlex
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.errors import CommandFailed, LabError, tail

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=dumb",
)


@dataclass(frozen=True)
class Result:
    """What a command on a host said, and its exit status."""

    stdout: str
    stderr: str
    code: int


class Inside(ABC):
    """A host from within; whoever boots it says which it is."""

    systemctl: tuple[str, ...] = ("systemctl",)
    """What speaks to the manager of the units; a user has their own."""

    @property
    @abstractmethod
    def leader(self) -> int:
        """The process id, outside, of the host's PID 1."""

    @property
    @abstractmethod
    def called(self) -> str:
        """What the host is called in messages."""

    @property
    def root(self) -> Path:
        """The host's root directory as this machine sees it; a link in it may lead out of it."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def _enter(self) -> list[str]:
        """What runs a command there."""
        return ["nsenter", "--target", str(self.leader), "--all", "env", "-i", *_ENVIRONMENT]

    # Commands

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on the host and return its process (nsenter's, outside).

        Args:
            argv: the command and its arguments.
            options: further arguments of subprocess.Popen.
        """
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "errors": "replace"}
        command = [*self._enter, *argv]
        process: subprocess.Popen[str]
        process = subprocess.Popen(command, start_new_session=True, **settings | options)
        return process

    def run(
        self,
        argv: Sequence[str] | str,
        *,
        check: bool = True,
        timeout: float = 60.0,
        input: str | None = None,  # noqa: A002 - the name subprocess.run gives it
    ) -> Result:
        """Run a command on the host and return what it said.

        Args:
            argv: the command and its arguments, or a line for the shell.
            check: whether an exit status other than 0 is an error.
            timeout: seconds after which the command is killed.
            input: text for its standard input; none means /dev/null.

        Raises:
            CommandFailed: it failed (with ``check``) or ran out of time.
        """
        words = ["sh", "-c", argv] if isinstance(argv, str) else list(argv)
        shown = argv if isinstance(argv, str) else shlex.join(argv)
        process = self.popen(
            words,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            stdout, stderr = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            stdout, stderr = _kill_session(process)
            message = f"`{shown}` on {self.called} did not end within {timeout} s"
            raise CommandFailed(
                f"{message}:\n{tail(stdout)}\n{tail(stderr)}", stdout=stdout, stderr=stderr
            ) from None
        except BaseException:
            _kill_session(process)
            raise
        if check and process.returncode != 0:
            message = f"`{shown}` on {self.called} ended with status {process.returncode}"
            raise CommandFailed(
                f"{message}:\n{tail(stdout)}\n{tail(stderr)}", stdout=stdout, stderr=stderr
            )
        return Result(stdout, stderr, process.returncode)

    def shell(self, script: str, *, check: bool = True, timeout: float = 60.0) -> Result:
        """Run a shell script on the host; with ``check`` its first failing command ends it."""
        return self.run(["sh", "-ec" if check else "-c", script], check=check, timeout=timeout)

    def nft(self, *arguments: str, check: bool = True) -> str:
        """Run nft(8) on the host and return what it printed."""
        return self.run(["nft", *arguments], check=check).stdout

    def podman(self, *arguments: str, check: bool = True, timeout: float = 60.0) -> str:
        """Run podman(1) on the host and return what it printed, without surrounding white space."""
        return self.run(["podman", *arguments], check=check, timeout=timeout).stdout.strip()

    # Files

    def read(self, path: str) -> str:
        """Return the text of a file on the host."""
        return self.run(["cat", path]).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file on the host, with its directories.

        Args:
            path: absolute path there.
            text: its new content.
            mode: its permissions.
        """
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=text)

    def exists(self, path: str) -> bool:
        """Return whether a path exists on the host."""
        return self.run(["test", "-e", path], check=False).code == 0

    def copy(self, source: Path, path: str) -> None:
        """Copy a file of this machine, of any content, onto the host, mode included."""
        with source.open("rb") as file:
            mode = f"{source.stat().st_mode & 0o7777:o}"
            script = 'cat > "$1" && chmod "$2" "$1"'
            process = self.popen(["sh", "-ec", script, "sh", path, mode], stdin=file)
            if process.wait(timeout=60) != 0:
                raise LabError(f"could not copy {source} to {path} on {self.called}")

    def install(self, *packages: Path) -> str:
        """Install local Debian packages with dpkg; their dependencies must be there already.

        Args:
            packages: .deb files of this machine.

        Returns:
            What dpkg printed.
        """
        paths = [f"/root/{package.name}" for package in packages]
        for package, path in zip(packages, paths, strict=True):
            self.copy(package, path)
        dpkg = ["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", *paths]
        return self.run(dpkg, timeout=180).stdout

    # systemd

    def unit_state(self, unit: str) -> str:
        """Return the active state of a unit, as ``systemctl is-active`` prints it."""
        return self.run([*self.systemctl, "is-active", unit], check=False).stdout.strip()

    def unit_show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit as ``systemctl show`` prints them; all if none is named."""
        wanted = [f"--property={','.join(properties)}"] if properties else []
        lines = self.run([*self.systemctl, "show", *wanted, unit]).stdout.splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def journal(
        self, unit: str | None = None, since_cursor: str | None = None, output: str = "short"
    ) -> str:
        """Return the journal, flushed first so that everything already sent is in it.

        Args:
            unit: one unit only.
            since_cursor: only what came after this cursor (see ``journal_cursor``).
            output: an output mode of journalctl(1).
        """
        self.run(["journalctl", "--sync"])
        argv = ["journalctl", "--no-pager", "--quiet", f"--output={output}"]
        argv += [f"--unit={unit}"] if unit else []
        # Of one unit, journalctl 252 leaves out the first entry after a cursor that is another's.
        option = "--cursor" if unit else "--after-cursor"
        argv += [f"{option}={since_cursor}"] if since_cursor else []
        return self.run([*argv, "--all"]).stdout

    def journal_json(
        self, unit: str | None = None, since_cursor: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the journal as one dict for each entry; arguments as in ``journal``."""
        lines = self.journal(unit, since_cursor, "json").splitlines()
        return [json.loads(line) for line in lines]

    def journal_cursor(self) -> str:
        """Write a journal entry that is no unit's, and return its cursor, to read on from later."""
        self.shell("echo here | systemd-cat --identifier=lab; journalctl --sync")
        last = ["journalctl", "--no-pager", "--identifier=lab", "--lines=1", "--show-cursor"]
        said = self.run(last).stdout
        return said.rpartition("-- cursor: ")[2].strip()


def _kill_session(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill a command with everything it started in its session; return what it had said.

    Killing nsenter alone would leave the command running on the host.
    """
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself just now
        pass
    stdout, stderr = process.communicate()
    return stdout or "", stderr or ""
