# SPDX-License-Identifier: Apache-2.0
"""sd_notify(3), through pystemd, to a socket of the test's own."""

import socket
from pathlib import Path

import pytest

from podwatch.adapters.systemd import notify


def test_states_arrive_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ready, status and keep-alives arrive, the later ones as well: the environment is kept."""
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(5)
        notify(ready=1, status="ok, 8 containers → 57 rules")
        first = manager.recv(4096).decode().split("\n")
        notify(watchdog=1)
        second = manager.recv(4096).decode()
        notify(stopping=1)
        third = manager.recv(4096).decode()

    assert {"READY=1", "STATUS=ok, 8 containers → 57 rules"} <= set(first)
    assert second.strip() == "WATCHDOG=1"
    assert third.strip() == "STOPPING=1"


def test_nothing_happens_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no service manager asked to be told, telling it is no error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    notify(ready=1)
