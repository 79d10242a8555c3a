# SPDX-License-Identifier: Apache-2.0
"""The runner of `make test` counts what ran and hides nothing that did not."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import run

PASSES = "def test_passes(): pass\n"
SKIPS = "import pytest\ndef test_skips(): pytest.skip('no such tool')\n"
FAILS = "def test_fails(): assert False\n"
BREAKS = "import pytest\n@pytest.fixture\ndef f(): 1 / 0\ndef test_breaks(f): pass\n"


def closing(
    text: str,
    ci: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> tuple[int, list[str]]:
    """The exit status of one stage with these tests, and the lines it printed."""
    (folder / "test_some.py").write_text(text)
    monkeypatch.setitem(run.STAGES, "unit", run.Stage(tests=str(folder)))
    monkeypatch.setenv("CI", ci)
    code = run.main(["unit"])
    return code, capfd.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("text", "ci", "code", "last"),
    [
        (PASSES, "true", 0, "1 passed, 0 failed, 0 skipped"),
        (PASSES + SKIPS, "", 0, "1 passed, 0 failed, 1 skipped"),
        (PASSES + SKIPS, "true", 1, "1 passed, 0 failed, 1 skipped"),
        (PASSES + FAILS, "", 1, "1 passed, 1 failed, 0 skipped"),
        (PASSES + BREAKS, "", 1, "1 passed, 1 failed, 0 skipped"),
        ("", "", 1, "0 passed, 1 failed, 0 skipped"),
    ],
)
def test_closing_line(
    text: str,
    ci: str,
    code: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The last line has the counts; failures, errors, no tests, and skips in CI fail the run."""
    seen, lines = closing(text, ci, tmp_path, monkeypatch, capfd)

    assert (seen, lines[-1]) == (code, last)


def test_names_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A skipped test is named with its reason after everything else, the time among it."""
    _, lines = closing(SKIPS, "", tmp_path, monkeypatch, capfd)

    assert lines[lines.index("WHERE THE TIME WENT:") + 1].endswith(" s  unit")
    assert lines[-3] == "LEFT OUT:"
    assert lines[-2].endswith("test_some.test_skips: no such tool")


def test_a_stage_that_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stage whose means are missing is left out, and fails only where nothing may be."""
    monkeypatch.setitem(run.STAGES, "e2e", run.Stage(tests="none", obstacle=lambda: "no root"))
    codes = []
    for value in ("", "true"):
        monkeypatch.setenv("CI", value)
        codes.append(run.main(["e2e"]))

    assert codes == [0, 1]
    assert "  e2e: no root" in capfd.readouterr().out.splitlines()


class FakePytest:
    """Answers what it was given, in turn, and keeps what it was asked."""

    def __init__(self, *tallies: run.Tally) -> None:
        self._tallies = list(tallies)
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, paths: Sequence[str], *options: str, may_be_none: bool = False) -> run.Tally:
        """Take the next answer."""
        self.asked.append((*paths, options[-1]))
        return self._tallies.pop(0)


HOSTS = run.Stage(tests="tests/e2e", at_once=2, boots_hosts=True)
ALONE = run.Tally(passed={"tests.e2e.test_lab.test_alone"})
LATE = "tests.e2e.test_lab.test_late[trixie-a.b]"


def beside() -> run.Tally:
    """What came of tests side by side: one of two failed."""
    return run.Tally({"tests.e2e.test_lab.test_good"}, {LATE}, seconds={"a.py": 2.0})


@pytest.mark.parametrize("passes", [True, False])
def test_second_try(*, passes: bool) -> None:
    """What fails beside others is tried alone: named where it passes then, failed where not."""
    good = {"tests.e2e.test_lab.test_good"}
    again = run.Tally(good | {LATE}) if passes else run.Tally(good, {LATE})
    again.seconds["a.py"] = 0.5
    pytest_runs = FakePytest(beside(), again, ALONE)
    tally = run.run_tests(HOSTS, pytest_runs)
    named = list(run.closing_words(tally, None, ci=True))

    assert pytest_runs.asked == [
        ("tests/e2e", "not alone"),
        ("tests/e2e/test_lab.py", "not alone"),
        ("tests/e2e", "alone"),
    ]
    assert tally.failed == (set() if passes else {LATE})
    assert tally.passed == good | ALONE.passed | ({LATE} if passes else set())
    assert tally.seconds == {"a.py": 2.5}
    assert named[:-1] == (["FAILED BESIDE OTHERS, PASSED ALONE:", f"  {LATE}"] if passes else [])


def test_no_second_try_without_hosts() -> None:
    """Where no hosts boot beside each other nothing is late: what fails once has failed."""
    pytest_runs = FakePytest(beside(), ALONE)
    tally = run.run_tests(run.Stage(tests="tests/unit", at_once=2), pytest_runs)

    assert tally.failed == {LATE}
    assert [marker for _, marker in pytest_runs.asked] == ["not alone", "alone"]


def test_no_second_try_of_many_files() -> None:
    """What fails in more files than a few was not late."""
    many = {f"tests.e2e.test_{name}.test" for name in ("lab", "quiet", "faults", "process")}
    pytest_runs = FakePytest(run.Tally(failed=many), ALONE)
    tally = run.run_tests(HOSTS, pytest_runs)

    assert tally.failed == many
    assert len(pytest_runs.asked) == 2


def test_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes share the tests, then those marked alone run; each is counted once."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(
        "import os, pytest\n"
        "def test_beside(): assert 'PYTEST_XDIST_WORKER' in os.environ\n"
        "@pytest.mark.alone\ndef test_alone(): assert 'PYTEST_XDIST_WORKER' not in os.environ\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    monkeypatch.setattr(run, "TOP", tmp_path)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    tally = run.run_tests(run.Stage(tests="tests", at_once=2), run.run_pytest)

    assert tally.passed == {"tests.test_two.test_beside", "tests.test_two.test_alone"}
    assert tally.failed == set()
    assert set(tally.seconds) == {"tests/test_two.py"}

    one_by_one = run.Stage(tests="tests", at_once=2, shares_nothing=True)
    tally = run.run_tests(one_by_one, run.run_pytest)
    assert tally.passed == {"tests.test_two.test_beside"}
    assert tally.failed == {"tests.test_two.test_alone"}, "it ran beside the other, too"


def test_where_the_time_went() -> None:
    """Below each stage its files stand, the longest first, and what the others took together."""
    files = {f"tests/e2e/test_{number}.py": 10.0 * number for number in range(1, 15)}
    files["tests/unit/test_run.py"] = 7.4
    told = list(run.where_time_went({"lint": 1.0, "unit": 90.4, "e2e": 700.0}, files))

    assert told[:4] == [
        "       1 s  lint",
        "      90 s  unit",
        "             7 s  tests/unit/test_run.py",
        "     700 s  e2e",
    ]
    assert told[4] == "           140 s  tests/e2e/test_14.py"
    assert told[15:] == [
        "            30 s  tests/e2e/test_3.py",
        "            30 s  2 more files",
    ]
