# SPDX-License-Identifier: Apache-2.0
"""Where a user's Podman and podwatch are."""

from pathlib import Path

import pytest

from podwatch.adapters.paths import Paths
from podwatch.words.errors import StateUnreadable

USERS = {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/u1"}


def test_what_is_a_users_own_is_below_his_directories() -> None:
    """Nothing of a user's host is read from, or written to, a place of root's Podman."""
    paths = Paths.of_user(USERS)

    assert paths.run == Path("/run/user/1000/podwatch")
    assert paths.history == Path("/home/u1/.local/state/podwatch/history.jsonl")
    assert paths.configuration[-1] == Path("/home/u1/.config/podwatch/podwatch.conf.d")
    assert paths.aardvark == Path("/run/user/1000/containers/networks/aardvark-dns")
    assert paths.netavark_networks == Path("/home/u1/.local/share/containers/storage/networks")
    assert paths.rootless is not None
    assert paths.rootless.pause == Path("/run/user/1000/libpod/tmp/pause.pid")


def test_the_xdg_directories_count() -> None:
    """A user who moved his directories is followed there."""
    moved = {
        **USERS,
        "XDG_CONFIG_HOME": "/c",
        "XDG_STATE_HOME": "/s",
        "XDG_DATA_HOME": "/d",
    }
    paths = Paths.of_user(moved)

    assert paths.configuration[-2] == Path("/c/podwatch/podwatch.conf")
    assert paths.state == Path("/s/podwatch")
    assert paths.chosen_backend == Path("/d/containers/storage/defaultNetworkBackend")


def test_without_a_runtime_directory_nothing_is_guessed() -> None:
    """A user without XDG_RUNTIME_DIR is told so."""
    with pytest.raises(StateUnreadable, match="XDG_RUNTIME_DIR"):
        Paths.of_user({"HOME": "/home/u1"})


def test_another_run_root_is_followed() -> None:
    """The network namespace and the names are there; the pause process is not."""
    paths = Paths.of_user(USERS, run_root=Path("/run/user/1000/rr"))

    assert paths.addresses == Path("/run/user/1000/rr/networks/ipam.db")
    assert paths.rootless is not None
    assert paths.rootless.netns[0] == "/run/user/1000/rr/networks/rootless-netns/rootless-netns"
    assert paths.rootless.pause == Path("/run/user/1000/libpod/tmp/pause.pid")
