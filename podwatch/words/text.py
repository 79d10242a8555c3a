# SPDX-License-Identifier: Apache-2.0
"""Small texts that every face of podwatch says alike: counts, short lists, durations. Pure.

Text of others is cleaned where it is read, so that whatever shows it (a terminal, JSON, the
journal) need not: names and words as they come in; errors when they are made; rules when they are
quoted, since a rule is compared and put back as it is. What is shown and acted on alike, such as a
network's name, is refused where it cannot be shown.
"""

from collections.abc import Iterable, Sequence
from typing import Any


def clean(value: object) -> str:
    """Text from elsewhere (a program's name, a file's content), with nothing a terminal obeys."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def clean_lines(value: object) -> str:
    """The same for a text of several lines, which stay."""
    text = str(value)
    return text if text.isprintable() else "\n".join(map(clean, text.split("\n")))


def cleaned(value: Any) -> Any:
    """JSON's values with every text in them clean."""
    if isinstance(value, dict):
        return {clean(key): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [cleaned(inner) for inner in value]
    return clean(value) if isinstance(value, str) else value


def clean_fields(instance: object, *names: str) -> None:
    """Clean these fields of a frozen dataclass: for its __post_init__."""
    for name in names:
        object.__setattr__(instance, name, clean(getattr(instance, name)))


def printable(value: str) -> str:
    """A name that is acted on, and so is not cleaned. Raises ValueError if it cannot be shown."""
    if not value.isprintable():
        raise ValueError(f"{value[:80]!r} cannot be shown")
    return value


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 rule", "2 rules"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(sentences: Sequence[str], most: int = 3) -> str:
    """The first few of many sentences, and how many more there are."""
    shown = "; ".join(sentences[:most])
    more = len(sentences) - most
    return f"{shown}; and {more} more" if more > 0 else shown


def few(names: Iterable[object], most: int = 3) -> str:
    """The first few of many names, within a sentence: "a, b, c and 2 more"."""
    found = list(map(str, names))
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def lasted(seconds: float) -> str:
    """A short duration as a person says it: "12 ms", "2.1 s", "95 s"."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def ago(seconds: float) -> str:
    """How long something is past, in one unit: "3 s", "5 min", "2 h", "4 d"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


def sha512(text: str) -> str:
    """The SHA-512 of a text, in hexadecimal digits: chains of iptables' are named by it."""
    # Loaded at first use: it brings OpenSSL, for which a daemon with nftables has no use.
    import hashlib

    return hashlib.sha512(text.encode()).hexdigest()
