# SPDX-License-Identifier: Apache-2.0
"""The walls of the house: which room may import which, and what every file has to have.

The rooms, each importing only those before it: words, formats, drivers, decide (all four pure),
adapters, report, daemon, commands. This test reads the imports, so an arrow the wrong way fails
before it is used.
"""

import ast
import subprocess
import sys
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("words", "formats", "drivers", "decide", "adapters", "report", "daemon", "commands")
PURE = {"words", "formats", "drivers", "decide"}
IMPURE_MODULES = {
    "asyncio",
    "ctypes",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "select",
    "shutil",
    "signal",
    "socket",
    "structlog",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
IMPURE_CALLS = {"open", "print", "input"}
OPENING_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "touch", "FileIO"}
SHARED_BY_ADAPTERS = (
    *("spared", "files", "paths", "rights", "bus_socket", "bus_connection", "bus_callers", "dbus"),
    *("program", "worker", "namespace", "rtnetlink"),
)
"""The adapters that are tools of the others: sparing imports, files, where they are, one's rights,
the bus, running a program, a worker thread, the networks' namespace, hearing rtnetlink. Each knows
those before it alone."""
NAMES_THAT_SAY_NOTHING = {
    "utils",
    "util",
    "helpers",
    "helper",
    "manager",
    "handler",
    "common",
    "misc",
}
MAX_LINES = 410
MAX_ATTRIBUTES = 15

SOURCES = sorted((ROOT / "podwatch").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PROGRAM_AND_TESTS = [*SOURCES, *TESTS]


def name_of(path: Path) -> str:
    """A file as it is called from the top of the repository."""
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room_of(path: Path) -> str:
    """The room a file of the program lives in; empty for the package's own files."""
    parts = path.relative_to(ROOT / "podwatch").parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it; names imported from one as dotted names too."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def in_room(room: str) -> list[Path]:
    """The files of a room."""
    return [path for path in SOURCES if room_of(path) == room]


def test_every_file_is_in_a_room() -> None:
    """The program has these rooms and no others, and nothing but its version lies in the hall."""
    assert {room_of(path) for path in SOURCES} == {"", *ROOMS}
    assert {path.name for path in in_room("")} <= {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_arrows_go_one_way(path: Path) -> None:
    """A room imports itself and those before it, never one behind it."""
    room = room_of(path)
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) if room else set(ROOMS)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "podwatch" and len(parts) > 1 and parts[1] in ROOMS:
            assert parts[1] in allowed, f"{name_of(path)} imports {name}"
        assert parts[0] != "tests", f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) in PURE], ids=name_of)
def test_pure_rooms_touch_nothing(path: Path) -> None:
    """No input, no output, no clock, no logging: neither by an import nor by a built-in."""
    modules = {name.split(".")[0] for name in imports(path)}
    assert not modules & IMPURE_MODULES, name_of(path)
    calls = {
        node.func.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & IMPURE_CALLS, name_of(path)


@pytest.mark.parametrize("path", in_room("adapters"), ids=name_of)
def test_adapters_do_not_know_each_other(path: Path) -> None:
    """An adapter is of one outside thing; what it needs of another is given to it."""
    known = {*takewhile(lambda name: name != path.stem, SHARED_BY_ADAPTERS)}
    for name in imports(path):
        parts = name.split(".")
        if parts[:2] == ["podwatch", "adapters"] and len(parts) > 2:
            assert parts[2] in known | {path.stem}, f"{name_of(path)} imports {name}"


def test_the_bus_is_touched_by_one_module() -> None:
    """dbus-next could be replaced by changing one file."""
    assert [name_of(p) for p in SOURCES if any(n.startswith("dbus_next") for n in imports(p))] in (
        [],
        ["podwatch/adapters/bus_connection.py"],
    )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_are_opened_in_one_place(path: Path) -> None:
    """Whoever opens a file does it by adapters/files.py, which waits for nobody's FIFO."""
    if name_of(path) == "podwatch/adapters/files.py":
        return
    opened = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(node)[:60]}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and _opens(node)
    ]
    assert [call for call in opened if "os.open(os.devnull" not in call] == []


def _opens(call: ast.Call) -> bool:
    """Whether a call opens a file by its name; `open()` of something else has no arguments."""
    if isinstance(call.func, ast.Name):
        return call.func.id in ("open", "FileIO")
    if not isinstance(call.func, ast.Attribute):
        return False
    name, owner = call.func.attr, ast.unparse(call.func.value)
    return name in OPENING_METHODS or (name == "open" and bool(call.args or "Path" in owner))


@pytest.mark.parametrize("path", PROGRAM_AND_TESTS, ids=name_of)
def test_every_file_says_what_it_is(path: Path) -> None:
    """The licence in the first line, a docstring that says why the file exists, a telling name."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(tree(path))
    assert not set(path.stem.split("_")) & NAMES_THAT_SAY_NOTHING


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_are_short_enough_to_read(path: Path) -> None:
    """A module is one thing, and one can read it in one go."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_what_is_public_is_explained(path: Path) -> None:
    """Public classes, functions and methods have a docstring; an override has its original's."""
    scopes: list[ast.Module | ast.ClassDef] = [tree(path)]
    scopes += [node for node in tree(path).body if isinstance(node, ast.ClassDef)]
    lacking = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for scope in scopes
        if isinstance(scope, ast.Module) or not (scope.bases or scope.name.startswith("_"))
        for node in scope.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert lacking == []


@pytest.mark.parametrize("path", [p for p in TESTS if p.name.startswith("test_")], ids=name_of)
def test_every_test_states_its_fact(path: Path) -> None:
    """Each test has a docstring, and no two tests of a scope have the same name."""
    for scope in ast.walk(tree(path)):
        if not isinstance(scope, (ast.Module, ast.ClassDef)):
            continue
        tests = [
            node
            for node in scope.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name.startswith("test_")
        ]
        lacking = [f"{node.name}:{node.lineno}" for node in tests if not ast.get_docstring(node)]
        assert lacking == [], name_of(path)
        assert len({node.name for node in tests}) == len(tests), name_of(path)


def test_the_daemon_is_small() -> None:
    """What watches a host with nftables loads neither OpenSSL nor libraries for compression."""
    script = (
        "import sys; sys.modules['ssl'] = None\n"  # as `podwatch run` does
        "import podwatch.daemon.service\n"
        "print(*sorted({'hashlib', 'shutil', 'lzma', 'bz2', 'http', 'email'} & {*sys.modules}))"
    )
    done = subprocess.run(
        (sys.executable, "-c", script), cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_classes_are_small_enough_to_read(path: Path) -> None:
    """A class that binds more attributes of its own is two things; dataclasses name theirs."""
    large = {
        node.name
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and len(_bound(node)) > MAX_ATTRIBUTES
    }
    assert large == set(), name_of(path)


def _bound(scope: ast.ClassDef) -> set[str]:
    """The attributes that the methods of a class bind."""
    return {
        node.attr
        for node in ast.walk(scope)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
