# SPDX-License-Identifier: Apache-2.0
"""Reading status.json: what is taken, what is refused, and when a daemon counts as running."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.report.status import SHAPE, complete, read_status, why_not_running
from podwatch.words.errors import StateUnreadable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def alike(value: Any, shape: Any) -> bool:
    """Whether `value` has the shape: the same fields, and values of the same kinds."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(alike(value[key], shape[key]) for key in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(alike(each, shape[0]) for each in value)
    if isinstance(shape, int | float) and not isinstance(shape, bool):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(shape)


def test_what_the_shape_allows_is_kept_as_it_is() -> None:
    """A whole document is read as it was written, with the fields of a later podwatch."""
    document = {**SHAPE, "state": "lost", "pid": 12, "later": {"a": [1]}}

    assert complete(document) == document


def leaves(shape: Any) -> Iterator[object]:
    """Every value that is no collection."""
    if isinstance(shape, dict | list):
        for part in shape.values() if isinstance(shape, dict) else shape:
            yield from leaves(part)
    else:
        yield shape


def test_what_nobody_filled_in_is_empty() -> None:
    """A field that a document lacks is read as no text, false or zero; no state is unknown."""
    others = {name: shape for name, shape in SHAPE.items() if name not in ("schema", "state")}

    assert [value for value in leaves(others) if value] == []


@given(st.dictionaries(st.sampled_from([*SHAPE, "else"]), JSON))
def test_whatever_stands_in_it_the_shape_holds(document: dict[str, Any]) -> None:
    """No content, however wrong, leads to a document of another shape."""
    assert alike(complete(document), SHAPE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "schema None, where 1 is understood"),
        (b'{"schema": 2, "state": "ok"}', "schema 2, where 1 is understood"),
        (b'{"schema": 1, "state": "fine"}', "no such state: 'fine'"),
    ],
)
def test_what_is_no_status_document_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """Each thing that is no status document is told with the file's name."""
    path = tmp_path / "status.json"
    path.write_bytes(content)

    with pytest.raises(StateUnreadable, match=says) as caught:
        read_status(path)

    assert str(path) in str(caught.value)


def test_a_link_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """A symbolic link is not followed."""
    (tmp_path / "elsewhere").write_text('{"schema": 1, "state": "ok"}')
    (tmp_path / "status.json").symlink_to("elsewhere")

    with pytest.raises(StateUnreadable):
        read_status(tmp_path / "status.json")


def test_the_heartbeat_is_the_time_of_the_file(tmp_path: Path) -> None:
    """Whatever the document says, the heartbeat read is when the file was last touched."""
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"schema": 1, "state": "ok", "heartbeat": 1}))
    os.utime(path, (5000.0, 5000.0))

    assert read_status(path)["heartbeat"] == 5000.0


@pytest.mark.parametrize(
    ("command", "silent", "why"),
    [
        (b"/usr/bin/python3\0/usr/bin/podwatch\0run\0", 0, ""),
        (b"/usr/bin/python3\0/usr/bin/podwatch\0run\0", 59, ""),
        (b"/usr/bin/python3\0/usr/bin/podwatch\0run\0", 61, "gave no sign of life for 61 s"),
        (b"/usr/bin/python3\0/usr/bin/podwatch\0run\0", -61, "gave no sign of life for 61 s"),
        (b"/usr/bin/vi\0", 0, "another program has the number"),
        (b"", 0, "is gone"),
        (None, 0, "is gone"),
    ],
)
def test_a_daemon_runs_while_it_is_there_and_shows_it(
    tmp_path: Path, command: bytes | None, silent: float, why: str
) -> None:
    """A daemon runs while its pid is podwatch's and its heartbeat is young, by any clock."""
    pid = 2**30  # above any pid_max: no such process
    if command is not None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(command)
    document = complete({"pid": pid, "heartbeat_every": 20.0}) | {"heartbeat": 5000.0}

    found = why_not_running(document, 5000.0 + silent, proc=tmp_path)

    assert why in found
    assert bool(why) == bool(found)


def test_a_daemon_hidden_in_proc_is_not_gone(tmp_path: Path) -> None:
    """Under hidepid= /proc does not show the daemon; it is asked for by a signal that is none."""
    document = complete({"pid": os.getpid(), "heartbeat_every": 20.0}) | {"heartbeat": 5000.0}
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _frame: heard.append(number))
    try:
        assert why_not_running(document, 5000.0, proc=tmp_path) == ""
        assert heard == []
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("pid", [0, -1, 10**14])
def test_a_pid_that_cannot_be_is_gone(tmp_path: Path, pid: int) -> None:
    """A number that is no pid is never sent a signal as a group, and is no process."""
    document = complete({"pid": pid, "heartbeat_every": 20.0}) | {"heartbeat": 5000.0}

    assert "is gone" in why_not_running(document, 5000.0, proc=tmp_path)
