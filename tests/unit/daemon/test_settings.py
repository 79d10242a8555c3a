# SPDX-License-Identifier: Apache-2.0
"""The table of settings, and podwatch.conf made from it."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.daemon.config import load
from podwatch.daemon.settings import (
    SETTINGS,
    Setting,
    documented_defaults,
    duration_text,
    durations,
)

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


@given(st.integers(min_value=0, max_value=10**9).map(lambda ms: ms / 1000))
def test_a_duration_survives_being_written(seconds: float) -> None:
    """Whatever duration_text writes is read as the same duration."""
    read = durations(0, 10**9).read(duration_text(seconds))

    assert read == pytest.approx(seconds, rel=1e-5)
