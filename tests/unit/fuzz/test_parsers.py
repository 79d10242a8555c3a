# SPDX-License-Identifier: Apache-2.0
"""Every parser of what comes from outside: nothing raised but what its docstring says, no hang.

The parsers are found, not listed: each function of the formats and drivers whose name begins with
`parse_`. What each is fed on is what it takes of the recorded texts, spoilt.
"""

import builtins
import importlib
import inspect
import json
import pkgutil
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch import drivers, formats
from podwatch.commands import render
from podwatch.daemon.config import load as load_config
from podwatch.daemon.settings import SETTINGS
from podwatch.decide.judge import judge
from podwatch.drivers import nft_script, nftables, saved
from podwatch.formats.netlink_messages import Transaction, parse_messages
from podwatch.formats.podman_json import parse_ps
from podwatch.formats.state import parse_endpoint, parse_network
from podwatch.report.document import document
from podwatch.report.status import SHAPE, read_status, why_not_running
from podwatch.words import errors
from podwatch.words.errors import ConfigError, PodwatchError, StateUnreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Snapshot
from tests.unit.fuzz.spoilt import recorded, spoilt

LONGEST = 60
"""CPU time for one text, in times of a loop over a million numbers; none needs a tenth of it, and
one that backtracks needs hours."""

MAX_BYTES = 96 << 20
"""Memory for one text of some hundred kilobytes, and the buffer for the largest of files."""

Parser = Callable[..., Any]


def _parsers() -> Iterator[Parser]:
    rooms = (formats, drivers)
    for module in chain.from_iterable(
        pkgutil.iter_modules(room.__path__, f"{room.__name__}.") for room in rooms
    ):
        for name, found in vars(importlib.import_module(module.name)).items():
            if name.startswith("parse_") and getattr(found, "__module__", "") == module.name:
                yield found


PARSERS = {each.__name__: each for each in _parsers()}


def _of(*kinds: object) -> list[str]:
    first = {
        name: next(iter(inspect.signature(each).parameters.values())).annotation
        for name, each in PARSERS.items()
    }
    return sorted(name for name, kind in first.items() if kind in kinds)


OF_TEXT = _of(str, Mapping[str, str])
OF_BYTES = sorted(set(PARSERS) - set(OF_TEXT))


def documented(parser: Parser) -> tuple[type[Exception], ...]:
    """The errors that a function's docstring says it raises."""
    names = re.findall(r"\b([A-Z]\w+)\b", (parser.__doc__ or "").partition("Raises ")[2])
    found = (getattr(errors, name, None) or getattr(builtins, name, None) for name in names)
    return tuple(each for each in found if isinstance(each, type) and issubclass(each, Exception))


def parse(parser: Parser, given: object) -> Any:
    """Call a parser with what it parses; a further argument it needs is empty.

    One that takes the texts of several families gets the same text for each.
    """
    if parser.__name__ in _of(Mapping[str, str]):
        given = {"ip": given, "ip6": given}
    _, *more = inspect.signature(parser).parameters.values()
    needs = {
        each.name: "" if each.annotation is str else ("",)
        for each in more
        if each.default is each.empty
    }
    result = parser(given, **needs)
    return list(result) if inspect.isgenerator(result) else result


@cache
def seeds(name: str) -> tuple[str, ...]:
    """The recorded texts that a parser takes."""
    taken = []
    for text in recorded():
        try:
            parse(PARSERS[name], text)
        except documented(PARSERS[name]):
            continue
        taken.append(text)
    return tuple(taken)


@cache
def loop_s() -> float:
    """CPU seconds that this machine takes for a loop over a million numbers."""
    began = time.process_time()
    for _ in range(1_000_000):
        pass
    return time.process_time() - began


