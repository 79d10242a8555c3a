# SPDX-License-Identifier: Apache-2.0
"""aardvark-dns as it is on this host: its files, the process that its pid file names, its ports.

Everything is read as the sandbox shows it: names and command lines of processes, whose they are
not. It never starts, ends or asks anybody.
"""

import os
import re
from pathlib import Path

from podwatch.adapters.files import read_proc, read_whole
from podwatch.formats.network_files import parse_listens
from podwatch.formats.proc_files import parse_command
from podwatch.formats.proc_net import parse_bound
from podwatch.words.errors import StateUnreadable
from podwatch.words.gates import NameServer, Served
from podwatch.words.network import Address
from podwatch.words.text import clean

PROC = Path("/proc")
PROGRAM = "aardvark-dns"
_PID_FILE = "aardvark.pid"
_INTERNAL = "%int"  # behind the name of an internal network's file, since 1.11
MAX_FILES = 2000
MAX_BYTES = 4 * 1024 * 1024
MAX_SMALL_BYTES = 4096


def read_server(directory: Path, proc: Path = PROC) -> NameServer | None:
    """aardvark-dns; None where there is no directory of its files."""
    try:
        names = sorted(path.name for path in directory.iterdir())[:MAX_FILES]
    except OSError:
        return None
    served = tuple(
        Served(name.removesuffix(_INTERNAL), str(directory / name), listens)
        for name in names
        if name != _PID_FILE and (listens := parse_listens(_text(directory / name)))
    )
    said = _text(directory / _PID_FILE).strip()
    named = int(said) if re.fullmatch("[0-9]{1,9}", said) else 0
    return NameServer(
        str(directory / _PID_FILE),
        named,
        clean(_proc(proc / str(named) / "comm").strip()) if named else "",
        tuple(_running(directory, proc, named)),
        served,
    )


def read_names(directory: Path) -> frozenset[str]:
    """The networks whose containers ask aardvark-dns: none where there is no such directory."""
    try:
        names = {path.name for path in directory.iterdir()}
    except OSError:
        return frozenset()
    return frozenset(name.removesuffix(_INTERNAL) for name in names if name != _PID_FILE)


def read_bound() -> frozenset[tuple[Address, int]]:
    """The addresses and ports of the host that are taken for UDP."""
    paths = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
    return frozenset(bound for path in paths for bound in parse_bound(_proc(path, MAX_BYTES)))


def serving_port(directory: Path, proc: Path = PROC) -> int | None:
    """The port it was started with: `aardvark-dns --config DIRECTORY -p PORT run`.

    None where the process that the pid file names is none of it.
    """
    said = _text(directory / _PID_FILE).strip()
    process = proc / (said if re.fullmatch("[0-9]{1,9}", said) else "0")
    if not _serves(process, directory):
        return None
    words = parse_command(_proc(process / "cmdline").encode())
    port = words[words.index("-p") + 1 :][:1] if "-p" in words else ()
    return int(port[0]) if port and re.fullmatch("[0-9]{1,5}", port[0]) else None


def _running(directory: Path, proc: Path, named: int) -> list[int]:
    """The processes of that name that serve this directory; the one named first, and alone."""
    if named and _serves(proc / str(named), directory):
        return [named]
    pids = sorted(int(entry) for entry in os.listdir(proc) if entry.isdecimal())
    return [pid for pid in pids if _serves(proc / str(pid), directory)]


def _serves(process: Path, directory: Path) -> bool:
    if _proc(process / "comm").strip() != PROGRAM:
        return False
    return str(directory) in parse_command(_proc(process / "cmdline").encode())


def _text(path: Path) -> str:
    try:
        return read_whole(path, limit_bytes=MAX_BYTES) or ""
    except StateUnreadable:
        return ""


def _proc(path: Path, limit_bytes: int = MAX_SMALL_BYTES) -> str:
    try:
        return read_proc(path, limit_bytes=limit_bytes).decode("utf-8", "replace")
    except OSError:
        return ""
