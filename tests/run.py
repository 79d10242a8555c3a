# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of `make test`, the cheap ones first, and says last what was left out.

Before that it says where the time went.

Without root, or where a tool is missing, what can run is run. With CI=true nothing may be left out:
a stage that cannot run fails, and so does a test that skips itself.

Where hosts boot side by side, one that is late may be late for the others' sake. So the files of a
few failed tests run once more, alone; what fails again has failed, and what does not is named.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

TOP = Path(__file__).resolve().parent.parent
LIBRARIES = ("dbus_next", "nftables", "pystemd", "structlog")


@dataclass
class Tally:
    """What all stages together came to."""

    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    """One sentence for each stage or test that did not run."""
    only_alone: set[str] = field(default_factory=set)
    """Tests that failed beside others and passed without them."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What the tests of each file took, by its path: of its hosts too, and of second tries."""

    @property
    def closing_line(self) -> str:
        """The counts in the words of pytest, alone on a line."""
        left_out = len(self.left_out)
        return f"{len(self.passed)} passed, {len(self.failed)} failed, {left_out} skipped"

    def replace(self, again: "Tally") -> None:
        """Take what came of a second run for what came of the first."""
        self.only_alone |= self.failed & again.passed
        self.passed = (self.passed - again.failed) | again.passed
        self.failed = (self.failed - again.passed) | again.failed
        self._add_seconds(again)

    def add(self, other: "Tally") -> None:
        """Add what came of other tests."""
        self.passed |= other.passed
        self.failed |= other.failed
        self.left_out += other.left_out
        self.only_alone |= other.only_alone
        self._add_seconds(other)

    def _add_seconds(self, other: "Tally") -> None:
        for file, seconds in other.seconds.items():
            self.seconds[file] = self.seconds.get(file, 0) + seconds


@dataclass(frozen=True)
class Stage:
    """One step of the tests: commands to run in the top directory, one after the other.

    ``obstacle`` says why the stage cannot run here, or nothing. ``tests`` is a folder for pytest.
    ``at_once`` processes share its modules; then, by themselves, come the tests marked ``alone``,
    if there are any. Where it ``boots_hosts``, each test is named as it ends, and the files of the
    few that failed run once more. Where it ``shares_nothing``, neither hosts nor time, the
    processes share its tests one by one, and none is ``alone``.
    """

    commands: tuple[tuple[str, ...], ...] = ()
    tests: str | None = None
    at_once: int = 1
    boots_hosts: bool = False
    shares_nothing: bool = False
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
_NO_TESTS = 5  # pytest's exit code

SECOND_TRIES = 3
"""So many files at most are tried a second time: what fails in more of them was not late."""

FILES_SHOWN = 12
"""So many files of a stage at most are named with their seconds."""

CPUS = os.cpu_count() or 1

STAGES = {
    "lint": Stage(
        commands=(
            (PYTHON, "-m", "ruff", "check", "--quiet"),
            (PYTHON, "-m", "ruff", "format", "--check", "--quiet"),
        )
    ),
    "types": Stage(commands=((PYTHON, "-m", "mypy"),), obstacle=_no_libraries),
    "unit": Stage(tests="tests/unit", at_once=CPUS, shares_nothing=True, obstacle=_no_libraries),
    # The tests of the heart once more: to measure all of them would cost a minute.
    "coverage": Stage(
        commands=((PYTHON, "-m", "tests.covered", "--numprocesses", str(CPUS)),),
        obstacle=_no_libraries,
    ),
    "package": Stage(
        commands=(
            ("packaging/make-deb",),
            ("packaging/lint-deb",),
        ),
        obstacle=_no_build_tools,
    ),
    # Some wait for a daemon that starts or a limit that passes.
    "integration": Stage(tests="tests/integration", at_once=CPUS + 1, obstacle=_no_root),
    # More than half of the time a host waits: for a quiet moment, for a silent server.
    "e2e": Stage(tests="tests/e2e", at_once=CPUS + 3, boots_hosts=True, obstacle=_no_root),
}


def count(report: Path) -> Tally:
    """What pytest's JUnit report says of each test.

    An expected failure counts as passed. A setup or teardown error counts as a failure.
    """
    tally = Tally()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        name = f"{case.get('classname')}.{case.get('name')}"
        file = _file(name)
        tally.seconds[file] = tally.seconds.get(file, 0) + float(case.get("time", 0))
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed.add(name)
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            tally.left_out.append(f"{name}: {skipped.get('message')}")
        else:
            tally.passed.add(name)
    tally.passed -= tally.failed  # one that passed, and whose teardown did not
    return tally


class Pytest(Protocol):
    """Something that runs tests."""

    def __call__(self, paths: Sequence[str], *options: str, may_be_none: bool = False) -> Tally:
        """Run the tests in these files or directories with pytest's options.

        Where there ``may_be_none``, that there are none is no failure.
        """


