# SPDX-License-Identifier: Apache-2.0
"""How long published ports give no answer while something happens to the host.

A Watch is the test's hand on ``exchanges.py``, which does the asking in a process of its own.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.errors import LabError

_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


@dataclass(frozen=True)
class PortReport:
    """What a Watch saw of one port. Moments are CLOCK_MONOTONIC seconds (time.monotonic())."""

    exchanges: int
    """HTTP exchanges begun and ended, answered or not."""
    failures: int
    """Those that had no answer within the time allowed."""
    longest_ms: float
    """The longest time without an answer, in milliseconds; never less than the interval."""
    longest_from: float
    """When that time began: the moment of the last answer before it."""
    first_failure: float | None
    """When the first exchange that failed was begun."""
    last_failure: float | None
    """When the last exchange that failed was begun."""


class Watch:
    """Asks ports for answers, each anew every interval, for the time of a ``with`` block.

    The block begins when every port has answered once. After it, ``reports`` tells of each port.
    """

    def __init__(
        self,
        enter: Sequence[str],
        targets: Sequence[tuple[str, int]],
        interval_s: float = 0.01,
        give_up_s: float = 1.0,
        greeting: str = "",
    ) -> None:
        """Prepare a watch; nothing is asked before the ``with`` block.

        Args:
            enter: the command that runs another in the namespace to ask from.
            targets: (address, TCP port) of each port.
            interval_s: seconds between two new connections to the same port.
            give_up_s: seconds after which an exchange counts as failed.
            greeting: what the ports say by themselves; none for ports that speak HTTP.
        """
        self._argv = [*enter, _PYTHON, "-I", str(Path(__file__).with_name("exchanges.py"))]
        self._argv += [
            str(interval_s),
            str(give_up_s),
            greeting,
            *(f"{host},{port}" for host, port in targets),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._targets = targets
        self.reports: dict[int, PortReport] = {}
        """By port number; filled when the block ends. Watch one address at a time."""

    @property
    def longest_ms(self) -> float:
        """The longest time without an answer of any of the ports, in milliseconds."""
        return max(report.longest_ms for report in self.reports.values())

    @property
    def failures(self) -> int:
        """How many exchanges had no answer, over all ports."""
        return sum(report.failures for report in self.reports.values())

    def __enter__(self) -> Self:
        """Start asking, and return once every port has answered.

        Raises:
            LabError: a port never answered.
        """
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.kill()
            self._process.communicate()
            raise LabError(f"no answer from one of {list(self._targets)}: nothing to watch")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop asking and take the report."""
        assert self._process is not None
        try:
            output, _ = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise LabError("the watching process did not end within 30 s") from error
        if self._process.returncode != 0:
            raise LabError("the watching process failed; see its standard error") from error
        for target, report in json.loads(output).items():
            self.reports[int(target.rpartition(",")[2])] = PortReport(**report)
