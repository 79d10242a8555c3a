# SPDX-License-Identifier: Apache-2.0
"""What a host loses while something happens to it: new connections and old ones, in and out.

New ones are asked for by a Watch, each anew every 10 ms. Old ones are opened before, carry a line
every 10 ms, and are asked once more at the end (``lines.py``). What is asked for so often must not
be lost in the one who answers: busybox' httpd has a queue of nine. So those who answer here are
``lines.py`` in a few containers, and on the client's side.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.client import CLIENT_V4, HOST_V4, RESPONDER_PORT
from tests.lab.containers import Container, Probe, import_image, run_container
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.watch import Watch

LINES_PORT = 7001
"""Where the client's side sends lines back, and containers inside."""

HTTP_PORTS, LINES_PORTS = 8500, 8600
"""On the host: the first of each of the containers that answer here."""

ANSWER_S = 0.9
"""A connection not answered by then is lost: the kernel repeats a lost SYN after 1 s."""

_PROGRAM = Path(__file__).with_name("lines.py")


@dataclass(frozen=True)
class New:
    """New connections: how many were asked for, how many of them had no answer, and the gap."""

    asked: int
    lost: int
    longest_ms: float


@dataclass(frozen=True)
class Kept:
    """Old connections: how many there were, how many broke, and the longest wait for a line.

    `why` says how they broke, with how many of each.
    """

    opened: int
    broken: int
    longest_ms: float
    why: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Losses:
    """All of it: new and old, in by a published port and out of a container."""

    new_in: New
    new_out: New
    kept_in: Kept
    kept_out: Kept


class Lasting:
    """Connections that last for the time of a `with` block, all of them open when it begins."""

    def __init__(self, enter: Sequence[str], address: str, port: int, count: int) -> None:
        """Prepare them. `enter` runs a command in the namespace to open them from."""
        self._argv = [*enter, "/usr/bin/python3", "-I", str(_PROGRAM), "keep", address, str(port)]
        self._argv.append(str(count))
        self._process: subprocess.Popen[str] | None = None
        self.report: Kept | None = None
        """Filled when the block ends."""

    def __enter__(self) -> Self:
        """Open them, and return once each was answered. Raises LabError if one was not."""
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.kill()
            self._process.communicate()
            raise LabError(f"not all connections were opened: {' '.join(self._argv)}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask each once more, and take the report."""
        assert self._process is not None
        try:
            output, _ = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise LabError("the connections' process did not end within 30 s") from error
        if self._process.returncode != 0:
            raise LabError("the connections' process failed; see its standard error") from error
        told: dict[str, Any] = json.loads(output)
        self.report = Kept(**told)


@contextmanager
def lines_beside(host: Host) -> Iterator[None]:
    """Send lines back on the client's side, for the time of the block."""
    argv = ["/usr/bin/python3", "-I", str(_PROGRAM), "serve", "client", "0", str(LINES_PORT)]
    process = host.client.popen(argv, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise LabError("nobody sends lines back on the client's side")
        yield
    finally:
        process.kill()
        process.communicate()


def answering(host: Host, number: int) -> Container:
    """Start container `number` of those that answer here, and describe it."""
    name, http, lines = f"answers-{number}", HTTP_PORTS + number, LINES_PORTS + number
    import_image(host)
    serve = _PROGRAM.read_text(encoding="utf-8")
    command = ["/usr/bin/python3", "-I", "-S", "-c", serve, "serve", name, "80", "81"]
    publish = [f"--publish={http}:80", f"--publish={lines}:81"]
    run_container(host, name, command, ["--volume=/usr:/usr:ro", *publish])
    return Container(name, "default", (Probe(name, HOST_V4, http),))


_FORGET = """
import socket, struct
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as conntrack:
    conntrack.send(struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0))
    if struct.unpack_from("=i", conntrack.recv(4096), 16) != (0,):
        raise SystemExit("the kernel's connections are not forgotten")
"""
"""IPCTNL_MSG_CT_DELETE of nfnetlink_conntrack.h, of everything."""


class Losing:
    """Counts what is lost on a host during a `with` block; everything works when it begins.

    `answering` containers are asked for new connections, the last of them for old ones, too;
    `lines_beside` has to be there. `each_way` old connections are kept in and as many out. May be
    used for one block after another.
    """

    def __init__(self, host: Host, answering: Sequence[Container], each_way: int = 10) -> None:
        self._host, self._each_way = host, each_way
        self._ports = [probe.port for container in answering for probe in container.probes]
        self._inside = host.enter_container(answering[-1].name)
        self._stack = ExitStack()
        self.losses: Losses | None = None
        """Filled when the block ends."""

    def __enter__(self) -> Self:
        """Open the old connections, and begin to ask for new ones.

        What was lost before is forgotten: for two minutes the kernel would take a new connection
        from the same port for one of those, which nobody masqueraded.
        """
        self._host.run(["python3", "-c", _FORGET])
        outside, inside = self._host.client.enter, self._inside
        lines = LINES_PORTS + self._ports[-1] - HTTP_PORTS
        ports = [(HOST_V4, port) for port in self._ports]
        out = [(CLIENT_V4, RESPONDER_PORT)]
        self._kept = (
            Lasting(outside, HOST_V4, lines, self._each_way),
            Lasting(inside, CLIENT_V4, LINES_PORT, self._each_way),
        )
        self._new = (
            Watch(outside, ports, give_up_s=ANSWER_S),
            Watch(inside, out, give_up_s=ANSWER_S, greeting=HOST_V4),
        )
        with ExitStack() as stack:
            for each in (*self._kept, *self._new):
                stack.enter_context(each)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and count."""
        self._stack.__exit__(kind, error, trace)
        kept_in, kept_out = (lasting.report for lasting in self._kept)
        assert kept_in is not None
        assert kept_out is not None
        new_in, new_out = (_counted(watch) for watch in self._new)
        self.losses = Losses(new_in, new_out, kept_in, kept_out)


def _counted(watch: Watch) -> New:
    asked = sum(report.exchanges for report in watch.reports.values())
    return New(asked, watch.failures, round(watch.longest_ms, 1))
