# SPDX-License-Identifier: Apache-2.0
"""aardvark-dns' files: who is in them, and what it would not understand."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from podwatch.formats.name_files import MAX_SHOWN, parse_served
from podwatch.words.names import Entry

REAL = Path(__file__).parents[2] / "data/forky-standard/aardvark-dns/app"


def test_a_real_file_is_understood() -> None:
    """One of netavark 1.17: the addresses it listens on, and a container with its names."""
    listens, (entry,), damage = parse_served(REAL.read_text())

    assert [str(address) for address in listens] == ["10.89.50.1", "fd50::1"]
    assert (len(entry.container_id), damage) == (64, "")
    assert entry.container_id.startswith(entry.names[-1])
    assert {address.version for address in entry.addresses} == {4, 6}


def test_each_family_has_its_place() -> None:
    """A container with both, and one without IPv6: two blanks in a row; servers stand last."""
    text = "10.89.0.1,fd89::1 192.0.2.53\naa 10.89.0.2 fd89::2 web,w\nbb 10.89.0.3  db 9.9.9.9\n"
    listens, entries, damage = parse_served(text)

    assert listens == (ip_address("10.89.0.1"), ip_address("fd89::1"))
    assert entries == (
        Entry("aa", (ip_address("10.89.0.2"), ip_address("fd89::2")), ("web", "w")),
        Entry("bb", (ip_address("10.89.0.3"),), ("db",)),
    )
    assert damage == ""


@pytest.mark.parametrize(
    ("text", "damage"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("garbage\n", "line 1: garbage"),
        ("10.89.0.1,\n", "line 1: 10.89.0.1,"),
        ("10.89.0.1 resolver\n", "line 1: 10.89.0.1 resolver"),
        ("10.89.0.1\naa 10.89.0.2 \n", "line 2: aa 10.89.0.2 "),
        ("10.89.0.1\naa 10.89.0.2  web\nbb x  db\n", "line 3: bb x  db"),
        ("10.89.0.1\naa fd89::2  web\n", "line 2: aa fd89::2  web"),
        ("10.89.0.1\naa  10.89.0.2 web\n", "line 2: aa  10.89.0.2 web"),
        ("10.89.0.1\naa 10.89.0.2  web x\nbb\n", "line 2: aa 10.89.0.2  web x"),
        ("10.89.0.1\na\x1b\n", "line 2: a\ufffd"),
    ],
)
def test_what_aardvark_would_not_understand(text: str, damage: str) -> None:
    """The first such line is told, as it takes nothing from the whole file for it."""
    assert parse_served(text)[2] == damage


def test_what_is_in_front_of_damage_is_known_all_the_same() -> None:
    """Who is on the network can be told, though nobody answers there."""
    listens, entries, _ = parse_served("10.89.0.1\nbb\naa 10.89.0.2  web\n")

    assert listens == (ip_address("10.89.0.1"),)
    assert [entry.container_id for entry in entries] == ["aa"]


def test_a_long_line_is_cut() -> None:
    """No more of it is told than fits into a sentence."""
    damage = parse_served(f"10.89.0.1\n{'x' * (MAX_SHOWN + 1)}\n")[2]
    assert damage == f"line 2: {'x' * (MAX_SHOWN - 1)}…"
    assert parse_served(f"10.89.0.1\n{'x' * MAX_SHOWN}\n")[2] == f"line 2: {'x' * MAX_SHOWN}"


def test_further_words_are_passed_over() -> None:
    """As aardvark-dns does: it looks at the servers where they are the fifth word, and the last."""
    assert parse_served("10.89.0.1\naa 10.89.0.2  web x y\n")[2] == ""
    assert parse_served("10.89.0.1\naa 10.89.0.2  web \n")[2] == ""
