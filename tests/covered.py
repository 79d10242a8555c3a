# SPDX-License-Identifier: Apache-2.0
"""Says how many lines of the heart its unit tests run, and holds that to the limits below.

The heart is what decides at run time what is asked, repaired and reported. It is measured by the
tests of its own rooms alone: a line that only some other test passes by is not tested. Python
before 3.12 runs about half as fast while its lines are counted, so the pure rooms are left out;
there `make mutants` says more.

Usage: python -m tests.covered [-n PROCESSES]
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
ROOMS = ("daemon", "report")

LEAST_TOGETHER = 90
"""So many percent of the lines of all measured rooms together are run by their tests."""
LEAST_OF_A_FILE = 80
"""And so many of each file."""
LEAST_OF_FILES: Mapping[str, int] = {}
"""Files that are not there yet, with what they must not fall below meanwhile."""


@dataclass(frozen=True)
class Lines:
    """How many lines of code there are, and how many of them the tests run."""

    run: int
    all: int

    @property
    def percent(self) -> float:
        """The share that is run; an empty file has no line that is not."""
        return 100 * self.run / self.all if self.all else 100.0


def together(files: Mapping[str, Lines]) -> Lines:
    """The lines of all files."""
    return Lines(sum(file.run for file in files.values()), sum(file.all for file in files.values()))


def too_little(files: Mapping[str, Lines]) -> list[str]:
    """A sentence for each limit that is not held."""
    found = []
    if (share := together(files).percent) < LEAST_TOGETHER:
        found.append(f"all together: {share:.1f} % of the lines, not {LEAST_TOGETHER} %")
    for name, lines in sorted(files.items()):
        least = LEAST_OF_FILES.get(name, LEAST_OF_A_FILE)
        if lines.percent < least:
            found.append(f"{name}: {lines.percent:.1f} % of the lines, not {least} %")
    found += [
        f"{name}: is not there any more; take it out of {Path(__file__).name}"
        for name in sorted(LEAST_OF_FILES.keys() - files.keys())
    ]
    return found


def table(files: Mapping[str, Lines]) -> Iterator[str]:
    """A line for each file, the least tested first, and one for all."""
    named = sorted(files.items(), key=lambda file: (file[1].percent, file[0]))
    for name, lines in (*named, ("all together", together(files))):
        yield f"  {lines.percent:5.1f} %  {lines.run:4} of {lines.all:4} lines  {name}"


def measure(options: Sequence[str]) -> dict[str, Lines] | None:
    """Run the tests of the measured rooms; what they ran of each file, or None if one failed."""
    with tempfile.TemporaryDirectory(prefix="podwatch-covered-") as folder:
        settings, report = Path(folder) / "settings.toml", Path(folder) / "report.json"
        sources = [str(TOP / "podwatch" / room) for room in ROOMS]
        measured = {"source": sources, "patch": ["subprocess"], "data_file": f"{folder}/data"}
        settings.write_text(
            "[tool.coverage.run]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in measured.items())
        )
        coverage = (sys.executable, "-m", "coverage")
        tests = ("pytest", "-q", *options, *(f"tests/unit/{room}" for room in ROOMS))
        rcfile = f"--rcfile={settings}"
        run = (*coverage, "run", rcfile, "-m", *tests)
        if subprocess.run(run, cwd=TOP, check=False).returncode != 0:
            return None
        subprocess.run((*coverage, "combine", "-q", rcfile), cwd=TOP, check=True)
        subprocess.run((*coverage, "json", "-q", rcfile, "-o", report), cwd=TOP, check=True)
        return read(report.read_text(encoding="utf-8"))


def read(report: str) -> dict[str, Lines]:
    """What coverage's JSON report says of each file, by its path from the top directory."""
    return {
        name: Lines(file["summary"]["covered_lines"], file["summary"]["num_statements"])
        for name, file in json.loads(report)["files"].items()
    }


def main(options: Sequence[str]) -> int:
    """Measure, print the table and what is below its limit; return the exit status."""
    files = measure(options)
    if files is None:
        return 1
    print("LINES OF THE HEART THAT ITS UNIT TESTS RUN:", *table(files), sep="\n")
    found = too_little(files)
    for sentence in found:
        print(f"TOO LITTLE TESTED: {sentence}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