def run_tests(stage: Stage, pytest: Pytest) -> Tally:
    """Run the tests of a stage in its processes; with hosts, the files that failed once more."""
    assert stage.tests is not None
    directory, processes = stage.tests, ("--numprocesses", str(stage.at_once))
    words = "-v" if stage.boots_hosts else "-q"
    if stage.at_once == 1:
        return pytest((directory,), words)
    if stage.shares_nothing:
        return pytest((directory,), words, *processes, "--dist", "worksteal")
    tally = Tally()
    # By name, not by number of tests: one test can take longer than a module of thirty, and the
    # longest is among the first.
    spread = ("--dist", "loadscope", "--no-loadscope-reorder")
    together = (words, *processes, *spread)
    for marker, options in (("not alone", together), ("alone", (words,))):
        found = pytest((directory,), *options, "-m", marker, may_be_none=marker == "alone")
        files = sorted({_file(name) for name in found.failed}) if stage.boots_hosts else []
        if 0 < len(files) <= SECOND_TRIES and all((TOP / file).is_file() for file in files):
            print(f"== once more, alone: {' '.join(files)}", flush=True)
            found.replace(pytest(files, words, "-m", marker))
        tally.add(found)
    return tally


def _file(test: str) -> str:
    """The file of a test, by path from the top directory."""
    module = test.partition("[")[0].rpartition(".")[0]
    return f"{module.replace('.', '/')}.py"


def run_pytest(paths: Sequence[str], *options: str, may_be_none: bool = False) -> Tally:
    """Run the real one; see Pytest."""
    with tempfile.TemporaryDirectory(prefix="podwatch-tests-") as results:
        report = Path(results) / "report.xml"
        given = ("--durations=10", f"--junit-xml={report}", *options, *paths)
        code = subprocess.run((PYTHON, "-m", "pytest", *given), cwd=TOP, check=False).returncode
        tally = count(report) if report.exists() else Tally()
    if code != 0 and not tally.failed and not (may_be_none and code == _NO_TESTS):
        tally.failed.add(f"{' '.join(paths)}: pytest ended with exit code {code}")
    return tally


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
    if stage.tests is None:
        return True
    found = run_tests(stage, run_pytest)
    tally.add(found)
    return not found.failed


def where_time_went(stages: dict[str, float], files: dict[str, float]) -> Iterator[str]:
    """A line for each stage, and below it one for each of its files that took the longest.

    Args:
        stages: the seconds of each stage, by its name, in its order.
        files: the seconds of each file's tests. Where processes work side by side their sum is
            more than the stage's.
    """
    for stage, took in stages.items():
        yield f"  {took:6.0f} s  {stage}"
        folder = f"{STAGES[stage].tests}/"
        of_stage = sorted(
            ((seconds, file) for file, seconds in files.items() if file.startswith(folder)),
            reverse=True,
        )
        shown, others = of_stage[:FILES_SHOWN], of_stage[FILES_SHOWN:]
        yield from (f"  {seconds:12.0f} s  {file}" for seconds, file in shown)
        if others:
            yield f"  {sum(seconds for seconds, _ in others):12.0f} s  {len(others)} more files"


def closing_words(tally: Tally, failed: str | None, *, ci: bool) -> Iterator[str]:
    """The lines that come last: what failed, what was late, what was left out, and the counts."""
    if failed:
        yield f"FAILED: {failed}"
    if tally.only_alone:
        yield "FAILED BESIDE OTHERS, PASSED ALONE:"
        yield from (f"  {name}" for name in sorted(tally.only_alone))
    if tally.left_out:
        yield "LEFT OUT:"
        yield from (f"  {sentence}" for sentence in tally.left_out)
    if tally.left_out and ci and not failed:
        yield "FAILED: with CI=true nothing may be left out"
    yield tally.closing_line


def main(arguments: Sequence[str]) -> int:
    """Run the named stages up to the first that fails; return the exit status."""
    if not arguments or not set(arguments) <= set(STAGES):
        print(f"usage: python -m tests.run STAGE...; stages: {' '.join(STAGES)}", file=sys.stderr)
        return 64
    ci = os.environ.get("CI") == "true"
    tally, stages = Tally(), dict[str, float]()
    failed = None
    for name in arguments:
        start = time.monotonic()
        whole = run_stage(name, tally, ci=ci)
        stages[name] = time.monotonic() - start
        if not whole:
            failed = name
            break
        print(f"== {name}: {stages[name]:.0f} s", flush=True)

    if failed:
        rest = arguments[list(arguments).index(failed) + 1 :]
        tally.left_out += [f"{name}: {failed} failed before it" for name in rest]
    print("", "WHERE THE TIME WENT:", *where_time_went(stages, tally.seconds), "", sep="\n")
    print(*closing_words(tally, failed, ci=ci), sep="\n")
    return 1 if failed or tally.failed or (ci and tally.left_out) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
