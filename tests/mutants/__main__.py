# SPDX-License-Identifier: Apache-2.0
"""Makes the program wrong in one place at a time, and says which faults no unit test notices.

Usage: python -m tests.mutants [--seed NUMBER] [--sample NUMBER] [--processes NUMBER]
           [--again FILE] [FILE...]

Of all changes (see operators.py) it takes a sample by a seed. The same seed takes the same ones, as
long as their lines are the same, whatever changes beside them. Each is made in a copy of the tree,
and the tests that run the changed line are run there up to the first that fails. A test that hangs
has noticed too. It ends with 1 where fewer than 95 % were noticed.
"""

import argparse
import hashlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.operators import Mutant, mutants
from tests.mutants.reach import TOP, Reach, find
from tests.mutants.trial import fail, is_noticed

ROOMS = ("words", "formats", "drivers", "decide", "report", "daemon")
EQUAL = Path(__file__).with_name("equal.toml")
LEAST_KILLED = 0.95


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


def named(line: str) -> tuple[str, str]:
    """A mutant's printed line without its number, which changes: the file, and the change."""
    file, _, rest = line.partition(":")
    return file, rest.partition(": ")[2]


def named_as_equal(text: str) -> dict[tuple[str, str, str, str], str]:
    """The mutants that a file like equal.toml names, each with its reason."""
    return {
        (entry["file"], entry["line"], entry["before"], entry["after"]): entry["reason"]
        for entry in tomllib.loads(text).get("equal", [])
    }


def sampled(every: Iterable[Mutant], seed: int, number: int) -> list[Mutant]:
    """So many of the mutants, chosen by what they are and the seed alone."""

    def lot(mutant: Mutant) -> tuple[bytes, Mutant]:
        text = repr((seed, *key(mutant)))
        return hashlib.sha256(text.encode()).digest(), mutant

    return sorted(every, key=lot)[:number]


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


def survivors(chosen: Sequence[Mutant], reach: Reach, processes: int) -> list[Mutant]:
    """Those of the mutants that no test notices, each printed as it is found.

    Raises SystemExit where tests fail without any mutant: all would seem to be noticed.
    """
    with copies(processes) as free, ThreadPoolExecutor(processes) as pool:
        whole = free.get()
        for mutant in chosen[:3]:
            if fail(reach.tests_of(mutant.file, mutant.line), whole):
                raise SystemExit(f"{mutant.file}: its tests fail without any mutant")
        free.put(whole)

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
    parser.add_argument("--again", type=Path, help="those alone that a run before has printed here")
    parser.add_argument("files", nargs="*", help="from the top directory; all if none is named")
    options = parser.parse_args(arguments)

    equal = named_as_equal(EQUAL.read_text(encoding="utf-8"))
    every = [mutant for mutant in all_mutants(options.files) if key(mutant) not in equal]
    if options.again is not None:
        printed = {named(line) for line in options.again.read_text(encoding="utf-8").splitlines()}
        every = [mutant for mutant in every if named(str(mutant)) in printed]
    chosen = sampled(every, options.seed, options.sample)
    print(f"{len(chosen)} of {len(every)} mutants, seed {options.seed}; not noticed:", flush=True)
    alive = survivors(chosen, find(), options.processes)
    killed = 1 - len(alive) / len(chosen)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} were noticed, {killed:.1%}")
    return 0 if killed >= LEAST_KILLED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
