# SPDX-License-Identifier: Apache-2.0
"""The lock of which one podwatch at a time is the holder."""

import os
from pathlib import Path

import pytest

from podwatch.adapters.lock import hold
from podwatch.words.errors import RestoreFailed


def test_the_second_is_refused_and_told_who(tmp_path: Path) -> None:
    """Whoever finds the lock held is told the holder's pid; when it is let go it can be had."""
    path = tmp_path / "run.lock"
    with hold(path):
        with pytest.raises(RestoreFailed, match=rf"podwatch \(pid {os.getpid()}\) holds {path}"):
            with hold(path):
                pass
    with hold(path):
        pass


@pytest.mark.parametrize("text", ["", "\x1b[2J", "7" * 100, "x"])
def test_what_else_is_in_it_is_not_told(tmp_path: Path, text: str) -> None:
    """A lock without a pid in it is held all the same."""
    path = tmp_path / "run.lock"
    with hold(path):
        path.write_text(text)
        with pytest.raises(RestoreFailed, match=r"another podwatch( \(pid 7{20}\))? holds"):
            with hold(path):
                pass


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    """A link in the lock's place is not followed, and what it points to not written."""
    other = tmp_path / "other"
    other.write_text("theirs")
    (tmp_path / "run.lock").symlink_to(other)
    with pytest.raises(RestoreFailed, match="cannot open"):
        with hold(tmp_path / "run.lock"):
            pass
    assert other.read_text() == "theirs"
