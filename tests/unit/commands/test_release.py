# SPDX-License-Identifier: Apache-2.0
"""`podwatch release`: what podwatch added to firewalld goes, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from podwatch.adapters.lock import hold
from podwatch.adapters.paths import Paths
from podwatch.commands.release import release
from podwatch.daemon.config import Config
from podwatch.formats.kept_sources import Kept, as_text
from podwatch.words.errors import PodwatchError


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A host without a bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    paths = Paths(run=tmp_path / "run", state=tmp_path / "state")
    paths.state.mkdir()
    return paths


def test_nothing_was_added(paths: Paths) -> None:
    """Nobody is asked, and that is said."""
    said = asyncio.run(release(paths, Config()))
    assert said == "podwatch added no permanent source to firewalld"


def test_without_firewalld_it_says_how(paths: Paths) -> None:
    """The record stays: whoever installs podwatch again has it taken away then."""
    text = as_text({"10.89.0.0/24": Kept("app", configured=True)})
    paths.kept_sources.write_text(text)
    with pytest.raises(PodwatchError, match="podwatch made that a permanent") as caught:
        asyncio.run(release(paths, Config()))
    assert "firewall-offline-cmd --zone=trusted --remove-source=10.89.0.0/24" in caught.value.hint
    assert paths.kept_sources.read_text() == text


def test_while_the_daemon_runs_it_is_refused(paths: Paths) -> None:
    """That one would add it again."""
    paths.run.mkdir()
    with hold(paths.run_lock), pytest.raises(PodwatchError):
        asyncio.run(release(paths, Config()))
