# SPDX-License-Identifier: Apache-2.0
"""Which unit tests run which line of the program.

It takes minutes to find out, so it is kept until the program or its tests change.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import coverage

TOP = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "podwatch"
ROOMS = ("words", "formats", "drivers", "decide", "adapters", "report", "daemon", "commands")
TESTS = tuple(f"tests/unit/{room}" for room in ROOMS)


@dataclass(frozen=True)
class Reach:
    """The tests by the lines they run."""

    lines: dict[str, dict[int, tuple[str, ...]]]
    """For each file of the program: the tests, as pytest names them, of each line."""

    def tests_of(self, file: str, line: int) -> list[str]:
        """The tests that run a line, those of the file itself first.

        What runs when a module is imported is run by no test alone. All tests that run any line of
        the file count for it, and first those that look at it without running one: its own test
        modules, or its room's where it has none.
        """
        of_file = self.lines.get(file, {})
        module, room = Path(file).stem, Path(file).parent.name
        own = f"tests/unit/{room}/test_{module}"

        def nearness(test: str) -> tuple[bool, bool, str]:
            return not test.startswith(own), room not in test, test

        if found := of_file.get(line):
            return sorted(found, key=nearness)
        modules = sorted(str(path.relative_to(TOP)) for path in TOP.glob(f"{own}*.py"))
        every = {test for tests in of_file.values() for test in tests}
        rest = (test for test in every if test.partition("::")[0] not in modules)
        return [*(modules or [f"tests/unit/{room}"]), *sorted(rest, key=nearness)]


def node_id(context: str, top: Path = TOP) -> str | None:
    """A test by pytest's name for it, from coverage's ("tests.unit.words.test_way.test_port")."""
    parts = context.split(".")
    for end in range(len(parts) - 1, 0, -1):
        file = Path(*parts[:end]).with_suffix(".py")
        if (top / file).is_file():
            return "::".join((str(file), *parts[end:]))
    return None


def find() -> Reach:
    """The tests of each line, as kept or as measured now."""
    kept = CACHE / f"reach-{_state()}.json"
    if not kept.exists():
        for old in CACHE.glob("reach-*.json"):
            old.unlink()
        CACHE.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_measure()), encoding="utf-8")
    known = json.loads(kept.read_text(encoding="utf-8"))
    return Reach(
        {
            file: {int(line): tuple(tests) for line, tests in lines.items()}
            for file, lines in known.items()
        }
    )


def _state() -> str:
    """A name for the program and its tests as they are now."""
    digest = hashlib.sha256()
    for folder in ("podwatch", "tests/unit"):
        for path in sorted((TOP / folder).rglob("*.py")):
            digest.update(str(path.relative_to(TOP)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _measure() -> dict[str, dict[int, list[str]]]:
    with tempfile.TemporaryDirectory(prefix="podwatch-reach-") as folder:
        settings, data = Path(folder) / "settings.toml", Path(folder) / "data"
        settings.write_text(
            "[tool.coverage.run]\n"
            f'source = ["{TOP}/podwatch"]\n'
            f'data_file = "{data}"\n'
            'patch = ["subprocess"]\n'
            'dynamic_context = "test_function"\n'
        )
        measured = (sys.executable, "-m", "coverage", "run", f"--rcfile={settings}")
        beside = ("-n", str(os.cpu_count() or 1), "--dist", "loadscope")
        subprocess.run((*measured, "-m", "pytest", "-q", *beside, *TESTS), cwd=TOP, check=True)
        parts = coverage.CoverageData(basename=str(Path(folder) / "all"))
        for path in Path(folder).glob("data.*"):
            part = coverage.CoverageData(basename=str(path))
            part.read()
            parts.update(part)
        return {
            str(Path(file).relative_to(TOP)): _by_line(parts.contexts_by_lineno(file))
            for file in parts.measured_files()
        }


def _by_line(contexts: dict[int, list[str]]) -> dict[int, list[str]]:
    return {line: _tests(of_line) for line, of_line in contexts.items()}


def _tests(contexts: Iterable[str]) -> list[str]:
    return sorted({test for context in contexts if context and (test := node_id(context))})
