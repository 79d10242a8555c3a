# SPDX-License-Identifier: Apache-2.0
"""The runner of `make test` counts what ran and hides nothing that did not."""

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
    """A skipped test is named with its reason after everything else."""
    _, lines = closing(SKIPS, "", tmp_path, monkeypatch, capfd)

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


@pytest.mark.parametrize(
    ("condition", "code", "last"),
    [
        ("mark.exists()", 0, "3 passed, 0 failed, 0 skipped"),
        ("False", 1, "2 passed, 1 failed, 0 skipped"),
    ],
)
def test_second_try(
    condition: str,
    code: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What fails beside others is tried alone: named where it passes then, failed where not."""
    mark = tmp_path / "mark"
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(
        f"from pathlib import Path\nmark = Path({str(mark)!r})\n"
        f"def test_late():\n    good = {condition}\n    mark.touch()\n    assert good\n"
        "def test_good(): pass\n"
        "import pytest\n@pytest.mark.alone\ndef test_alone(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    monkeypatch.setattr(run, "TOP", tmp_path)
    monkeypatch.setitem(run.STAGES, "e2e", run.Stage(tests="tests", at_once=2, boots_hosts=True))
    seen = run.main(["e2e"])
    lines = capfd.readouterr().out.splitlines()

    assert (seen, lines[-1]) == (code, last)
    assert "== once more, alone: tests/test_two.py" in lines
    named = "FAILED BESIDE OTHERS, PASSED ALONE:" in lines
    assert named == (code == 0)


def test_no_second_try_without_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where no hosts boot beside each other nothing is late: what fails once has failed."""
    mark = tmp_path / "mark"
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(
        f"from pathlib import Path\nmark = Path({str(mark)!r})\n"
        "def test_once():\n    good = mark.exists()\n    mark.touch()\n    assert good\n"
        "def test_good(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    monkeypatch.setattr(run, "TOP", tmp_path)
    monkeypatch.setitem(run.STAGES, "unit", run.Stage(tests="tests", at_once=2))
    seen = run.main(["unit"])

    assert (seen, capfd.readouterr().out.splitlines()[-1]) == (1, "1 passed, 1 failed, 0 skipped")
