# SPDX-License-Identifier: Apache-2.0
"""Starting a user's aardvark-dns in the network namespace of the user's bridges."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.adapters.relay_start import Order
from podwatch.daemon import user_names
from podwatch.daemon.user_names import UserNameServerStart
from podwatch.words.errors import RestoreFailed
from tests.unit.daemon.user_host import paths_of

AARDVARK = Path("/usr/lib/podman/aardvark-dns")
NETNS = "/run/user/1000/containers/networks/rootless-netns/rootless-netns"


class FakeStart:
    """Starts nothing, and says what it was to start; stands in for adapters.relay_start."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    async def start(self, order: Order) -> str:
        """It runs as a unit."""
        self.orders.append(order)
        return f"{order.unit}.service"


class Host:
    """A user's host: `target` is a process in the namespaces, `mounted` what has the file."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.target, self.mounted, self.has_ended = 202, 4026532001, False
        self.paths, self.started = paths_of(tmp_path), FakeStart()
        started: Any = self.started
        self.names = UserNameServerStart(self.paths, started)
        monkeypatch.setattr(user_names, "member", lambda _: self.target)
        monkeypatch.setattr(user_names, "find", self.find)

    def find(self, _: object, pid: int) -> tuple[str, int]:
        """The file, and what is mounted on it."""
        assert pid == self.target
        if self.has_ended:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return NETNS, self.mounted


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A user whose network is whole."""
    return Host(tmp_path, monkeypatch)


def test_it_is_started_inside_under_netavarks_lock(host: Host) -> None:
    """By the file that podman finds the namespace by; it goes to the background by itself."""
    asyncio.run(host.names.start(AARDVARK, 53))
    (order,) = host.started.orders
    assert order == Order(
        "podwatch-dns",
        "aardvark-dns of the user's networks",
        202,
        (
            *("nsenter", f"--net={NETNS}", "flock", "--close", "--timeout", "5"),
            *(str(host.paths.aardvark_lock), "/usr/libexec/podwatch/name-server", "start"),
            *(str(host.paths.aardvark), str(AARDVARK), "53"),
        ),
        itself=True,
    )


@pytest.mark.parametrize("how", ["nobody is there", "it has ended", "nothing is mounted"])
def test_without_its_namespace_it_is_not_started(host: Host, how: str) -> None:
    """It would serve names on the host."""
    if how == "nobody is there":
        host.target = 0
    elif how == "it has ended":
        host.has_ended = True
    else:
        host.mounted = 0
    with pytest.raises(RestoreFailed, match=r"has no file now$"):
        asyncio.run(host.names.start(AARDVARK, 53))
    assert host.started.orders == []


def test_roots_is_started_otherwise() -> None:
    """In root's host there is no such namespace."""
    with pytest.raises(RestoreFailed, match="needs no namespace"):
        UserNameServerStart(Paths())
