# SPDX-License-Identifier: Apache-2.0
"""The table of settings, and podwatch.conf made from it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.daemon.config import load
from podwatch.daemon.forms import (
    SWITCH,
    Form,
    duration_text,
    durations,
    one_of,
    some_of,
    wholes,
)
from podwatch.daemon.settings import SETTINGS, LogLevel, Setting, documented_defaults

SHIPPED = Path(__file__).parents[3] / "packaging/podwatch.conf"


def test_the_shipped_file_is_the_documented_defaults() -> None:
    """packaging/podwatch.conf is what the table of settings says."""
    assert documented_defaults() == SHIPPED.read_text()


def test_the_shipped_file_sets_nothing(tmp_path: Path) -> None:
    """The shipped file holds comments alone: every value in effect is a default."""
    assert load([SHIPPED]).origins == {}


def test_every_line_of_the_shipped_file_is_allowed(tmp_path: Path) -> None:
    """Uncommenting every setting of the shipped file sets each one to its default."""
    lines = SHIPPED.read_text().splitlines()
    file = tmp_path / "podwatch.conf"
    file.write_text(
        "\n".join(line.removeprefix("#") if line[1:2].isalpha() else line for line in lines)
    )

    config = load([file])

    assert set(config.origins) == {each.name for each in SETTINGS}
    assert [row[:3] for row in config.effective()] == [row[:3] for row in load([]).effective()]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)
def test_a_default_is_allowed_and_survives_being_written(setting: Setting) -> None:
    """Each default, written as TOML and read again, is the same value."""
    written = tomllib.loads(f"{setting.key} = {setting.default_text}")[setting.key]

    assert setting.form.read(written) == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)
def test_each_setting_is_explained(setting: Setting) -> None:
    """Each setting has a help text that is a sentence, and says what is allowed."""
    assert setting.help.endswith(".")
    assert setting.form.allowed
    assert setting.since


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("5s", 5), ("1.5 s", 1.5), ("10m", 600), ("2min", 120), ("1h", 3600)],
)
def test_a_duration_may_be_a_text(text: str, seconds: float) -> None:
    """A duration is read from a number with a unit."""
    assert durations(0, 86400).read(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (0.3, "300ms"), (0.0005, "0.5ms"), (1, "1s"), (1.5, "1.5s"), (59, "59s")),
        *((60, "1m"), (61, "61s"), (90, "90s"), (3600, "1h"), (86400, "1d"), (90000, "25h")),
    ],
)
def test_a_duration_is_written_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    """What is no whole number of any is written in seconds, or milliseconds below one."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("form", "allowed", "refused"),
    [
        (
            durations(1, 60),
            [1, 1.0, "1s", "1000ms", 60, "1m", " 5 s "],
            [0.9, 60.1, "61s", "999ms"],
        ),
        (durations(1, 60), [2], [True, None, [5], "5", "", "5 min.", float("nan")]),
        (wholes(1, 16), [1, 16], [0, 17, True, 2.0, "2", None]),
        (SWITCH, [True, False], [0, 1, "true", None]),
        (one_of(LogLevel), ["info"], ["", "INFO", 1, ["info"], None]),
        (some_of(("a", "b")), [["a"], ["b", "a"]], [[], ["a", "a"], ["c"], ["a", "c"], "a", None]),
    ],
    ids=["bounds", "types", "whole numbers", "switches", "words", "lists"],
)
def test_what_a_form_takes(form: Form[Any], allowed: list[object], refused: list[object]) -> None:
    """Both bounds are allowed, what is beyond them or of another type is not."""
    for value in allowed:
        form.read(value)
    for value in refused:
        with pytest.raises((ValueError, TypeError)):
            form.read(value)


@given(st.integers(min_value=0, max_value=10**9).map(lambda ms: ms / 1000))
def test_a_duration_survives_being_written(seconds: float) -> None:
    """Whatever duration_text writes is read as the same duration."""
    read = durations(0, 10**9).read(duration_text(seconds))

    assert read == pytest.approx(seconds, rel=1e-5)
