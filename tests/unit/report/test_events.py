# SPDX-License-Identifier: Apache-2.0
"""The kinds of events and the message catalog, which `journalctl -x` explains them from."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from podwatch.report.events import Event

CATALOG = Path(__file__).parents[3] / "packaging/podwatch.catalog"


def entries() -> dict[str, str]:
    """The catalog's entries by message id (format: https://systemd.io/CATALOG)."""
    parts = re.split(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_kind_of_event_is_explained() -> None:
    """Table and catalog hold the same ids, each once."""
    ids = [each.value.message_id for each in Event]

    assert len(set(ids)) == len(ids)
    assert sorted(entries()) == sorted(ids)
    assert CATALOG.read_text().count("\n-- ") == len(ids)


@pytest.mark.parametrize("event", Event, ids=lambda each: each.name)
def test_an_explanation_has_a_subject_and_says_something(event: Event) -> None:
    """Each entry has its headers, an empty line, and whole sentences."""
    header, text = entries()[event.value.message_id].strip().split("\n\n", 1)

    fields = dict(line.split(": ", 1) for line in header.splitlines())
    assert set(fields) == {"Subject", "Defined-By", "Documentation"}
    assert fields["Defined-By"] == "podwatch"
    assert len(text) > 40
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="needs journalctl")
def test_systemd_takes_the_catalog(tmp_path: Path) -> None:
    """systemd itself compiles the catalog, and finds every entry in it again."""
    place = tmp_path / "usr/lib/systemd/catalog"
    place.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, place)
    command = ["journalctl", f"--root={tmp_path}"]
    subprocess.run([*command, "--update-catalog"], check=True, capture_output=True, timeout=30)
    listed = subprocess.run(
        [*command, "--list-catalog"], check=True, capture_output=True, text=True, timeout=30
    ).stdout

    assert {line.split()[0] for line in listed.splitlines()} == set(entries())
