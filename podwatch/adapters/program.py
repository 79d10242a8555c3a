# SPDX-License-Identifier: Apache-2.0
"""The one place that runs other programs.

Every program gets the same: a list of arguments and no shell, LC_ALL=C so that its messages can
be recognised, a session of its own so that a limit of time can end it with all its children, and
a bound on what is kept of its output. Its end is waited for by a pidfd on the loop: no thread, and
no waiting for pipes that a daemon it started (aardvark-dns) still holds open.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from podwatch.words.text import clean

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes kept of each stream; `podman ps` prints about 2 KB for each container."""

TIMED_OUT = 124
NOT_EXECUTABLE = 126
NOT_FOUND = 127

# podman would talk to a machine elsewhere instead of the host it runs on; and what systemd is told
# of podwatch, no child of it tells.
_REMOVED = ("CONTAINER_HOST", "CONTAINER_CONNECTION", "NOTIFY_SOCKET")
_GRACE_S = 2.0
_LEFTOVER_S = 0.2


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended: its exit code (negative for a signal) and what it printed.

    124, 126 and 127 mean what they mean in a shell: timed out, not executable, not found. Then,
    and when it printed more than is kept, `failure` says so in words.
    """

    code: int
    stdout: str = ""
    stderr: str = ""
    problem: str = ""

    @property
    def failure(self) -> str:
        """Empty when it went well; else a phrase that says how it failed."""
        if self.problem:
            return self.problem
        if self.code == 0:
            return ""
        how = f"exit code {self.code}" if self.code > 0 else f"killed by {_signal_name(-self.code)}"
        last = clean(self.stderr.strip().rpartition("\n")[2])
        return f"{how}: {last[:400]}" if last else how


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    limit_bytes: int = OUTPUT_LIMIT,
    enter: Callable[[], None] | None = None,
) -> Result:
    """Run a program to its end and tell how it went; raises nothing for what the program does.

    `env` is added to the daemon's own environment. After `timeout_s` seconds the program and its
    process group get SIGTERM, two seconds later SIGKILL. When the caller is cancelled, the group
    is killed at once. `enter` is called in the child before the program (namespace.py).
    """
    feed = _memory_file(stdin) if stdin is not None else None
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=feed if feed is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(env or {}),
            start_new_session=True,
            cwd="/",
            preexec_fn=enter,
        )
    except FileNotFoundError:
        return Result(NOT_FOUND, problem=f"{argv[0]}: not found")
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        return Result(NOT_EXECUTABLE, problem=f"{argv[0]}: cannot be run: {reason}")
    finally:
        if feed is not None:
            os.close(feed)
    return await _attend(process, timeout_s, limit_bytes)


async def _attend(process: subprocess.Popen[bytes], timeout_s: float, limit: int) -> Result:
    loop = asyncio.get_running_loop()
    exited = _Exit(loop, process.pid)
    assert process.stdout is not None  # noqa: S101 - both are PIPE above
    assert process.stderr is not None  # noqa: S101
    streams = [_Stream(loop, stream.fileno(), limit) for stream in (process.stdout, process.stderr)]
    problem = ""
    try:
        if not await exited.within(timeout_s):
            problem = f"no end after {timeout_s:g} s"
            _kill_group(process, signal.SIGTERM)
            await exited.within(_GRACE_S)
        else:
            await asyncio.wait([stream.ended for stream in streams], timeout=_LEFTOVER_S)
    finally:
        if not exited.happened or problem:
            _kill_group(process, signal.SIGKILL)
            await exited.within(_GRACE_S)
        for stream in streams:
            stream.close()
        exited.close()
        code = process.poll()
        process.stdout.close()
        process.stderr.close()
    if not problem and any(stream.overflowed for stream in streams):
        problem = f"printed more than {limit} bytes"
    stdout, stderr = (bytes(stream.data).decode("utf-8", "replace") for stream in streams)
    return Result(
        TIMED_OUT if code is None or problem.startswith("no end") else code, stdout, stderr, problem
    )


class _Exit:
    """A process' end, as its pidfd tells it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int) -> None:
        self._loop = loop
        self._fd = os.pidfd_open(pid)
        self._event = asyncio.Event()
        loop.add_reader(self._fd, self._event.set)

    @property
    def happened(self) -> bool:
        return self._event.is_set()

    async def within(self, limit_s: float) -> bool:
        try:
            await asyncio.wait_for(self._event.wait(), limit_s)
        except TimeoutError:
            return False
        self._loop.remove_reader(self._fd)
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class _Stream:
    """What comes out of one pipe: all of it is read, as much as is wanted kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, limit: int) -> None:
        self.data = bytearray()
        self.overflowed = False
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._fd = fd
        self._limit = limit
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            piece = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._loop.remove_reader(self._fd)
            if not self.ended.done():
                self.ended.set_result(None)
            return
        room = self._limit - len(self.data)
        self.overflowed = self.overflowed or len(piece) > room
        self.data += piece[:room]

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self.ended.cancel()


def _kill_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the program's own group. It is its leader, and is not reaped before this."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # Nobody is left in it, or it raised its privileges and is beyond reach.
        pass


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    return {**kept, "LC_ALL": "C", **extra}


def _memory_file(text: str) -> int:
    """The program's input as a file: nothing has to be fed to it while it runs."""
    fd = os.memfd_create("podwatch-stdin")
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(text.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
