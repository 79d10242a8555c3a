# SPDX-License-Identifier: Apache-2.0
"""One real Debian host: its boot, its end, and its network as seen from outside.

A Host is a Machine with a Client beside it, and `inside.py` is what is done within. Everything is
removed at the end, after a failed boot too.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.lab.client import (
    CLIENT_V4,
    CLIENT_V6,
    HOST_V4,
    RESPONDER_PORT,
    Client,
    greeted_as,
)
from tests.lab.errors import LabError
from tests.lab.inside import Inside
from tests.lab.machine import Machine, until
from tests.lab.rootfs import build
from tests.lab.watch import Watch

FIREWALLD_RELOAD = "netavark-firewalld-reload.service"
"""The unit that restores netavark's rules after a firewalld reload; Debian enables it."""


class Host(Inside):
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
    def called(self) -> str:
        """The name of its machine."""
        return self.machine.name

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

    def __exit__(self, *_: object) -> None:
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

    def enter_container(self, container: str) -> list[str]:
        """What runs a command of this machine in a running container's network namespace."""
        key = "{{.NetworkSettings.SandboxKey}}"
        place = self.podman("inspect", container, "--format", key)
        return ["nsenter", f"--net={self.root}{place}"]

    def watch_egress(self, container: str, interval_s: float = 0.01) -> Watch:
        """Watch a container's way out: it reaches the client, seen under the host's address."""
        enter = self.enter_container(container)
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
