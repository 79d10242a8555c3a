# SPDX-License-Identifier: Apache-2.0
"""Makes the program wrong in one place at a time, and says which faults no unit test notices.

Usage: python -m tests.mutants [--seed NUMBER] [--sample NUMBER] [--processes NUMBER] [FILE...]

Of all changes (see operators.py) it takes a sample by a seed: the same seed takes the same ones.
Each is made in a copy of the tree, and the tests that run the changed line are run there up to the
first that fails. A test that hangs has noticed too. It ends with 1 where fewer than 95 % were
noticed.
"""

import argparse
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.operators import Mutant, mutants
from tests.mutants.reach import TOP, Reach, find

ROOMS = ("words", "formats", "drivers", "decide", "report", "daemon")
EQUAL = Path(__file__).with_name("equal.toml")
LEAST_KILLED = 0.95
MAX_SECONDS = 300
"""No run of tests takes so long; one that does hangs."""
MAX_TESTS = 300
"""So many tests at most are run for one mutant; the nearest ones come first."""


def all_mutants(files: Sequence[str] = ()) -> list[Mutant]:
    """Every mutant of these files, or of all rooms that are held to it."""
    paths = [TOP / file for file in files] or [
        path for room in ROOMS for path in sorted((TOP / "podwatch" / room).glob("*.py"))
    ]
    return [
        mutant
        for path in paths
        for mutant in mutants(str(path.relative_to(TOP)), path.read_text(encoding="utf-8"))
    ]


def key(mutant: Mutant) -> tuple[str, str, str, str]:
    """What a mutant is known by after its file has changed elsewhere."""
    return mutant.file, mutant.source_line, mutant.before, mutant.after


def named_as_equal(text: str) -> dict[tuple[str, str, str, str], str]:
    """The mutants that a file like equal.toml names, each with its reason."""
    return {
        (entry["file"], entry["line"], entry["before"], entry["after"]): entry["reason"]
        for entry in tomllib.loads(text).get("equal", [])
    }


@contextmanager
def copies(number: int) -> Iterator[queue.SimpleQueue[Path]]:
    """So many copies of what the unit tests need, to be taken and put back."""
    with tempfile.TemporaryDirectory(prefix="podwatch-mutants-") as folder:
        free = queue.SimpleQueue[Path]()
        for name in range(number):
            copy = Path(folder) / str(name)
            for part in ("podwatch", "tests", "units", "packaging"):
                shutil.copytree(TOP / part, copy / part, symlinks=True)
            shutil.copy(TOP / "pyproject.toml", copy)
            # By hashes of their sources: two changes within a second must not be taken for one.
            by_hash = ("--invalidation-mode", "checked-hash", "-q", "-f", "podwatch")
            subprocess.run((sys.executable, "-m", "compileall", *by_hash), cwd=copy, check=True)
            free.put(copy)
        yield free


def is_noticed(mutant: Mutant, tests: Sequence[str], copy: Path) -> bool:
    """Whether one of these tests fails, or hangs, for the mutant."""
    if not tests:
        return False
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(text), encoding="utf-8")
    quiet = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist")
    try:
        done = subprocess.run(
            (sys.executable, "-m", "pytest", *quiet, *tests[:MAX_TESTS]),
            cwd=copy,
            check=False,
            capture_output=True,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(text, encoding="utf-8")
    return done.returncode != 0


def survivors(chosen: Sequence[Mutant], reach: Reach, processes: int) -> list[Mutant]:
    """Those of the mutants that no test notices, each printed as it is found."""
    with copies(processes) as free, ThreadPoolExecutor(processes) as pool:

        def survives(mutant: Mutant) -> bool:
            copy = free.get()
            try:
                noticed = is_noticed(mutant, reach.tests_of(mutant.file, mutant.line), copy)
            finally:
                free.put(copy)
            if not noticed:
                print(mutant, flush=True)
            return not noticed

        return [
            mutant
            for mutant, survived in zip(chosen, pool.map(survives, chosen), strict=True)
            if survived
        ]


def main(arguments: Sequence[str]) -> int:
    """Try a sample; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("files", nargs="*", help="from the top directory; all if none is named")
    options = parser.parse_args(arguments)

    equal = named_as_equal(EQUAL.read_text(encoding="utf-8"))
    every = [mutant for mutant in all_mutants(options.files) if key(mutant) not in equal]
    chosen = random.Random(options.seed).sample(every, min(options.sample, len(every)))  # noqa: S311
    print(f"{len(chosen)} of {len(every)} mutants, seed {options.seed}; not noticed:", flush=True)
    alive = survivors(chosen, find(), options.processes)
    killed = 1 - len(alive) / len(chosen)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} were noticed, {killed:.1%}")
    return 0 if killed >= LEAST_KILLED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
