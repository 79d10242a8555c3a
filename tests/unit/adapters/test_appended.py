# SPDX-License-Identifier: Apache-2.0
"""The file of lines: bounded, and whole whatever happened to it before."""

import errno
import os
from pathlib import Path

import pytest

from podwatch.adapters.appended import append, lines, old
from podwatch.words.errors import PodwatchError, StateUnreadable

LIMIT = 1000


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    """What was appended is read, the oldest first, with any text in it."""
    path = tmp_path / "h"
    for text in ("one", "zwei ü", "3"):
        append(path, text, limit_bytes=LIMIT)

    assert b"\n".join(lines(path, limit_bytes=LIMIT)) == "one\nzwei ü\n3\n".encode()


def test_it_stays_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    """However much is written, two files of the limit are kept, with the newest lines."""
    path = tmp_path / "h"
    for number in range(1000):
        append(path, f"line {number:04}", limit_bytes=LIMIT)

    kept = [each for each in lines(path, limit_bytes=LIMIT) if each]
    assert path.stat().st_size <= LIMIT
    assert old(path).stat().st_size <= LIMIT
    assert kept == [f"line {number:04}".encode() for number in range(1000 - len(kept), 1000)]
    assert len(kept) >= LIMIT // 10


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    """After half a line, without its newline, the next one begins a line of its own."""
    path = tmp_path / "h"
    path.write_bytes(b'whole\n{"torn":')
    append(path, "next", limit_bytes=LIMIT)

    assert [each for each in lines(path, limit_bytes=LIMIT) if each] == [
        b"whole",
        b'{"torn":',
        b"next",
    ]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device without room the error says so; nothing is written."""
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.write
    monkeypatch.setattr(os, "write", lambda _, data: write(full, data))
    with pytest.raises(PodwatchError, match="No space left on device") as caught:
        append(tmp_path / "h", "x", limit_bytes=LIMIT)
    os.close(full)

    assert "disk" in caught.value.hint


def test_a_line_that_fits_in_part_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk takes only the beginning, the file is as it was before."""
    path = tmp_path / "h"
    append(path, "first", limit_bytes=LIMIT)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))

    with pytest.raises(PodwatchError, match="no space left"):
        append(path, "second", limit_bytes=LIMIT)

    assert path.read_bytes() == b"first\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither for writing nor for reading."""
    (tmp_path / "elsewhere").write_text("secret\n")
    (tmp_path / "h").symlink_to("elsewhere")

    with pytest.raises(PodwatchError, match=os.strerror(errno.ELOOP)):
        append(tmp_path / "h", "x", limit_bytes=LIMIT)
    with pytest.raises(StateUnreadable):
        lines(tmp_path / "h", limit_bytes=LIMIT)


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    """Before the first incident there is nothing, and that is no error."""
    assert lines(tmp_path / "h", limit_bytes=LIMIT) == []
