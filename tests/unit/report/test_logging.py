# SPDX-License-Identifier: Apache-2.0
"""Logging: what a terminal shows, and what journald is sent."""

import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog

from podwatch.adapters import journal
from podwatch.report import logging
from podwatch.report.events import Event


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    """structlog's configuration is global: no test leaves its own behind."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def received(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket in the place of journald's."""
    monkeypatch.setattr(logging, "send", partial(journal.send, path=str(tmp_path / "socket")))
    monkeypatch.setattr(logging, "connected_to_journal", lambda: True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(5)
        yield sock


def test_a_terminal_gets_a_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a journal a line on stderr has time, level, sentence and advice."""
    logging.configure("info")
    logging.log(Event.BLOCKED, "not repairing: panic", advice="firewall-cmd --panic-off")

    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warning not repairing: panic \(→ firewall-cmd --panic-off\)\n", line
    )


def test_a_name_from_elsewhere_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A program may call itself anything; its name is printed without control characters."""
    logging.configure("info")
    logging.log(Event.LOSS_FOUND, "by \x1b[2Jnft\n12:00:00 error forged")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_what_is_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """log.level=warning leaves out what is only information."""
    logging.configure("warning")
    logging.log(Event.STARTED, "started")
    logging.log(Event.LOSS_FOUND, "lost")

    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["lost"]


def test_the_journal_gets_fields(received: socket.socket) -> None:
    """Under systemd an entry has sentence, priority, message id and PODWATCH_ fields."""
    logging.configure("info")
    logging.log(Event.LOSS_FOUND, "3 rules are missing", cause="nft (pid 812)", missing="a\nb")

    lines = received.recv(1 << 16).split(b"\n")
    assert b"MESSAGE=3 rules are missing" in lines
    assert b"PRIORITY=4" in lines
    assert b"SYSLOG_IDENTIFIER=podwatch" in lines
    assert f"MESSAGE_ID={Event.LOSS_FOUND.value.message_id}".encode() in lines
    assert b"PODWATCH_CAUSE=nft (pid 812)" in lines
    assert b"PODWATCH_MISSING" in lines  # its value has two lines: the native form


def test_no_field_is_lost_on_the_way(received: socket.socket) -> None:
    """Every field of an entry has a name that the journal takes, whatever its type."""
    logging.configure("info")
    logging.log(Event.RESTORED, "restored", took_ms=12, ratio=0.5)

    lines = received.recv(1 << 16).split(b"\n")
    assert b"PODWATCH_TOOK_MS=12" in lines
    assert b"PODWATCH_RATIO=0.5" in lines


def test_a_journal_that_is_gone_leaves_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While journald does not take an entry it goes to stderr, with its priority before it."""
    monkeypatch.setattr(logging, "send", partial(journal.send, path=str(tmp_path / "nobody")))
    monkeypatch.setattr(logging, "connected_to_journal", lambda: True)
    logging.configure("info")
    logging.log(Event.RESTORE_FAILED, "did not work")

    assert capsys.readouterr().err == "<3>did not work\n"
