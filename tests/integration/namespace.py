# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests of the real kernel, so that no test touches this host's firewall.

A test marked `@in_private_network` runs its body in a child process that has entered a network
namespace of its own; the namespace ends with the child. A failure there is the test's failure,
with the child's traceback.
"""

import ctypes
import functools
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import ParamSpec

import pytest

P = ParamSpec("P")

_CLONE_NEWNET = 0x40000000
_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
LIMIT_S = 180.0


def unshare(flags: int) -> None:
    """unshare(2); os.unshare exists since Python 3.12 only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def enter_private_network() -> None:
    """Give the calling process an empty network, with loopback up, and mounts of its own."""
    unshare(_CLONE_NEWNET | _CLONE_NEWNS)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}")


def in_private_network(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test in a child process with a network namespace of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root: a network namespace of its own")
        failure = _in_child(lambda: test(*args, **kwargs))
        if failure:
            pytest.fail(failure, pytrace=False)

    return run


def _in_child(body: Callable[[], None]) -> str:
    """Run `body` in a forked child; its traceback, or nothing when it went well."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            os.setpgid(0, 0)
            enter_private_network()
            body()
            code = 0
        except BaseException:  # the child must end here, whatever it was
            with os.fdopen(writing, "w", closefd=False) as pipe:
                pipe.write(traceback.format_exc()[-8000:])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    try:
        text, ended = _read_all(reading)
    finally:
        os.close(reading)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ended:
        return f"still running after {LIMIT_S:.0f} s\n{text}"
    if status:
        return text or f"the child ended with wait status {status:#x}"
    return ""


def _read_all(fd: int) -> tuple[str, bool]:
    found = b""
    deadline = time.monotonic() + LIMIT_S
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            piece = os.read(fd, 65536)
            if not piece:
                return found.decode(errors="replace"), True
            found += piece
    return found.decode(errors="replace"), False
