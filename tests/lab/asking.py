# SPDX-License-Identifier: Apache-2.0
"""Who answered at each moment: a client that asks ports all the time, and writes down each answer.

A Watch counts; an Asking knows each exchange. It is the test's hand on ``asker.py``, which does the
asking in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, Self

from tests.lab.client import HOST_V4, Client
from tests.lab.errors import LabError
from tests.lab.machine import until

_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


class Exchange(NamedTuple):
    """One exchange; moments are CLOCK_MONOTONIC seconds (time.monotonic())."""

    port: int
    begun: float
    sent: float
    """When the kernel had the first packet: it left between `begun` and then."""
    ended: float
    heard: str
    """``=`` and the answer, or refused, unreachable, reset, silent or mute: see ``asker.py``."""


class Asking:
    """Asks ports of the host, each anew every interval, for the time of a ``with`` block.

    After the block ``exchanges`` has them all, in the order in which they ended.
    """

    def __init__(
        self,
        client: Client,
        ports: Sequence[int],
        *,
        address: str = HOST_V4,
        interval_s: float = 0.01,
        give_up_s: float = 1.0,
    ) -> None:
        self._client = client
        self._argv = [_PYTHON, "-I", str(Path(__file__).with_name("asker.py"))]
        self._argv += [str(interval_s), str(give_up_s), address, *map(str, ports)]
        self._process: subprocess.Popen[str] | None = None
        self._written: IO[str] | None = None
        self.exchanges: list[Exchange] = []

    def __enter__(self) -> Self:
        """Start asking."""
        self._written = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = self._client.popen(self._argv, stdin=subprocess.PIPE, stdout=self._written)
        return self

    def until_asked(self, more: int) -> None:
        """Wait until so many more exchanges, over all ports, have ended.

        Raises:
            LabError: they did not within 30 s.
        """
        enough = self._ended() + more
        if not until(lambda: self._ended() >= enough, 30.0):
            raise LabError(f"not {more} more exchanges within 30 s")

    def _ended(self) -> int:
        assert self._written is not None
        descriptor = self._written.fileno()  # its position is the asking process'
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).count(b"\n")

    def __exit__(self, *_: object) -> None:
        """Stop asking, and take in what was heard.

        Raises:
            LabError: the process failed, or did not end.
        """
        assert self._process is not None
        assert self._written is not None
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        with self._written as written:
            written.seek(0)
            lines = written.read().splitlines()
        if self._process.returncode != 0 or lines[:1] != ["ready"]:
            raise LabError("the asking process failed; see its standard error")
        for line in lines[1:]:
            port, begun, sent, ended, heard = line.split(" ", 4)
            moments = float(begun), float(sent), float(ended)
            self.exchanges.append(Exchange(int(port), *moments, heard))