@contextmanager
def bounded() -> Iterator[None]:
    """What is inside takes no more CPU time and memory than anything may."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < LONGEST * loop_s()
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()


def test_the_parsers_are_found() -> None:
    """The search finds the parsers that are known to be there."""
    known = {"parse_messages", "parse_listing", "parse_ps", "parse_endpoint", "parse_network"}

    assert known <= set(PARSERS)
    assert "parse_messages" in OF_BYTES
    assert len(seeds("parse_endpoint")) >= 10


@pytest.mark.parametrize("name", OF_TEXT)
def test_each_parser_has_seeds(name: str) -> None:
    """Every parser of text takes some of the texts that are spoilt for it, and finds things there.

    One that refused all of them would hardly be entered.
    """
    assert any(parse(PARSERS[name], each) for each in seeds(name))


@pytest.mark.parametrize("name", OF_TEXT)
@given(data=st.data())
def test_text(name: str, data: st.DataObject) -> None:
    """A parser of text takes it or raises what it says, soon, and says so in a short sentence."""
    text = data.draw(spoilt(seeds(name)) | st.text())
    with bounded():
        told = ""
        try:
            parse(PARSERS[name], text)
        except documented(PARSERS[name]) as exc:
            told = str(exc)
        assert len(told) < 1000
        told.encode()


def _attribute(number: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return length.to_bytes(2, "little") + number.to_bytes(2, "little") + value + bytes(-length % 4)


def _message(kind: int, body: bytes) -> bytes:
    length = 16 + len(body)
    return length.to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(10) + body


attributes = st.builds(
    _attribute, st.integers(0, 0xFFFF), st.binary(max_size=8) | st.just(b"netavark\0")
)
bodies = st.builds(
    lambda family, parts: bytes([family, 0, 0, 0]) + b"".join(parts),
    st.integers(0, 255),
    st.lists(attributes, max_size=6),
)
nftables_kinds = st.integers(0, 40).map(lambda code: 10 << 8 | code)
messages = st.builds(_message, nftables_kinds | st.integers(0, 0xFFFF), bodies | st.binary())


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """Messages in a row, some bytes of them replaced by others."""
    data = bytearray(b"".join(draw(st.lists(messages, max_size=12))))
    for _ in range(draw(st.integers(0, 4)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@pytest.mark.parametrize("name", OF_BYTES)
@given(data=st.data())
def test_bytes(name: str, data: st.DataObject) -> None:
    """A parser of bytes takes them or raises what it says, soon."""
    given_bytes = data.draw(datagrams() | st.binary())
    with bounded():
        try:
            parse(PARSERS[name], given_bytes)
        except documented(PARSERS[name]):
            pass


@given(st.lists(datagrams(), max_size=5))
def test_transactions(received: list[bytes]) -> None:
    """Whatever the kernel's socket says, what is told of transactions is short and printable."""
    transaction = Transaction()
    for data in received:
        for message in parse_messages(data):
            change = transaction.feed(message)
            if change is not None:
                assert str(change.writer).isprintable()
                assert len(change.writer.name) <= 256


COPY = saved.dump(
    saved.SavedRules(
        next(
            ruleset.chains
            for ruleset in map(nftables.parse_listing, recorded())
            if nftables.DNAT in ruleset.chains
        )
    )
)


@given(spoilt((COPY,)) | st.text())
def test_saved_copy(text: str) -> None:
    """A saved copy is taken, or refused with an error that whoever loads it expects."""
    with bounded():
        try:
            copy = saved.load(text)
        except (ValueError, RecursionError):
            return
        rules = nftables.parse_listing("")
        saved.repairs(copy, (), rules)


CONFIGURATIONS = tuple(f"[{each.section}]\n{each.key} = {each.default_text}\n" for each in SETTINGS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that are written anew for each example."""
    return tmp_path_factory.mktemp("fuzz")


@given(text=spoilt(CONFIGURATIONS) | st.text())
def test_configuration(place: Path, text: str) -> None:
    """A configuration is read, or refused with the name of its file, for whatever is in it."""
    file = place / "podwatch.conf"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with bounded():
        told = ""
        try:
            assert list(load_config([file]).effective())
        except ConfigError as exc:
            told = str(exc)
        assert all(line.startswith(str(file)) for line in told.splitlines())
        told.encode()


STATUS = json.dumps({**SHAPE, "state": "ok"}, indent=1)


@given(text=spoilt((STATUS,)) | st.text())
def test_status_document(place: Path, text: str) -> None:
    """A status document of anybody's making is shown, or refused; never a traceback."""
    file = place / "status.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with bounded():
        try:
            told = read_status(file)
        except StateUnreadable:
            return
        why_not_running(told, 0.0)
        shown = render.status(told, now=1e9, colour=False, everything=True)
        render.plain(shown)
        assert all(each.isprintable() for each in shown.splitlines())


@given(data=st.data())
def test_from_files_to_what_a_person_reads(data: st.DataObject) -> None:
    """State, listing and podman's list, all spoilt, go through judge and document to a terminal."""
    networks, endpoints, containers = {}, [], {}
    for _ in range(data.draw(st.integers(1, 3))):
        try:
            network = parse_network(data.draw(spoilt(seeds("parse_network"))))
            networks[network.id] = network
        except PodwatchError:
            pass
        try:
            endpoints.append(parse_endpoint(data.draw(spoilt(seeds("parse_endpoint")))))
        except PodwatchError:
            pass
    try:
        containers = parse_ps(data.draw(spoilt(seeds("parse_ps"))))
    except PodwatchError:
        pass
    listing = data.draw(spoilt(seeds("parse_listing")))
    with bounded():
        setup = Setup(FirewallDriver.NFTABLES, networks, tuple(endpoints), ())
        rules = nftables.parse_listing(listing)
        snapshot = Snapshot(setup, rules, None, containers)
        told = document(snapshot, judge(snapshot))
        shown = render.status({**SHAPE, **told}, now=1e9, colour=False, everything=True)
        expected = nftables.expected_rules(setup, rules)
        copy = saved.SavedRules(rules.chains)
        bare = nftables.parse_listing("")
        nft_script.repair_script(saved.repairs(copy, expected, bare), bare)
    assert all(each.isprintable() for each in shown.splitlines())
    shown.encode()
