# SPDX-License-Identifier: Apache-2.0
"""What `make mutants` changes, which tests it runs for a change, and what it leaves out."""

import ast
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest

from tests.mutants import operators
from tests.mutants.__main__ import (
    EQUAL,
    all_mutants,
    key,
    named,
    named_as_equal,
    sampled,
)
from tests.mutants.reach import TOP, Reach, node_id
from tests.mutants.trial import is_noticed


def changes(text: str) -> list[str]:
    """What becomes of one line of code."""
    return [mutant.applied(text) for mutant in operators.mutants("a.py", text)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a == b", ["a != b"]),
        ("a < b", ["a <= b"]),
        ("a >= b", ["a > b"]),
        ("a is b", ["a is not b"]),
        ("a not in b", ["a in b"]),
        ("a < b <= c", ["a < b < c", "a <= b <= c"]),
        ("a and b", ["(a or b)", "(a)", "(b)"]),
        ("a or b or c", ["(a and b and c)", "(a or b)", "(a or c)", "(b or c)"]),
        ("not a", ["bool(a)"]),
        ("a if b else c", ["a", "c", "a if not (b) else c"]),
        ("a + b", ["a - b"]),
        ("f'{a}' + b", []),
        ("f(a=True)", ["f(a=False)"]),
        ("f(2)", ["f(3)"]),
        ("zip(a, strict=True)", []),
        ("f'{a == 1}'", []),
        ("[a for a in b if a]", ["[a for a in b if not (a)]"]),
        ("if a:\n    b", ["if not (a):\n    b"]),
        ("(a or b) + c", ["(a or b) - c", "((a and b)) + c", "((a)) + c", "((b)) + c"]),
        ("('é', a == b)", ["('é', a != b)"]),
        ("a: Literal[1]", []),
        ("@d(a=True)\nclass C:\n    b: int = 1", ["@d(a=True)\nclass C:\n    b: int = 2"]),
    ],
)
def test_operators(before: str, after: list[str]) -> None:
    """One comparison, condition, flag or number is another one, and the rest stays."""
    assert sorted(changes(before)) == sorted(after)


def test_named_by_place_and_change() -> None:
    """A mutant is printed in one line, as file, line, before and after."""
    (mutant,) = operators.mutants("a.py", "b\nif (c ==\n    d):\n    b")

    assert str(mutant) == "a.py:2: c == d → c != d"
    assert mutant.source_line == "if (c =="


def test_a_changed_file() -> None:
    """A mutant is not applied to a file that says something else by now."""
    (mutant,) = operators.mutants("a.py", "b == c")

    with pytest.raises(AssertionError, match="the file has changed"):
        mutant.applied("b <= c")


def test_each_is_python() -> None:
    """Whatever is changed in the program, it can still be read: no mutant is noticed for that."""
    every = all_mutants()
    texts = {mutant.file: (TOP / mutant.file).read_text(encoding="utf-8") for mutant in every}
    for mutant in every[::100]:
        ast.parse(mutant.applied(texts[mutant.file]))


REACH = Reach(
    {
        "podwatch/words/way.py": {
            3: ("tests/unit/decide/test_way.py::test_c", "tests/unit/words/test_way.py::test_b"),
            4: ("tests/unit/words/test_text.py::test_a",),
        }
    }
)


def test_tests_of_a_line() -> None:
    """The file's own tests come first; a line run at import counts for all tests of its file.

    Those that run no line of it look at it all the same.
    """
    assert REACH.tests_of("podwatch/words/way.py", 3) == [
        "tests/unit/words/test_way.py::test_b",
        "tests/unit/decide/test_way.py::test_c",
    ]
    assert REACH.tests_of("podwatch/words/way.py", 1) == [
        "tests/unit/words/test_way.py",
        "tests/unit/words/test_text.py::test_a",
        "tests/unit/decide/test_way.py::test_c",
    ]
    assert REACH.tests_of("podwatch/words/links.py", 1) == ["tests/unit/words"]


def test_names_of_tests(tmp_path: Path) -> None:
    """A test of a class has both names; what is in no file is no test."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").touch()

    assert node_id("tests.test_a.TestB.test_c", tmp_path) == "tests/test_a.py::TestB::test_c"
    assert node_id("somewhere.else", tmp_path) is None


def test_equal_ones_are_there() -> None:
    """What is named as equal stands in the program as it is named, with a reason."""
    equal = named_as_equal(EQUAL.read_text(encoding="utf-8"))

    assert sorted(equal.keys() - {key(mutant) for mutant in all_mutants()}) == []
    assert all(equal.values())


def test_same_seed() -> None:
    """A line that is added takes no other line's mutant out of the sample but for its own two."""
    lines = "".join(f"a{number} == {number}\n" for number in range(100))
    before, after = (operators.mutants("a.py", text) for text in (lines, "b < 0\n" + lines))

    first = {key(mutant) for mutant in sampled(before, 13, 50)}
    assert len(first) == 50
    assert first <= {key(mutant) for mutant in sampled(after, 13, 52)}
    assert first != {key(mutant) for mutant in sampled(before, 14, 50)}


def test_again() -> None:
    """A mutant that was printed is found again where its line has another number by now."""
    (before,) = operators.mutants("a.py", "a: b = c == d")
    (after,) = operators.mutants("a.py", "\na: b = c == d")

    assert named(str(before)) == named(str(after)) == ("a.py", "c == d → c != d")


@pytest.fixture
def _fork_server() -> Iterator[None]:
    """The process that tests are forked off ends with the test: nothing else ends it."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_fork_server")
@pytest.mark.parametrize("assertion", ["f(1)", "f(2) is False"])
def test_noticed(assertion: str, tmp_path: Path) -> None:
    """A mutant is noticed by a test that fails with it; the copy is whole again afterwards."""
    text = "def f(a):\n    return a < 2\n"
    (mutant,) = (one for one in operators.mutants("a.py", text) if "<=" in one.after)
    (tmp_path / "a.py").write_text(text)
    test = f"from a import f\ndef test_a():\n    assert {assertion}\n"
    (tmp_path / "test_a.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\nfilterwarnings = error\n")

    assert is_noticed(mutant, ["test_a.py"], tmp_path) is (assertion != "f(1)")
    assert (tmp_path / "a.py").read_text() == text
    assert not is_noticed(mutant, [], tmp_path)
