# SPDX-License-Identifier: Apache-2.0
"""Where a user's storage is, as storage.conf says."""

import os
from pathlib import Path

import pytest

from podwatch.adapters import storage


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a system whose file is in it."""
    monkeypatch.setattr(storage, "STORAGE_CONF", (tmp_path / "etc.conf", tmp_path / "usr.conf"))
    (tmp_path / ".config/containers").mkdir(parents=True)
    return tmp_path


def said(home: Path, **more: str) -> Path | None:
    """What is read for the user with this home."""
    return storage.graph_root({"HOME": str(home), "USER": "u1", **more})


def test_without_a_file_it_is_podmans_default(home: Path) -> None:
    """Nothing names another place."""
    assert said(home) is None


def test_the_users_own_file_counts_before_the_systems(home: Path) -> None:
    """Its graphroot wins; without one the system's place for all users counts."""
    (home / "etc.conf").write_text('[storage]\nrootless_storage_path = "/srv/$USER/$UID"\n')
    assert said(home) == Path(f"/srv/u1/{os.geteuid()}")
    own = home / ".config/containers/storage.conf"
    own.write_text('[storage]\ndriver = "vfs"\n')
    assert said(home) == Path(f"/srv/u1/{os.geteuid()}")
    own.write_text('[storage]\ngraphroot = "/data/u1"\n')
    assert said(home) == Path("/data/u1")


def test_the_systems_graphroot_is_roots(home: Path) -> None:
    """A user's is not there; of the system's files the first that is there counts alone."""
    (home / "etc.conf").write_text('[storage]\ngraphroot = "/var/lib/containers/storage"\n')
    (home / "usr.conf").write_text('[storage]\nrootless_storage_path = "/srv"\n')
    assert said(home) is None


def test_the_environment_names_another_file(home: Path) -> None:
    """CONTAINERS_STORAGE_CONF and XDG_CONFIG_HOME are followed."""
    (home / "mine.conf").write_text('[storage]\ngraphroot = "/a"\n')
    (home / "x/containers").mkdir(parents=True)
    (home / "x/containers/storage.conf").write_text('[storage]\ngraphroot = "/b"\n')

    assert said(home, CONTAINERS_STORAGE_CONF=str(home / "mine.conf")) == Path("/a")
    assert said(home, XDG_CONFIG_HOME=str(home / "x")) == Path("/b")


@pytest.mark.parametrize(
    "text", ["[storage", "storage = 1", "[storage]\ngraphroot = 7\n", '[storage]\ngraphroot = "a"']
)
def test_a_file_that_makes_no_sense_names_none(home: Path, text: str) -> None:
    """No TOML, no section, no text, no absolute path."""
    (home / ".config/containers/storage.conf").write_text(text)

    assert said(home) is None


def test_what_lasts_until_the_host_is_booted_may_be_elsewhere(home: Path) -> None:
    """The user's own runroot counts; the system's is root's."""
    (home / "etc.conf").write_text('[storage]\nrunroot = "/run/containers"\n')
    assert storage.run_root({"HOME": str(home)}) is None
    own = home / ".config/containers/storage.conf"
    own.write_text('[storage]\nrunroot = "/run/user/7/rr"\ngraphroot = "/data"\n')
    assert storage.run_root({"HOME": str(home)}) == Path("/run/user/7/rr")
