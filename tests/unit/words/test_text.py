# SPDX-License-Identifier: Apache-2.0
"""The small texts every face of podwatch says alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.words.text import (
    ago,
    clean,
    clean_lines,
    cleaned,
    counted,
    lasted,
    listed,
    printable,
)


@given(st.text())
def test_clean_text_is_printable_and_as_long(text: str) -> None:
    """Nothing unprintable is left, nothing printable is touched."""
    cleaned = clean(text)

    assert cleaned.isprintable()
    assert all(new == old for new, old in zip(cleaned, text, strict=True) if old.isprintable())


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7300, "2 h"),
        (86399, "23 h"),
        (86400, "1 d"),
        (86400 * 3, "3 d"),
    ],
)
def test_ago_has_one_unit(seconds: float, says: str) -> None:
    """The largest unit that fits, rounded down; a clock that went back is no time at all."""
    assert ago(seconds) == says


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-1, "0 ms"),
        (0.0124, "12 ms"),
        (0.999, "999 ms"),
        (1, "1.0 s"),
        (2.14, "2.1 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (10.4, "10 s"),
        (94.9, "95 s"),
    ],
)
def test_lasted_is_as_exact_as_it_matters(seconds: float, says: str) -> None:
    """Short durations in milliseconds, long ones in whole seconds."""
    assert lasted(seconds) == says


def test_counted_agrees_with_its_number() -> None:
    """One is singular."""
    found = [counted(number, "rule") for number in (0, 1, 2)]
    assert found == ["0 rules", "1 rule", "2 rules"]


def test_lines_stay_lines() -> None:
    """Of a text of several lines each is cleaned by itself."""
    assert clean_lines("a\nb\x1b[2J\n") == "a\nb\ufffd[2J\n"
    assert clean_lines("a b") == "a b"


def test_every_text_of_a_json_value_is_cleaned() -> None:
    """Keys, too, and however deep; what is no text stays what it is."""
    found = cleaned({"a\n": [1, "b\0", {"c": None}], "d": True})
    assert found == {"a\ufffd": [1, "b\ufffd", {"c": None}], "d": True}
    assert (found["d"], type(found["a\ufffd"][0])) == (True, int)


def test_a_name_that_is_acted_on_is_refused() -> None:
    """Where it cannot be shown; what is shown would be another name."""
    assert printable("web") == "web"
    with pytest.raises(ValueError, match="cannot be shown"):
        printable("we\x1bb")


def test_listed_names_the_first_few() -> None:
    """Three are named, the others counted."""
    assert listed(["a", "b", "c"]) == "a; b; c"
    assert listed(["a", "b", "c", "d"]) == "a; b; c; and 1 more"
    assert listed(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
