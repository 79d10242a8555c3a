# SPDX-License-Identifier: Apache-2.0
"""Connections that last, and those that break, as they are counted."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import lines
from tests.lab.errors import LabError
from tests.lab.losses import Lasting

LOCAL = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as asked:
        asked.bind((LOCAL, 0))
        port: int = asked.getsockname()[1]
        return port


@pytest.fixture
def server() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """One who sends lines back, and its port."""
    port = free_port()
    program = str(Path(lines.__file__))
    argv = ["/usr/bin/python3", "-I", program, "serve", "name", "0", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield port, process
    process.kill()
    process.communicate()


def test_a_connection_that_is_answered_is_not_broken(
    server: tuple[int, subprocess.Popen[str]],
) -> None:
    """Each is open when the block begins, and is asked once more when it ends."""
    with Lasting([], LOCAL, server[0], 3) as lasting:
        pass

    assert lasting.report is not None
    assert (lasting.report.opened, lasting.report.broken) == (3, 0)
    assert lasting.report.longest_ms > 0


def test_a_connection_that_ends_is_broken_and_says_how(
    server: tuple[int, subprocess.Popen[str]],
) -> None:
    """The other end is killed: each connection counts as broken."""
    with Lasting([], LOCAL, server[0], 3) as lasting:
        server[1].kill()
        server[1].wait()

    assert lasting.report is not None
    assert lasting.report.broken == 3
    assert set(lasting.report.why) <= {"closed", "ConnectionResetError", "BrokenPipeError"}
    assert sum(lasting.report.why.values()) == 3


def test_connections_that_cannot_be_opened_are_no_measurement() -> None:
    """Where nobody listens there is nothing to keep."""
    with pytest.raises(LabError), Lasting([], LOCAL, free_port(), 1):
        pass
