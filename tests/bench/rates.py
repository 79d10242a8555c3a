# SPDX-License-Identifier: Apache-2.0
"""What a new connection costs, and a change of the guard: a program for a stage's network.

``python3 -m tests.bench.rates STATE_DIRECTORY``, in a network where the real netavark has set up a
container with UDP ports. Beside netavark's table podwatch's own scripts make and change the
guard's. A connection is one UDP packet from a new port: its whole way, from the sender to the
container's link, runs in the sender's processor time. Prints one JSON object, all of it medians.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.statedir import StateDirectory
from podwatch.drivers.guard import anchor, changed, guard, made_anew
from podwatch.words.guard import FAMILY, Held

NAME = "podwatch-guard-bench"
PACKETS = 4_000
ROUNDS, UPDATES = 9, 15
CLOSED = 53
_OUTSIDE, _ROUTER = "192.0.2.2", "192.0.2.1"
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def _neighbour() -> int:
    """A process with a network of its own and a link to this one; its process id."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _libc().unshare(_CLONE_NEWNET)
        os.write(writing, b"x")
        signal.pause()
    os.read(reading, 1)
    script = f"""
link add outside type veth peer name eth0 netns {child}
address add {_ROUTER}/24 dev outside
link set outside up
"""
    subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True)
    inside = f"address add {_OUTSIDE}/24 dev eth0\nlink set eth0 up\n"
    enter = ["nsenter", "-t", str(child), "--net"]
    subprocess.run([*enter, "ip", "-batch", "-"], input=inside, text=True, check=True)
    return child


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _frames(neighbour: int, port: int) -> list[bytes]:
    """Packets to one port, each from another, as the neighbour's link sends them."""
    macs = b""
    for enter, link in (([], "outside"), (["nsenter", "-t", str(neighbour), "--net"], "eth0")):
        show = [*enter, "ip", "-json", "link", "show", link]
        told = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
        macs += bytes.fromhex(told[0]["address"].replace(":", ""))
    addresses = socket.inet_aton(_OUTSIDE) + socket.inet_aton(_ROUTER)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 32, 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    start = macs + b"\x08\x00" + head
    return [
        start + struct.pack("!HHHH", 1024 + number, port, 12, 0) + b"test"
        for number in range(PACKETS)
    ]


def _cost_us(neighbour: int, frames: list[bytes]) -> float:
    """Microseconds of processor time for each of these packets, which are new connections."""
    _forget()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with open(f"/proc/{neighbour}/ns/net", "rb") as namespace:
            _libc().setns(namespace.fileno(), _CLONE_NEWNET)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("eth0", 0))
        began = time.process_time()
        for frame in frames:
            sender.send(frame)
        os.write(writing, struct.pack("d", time.process_time() - began))
        os._exit(0)
    os.close(writing)
    took: float = struct.unpack("d", os.read(reading, 8))[0]
    os.close(reading)
    os.waitpid(child, 0)
    return took / len(frames) * 1e6


def _forget() -> None:
    """Let the kernel forget all connections of this network (IPCTNL_MSG_CT_DELETE)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as conntrack:
        conntrack.send(struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0))
        assert struct.unpack_from("=i", conntrack.recv(4096), 16) == (0,)


async def _update(nft: Nftables, full: Held) -> dict[str, float]:
    """Milliseconds to make the whole table, and to take one port out and put it in.

    Each is a script that podwatch writes, and then commits.
    """
    key = max(full.forwards)
    less = replace(full, forwards={each: way for each, way in full.forwards.items() if each != key})
    steps: dict[str, Callable[[], str]] = {
        "whole": lambda: made_anew(NAME, full),
        "one_out": lambda: changed(NAME, full, less),
        "one_in": lambda: changed(NAME, less, full),
    }
    times: dict[str, list[float]] = {}
    for _ in range(UPDATES):
        for name, written in steps.items():
            began = time.perf_counter()
            script = written()
            between = time.perf_counter()
            await nft.apply(script)
            times.setdefault(f"{name}_written_ms", []).append((between - began) * 1000)
            times.setdefault(f"{name}_ms", []).append((time.perf_counter() - between) * 1000)
    return {name: round(statistics.median(each), 3) for name, each in times.items()}


def _rss_kib() -> int:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


async def main(state: Path) -> None:
    """Measure without a guard, with the anchor and with the full guard, in turns."""
    setup = StateDirectory(state).read()
    mappings = [each for end in setup.endpoints for each in end.port_mappings or ()]
    first, last = mappings[0].host_port, mappings[-1].host_port + mappings[-1].count - 1
    full = guard(setup, marks=False)
    neighbour = _neighbour()
    frames = {
        name: _frames(neighbour, port)
        for name, port in (("first", first), ("last", last), ("closed", CLOSED))
    }
    costs: dict[str, dict[str, list[float]]] = {}
    nft = Nftables()
    try:
        await nft.apply(made_anew(NAME, anchor()))
        before = _rss_kib()
        await nft.apply(made_anew(NAME, full))
        more = _rss_kib() - before
        updates = await _update(nft, full)
        for _ in range(ROUNDS):
            for mode, held in (("off", None), ("anchor", anchor()), ("full", full)):
                table = f"{FAMILY} {NAME}"
                gone = f"add table {table} {{ flags owner; }}\ndelete table {table}\n"
                await nft.apply(gone if held is None else made_anew(NAME, held))
                for name, packets in frames.items():
                    cost = _cost_us(neighbour, packets)
                    costs.setdefault(mode, {}).setdefault(name, []).append(cost)
    finally:
        nft.close()
        os.kill(neighbour, signal.SIGKILL)
    found = {
        "ports": full.ports,
        "us": {
            mode: {name: round(statistics.median(each), 2) for name, each in by_name.items()}
            for mode, by_name in costs.items()
        },
        "update": updates,
        "memory_kib": more,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
