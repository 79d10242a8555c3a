# SPDX-License-Identifier: Apache-2.0
"""No text of others reaches a person or a program with anything in it that a terminal obeys.

Escapes, C1 controls, what turns the writing round and what cannot be seen are put into all that is
read, and looked for in all that is told.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.adapters.program import Result
from podwatch.commands import explain as explaining
from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.drivers import nftables
from podwatch.formats.podman_json import parse_ps
from podwatch.formats.proc_files import command_line, parse_command, parse_stat, user_name
from podwatch.formats.state import parse_endpoint, parse_network
from podwatch.report import history
from podwatch.report.document import document
from podwatch.report.incident import Incident
from podwatch.words.cause import Process, Writer, by_writer
from podwatch.words.errors import PodwatchError
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import ABSENT_FIREWALLD, Part, Snapshot, Unknown
from podwatch.words.verdict import (
    Blocked,
    BlockedKind,
    Missing,
    MissingKind,
    Notice,
    WarningKind,
)
from podwatch.words.way import Hop, Kernel
from tests.unit.fuzz.spoilt import spoilt
from tests.unit.fuzz.test_parsers import OF_TEXT, PARSERS, documented, parse, seeds

HARMFUL = ("\x1b[2J", "\x07", "\x9b31m", "\x85", "\u202e", "\u200b", "\u2066", "\u2028", "\ufeff")

EXACT = frozenset({"parse_listing", "parse_chains", "parse_save", "parse_listening"})
"""Parsers of what is compared, and put back as it is: rules, and the numbers of sockets. Rules are
cleaned where they are quoted."""


def texts(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for each in fields(value):
            yield from texts(getattr(value, each.name))
    elif isinstance(value, Mapping):
        yield from texts(list(value.items()))
    elif isinstance(value, tuple | list | set | frozenset):
        for each in value:
            yield from texts(each)


def odd(value: Any) -> list[str]:
    """The texts in a value that must not be shown."""
    return [each for each in texts(value) if not each.isprintable()]


@st.composite
def harmful(draw: st.DrawFn, seed_texts: tuple[str, ...]) -> str:
    """A recorded text with something harmful inside of its words, or spoilt in other ways, too."""
    text = draw(st.sampled_from(seed_texts) | spoilt(seed_texts))
    quoted = draw(st.sampled_from((str, lambda each: json.dumps(each)[1:-1])))  # as JSON escapes it
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + quoted(draw(st.sampled_from(HARMFUL))) + text[at:]
    return text


@pytest.mark.parametrize("name", sorted(set(OF_TEXT) - EXACT))
@given(data=st.data())
def test_what_is_read_can_be_shown(name: str, data: st.DataObject) -> None:
    """Whatever a parser makes of a text, and its error, is printable."""
    try:
        found = parse(PARSERS[name], data.draw(harmful(seeds(name))))
    except documented(PARSERS[name]) as exc:
        found = str(exc)
    assert odd(found) == []


@given(st.text() | st.sampled_from(HARMFUL), st.binary())
def test_processes_can_be_shown(text: str, data: bytes) -> None:
    """A process' name and arguments, a user's name and what a program says last are printable."""
    stat = parse_stat(f"7 ({text}) S 1 0")
    line = command_line(parse_command(text.encode("utf-8", "replace") + b"\0" + data))
    user = user_name(f"{text}:x:0:0::/:/bin/sh", 0)
    said = Result(1, "", f"{text}\n{text}").failure
    assert odd([stat, line, user, said]) == []


@given(text=st.text() | st.sampled_from(HARMFUL))
def test_words_and_errors_can_be_shown(text: str) -> None:
    """What quotes rules of others is clean from the beginning, whoever made it; so are errors."""
    made = (
        Missing(MissingKind.RULE, text, text, network=text, container=text),
        Notice(WarningKind.HIDDEN, text, text),
        Blocked(BlockedKind.BUSY, text, text),
        Unknown(Part.RULES, text, text, text),
        Hop("link", text, advice=text),
    )
    error = PodwatchError(f"{text}\n{text}", hint=text)
    assert odd(made) == []
    assert odd([*str(error).split("\n"), error.hint]) == []


@given(data=st.data())
def test_nothing_harmful_is_told(data: st.DataObject) -> None:
    """State, rules and podman's list, all harmful, to JSON, terminal, journal and history."""
    draw = data.draw
    networks, endpoints, containers = {}, [], {}
    try:
        network = parse_network(draw(harmful(seeds("parse_network"))))
        networks[network.id] = network
        endpoints.append(parse_endpoint(draw(harmful(seeds("parse_endpoint")))))
        containers = parse_ps(draw(harmful(seeds("parse_ps"))))
    except PodwatchError:
        pass
    setup = Setup(FirewallDriver.NFTABLES, networks, tuple(endpoints), ())
    rules = nftables.parse_listing(draw(harmful(seeds("parse_listing"))))
    snapshot = Snapshot(setup, rules, ABSENT_FIREWALLD, containers)
    verdict = judge(snapshot)
    stat = parse_stat(f"7 (sh{draw(st.sampled_from(HARMFUL))}) S 1 0")
    assert stat is not None
    incident = Incident(1.0, by_writer(Writer(stat.name, 7, Process(stat.name, 7, stat.name))))
    incident.note(verdict)
    incident.end(2.0, took_s=1.0)
    ways = explain(snapshot, Kernel())
    told = [document(snapshot, verdict), incident.public(), history.record(incident)]
    told.append(json.loads(explaining.as_json(ways)))
    assert odd(told) == []
    as_text = partial(explaining.as_text, every_hop=True)
    assert odd(as_text(ways, colour=False).split("\n")) == []
