# SPDX-License-Identifier: Apache-2.0
"""The small texts every face of podwatch says alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.words.text import ago, clean, counted, lasted, listed


@given(st.text())
def test_clean_text_is_printable_and_as_long(text: str) -> None:
    """Nothing unprintable is left, nothing printable is touched."""
    cleaned = clean(text)

    assert cleaned.isprintable()
    assert all(new == old for new, old in zip(cleaned, text, strict=True) if old.isprintable())


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7300, "2 h"), (86400 * 3, "3 d")],
)
def test_ago_has_one_unit(seconds: float, says: str) -> None:
    """The largest unit that fits, rounded down; a clock that went back is no time at all."""
    assert ago(seconds) == says


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(-1, "0 ms"), (0.0124, "12 ms"), (2.14, "2.1 s"), (94.9, "95 s")],
)
def test_lasted_is_as_exact_as_it_matters(seconds: float, says: str) -> None:
    """Short durations in milliseconds, long ones in whole seconds."""
    assert lasted(seconds) == says


def test_counted_agrees_with_its_number() -> None:
    """One is singular."""
    assert (counted(1, "rule"), counted(0, "rule")) == ("1 rule", "0 rules")


def test_listed_names_the_first_few() -> None:
    """Three are named, the others counted."""
    assert listed(["a", "b", "c"]) == "a; b; c"
    assert listed(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
