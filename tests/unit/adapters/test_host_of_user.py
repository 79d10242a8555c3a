# SPDX-License-Identifier: Apache-2.0
"""What the host has for one of its users: sessions that linger, low ports, firewalld."""

import os
import pwd
from pathlib import Path

import pytest

from podwatch.adapters import host_of_user


class Host:
    """A host's files, in a directory of the test's."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.linger, self.systemd = top / "linger", top / "systemd"
        self.firewalld, self.first_port = top / "cgroup.procs", top / "first"
        self.linger.mkdir()
        self.systemd.mkdir()
        monkeypatch.setattr(host_of_user, "_LINGER", self.linger)
        monkeypatch.setattr(host_of_user, "_SYSTEMD", self.systemd)
        monkeypatch.setattr(host_of_user, "_FIREWALLD", self.firewalld)
        monkeypatch.setattr(host_of_user, "_FIRST_PORT", str(self.first_port))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """One that systemd runs, and where nobody lingers."""
    return Host(tmp_path, monkeypatch)


def test_what_is_a_users_ends_with_the_last_session(host: Host) -> None:
    """Unless that user lingers; another one's file is no matter."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    (host.linger / "somebody").touch()
    assert host_of_user.ends_for() == name
    (host.linger / name).touch()
    assert host_of_user.ends_for() == ""


def test_without_systemd_nothing_ends_with_a_session(host: Host) -> None:
    """logind keeps nobody's processes there."""
    host.systemd.rmdir()
    assert host_of_user.ends_for() == ""


def test_a_user_without_a_name_is_not_told_of(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could be told whom to let linger."""
    assert host_of_user.ends_for() != ""
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert host_of_user.ends_for() == ""


@pytest.mark.parametrize(
    ("text", "port"), [("1024\n", 1024), ("0\n", 0), ("x", 0), ("", 0), (None, 0)]
)
def test_the_first_port_is_the_kernels(host: Host, text: str | None, port: int) -> None:
    """What cannot be read forbids no port."""
    if text is not None:
        host.first_port.write_text(text)
    assert host_of_user.first_port() == port


@pytest.mark.parametrize(("text", "runs"), [("77\n", True), ("\n", False), (None, False)])
def test_firewalld_runs_while_its_unit_has_a_process(
    host: Host,
    text: str | None,
    runs: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """That shows to everybody; what firewalld says does not."""
    if text is not None:
        host.firewalld.write_text(text)
    assert host_of_user.has_firewalld() is runs
