# SPDX-License-Identifier: Apache-2.0
"""What `make check` says of tested lines, and when it fails for them."""

import pytest

from tests import covered
from tests.covered import Lines

SOME = {"podwatch/daemon/a.py": Lines(9, 10), "podwatch/report/b.py": Lines(40, 40)}


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of the test's own: those of the tree rise with it."""
    monkeypatch.setattr(covered, "LEAST_TOGETHER", 90)
    monkeypatch.setattr(covered, "LEAST_OF_A_FILE", 80)
    monkeypatch.setattr(covered, "LEAST_OF_FILES", {})


def test_enough() -> None:
    """At its limit, and above, nothing is said."""
    assert covered.too_little(SOME) == []
    assert covered.too_little({"a.py": Lines(9, 10)}) == []
    assert covered.too_little({"a.py": Lines(8, 10), "b.py": Lines(10, 10)}) == []


def test_too_little_together() -> None:
    """Each file can be well enough, and all together not."""
    assert covered.too_little({"a.py": Lines(89, 100)}) == [
        "all together: 89.0 % of the lines, not 90 %"
    ]


def test_too_little_of_a_file() -> None:
    """A file is not saved by the others."""
    files = {"a.py": Lines(79, 100), "b.py": Lines(9999, 10000)}

    assert covered.too_little(files) == ["a.py: 79.0 % of the lines, not 80 %"]


def test_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there yet keeps what it has; one that is gone leaves the list."""
    monkeypatch.setattr(covered, "LEAST_OF_FILES", {"a.py": 50, "gone.py": 10})
    files = {"a.py": Lines(50, 100), "b.py": Lines(1000, 1000)}

    assert covered.too_little(files) == [
        "gone.py: is not there any more; take it out of covered.py"
    ]


def test_table() -> None:
    """The least tested file stands first, all together last; an empty file lacks nothing."""
    assert list(covered.table({**SOME, "c.py": Lines(0, 0)})) == [
        "   90.0 %     9 of   10 lines  podwatch/daemon/a.py",
        "  100.0 %     0 of    0 lines  c.py",
        "  100.0 %    40 of   40 lines  podwatch/report/b.py",
        "   98.0 %    49 of   50 lines  all together",
    ]


def test_reads_the_report() -> None:
    """Files by their paths, with the lines of code that ran and that there are."""
    report = '{"files": {"a.py": {"summary": {"covered_lines": 3, "num_statements": 4}}}}'

    assert covered.read(report) == {"a.py": Lines(3, 4)}
