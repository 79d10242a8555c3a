# SPDX-License-Identifier: Apache-2.0
"""Starting relays: what the user's systemd is asked, and a child where there is none."""

import asyncio
import os
from pathlib import Path

import pytest

from podwatch.adapters.paths import Rootless
from podwatch.adapters.relay_start import Order, RelayStart
from podwatch.words.errors import RestoreFailed

ORDER = Order(
    unit="podwatch-uplink",
    what="pasta of the user's network",
    target=202,
    argv=("/usr/bin/pasta", "--netns", "/x/$HOME"),
    itself=True,
)
PORTS = Order(
    unit="podwatch-port-1ebd",
    what="rootlessport of web1",
    target=202,
    argv=("/usr/libexec/podman/rootlessport",),
    end="/proc/275/fd/5",
    pid_file="/x/pid",
    config="{}",
)
TOLD = """#!/bin/sh
{{ echo "${{0##*/}}"; for word; do echo "<$word>"; done; }} >> {0}/told
[ ! -e {0}/fails ] || [ "${{0##*/}}" = systemctl ] || {{ echo "no way" >&2; exit 3; }}
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RelayStart:
    """Programs that write down what they are asked for."""
    for name in ("systemd-run", "systemctl", "relay"):
        program = tmp_path / name
        program.write_text(TOLD.format(tmp_path))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return RelayStart(Rootless(tmp_path), program=tmp_path / "relay")


def with_systemd(tmp_path: Path) -> None:
    """The user has a systemd."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/private").touch()


def told(tmp_path: Path) -> list[str]:
    """What the programs were asked for."""
    return (tmp_path / "told").read_text().splitlines()


def test_it_is_started_as_a_unit_of_the_users_systemd(tmp_path: Path, start: RelayStart) -> None:
    """What is left of an older one of that name is cleared away; no variable is put in."""
    with_systemd(tmp_path)
    assert asyncio.run(start.start(ORDER)) == "podwatch-uplink.service"
    unit = "<podwatch-uplink.service>"
    assert told(tmp_path) == [
        *("systemctl", "<--user>", "<stop>", unit),
        *("systemctl", "<--user>", "<reset-failed>", unit),
        *("systemd-run", "<--user>", "<--quiet>", "<--collect>", "<--unit=podwatch-uplink>"),
        "<--description=pasta of the user's network>",
        *("<--property=Type=forking>", "<--property=TimeoutStartSec=10>", "<-->"),
        *(f"<{tmp_path}/relay>", "<itself>", "<202>", "<>", "<>", "<>"),
        *("</usr/bin/pasta>", "<--netns>", "</x/$$HOME>"),
    ]


def test_a_unit_that_fails_is_told_with_its_journal(tmp_path: Path, start: RelayStart) -> None:
    """The user's own one."""
    with_systemd(tmp_path)
    (tmp_path / "fails").touch()
    with pytest.raises(RestoreFailed, match="cannot be started: exit code 3: no way") as caught:
        asyncio.run(start.start(ORDER))
    assert caught.value.hint == "journalctl --user -u podwatch-uplink.service"


def test_without_systemd_it_is_a_child(tmp_path: Path, start: RelayStart) -> None:
    """And what it goes without is said."""
    assert asyncio.run(start.start(PORTS)) == (
        "a session of its own, without systemd: it ends with this login"
    )
    assert told(tmp_path) == [
        *("relay", "<ready>", "<202>", "</proc/275/fd/5>", "</x/pid>", "<{}>"),
        "</usr/libexec/podman/rootlessport>",
    ]


def test_a_child_that_fails_is_told_with_what_it_says(tmp_path: Path, start: RelayStart) -> None:
    """Its last line."""
    (tmp_path / "fails").touch()
    with pytest.raises(
        RestoreFailed, match=r"^rootlessport of web1 cannot be started: .*: no way$"
    ):
        asyncio.run(start.start(PORTS))
