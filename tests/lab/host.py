# SPDX-License-Identifier: Apache-2.0
"""One real Debian host, and everything a test does on it.

A Host is a Machine with a Client beside it. Everything a test runs "on the host" goes through
:meth:`Host.run`: nsenter(1) into all namespaces of its PID 1, with a clean environment, as an
administrator's root shell would have it. Everything is removed at the end, after a failed boot too.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.client import (
    CLIENT_V4,
    CLIENT_V6,
    HOST_V4,
    HOST_V6,
    RESPONDER_PORT,
    Client,
    greeted_as,
)
from tests.lab.errors import CommandFailed, LabError, tail
from tests.lab.machine import Machine, until
from tests.lab.rootfs import build
from tests.lab.watch import Watch

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=dumb",
)
FIREWALLD_RELOAD = "netavark-firewalld-reload.service"
"""The unit that restores netavark's rules after a firewalld reload; Debian enables it."""


@dataclass(frozen=True)
class Result:
    """What a command on a host said, and its exit status."""

    stdout: str
    stderr: str
    code: int


class Host:
    """A booted Debian host, to be used in a ``with`` statement.

    ``client`` is its neighbour; ``leader`` its PID 1 as the machine outside counts.
    """

    def __init__(
        self,
        suite: str = "trixie",
        name: str | None = None,
        *,
        containers_conf: str | None = None,
        firewalld: bool = True,
        firewalld_reload_unit: bool = True,
        enable: Sequence[str] = (),
        disable: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        binds: Mapping[Path, str] | None = None,
    ) -> None:
        """Choose the host; it is built and booted by the ``with`` statement.

        Args:
            suite: one of ``rootfs.SUITES``.
            name: a name no other lab host has; made from the process id if None.
            containers_conf: text of /etc/containers/containers.conf in place of the suite's
                (see ``rootfs.containers_conf``).
            firewalld: whether firewalld is started at boot; it is installed either way.
            firewalld_reload_unit: whether netavark-firewalld-reload.service stays enabled, as in
                Debian (bookworm has none).
            enable: more units to enable before the boot.
            disable: more units to disable before the boot.
            files: text files to write before the boot, by absolute path.
            binds: directories of this machine to show read-only on the host, by path there.
        """
        self.suite = suite
        self._name = name
        self._files = dict(files or {})
        if containers_conf is not None:
            self._files["/etc/containers/containers.conf"] = containers_conf
        self._enable, self._disable = list(enable), list(disable)
        if not firewalld:
            self._disable.append("firewalld.service")
        if not firewalld_reload_unit and suite != "bookworm":
            self._disable.append(FIREWALLD_RELOAD)
        self._binds = dict(binds or {})
        self._machine: Machine | None = None
        self._client: Client | None = None
        self._pid_files: dict[str, str] = {}
        """Where the process id of a container is, by its name, relative to the host's root."""

    @property
    def machine(self) -> Machine:
        """The nspawn machine; only inside the ``with`` statement."""
        if self._machine is None:
            raise LabError(f"the {self.suite} host is not booted: use it in a with statement")
        return self._machine

    @property
    def client(self) -> Client:
        """The neighbour of the host; only inside the ``with`` statement."""
        if self._client is None:
            raise LabError(f"the {self.suite} host is not booted: use it in a with statement")
        return self._client

    @property
    def leader(self) -> int:
        """The process id, outside, of the host's PID 1."""
        return self.machine.leader

    @property
    def root(self) -> Path:
        """The host's root directory as this machine sees it; a link in it may lead out of it."""
        return Path(f"/proc/{self.leader}/root")

    def __enter__(self) -> Self:
        """Build the root file system if need be, boot, connect the client, wait until it is up.

        Raises:
            LabError: the host did not come up; the message holds the end of its console.
        """
        try:
            self._machine = Machine(build(self.suite), self._name)
            for path, text in self._files.items():
                target = self._machine.upper / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            self._client = Client()
            self._machine.boot(enable=self._enable, disable=self._disable, binds=self._binds)
            self._client.attach(self.leader)
            self.await_running()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the host and everything that belongs to it."""
        self.close()

    def close(self) -> None:
        """End the host at once and remove everything it owned; harmless when repeated.

        Nothing of a throw-away host is worth an orderly shutdown; a test of one calls ``halt``.
        """
        if self._machine is not None:
            self._machine.close()
            self._machine = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def halt(self, limit_s: float = 60.0) -> bool:
        """Power the host off in good order; return whether it ended by itself within the limit."""
        return self.machine.halt(limit_s)

    def reboot(self) -> None:
        """Reboot the host and wait until it is up; disk and client stay, /run and rules go.

        Raises:
            LabError: it did not come up again.
        """
        self.run(["systemctl", "reboot"], check=False)
        self.machine.reboot()
        self.client.attach(self.leader)
        self.await_running()

    def await_running(self, limit_s: float = 60.0) -> str:
        """Wait until systemd has finished booting and return ``running`` or ``degraded``.

        Raises:
            LabError: it did not finish in time; the message holds the end of the console.
        """
        state = ""

        def is_up() -> bool:
            nonlocal state
            state = self.run(
                ["systemctl", "is-system-running", "--wait"], check=False
            ).stdout.strip()
            return state in ("running", "degraded") or self.machine.ended

        if not until(is_up, limit_s) or self.machine.ended:
            console = self.machine.console_tail()
            raise LabError(f"{self.machine.name} is {state!r}; its console ends:\n{console}")
        return state

    # Commands

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on the host and return its process (nsenter's, outside).

        Args:
            argv: the command and its arguments.
            options: further arguments of subprocess.Popen.
        """
        enter = ["nsenter", "--target", str(self.leader), "--all", "env", "-i", *_ENVIRONMENT]
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "errors": "replace"}
        process: subprocess.Popen[str]
        process = subprocess.Popen([*enter, *argv], start_new_session=True, **settings | options)
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
            message = f"`{shown}` on {self.machine.name} did not end within {timeout} s"
            raise CommandFailed(
                f"{message}:\n{tail(stdout)}\n{tail(stderr)}", stdout=stdout, stderr=stderr
            ) from None
        except BaseException:
            _kill_session(process)
            raise
        if check and process.returncode != 0:
            message = f"`{shown}` on {self.machine.name} ended with status {process.returncode}"
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
                raise LabError(f"could not copy {source} to {path} on {self.machine.name}")

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
        return self.run(["systemctl", "is-active", unit], check=False).stdout.strip()

    def unit_show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit as ``systemctl show`` prints them; all if none is named."""
        wanted = [f"--property={','.join(properties)}"] if properties else []
        lines = self.run(["systemctl", "show", *wanted, unit]).stdout.splitlines()
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

    # Network

    def egress(self, container: str, *, ipv6: bool = False) -> bool:
        """Return whether a container reaches the client, masqueraded as this host.

        A container on a macvlan or host network is seen under the address it really has.

        Args:
            container: name or id of a running container with ``/busybox``.
            ipv6: whether to ask over IPv6.
        """
        return self.seen_as(container, ipv6=ipv6) is not None

    def seen_as(self, container: str, *, ipv6: bool = False) -> str | None:
        """Return the address the client sees a container's connection come from, or None."""
        namespace = self._namespace_of(container)
        if namespace is None:
            return None
        try:
            return greeted_as(namespace, CLIENT_V6 if ipv6 else CLIENT_V4)
        finally:
            os.close(namespace)

    def addresses_of(self, container: str) -> dict[str, list[str]]:
        """A running container's IPv4 addresses by link, as its namespace has them.

        `podman exec` would wait for whoever has the container's lock: a reload that asks a silent
        DHCP server has it for minutes.
        """
        namespace = self._namespace_of(container)
        if namespace is None:
            return {}
        try:
            enter = ["nsenter", f"--net=/proc/self/fd/{namespace}"]
            said = subprocess.run(
                [*enter, "ip", "-json", "-4", "address", "show"],
                capture_output=True,
                check=True,
                text=True,
                pass_fds=[namespace],
            ).stdout
        finally:
            os.close(namespace)
        return {
            link["ifname"]: [address["local"] for address in link["addr_info"]]
            for link in json.loads(said)
            if link  # one without an address is {}
        }

    def _namespace_of(self, container: str) -> int | None:
        """A running container's network namespace, opened; None if it does not run.

        `podman exec` would be four processes for each question, a fifth of all that the tests cost.
        """
        for _ in range(2):
            try:
                pid = (self.root / self._pid_files[container]).read_text(encoding="ascii").strip()
                return os.open(self.root / f"proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except (KeyError, OSError):  # never asked for, or another one of that name by now
                ask = ["podman", "container", "inspect", "--format={{.PidFile}}", container]
                told = self.run(ask, check=False).stdout.strip()
                self._pid_files[container] = told.lstrip("/")
        return None

    def watch_egress(self, container: str, interval_s: float = 0.01) -> Watch:
        """Watch a container's way out: it reaches the client, seen under the host's address."""
        key = "{{.NetworkSettings.SandboxKey}}"
        place = self.podman("inspect", container, "--format", key)
        enter = ["nsenter", f"--net={self.root}{place}"]
        return Watch(enter, [(CLIENT_V4, RESPONDER_PORT)], interval_s, greeting=HOST_V4)

    def until_egress(self, container: str, *, limit_s: float = 10.0, reaches: bool = True) -> float:
        """Wait until a container reaches the client, or no longer does; return the seconds it took.

        Raises:
            LabError: the limit passed.
        """
        start = time.monotonic()
        if not until(lambda: self.egress(container) == reaches, limit_s):
            state = "does not reach" if reaches else "still reaches"
            raise LabError(f"{container} {state} the client after {limit_s} s")
        return time.monotonic() - start


ADDRESSES = (HOST_V4, HOST_V6)
"""The host's own addresses towards the client."""


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
