# SPDX-License-Identifier: Apache-2.0
"""The files of aardvark-dns, one for each network: texts in, words out. Pure.

"10.89.0.1,fd00::1", and after a blank the servers it asks; then a line for each container: its id,
its IPv4 addresses, its IPv6 addresses, its names, and perhaps servers of its own (aardvark-dns
src/config/mod.rs, parse_config: 1.4 to 1.17). What one line lacks costs the whole file.
"""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address

from podwatch.words.names import Entry
from podwatch.words.network import Address
from podwatch.words.text import clean

MAX_SHOWN = 60
"""So much of a line is shown."""


def parse_served(text: str) -> tuple[tuple[Address, ...], tuple[Entry, ...], str]:
    """The addresses aardvark-dns listens on, the containers it knows, and what it cannot read.

    The last is "" where it understands every line; else it takes nothing from this file.
    """
    lines = [line for line in text.split("\n") if line]
    if not lines:
        return (), (), "it is empty"
    damage = ""
    try:
        listens = tuple(_addresses(lines[0].split(" ")[0]))
        _check(lines[0].split(" ")[1:2])
    except ValueError:
        listens, damage = (), f"line 1: {_shown(lines[0])}"
    entries = []
    for number, line in enumerate(lines[1:], 2):
        try:
            entries.append(_entry(line))
        except ValueError:
            damage = damage or f"line {number}: {_shown(line)}"
    return listens, tuple(entries), damage


@lru_cache(maxsize=1024)  # each start and stop of a container writes the lines of all others anew
def _entry(line: str) -> Entry:
    """One container. Raises ValueError for what is none."""
    parts = line.split(" ")
    if len(parts) < 4:
        raise ValueError("too few words")
    addresses = [
        address
        for part, version in ((parts[1], 4), (parts[2], 6))
        if part
        for address in _addresses(part)
        if address.version == version or _refuse()
    ]
    _check(parts[4:] if len(parts) == 5 else [])
    names = tuple(clean(name) for name in parts[3].split(","))
    return Entry(clean(parts[0]), tuple(addresses), names)


def _refuse() -> bool:
    raise ValueError("of the other family")


def _check(parts: list[str]) -> None:
    """Raises ValueError where the servers to ask are no addresses."""
    for part in filter(None, parts):
        tuple(_addresses(part))


def _addresses(part: str) -> Iterator[Address]:
    return map(ip_address, part.split(","))


def _shown(line: str) -> str:
    shown = clean(line)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[: MAX_SHOWN - 1]}…"
