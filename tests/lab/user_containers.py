# SPDX-License-Identifier: Apache-2.0
"""A user's containers, one of each kind that rootless Podman has, and every way there is to them.

Each way is a question with a name that is answered with yes where all is well: a whole exchange
from the client, or from a container's network namespace. That two isolated networks do not reach
each other is such a question, too.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from tests.lab.client import FAR_V4, HOST_V4, greeted_as, http_from
from tests.lab.containers import web
from tests.lab.reality import resolved
from tests.lab.user import Process, User

ANSWER_S = 1.5
"""How long an answer may take."""
NO_ANSWER_S = 0.3
"""So long nothing is heard where nothing may be: an answer from the same host takes no time."""
_AT_ONCE = 24
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Box:
    """A running container: when it was started, its process and its conmon, where it listens."""

    name: str
    id: str
    started: str
    pid: int
    conmon: int
    address: str
    """Its IPv4 address on its bridge; "" where it is on none."""
    gateway: str
    sandbox: str
    """The file of its network namespace, in the pause process' mount namespace."""
    netns: str

    @property
    def life(self) -> tuple[str, str, int, int]:
        """What changes when it is started anew."""
        return self.id, self.started, self.pid, self.conmon


@dataclass
class UserContainers:
    """A user's containers; ``ports`` are the published ones on the host, by container.

    ``host_address`` is under which the client asks the host, and sees it.
    """

    user: User
    ports: dict[str, int]
    boxes: dict[str, Box] = field(default_factory=dict)
    host_address: str = HOST_V4

    def look(self) -> None:
        """Learn from podman which containers run."""
        self.boxes = {box.name: box for box in _boxes(self.user)}

    def lives(self) -> dict[str, tuple[str, str, int, int]]:
        """Each container's start, process and conmon, as podman has them now."""
        return {box.name: box.life for box in _boxes(self.user)}

    @property
    def ways(self) -> dict[str, Callable[[], bool]]:
        """Every way, by its name: a question whose answer is yes where all is well."""
        ways: dict[str, Callable[[], bool]] = {}
        for name in self.ports:
            ways[f"{name} port"] = partial(self.answers, name)
        for name in self.boxes:
            if not name.endswith("-infra"):
                ways[f"{name} out"] = partial(self.gets_out, name)
        ways["web1 name"] = partial(self.knows, "web1", "web2")
        ways["web1 neighbour"] = partial(self.reaches, "web1", "web2")
        for name in ("north", "south"):
            ways[f"{name} isolation"] = partial(self.is_apart, name)
        ways["web1 hairpin by gateway"] = partial(
            self.asks, "web1", self.boxes["web1"].gateway, "web2"
        )
        ways["web1 hairpin by host"] = partial(self.asks, "web1", self.host_address, "web2")
        for name in ("web", "web1"):
            ways[f"{name} host.containers.internal"] = partial(self.asks_host, name, "web2")
        return ways

    def views(self) -> dict[str, bool]:
        """Try every way at once."""
        ways = self.ways
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(ways, pool.map(lambda way: way(), ways.values()), strict=True))

    def closed(self) -> set[str]:
        """The ways that are not as they are where all is well."""
        return {name for name, works in self.views().items() if not works}

    # One way each

    def answers(self, name: str) -> bool:
        """Whether the client is answered on a container's published port."""
        client, port = self.user.host.client, self.ports[name]
        return client.http(port, self.host_address, ANSWER_S) == name

    def gets_out(self, name: str) -> bool:
        """Whether a container reaches the client, which sees the host's address."""
        return self._within(name, greeted_as, FAR_V4, ANSWER_S) == self.host_address

    def knows(self, name: str, other: str) -> bool:
        """Whether a container is told another's address by the name server of its bridge."""
        there = self.boxes[other].address
        return there in (self._within(name, resolved, self.boxes[name].gateway, other) or ())

    def reaches(self, name: str, other: str, timeout: float = ANSWER_S) -> bool:
        """Whether a container reaches another by its address."""
        return self._within(name, http_from, 80, self.boxes[other].address, timeout) == other

    def is_apart(self, name: str) -> bool:
        """Whether the container of an isolated network is kept from the other one's."""
        return not self.reaches(name, "south" if name == "north" else "north", NO_ANSWER_S)

    def asks(self, name: str, address: str, other: str) -> bool:
        """Whether a container is answered on another's published port, at an address of theirs."""
        return self._within(name, http_from, self.ports[other], address, ANSWER_S) == other

    def asks_host(self, name: str, other: str) -> bool:
        """Whether a container is answered there at host.containers.internal."""
        hosts = self.user.root / f"proc/{self.boxes[name].pid}/root/etc/hosts"
        for line in hosts.read_text(encoding="utf-8").splitlines():
            address, *names = line.split() or [""]
            if "host.containers.internal" in names:
                return self.asks(name, address, other)
        return False

    def _within(self, name: str, ask: Callable[..., Answer], *arguments: Any) -> Answer | None:
        """Ask from within a container's network namespace; None if it does not run."""
        try:
            namespace = os.open(
                self.user.root / f"proc/{self.boxes[name].pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC
            )
        except OSError:
            return None
        try:
            return ask(namespace, *arguments)
        finally:
            os.close(namespace)

    # Who carries its packets

    def relay(self, name: str) -> Process | None:
        """The pasta or slirp4netns of a container that is on no bridge."""
        sandbox, pid = self.boxes[name].sandbox, str(self.boxes[name].pid)
        for process in self.user.processes():
            if process.kind in ("pasta", "slirp4netns") and (
                sandbox in process.argv or pid in process.argv
            ):
                return process
        return None

    def port_process(self, name: str, kind: str = "rootlessport") -> Process | None:
        """The rootlessport of a container, or its child; None if the child does not run.

        The child is in the container's namespace, the parent at times in the host's: seen with
        podman 4.3, and of a threaded program only the first thread's is shown.
        """
        netns = self.boxes[name].netns
        there = {process.pid: process for process in self.user.processes()}
        for process in there.values():
            if process.kind == "rootlessport-child" and process.netns == netns:
                return process if kind == process.kind else there.get(process.parent)
        return None


