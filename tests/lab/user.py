# SPDX-License-Identifier: Apache-2.0
"""A user of a lab host without any rights, as a person at a shell of theirs: their Podman, systemd.

Everything goes through :meth:`Inside.run`, as this user, with the environment a session has. What
podman keeps for a user is in namespaces of the pause process: how to get there by hand, too.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.inside import Inside
from tests.lab.machine import until

HOMES = "/var/lib/containers"
"""Podman's storage refuses the overlay that a host's root is: here is a plain directory."""
LINGER = "/var/lib/systemd/linger"
_RELAYS = ("pasta", "slirp4netns", "aardvark-dns", "rootlessport", "rootlessport-child")
_STORAGE = '[storage]\ndriver = "vfs"\n'
_CONTAINERS = "[containers]\nkeyring = false\n"  # nspawn's filter has no keyctl
_NETNS = (
    "containers/networks/rootless-netns/rootless-netns",
    "netns/rootless-netns-*",  # podman before 5
)


@dataclass(frozen=True)
class Process:
    """A process of the user, as the host numbers them."""

    pid: int
    parent: int
    argv: tuple[str, ...]
    netns: str
    """Its network namespace, as `net:[4026531840]`."""

    @property
    def kind(self) -> str:
        """The name of its program; podman calls a child of rootlessport so."""
        return os.path.basename(self.argv[0]) if self.argv else ""


class User(Inside):
    """A user without rights, whose user manager runs.

    ``home`` is on a plain directory, ``runtime`` the XDG_RUNTIME_DIR.
    """

    systemctl = ("systemctl", "--user")

    def __init__(self, host: Host, name: str = "u1", *, linger: bool = True) -> None:
        """Create the user.

        Args:
            host: a booted host.
            name: the user's name.
            linger: whether their user manager stays without a session; it is started then.
        """
        self.host, self.name = host, name
        self.home = f"{HOMES}/home-{name}"
        host.shell(
            f"""
            useradd --create-home --home-dir {self.home} --shell /bin/bash {name}
            chmod 666 /dev/net/tun /dev/fuse
            """
        )
        self.uid = int(host.run(["id", "--user", name]).stdout)
        self.runtime = f"/run/user/{self.uid}"
        self.write(f"{self.home}/.config/containers/storage.conf", _STORAGE)
        self.write(f"{self.home}/.config/containers/containers.conf", _CONTAINERS)
        if linger:
            self.linger()

    @property
    def leader(self) -> int:
        """The process id, outside, of the host's PID 1."""
        return self.host.leader

    @property
    def called(self) -> str:
        """The user and the host."""
        return f"{self.name} on {self.host.called}"

    @property
    def _enter(self) -> list[str]:
        enter = ["nsenter", "--target", str(self.leader), "--all", "--wd=/", "setpriv"]
        enter += [f"--reuid={self.name}", f"--regid={self.name}", "--init-groups"]
        return [*enter, "env", "-i", f"--chdir={self.home}", *self.environment]

    @property
    def environment(self) -> list[str]:
        """What a session of the user's has in its environment."""
        return [
            "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "LANG=C.UTF-8",
            "TERM=dumb",
            f"HOME={self.home}",
            f"USER={self.name}",
            f"LOGNAME={self.name}",
            f"XDG_RUNTIME_DIR={self.runtime}",
            f"DBUS_SESSION_BUS_ADDRESS=unix:path={self.runtime}/bus",
        ]

    # The user's session

    def linger(self) -> None:
        """Have the user manager run without a session, as `loginctl enable-linger` does.

        That one says "Protocol driver not attached" in forky's lab.
        """
        self.host.shell(
            f"mkdir -p {LINGER}; touch {LINGER}/{self.name}; systemctl start user@{self.uid}"
        )

    def no_linger(self) -> None:
        """Have everything end with the last session from now on."""
        self.host.run(["rm", "-f", f"{LINGER}/{self.name}"])

    def session(self, line: str, *, timeout: float = 60.0) -> str:
        """Log in, run a line of shell, log out; what it printed."""
        how = [f"--uid={self.name}", "--property=PAMName=login", "--wait", "--pipe", "--quiet"]
        how += [f"--working-directory={self.home}", "--collect"]
        return self.host.run(
            ["systemd-run", *how, "bash", "-c", line], timeout=timeout
        ).stdout.strip()

    def manager_runs(self) -> bool:
        """Whether the user manager does."""
        return self.host.unit_state(f"user@{self.uid}") == "active"

    def journal(
        self, unit: str | None = None, since_cursor: str | None = None, output: str = "short"
    ) -> str:
        """Return what the journal has of the user, of one unit of theirs if it is named."""
        self.host.run(["journalctl", "--sync"])
        argv = ["journalctl", "--no-pager", "--quiet", "--all", f"--output={output}"]
        argv += [f"--cursor={since_cursor}"] if since_cursor else []
        argv += [f"_UID={self.uid}"]
        argv += [f"_SYSTEMD_USER_UNIT={unit.removesuffix('.service')}.service"] if unit else []
        return self.host.run(argv).stdout

    # Processes

    def processes(self) -> list[Process]:
        """All processes of the user; those in containers, too, where root is the user."""
        found = []
        for place in (self.root / "proc").iterdir():
            if place.name.isdigit() and (process := self._process(place)):
                found.append(process)
        return found

    def relays(self) -> dict[str, int]:
        """How many there are of each kind of process that carries packets or answers for names."""
        kinds = [process.kind for process in self.processes()]
        return {kind: kinds.count(kind) for kind in _RELAYS}

    def _process(self, place: Path) -> Process | None:
        try:
            status = (place / "status").read_text(encoding="utf-8", errors="replace")
            if int(re.findall(r"^Uid:\s+(\d+)", status, re.M)[0]) != self.uid:
                return None
            argv = (place / "cmdline").read_bytes().decode(errors="replace").rstrip("\0")
            netns = os.readlink(place / "ns/net")
        except OSError:  # it ended meanwhile
            return None
        parent = int(re.findall(r"^PPid:\s+(\d+)", status, re.M)[0])
        return Process(int(place.name), parent, tuple(argv.split("\0")), netns)

    def kill(self, process: Process | int) -> None:
        """Kill one process of the user, as the user would."""
        pid = process if isinstance(process, int) else process.pid
        self.shell(f"kill -KILL {pid}")

    def uplink(self) -> Process | None:
        """The pasta or slirp4netns of the network namespace that all bridges are in."""
        for process in self.processes():
            if process.kind in ("pasta", "slirp4netns") and "rootless-netns" in " ".join(
                process.argv
            ):
                return process
        return None

    def name_server(self) -> Process | None:
        """The user's aardvark-dns."""
        return next((found for found in self.processes() if found.kind == "aardvark-dns"), None)

    # Podman's namespaces

    def pause(self) -> int:
        """The process that keeps podman's user and mount namespace, or one that lives there."""
        written = self.root / f"{self.runtime}/libpod/tmp/pause.pid".lstrip("/")
        with_same = {"catatonit", "conmon", "rootlessport"}
        there = {found.pid: found for found in self.processes() if found.kind in with_same}
        try:
            pid = int(written.read_text(encoding="ascii"))
        except (OSError, ValueError):
            pid = 0
        if pid in there:
            return pid
        if not there:
            raise LabError(f"{self.called} has no pause process, nor a container")
        return min(there)

    def netns_path(self) -> str:
        """Where the network namespace of all bridges is mounted, for podman; "" without one."""
        directory = self.root / self.runtime.lstrip("/")
        found = [path for pattern in _NETNS for path in directory.glob(pattern)]
        return f"{self.runtime}/{found[0].relative_to(directory)}" if found else ""

    def netns(self) -> str:
        """Which network namespace is mounted there, as `net:[4026531840]`; "" if none is."""
        path = self.netns_path()
        try:
            mounts = (self.root / f"proc/{self.pause()}/mountinfo").read_text(encoding="utf-8")
        except (OSError, LabError):
            return ""
        mounted = [line.split() for line in mounts.splitlines() if f" {path} " in line]
        return mounted[-1][3] if path and mounted else ""

    def in_pause(self, argv: Sequence[str]) -> list[str]:
        """What runs a command in podman's user and mount namespace, without asking podman."""
        enter = ["nsenter", "--target", str(self.pause()), "--user", "--mount"]
        return [*enter, "--preserve-credentials", *argv]

    def in_netns(self, argv: Sequence[str]) -> list[str]:
        """What runs a command in the network namespace of all bridges, without asking podman."""
        return self.in_pause(["nsenter", f"--net={self.netns_path()}", *argv])

    def remove(self) -> None:
        """End all that is the user's, and forget them."""
        self.no_linger()
        self.host.run(["systemctl", "stop", f"user@{self.uid}"], timeout=90)
        if not until(lambda: not self.processes(), 20):
            raise LabError(f"{self.called} still has {self.processes()}")
        self.host.run(["userdel", self.name])
        self.host.run(["rm", "-rf", self.home])
