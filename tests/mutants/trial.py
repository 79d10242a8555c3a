# SPDX-License-Identifier: Apache-2.0
"""One mutant: the tests of its line are run on it, in a process of their own.

A process that is forked imports what it runs by the name of its module: no such thing may stand in
`__main__`, where it would fail, and each mutant would seem to be noticed.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mutants.operators import Mutant
from tests.mutants.reach import TOP

MAX_SECONDS = 40
"""No unit test takes so long; one that does hangs."""
MAX_RUN_SECONDS = 600
"""So long all tests of a mutant may take; where the interpreter itself hangs, this ends them."""
MAX_TESTS = 300
"""So many tests at most are run for one mutant; the nearest ones come first."""

# Each run is forked off a process that has imported the slow part of pytest already.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "hypothesis"])


def run_quietly(copy: Path, tests: Sequence[str]) -> None:
    """Run tests of a copy up to the first that fails, and end this process as pytest does."""
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path or ".") != TOP)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # they are those of the tree, not of the copy
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    plain = ("-x", "-p", "no:cacheprovider", "-p", "no:xdist", f"--timeout={MAX_SECONDS}")
    # What was imported before the fork is as good as what pytest would have imported itself.
    warnings = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    sys.exit(pytest.main([*plain, *warnings, *tests[:MAX_TESTS]]))


def fail(tests: Sequence[str], copy: Path) -> bool:
    """Whether one of these tests fails, or hangs, on a copy as it is."""
    process = _FORKS.Process(target=run_quietly, args=(copy, tests))
    process.start()
    process.join(MAX_RUN_SECONDS)
    if hangs := process.is_alive():
        process.kill()
        process.join()
    return hangs or process.exitcode != 0


def is_noticed(mutant: Mutant, tests: Sequence[str], copy: Path) -> bool:
    """Whether one of these tests fails, or hangs, for the mutant."""
    if not tests:
        return False
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(text), encoding="utf-8")
    try:
        return fail(tests, copy)
    finally:
        path.write_text(text, encoding="utf-8")
