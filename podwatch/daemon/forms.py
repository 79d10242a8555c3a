# SPDX-License-Identifier: Apache-2.0
"""Forms of values of settings: durations, numbers, words; how each is read and written in TOML."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """A form of values: what is `allowed` in words, how to read one from TOML, how to write it.

    `read` raises ValueError for what is not allowed.
    """

    allowed: str
    read: Callable[[object], T]
    write: Callable[[T], str]


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|min|h|d)")


def duration_text(seconds: float) -> str:
    """A duration in seconds as a person writes it: "300ms", "5s", "10m"; `read` takes it back."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _UNITS[unit] and math.isclose(seconds % _UNITS[unit], 0.0, abs_tol=1e-9):
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    number, unit = (seconds, "s") if seconds > 1 or seconds == 0 else (seconds * 1000, "ms")
    return f"{number:.3f}".rstrip("0").rstrip(".") + unit


def durations(least: float, most: float) -> Form[float]:
    """Durations between `least` and `most` seconds."""

    def read(value: object) -> float:
        if isinstance(value, str):
            found = _DURATION.fullmatch(value.strip())
            if found is None:
                raise ValueError("not a duration")
            seconds = float(found[1]) * _UNITS[found[2]]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value
        else:
            raise ValueError("not a duration")
        # Written so that nan, which TOML has, is refused too.
        if not least <= seconds <= most:
            raise ValueError("out of range")
        return float(seconds)  # behind the check: there are whole numbers that no float holds

    between = f"from {duration_text(least)} to {duration_text(most)}"
    allowed = f'a number of seconds, or a text like "300ms", "5s", "10m", "1h"; {between}'
    return Form(allowed, read, lambda seconds: f'"{duration_text(seconds)}"')


def wholes(least: int, most: int) -> Form[int]:
    """Whole numbers between `least` and `most`."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("not a whole number")
        if not least <= value <= most:
            raise ValueError("out of range")
        return value

    return Form(f"a whole number from {least} to {most}", read, str)


def _read_switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


SWITCH = Form("true or false", _read_switch, lambda value: "true" if value else "false")

W = TypeVar("W", bound=StrEnum)


def one_of(words: type[W]) -> Form[W]:
    """One word of a closed set."""

    def read(value: object) -> W:
        if not isinstance(value, str):
            raise ValueError("not a text")
        return words(value)

    return Form(_either(words), read, lambda word: f'"{word}"')


def some_of(words: tuple[str, ...]) -> Form[tuple[str, ...]]:
    """A list of words of a closed set, at least one, none twice."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError("not a list of words")
        if any(word not in words for word in value) or len(set(value)) != len(value):
            raise ValueError("a word that is not allowed, or the same one twice")
        return tuple(value)

    def write(value: tuple[str, ...]) -> str:
        return "[" + ", ".join(f'"{word}"' for word in value) + "]"

    return Form(f"a list of {_either(words)}: at least one, none twice", read, write)


def _either(words: type[StrEnum] | tuple[str, ...]) -> str:
    texts = [f'"{word}"' for word in words]
    return ", ".join(texts[:-1]) + f" or {texts[-1]}"
