# SPDX-License-Identifier: Apache-2.0
"""Starting aardvark-dns: by units that a fake systemd runs, and by a program in its place."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.name_server import HANG_UP_UNIT, MEND_UNIT, START_UNIT, NameServerStart
from podwatch.adapters.paths import RUN, Paths
from podwatch.words.errors import RestoreFailed

AARDVARK = Path("/usr/lib/podman/aardvark-dns")
PROGRAM = """#!/bin/sh
echo "$*" > {0}/asked
[ "$1" = mend ] || exit 0
echo "no way" >&2
exit 3
"""


class Elsewhere(Paths):
    """Root's host, but for the file that systemd reads."""

    @property
    def name_server(self) -> Path:
        """A file of the test's."""
        return self.state / "name-server.env"


class FakeSystemd:
    """Runs units as told; stands in for adapters.systemd.Systemd."""

    def __init__(self, says: str = "done") -> None:
        self.says = says
        self.ran: list[str] = []

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Each ends the same way."""
        assert (at_once, timeout_s) == (1, 5.0)
        self.ran += names
        return dict.fromkeys(names, self.says)


def by_unit(tmp_path: Path, systemd: FakeSystemd) -> NameServerStart:
    """On a host that systemd runs."""
    return NameServerStart(Elsewhere(run=RUN, state=tmp_path), systemd)


def test_it_is_started_by_a_unit(tmp_path: Path) -> None:
    """Which reads what to start from a file for root's eyes."""
    systemd = FakeSystemd()
    asyncio.run(by_unit(tmp_path, systemd).start(AARDVARK, 1053))

    file = tmp_path / "name-server.env"
    assert systemd.ran == [START_UNIT]
    assert file.read_text() == "AARDVARK_DNS=/usr/lib/podman/aardvark-dns\nPORT=1053\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_its_pid_file_is_written_by_another(tmp_path: Path) -> None:
    """Which needs nothing of that file; no more does the one that sends a signal."""
    systemd = FakeSystemd()
    start = by_unit(tmp_path, systemd)
    asyncio.run(start.mend())
    asyncio.run(start.hang_up())
    assert systemd.ran == [MEND_UNIT, HANG_UP_UNIT]
    assert list(tmp_path.iterdir()) == []


def test_a_unit_that_fails_is_told_with_its_journal(tmp_path: Path) -> None:
    """In systemd's word."""
    with pytest.raises(RestoreFailed, match=f"^{START_UNIT}: failed$") as caught:
        asyncio.run(by_unit(tmp_path, FakeSystemd("failed")).start(AARDVARK, 53))
    assert caught.value.hint == f"journalctl -u {START_UNIT}"


@pytest.mark.parametrize("path", ["/usr/lib/a b", "relative", "/x\nLD_PRELOAD=/evil", "/$HOME"])
def test_a_path_that_systemd_would_read_otherwise_is_refused(tmp_path: Path, path: str) -> None:
    """Nothing is written for it."""
    systemd = FakeSystemd()
    with pytest.raises(RestoreFailed, match="is no path that podwatch starts"):
        asyncio.run(by_unit(tmp_path, systemd).start(Path(path), 53))
    assert (systemd.ran, list(tmp_path.iterdir())) == ([], [])


@pytest.fixture
def by_child(tmp_path: Path) -> NameServerStart:
    """On a host without systemd, with a program that writes down what it is asked for."""
    program = tmp_path / "name-server"
    program.write_text(PROGRAM.format(tmp_path))
    program.chmod(0o755)
    paths = Paths(aardvark=tmp_path / "dns", aardvark_lock=tmp_path / "lock")
    return NameServerStart(paths, None, program=program)


def test_without_systemd_it_is_a_child(tmp_path: Path, by_child: NameServerStart) -> None:
    """The same program under the same lock."""
    asyncio.run(by_child.start(AARDVARK, 53))
    assert (tmp_path / "asked").read_text() == f"start {tmp_path}/dns {AARDVARK} 53\n"
    assert (tmp_path / "lock").exists()


def test_a_child_that_fails_is_told_with_what_it_says(
    tmp_path: Path, by_child: NameServerStart
) -> None:
    """Its last line."""
    with pytest.raises(RestoreFailed, match="name-server mend: exit code 3: no way"):
        asyncio.run(by_child.mend())
    assert (tmp_path / "asked").read_text() == f"mend {tmp_path}/dns\n"


def test_another_run_directory_is_none_that_units_read(tmp_path: Path) -> None:
    """A child runs there, too."""
    systemd: Any = FakeSystemd()
    start = NameServerStart(Paths(run=tmp_path), systemd, program=tmp_path / "none")
    with pytest.raises(RestoreFailed, match="none mend: "):
        asyncio.run(start.mend())
    assert systemd.ran == []
