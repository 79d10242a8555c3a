# SPDX-License-Identifier: Apache-2.0
"""Guards that somebody saved: found in the files nftables.service loads, and in included ones."""

import os
from pathlib import Path

from podwatch.adapters import nft_files
from podwatch.adapters.nft_files import NftFiles

SAVED = "table inet podwatch-guard-1a2b { # progname podwatch\n\tflags owner\n}\n"


def test_a_host_without_such_files_has_none_saved(tmp_path: Path) -> None:
    """Their directories are watched all the same."""
    files = NftFiles((tmp_path / "nftables.conf",))
    assert files.names() == {}
    assert files.directories == (tmp_path,)


def test_a_saved_guard_is_found_with_its_file(tmp_path: Path) -> None:
    """Also behind a link, as long as it is there."""
    real, link = tmp_path / "real", tmp_path / "nftables.conf"
    link.symlink_to(real)
    files = NftFiles((link,))
    real.write_text(f"flush ruleset\n{SAVED}", encoding="utf-8")
    assert files.names() == {"podwatch-guard-1a2b": real}
    real.write_text("flush ruleset\n", encoding="utf-8")
    assert files.names() == {}


def test_what_is_included_is_read_too(tmp_path: Path) -> None:
    """By patterns, by files that include each other, and each of them once."""
    first, more = tmp_path / "nftables.conf", tmp_path / "more"
    more.mkdir()
    first.write_text(f'include "{more}/*.nft"\n  include "{tmp_path}/none"\n', encoding="utf-8")
    (more / "a.nft").write_text(f'include "{first}"\n', encoding="utf-8")
    (more / "b.nft").write_text(SAVED, encoding="utf-8")
    files = NftFiles((first,))
    assert files.names() == {"podwatch-guard-1a2b": more / "b.nft"}
    assert files.directories == (tmp_path, more)


def test_a_file_is_read_again_only_when_it_is_another(tmp_path: Path) -> None:
    """What tells is its inode, time and size."""
    path = tmp_path / "nftables.conf"
    path.write_text(SAVED, encoding="utf-8")
    files = NftFiles((path,))
    files.names()
    stamp = path.stat()
    path.write_text(SAVED.replace("1a2b", "3c4d"), encoding="utf-8")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert list(files.names()) == ["podwatch-guard-1a2b"]
    os.utime(path, ns=(0, 0))
    assert list(files.names()) == ["podwatch-guard-3c4d"]


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    """Neither a directory nor what is no text; the other files are read."""
    broken, binary, good = tmp_path / "d", tmp_path / "b", tmp_path / "g"
    broken.mkdir()
    binary.write_bytes(b"podwatch-guard-1111\xff")
    good.write_text(SAVED, encoding="utf-8")
    assert NftFiles((broken, binary, good)).names() == {"podwatch-guard-1a2b": good}


def test_an_include_without_a_path_is_below_etc() -> None:
    """As nft looks for it."""
    assert nft_files._directory("nftables.d/*.nft") == Path("/etc/nftables.d")


def test_the_unit_says_which_files_are_loaded(tmp_path: Path) -> None:
    """In a drop-in, too, that may come later: its directory is watched."""
    unit, drops = tmp_path / "nftables.service", tmp_path / "nftables.service.d"
    drops.mkdir()
    files = NftFiles((unit, drops / "*.conf"))
    assert files.names() == {}
    assert files.directories == (tmp_path, drops)
    here = tmp_path / "all.nft"
    here.write_text(SAVED, encoding="utf-8")
    for text in (f"ExecStart=/usr/sbin/nft -f {here}\n", f"ExecReload=nft --file={here} -c\n"):
        (drops / "own.conf").write_text(f"[Service]\nExecStart=\n{text}", encoding="utf-8")
        assert files.names() == {"podwatch-guard-1a2b": here}


def test_an_include_may_stand_behind_another_word(tmp_path: Path) -> None:
    """On one line, behind a semicolon."""
    first, more = tmp_path / "nftables.conf", tmp_path / "more.nft"
    first.write_text(f'flush ruleset; include "{more}"\n', encoding="utf-8")
    more.write_text(SAVED, encoding="utf-8")
    assert NftFiles((first,)).names() == {"podwatch-guard-1a2b": more}
