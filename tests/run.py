# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of `make test`, the cheap ones first, and says last what was left out.

Without root, or where a tool is missing, what can run is run. With CI=true nothing may be left out:
a stage that cannot run fails, and so does a test that skips itself.

Usage: python -m tests.run STAGE...
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
LIBRARIES = ("dbus_next", "nftables", "pystemd", "structlog")


@dataclass
class Tally:
    """What all stages together came to."""

    passed: int = 0
    failed: int = 0
    left_out: list[str] = field(default_factory=list)
    """One sentence for each stage or test that did not run."""

    @property
    def closing_line(self) -> str:
        """The counts in the words of pytest, alone on a line."""
        return f"{self.passed} passed, {self.failed} failed, {len(self.left_out)} skipped"


@dataclass(frozen=True)
class Stage:
    """One step of the tests: commands to run in the top directory, one after the other.

    ``obstacle`` says why the stage cannot run here, or nothing. ``tests`` is a folder for pytest.
    ``at_once`` processes share its modules; then, by themselves, come the tests marked ``alone``.
    """

    commands: tuple[tuple[str, ...], ...] = ()
    tests: str | None = None
    at_once: int = 1
    obstacle: Callable[[], str] = str


def _no_libraries() -> str:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    return f"these Python libraries are missing: {', '.join(missing)}" if missing else ""


def _no_build_tools() -> str:
    missing = [name for name in ("dpkg-buildpackage", "dh", "lintian") if not shutil.which(name)]
    return f"these programs are missing: {', '.join(missing)}" if missing else ""


def _no_root() -> str:
    return "" if os.geteuid() == 0 else "needs root: it makes network namespaces and boots hosts"


PYTHON = sys.executable
STAGES = {
    "lint": Stage(
        commands=(
            (PYTHON, "-m", "ruff", "check", "--quiet"),
            (PYTHON, "-m", "ruff", "format", "--check", "--quiet"),
        )
    ),
    "types": Stage(commands=((PYTHON, "-m", "mypy"),), obstacle=_no_libraries),
    "unit": Stage(tests="tests/unit", obstacle=_no_libraries),
    "package": Stage(
        commands=(
            ("packaging/make-deb",),
            ("packaging/lint-deb",),
        ),
        obstacle=_no_build_tools,
    ),
    "integration": Stage(tests="tests/integration", obstacle=_no_root),
    # A lab host mostly waits: for a boot, for a quiet moment, for a silent server.
    "e2e": Stage(tests="tests/e2e", at_once=(os.cpu_count() or 1) + 1, obstacle=_no_root),
}


def count(report: Path, tally: Tally) -> None:
    """Add the results in pytest's JUnit report to the tally.

    An expected failure counts as passed. A setup or teardown error counts as a failure.
    """
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed += 1
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            tally.left_out.append(f"{name}: {skipped.get('message')}")
        else:
            tally.passed += 1


def run_tests(directory: str, tally: Tally, at_once: int = 1) -> bool:
    """Run pytest over one directory; true if everything passed and there was something to pass."""
    rounds: list[tuple[str, ...]] = [("-q",)]
    if at_once > 1:  # and so long that each is named as it ends
        together = ("-v", "--numprocesses", str(at_once), "--dist", "loadscope")
        rounds = [(*together, "-m", "not alone"), ("-v", "-m", "alone")]
    passed = [_run_pytest(directory, tally, each) for each in rounds]
    return all(passed)


def _run_pytest(directory: str, tally: Tally, chosen: tuple[str, ...]) -> bool:
    with tempfile.TemporaryDirectory(prefix="podwatch-tests-") as results:
        report = Path(results) / "report.xml"
        options = ("--durations=10", f"--junit-xml={report}", *chosen)
        pytest = (PYTHON, "-m", "pytest", *options, directory)
        code = subprocess.run(pytest, cwd=TOP, check=False).returncode
        if report.exists():
            count(report, tally)
    return code == 0


def run_stage(name: str, tally: Tally, *, ci: bool) -> bool:
    """Run one stage and add its results to the tally; false if it failed."""
    stage = STAGES[name]
    print(f"== {name}", flush=True)
    if reason := stage.obstacle():
        tally.left_out.append(f"{name}: {reason}")
        return not ci
    for command in stage.commands:
        if subprocess.run(command, cwd=TOP, check=False).returncode != 0:
            return False
    return stage.tests is None or run_tests(stage.tests, tally, stage.at_once)


def main(arguments: Sequence[str]) -> int:
    """Run the named stages up to the first that fails; return the exit status."""
    if not arguments or not set(arguments) <= set(STAGES):
        print(f"usage: python -m tests.run STAGE...; stages: {' '.join(STAGES)}", file=sys.stderr)
        return 64
    ci = os.environ.get("CI") == "true"
    tally = Tally()
    failed = None
    for name in arguments:
        start = time.monotonic()
        if not run_stage(name, tally, ci=ci):
            failed = name
            break
        print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)

    if failed:
        rest = arguments[list(arguments).index(failed) + 1 :]
        tally.left_out += [f"{name}: {failed} failed before it" for name in rest]
    print()
    if failed:
        print(f"FAILED: {failed}")
    if tally.left_out:
        print("LEFT OUT:")
        print("".join(f"  {sentence}\n" for sentence in tally.left_out), end="")
    if tally.left_out and ci and not failed:
        print("FAILED: with CI=true nothing may be left out")
    print(tally.closing_line)
    return 1 if failed or tally.failed or (ci and tally.left_out) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
