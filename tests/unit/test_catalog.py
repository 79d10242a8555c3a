# SPDX-License-Identifier: Apache-2.0
"""The journal's catalog: every kind of event is explained, and nothing else is."""

import re
from pathlib import Path

from podwatch.report.events import Event

CATALOG = Path(__file__).parents[2] / "packaging/podwatch.catalog"


def entries() -> dict[str, str]:
    """Each entry's text by its MESSAGE_ID."""
    text = CATALOG.read_text(encoding="utf-8")
    parts = re.split(r"^-- ([0-9a-f]+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_event_is_explained_once() -> None:
    """Code and catalog name the same ids, each once."""
    ids = [each.value.message_id for each in Event]

    assert len(set(ids)) == len(ids)
    assert sorted(entries()) == sorted(ids)
    assert CATALOG.read_text(encoding="utf-8").count("\n-- ") == len(ids)


def test_an_entry_says_what_and_what_to_do() -> None:
    """Each has a subject, where it comes from, and a text of at least a sentence."""
    for key, text in entries().items():
        head, _, body = text.strip().partition("\n\n")
        fields = dict(line.split(": ", 1) for line in head.splitlines())
        assert set(fields) == {"Subject", "Defined-By", "Documentation"}, key
        assert fields["Defined-By"] == "podwatch"
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in entries())
        assert len(body.split()) > 10, key
