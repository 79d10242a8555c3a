# SPDX-License-Identifier: Apache-2.0
"""What is set up, where podman has to be asked: how long its lock is waited for."""

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon import expected
from podwatch.daemon.expected import Expected
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, FirewallDriver, Setup

SETUP = Setup(FirewallDriver.IPTABLES)


class FakePodman:
    """A podman whose networks never change, and that answers at once."""

    def networks_stamp(self) -> object:
        """The same at any time."""
        return 1

    async def list_networks(self) -> tuple[Setup, dict[str, Container]]:
        """No container."""
        return SETUP, {}


class FakeLock:
    """podman's lock, held by a change for so many questions."""

    def __init__(self, times: float) -> None:
        self.left = times

    def holder(self) -> str:
        """podman, until it is done."""
        self.left -= 1
        return "podman is changing a network" if self.left >= 0 else ""


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: FakeLock) -> Setup:
    """What is set up, on a host where netavark keeps no state, and podman is asked."""
    monkeypatch.setattr(expected, "QUIET_S", 0.0)
    installed: Any = SimpleNamespace(
        paths=Paths(aardvark=tmp_path), podman=FakePodman(), lock=lock, networks=None
    )
    return asyncio.run(Expected(StateDirectory(tmp_path / "none"), installed).read())


def test_podman_is_asked_when_its_lock_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While podman changes a network it is waited for, and asked then."""
    lock = FakeLock(3)

    assert asked(tmp_path, monkeypatch, lock) is SETUP
    assert lock.left < 0


def test_a_change_without_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A podman that hangs with its lock makes the setup unknown; the look goes on without it."""
    with pytest.raises(StateUnreadable, match="podman is changing a network"):
        asked(tmp_path, monkeypatch, FakeLock(math.inf))