def standard_set(user: User, first_port: int = 8080) -> UserContainers:
    """Start a user's containers, and return their description.

    One on no network of its own (pasta, or slirp4netns in podman 4); two on a bridge; one each on
    two isolated bridges; a pod; one with slirp4netns.

    Args:
        user: whose.
        first_port: the port before the first that is published.
    """
    names = ["web", "web1", "web2", "pod-web", "north", "slirp"]
    ports = {name: first_port + number for number, name in enumerate(names, 1)}
    user.podman("network", "create", "--subnet=10.89.0.0/24", "n1")
    for name, subnet in (("north", "10.89.1.0/24"), ("south", "10.89.2.0/24")):
        user.podman("network", "create", f"--subnet={subnet}", "--opt=isolate=true", name)

    def start(name: str, *networks: str, **options: Any) -> None:
        publish = [f"{ports[name]}:80"] if name in ports else []
        web(user, name, networks=networks, publish=publish, **options)

    start("web")
    start("web1", "n1")
    start("web2", "n1")
    start("north", "north")
    start("south", "south")
    user.podman("pod", "create", "--name=pod", "--network=n1", f"--publish={ports['pod-web']}:80")
    web(user, "pod-web", extra=["--pod=pod"])
    start("slirp", "slirp4netns")
    found = UserContainers(user, ports)
    found.look()
    return found


def _boxes(user: User) -> list[Box]:
    listed = user.podman("ps", "--quiet", "--no-trunc").split()
    if not listed:
        return []
    told: list[dict[str, Any]] = json.loads(user.podman("container", "inspect", *listed))
    return [_box(user, container) for container in told]


def _box(user: User, told: dict[str, Any]) -> Box:
    settings, state = told["NetworkSettings"], told["State"]
    bridges = [net for net in (settings.get("Networks") or {}).values() if net.get("IPAddress")]
    return Box(
        told["Name"],
        told["Id"],
        state["StartedAt"],
        state["Pid"],
        state["ConmonPid"],
        bridges[0]["IPAddress"] if bridges else "",
        bridges[0]["Gateway"] if bridges else "",
        settings["SandboxKey"],
        os.readlink(user.root / f"proc/{state['Pid']}/ns/net"),
    )
