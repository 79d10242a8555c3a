# SPDX-License-Identifier: Apache-2.0
"""Journal entries as datagrams, and where they end up."""

import array
import asyncio
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from podwatch.adapters.journal import (
    MAX_FIELD_BYTES,
    connected_to_journal,
    encode,
    last_words,
    send,
)


def test_a_simple_field_is_one_line() -> None:
    """Values of one line, numbers among them, are NAME=value lines in their order."""
    assert (
        encode({"MESSAGE": "lost 3 rules", "PRIORITY": 3}) == b"MESSAGE=lost 3 rules\nPRIORITY=3\n"
    )


def test_a_value_of_several_lines_has_its_length() -> None:
    """A value with a newline is length-prefixed, so that it cannot forge another field."""
    expected = b"MESSAGE\n" + struct.pack("<Q", 12) + b"a\nPRIORITY=0\n"

    assert encode({"MESSAGE": "a\nPRIORITY=0"}) == expected


def test_names_the_journal_would_refuse_are_left_out() -> None:
    """Lower case, a leading underscore (trusted fields) and over-long names are not sent."""
    fields = {"message": "x", "_PID": "1", "A=B": "x", "": "x", "A" * 65: "x", "PODWATCH_OK": "x"}

    assert encode(fields) == b"PODWATCH_OK=x\n"


def test_a_long_value_is_cut() -> None:
    """A value longer than the limit is cut to it."""
    assert len(encode({"MESSAGE": "x" * 1_000_000})) == len("MESSAGE=\n") + MAX_FIELD_BYTES


def test_an_entry_reaches_the_socket(tmp_path: Path) -> None:
    """send() delivers exactly what encode() makes, as one datagram."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        assert send({"MESSAGE": "two\nlines"}, path=path)
        assert journal.recv(65536) == encode({"MESSAGE": "two\nlines"})


def test_an_entry_too_large_for_a_datagram_goes_as_a_file(tmp_path: Path) -> None:
    """Where the datagram is refused for its size a sealed file with the entry is passed."""
    path = str(tmp_path / "socket")
    fields = {f"PODWATCH_{number}": "x" * MAX_FIELD_BYTES for number in range(20)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        assert send(fields, path=path)
        data, ancillary, _, _ = journal.recvmsg(10, socket.CMSG_SPACE(4))
    assert data == b""
    (fd,) = array.array("i", ancillary[0][2])
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        assert file.read() == encode(fields)


def test_without_a_journal_nothing_is_raised(tmp_path: Path) -> None:
    """send() answers False where nobody listens."""
    assert not send({"MESSAGE": "x"}, path=str(tmp_path / "none"))
    assert not send({"bad": "x"}, path=str(tmp_path / "none"))


@pytest.mark.parametrize("told", ["right", "wrong", "rubbish"])
def test_stderr_is_compared_with_what_systemd_told(tmp_path: Path, told: str) -> None:
    """connected_to_journal() is true only where JOURNAL_STREAM names the very file of stderr."""
    with (tmp_path / "stderr").open("w") as file:
        info = os.fstat(file.fileno())
        stream = {
            "right": f"{info.st_dev}:{info.st_ino}",
            "wrong": f"{info.st_dev}:{info.st_ino + 1}",
            "rubbish": "x",
        }[told]
        code = (
            f"import sys; from {connected_to_journal.__module__} import connected_to_journal as c"
        )
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; sys.exit(c())"],
            stderr=file,
            env={"JOURNAL_STREAM": stream, "PYTHONPATH": os.getcwd()},
        )
    assert done.returncode == (told == "right")


def test_without_a_stream_stderr_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand there is no JOURNAL_STREAM; under systemd it is stderr's own."""
    info = os.fstat(2)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not connected_to_journal()
    monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{info.st_ino}")
    assert connected_to_journal()
    monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{info.st_ino + 1}")
    assert not connected_to_journal()


def test_an_entry_that_is_not_taken_holds_nobody_up(tmp_path: Path) -> None:
    """A journal whose queue is full gets no more, large or small; nothing is waited for."""
    path = str(tmp_path / "socket")
    large = {f"PODWATCH_{number}": "x" * MAX_FIELD_BYTES for number in range(20)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        for _ in range(100_000):
            if not send({"MESSAGE": "x"}, path=path):
                break
        assert not send({"MESSAGE": "x"}, path=path)
        assert not send(large, path=path)


_JOURNALCTL = """#!/bin/sh
echo "$*" >> {0}/asked
case "$*" in
--sync) ;;
*) printf '%s' {1} ;;
esac
"""


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("'first\nlast \033[31m line\n'", "last \ufffd[31m line"),
        ("''", ""),
        ("\"$(head -c 1000 /dev/zero | tr '\\0' x)\"", "x" * 400),
    ],
    ids=["several lines", "nothing", "a long one"],
)
def test_the_last_words_of_a_unit_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, words: str
) -> None:
    """What its program wrote last, clean and of a bounded length, once the journal has it all."""
    program = tmp_path / "journalctl"
    program.write_text(_JOURNALCTL.format(tmp_path, printed).replace("%s", "%b"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert asyncio.run(last_words("x.service", 1000.9)) == words
    sync, asked = (tmp_path / "asked").read_text().splitlines()
    assert sync == "--sync"
    assert (
        asked == "_SYSTEMD_UNIT=x.service --since=@1000 --lines=5 --output=cat --quiet --no-pager"
    )
