# SPDX-License-Identifier: Apache-2.0
"""Which mirror the lab builds from, read from apt sources of every spelling."""

from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.mirror import OVERRIDE, find_mirror, parse_deb822, parse_one_line

DEBIAN = 'ID=debian\nVERSION_CODENAME=trixie\nVERSION_ID="13"\n'


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt configuration directory without sources, beside a Debian's os-release."""
    monkeypatch.delenv(OVERRIDE, raising=False)
    (tmp_path / "os-release").write_text(DEBIAN)
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_a_list_file_is_read_without_comments_and_sources() -> None:
    """Of a .list file only the binary entries count, with their options skipped."""
    text = (
        "# deb http://off.example/debian trixie main\n"
        "deb-src http://src.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian trixie main contrib # why\n"
    )

    assert list(parse_one_line(text)) == [("http://a.example/debian", "trixie")]


def test_a_sources_file_is_read_by_stanza() -> None:
    """Of a .sources file every URI of an enabled binary stanza counts, for each of its suites."""
    text = (
        "Types: deb deb-src\nURIs: http://a.example/debian\n  http://b.example/debian\n"
        "# a comment\nSuites: trixie trixie-updates\nComponents: main\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\n"
        "Components: main\n\n"
        "Types: deb-src\nURIs: http://src.example/debian\nSuites: trixie\nComponents: main\n"
    )

    assert list(parse_deb822(text)) == [
        ("http://a.example/debian", "trixie"),
        ("http://a.example/debian", "trixie-updates"),
        ("http://b.example/debian", "trixie"),
        ("http://b.example/debian", "trixie-updates"),
    ]


def test_the_mirror_is_that_of_the_machines_own_suite(apt: Path) -> None:
    """A third party's repository, and Debian's other archives, are passed over."""
    (apt / "sources.list").write_text(
        "deb http://browser.example/apt stable main\n"
        "deb http://engine.example/debian trixie stable\n"
    )
    (apt / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://sec.example/debian-security\nSuites: trixie-security\n"
        "Components: main\n\n"
        "Types: deb\nURIs: http://a.example/debian\nSuites: trixie\nComponents: main\n"
    )

    assert find_mirror(apt, apt / "os-release") == "http://a.example/debian"


def test_no_mirror_is_an_error_that_names_the_way_out(apt: Path) -> None:
    """Without a Debian source the error names the variable that gives one."""
    with pytest.raises(LabError, match=OVERRIDE):
        find_mirror(apt, apt / "os-release")


def test_the_variable_wins(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is taken as it is, whatever the sources say."""
    monkeypatch.setenv(OVERRIDE, "http://mine.example/debian")

    assert find_mirror(apt, apt / "os-release") == "http://mine.example/debian"
