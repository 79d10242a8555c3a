# SPDX-License-Identifier: Apache-2.0
"""What is set up, where podman has to be asked: how long its lock is waited for."""

import asyncio
from pathlib import Path

import pytest

from podwatch.adapters import podman
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon import expected
from podwatch.daemon.expected import Expected
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, FirewallDriver, Setup

SETUP = Setup(FirewallDriver.IPTABLES)


async def _listed(_: object) -> tuple[Setup, dict[str, Container]]:
    return SETUP, {}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Expected:
    """A host on which netavark keeps no state, and podman answers at once."""
    monkeypatch.setattr(expected, "QUIET_S", 0.0)
    monkeypatch.setattr(podman, "networks_stamp", lambda: 1)
    monkeypatch.setattr(podman, "list_networks", _listed)
    monkeypatch.setattr(podman, "lock_holder", str)
    return Expected(StateDirectory(tmp_path / "none"), None)


def test_podman_is_asked_when_its_lock_is_free(
    asked: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While podman changes a network it is waited for, and asked then."""
    busy = iter(["podman is changing a network"] * 3)
    monkeypatch.setattr(podman, "lock_holder", lambda: next(busy, ""))

    assert asyncio.run(asked.read()) is SETUP
    assert next(busy, "") == ""


def test_a_change_without_end_is_not_waited_for(
    asked: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A podman that hangs with its lock makes the setup unknown; the look goes on without it."""
    monkeypatch.setattr(podman, "lock_holder", lambda: "podman is changing a network")

    with pytest.raises(StateUnreadable, match="podman is changing a network"):
        asyncio.run(asked.read())
