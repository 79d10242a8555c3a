# SPDX-License-Identifier: Apache-2.0
"""Which ways are asked for, and how they are told."""

import json
from dataclasses import replace

from podwatch.commands.explain import as_json, as_text
from podwatch.decide.explain import explain
from podwatch.decide.guard_hops import with_guard
from podwatch.drivers.guard import guard, made_anew
from podwatch.words.rules import RuleKind
from podwatch.words.verdict import Notice, WarningKind
from tests.unit.decide.open_host import HEALTHY, KERNEL, SETUP, ruleset


def test_json_tells_the_members_of_a_pod() -> None:
    """They are found by their names, and have no way of their own."""
    (first, *_) = explain(HEALTHY, KERNEL)
    assert '"members": {' in as_json([replace(first, members={"b" * 64: "shop"})])


def test_text_tells_a_broken_hop_and_what_to_do() -> None:
    """Without --all a line for each way, and below it only what is broken."""
    ways = explain(replace(HEALTHY, rules=ruleset(RuleKind.MASQUERADE)), KERNEL)
    lines = as_text(ways, every_hop=False, colour=False).splitlines()

    assert lines[0] == "✓ 8080/tcp → web (10.88.0.2:80): open"
    at = lines.index("✗ web (10.88.0.2) out by podman: BROKEN")
    assert "✗ masquerade" in lines[at + 1]
    assert lines[at + 2].strip() == "→ podwatch restore"
    assert as_text([], every_hop=False, colour=False) == "no container needs rules on this host"


def test_what_the_guard_does_is_told_without_asking_for_every_hop() -> None:
    """Behind the hop that is broken, though it is a note without advice."""
    ways = explain(replace(HEALTHY, rules=ruleset(RuleKind.MASQUERADE)), KERNEL)
    listing = made_anew("podwatch-guard-12ab", guard(SETUP, marks=False))
    guarded = with_guard(ways, SETUP, "podwatch-guard-12ab", listing)
    lines = as_text(list(guarded), every_hop=False, colour=False).splitlines()

    at = lines.index("✗ web (10.88.0.2) out by podman: BROKEN")
    assert lines[at + 3].split() == (
        "– guard masquerades new connections meanwhile (table inet podwatch-guard-12ab)".split()
    )


def test_notes_stand_behind_the_ways() -> None:
    """Each with its advice; programs are told them, too."""
    note = Notice(WarningKind.RELOAD, "each reload costs", "end that")
    told = as_text([], every_hop=False, colour=False, notes=[note])
    assert told.splitlines()[1:] == ["note: each reload costs", "  → end that"]
    assert json.loads(as_json([], [note]))["notes"] == [
        {"kind": "reload", "what": "each reload costs", "advice": "end that"}
    ]
