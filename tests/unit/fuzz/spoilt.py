# SPDX-License-Identifier: Apache-2.0
"""What hosts really say, spoilt: recorded texts with pieces cut, doubled, and replaced by worse."""

import re
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[2] / "data"
LARGEST_SEED = 200_000

ODD = (
    "",
    " ",
    "\n",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\\ud800",
    "é" * 300,
    "0",
    "-1",
    "1e999",
    "NaN",
    "9" * 5000,
    "0x" + "f" * 6000,
    "null",
    "true",
    "[]",
    "{}",
    "[" * 2000,
    '{"a":' * 2000,
    '"',
    "'",
    "{",
    "}",
    "--all",
    "../../etc/shadow",
    "$(reboot)",
    "a" * 70_000,
)


@cache
def recorded() -> tuple[str, ...]:
    """Every recorded text of a sensible size, each once."""
    files = sorted(each for each in DATA.rglob("*") if each.is_file())
    texts = (each.read_text() for each in files if each.stat().st_size <= LARGEST_SEED)
    return tuple(dict.fromkeys(text for text in texts if text))


_VALUE = re.compile(r"""(?<=[=:] )(?:"[^"\n]*"|\[[^]\n]*\]|[^\s,\]}]+)""")
"""What stands behind a key, in JSON and in TOML."""


@st.composite
def spoilt(draw: st.DrawFn, seeds: tuple[str, ...]) -> str:
    """One of the seeds, with another value behind one key, or spoilt in one to six places."""
    text = draw(st.sampled_from(seeds))
    values = list(_VALUE.finditer(text))
    of_a_value = draw(st.booleans())
    if values and of_a_value:
        value = values[draw(st.integers(0, len(values) - 1))]
        odd = draw(st.sampled_from(ODD))
        odd = draw(st.sampled_from((odd, f'"{odd}"', f"[{odd}]")))
        return text[: value.start()] + odd + text[value.end() :]
    words = re.findall(r"\w+|\W", text)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(words)))
        length = draw(st.integers(0, 12) | st.integers(0, len(words)))
        piece = draw(
            st.sampled_from(ODD).map(lambda odd: [odd])
            | st.text(max_size=20).map(lambda text: [text])
            | st.just(words[at : at + length] * 2)
        )
        words[at : at + length] = piece
        del words[200_000:]
    return "".join(words)
