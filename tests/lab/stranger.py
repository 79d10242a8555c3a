# SPDX-License-Identifier: Apache-2.0
"""A local user who means ill, on the system bus: a script for a lab host, of the library alone.

    python3 stranger.py WHAT SECONDS PID

speaks to every connection of the process PID, or of everybody if PID is 0. WHAT is one of:

    reloaded   "firewalld has reloaded", "firewalld has gone", once
    large      two signals of 31 MB, once
    jobs       "systemd's job has ended", of each job that podwatch waits for
    small      10,000 small signals a second
    flood      the same, and a large one every two seconds

The last three go on for SECONDS. What was sent is printed at the end.
"""

import os
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
SIGNALS = 5
"""So many of the lies are signals."""
A_SECOND = 10_000
LARGE_BYTES = 31_000_000

DBUS = "org.freedesktop.DBus"
SYSTEMD = "org.freedesktop.systemd1"
SYSTEMD_PATH = "/org/freedesktop/systemd1"
FIREWALLD = "org.fedoraproject.FirewallD1"
FIREWALLD_PATH = "/org/fedoraproject/FirewallD1"

_TYPES = {PATH: "o", REPLY_SERIAL: "u", SIGNATURE: "g"}


def string(text: str, order: str = "<") -> bytes:
    """A string as D-Bus writes it."""
    return struct.pack(f"{order}I", len(text.encode())) + text.encode() + b"\0"


def padded(data: bytes, size: int) -> bytes:
    """Zeros after it, up to the next multiple of `size`."""
    return data + bytes(-len(data) % size)


def strings(*texts: str) -> bytes:
    """A body of nothing but strings."""
    body = b""
    for text in texts:
        body = padded(body, 4) + string(text)
    return body


def message(
    kind: int, serial: int, fields: dict[int, str | int], body: bytes = b"", order: str = "<"
) -> bytes:
    """A message as D-Bus writes it."""
    header = b""
    for code, value in fields.items():
        letter = _TYPES.get(code, "s")
        header = padded(header, 8) + bytes([code, 1, ord(letter), 0])
        if isinstance(value, int):
            header += struct.pack(f"{order}I", value)
        elif letter == "g":
            header += bytes([len(value)]) + value.encode() + b"\0"
        else:
            header += string(value, order)
    first = (b"l" if order == "<" else b"B") + bytes([kind, 0, 1])
    lengths = struct.pack(f"{order}III", len(body), serial, len(header))
    return padded(first + lengths + header, 8) + body


def large_body() -> bytes:
    """An array of more than six million bytes, each in a variant of its own: "av"."""
    one = b"\x01y\0\x07"
    return struct.pack("<I", LARGE_BYTES // 4 * 4) + one * (LARGE_BYTES // 4)


class Stranger:
    """A connection to the system bus, and the ill it does."""

    def __init__(self) -> None:
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "")
        path = address.partition("path=")[2].split(",")[0] or "/run/dbus/system_bus_socket"
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.serial = 0
        self.sent = 0
        uid = str(os.getuid()).encode().hex()
        self.sock.sendall(b"\0AUTH EXTERNAL " + uid.encode() + b"\r\n")
        self.sock.recv(1000)
        self.sock.sendall(b"BEGIN\r\n")
        self.name = _first_string(self.call(DBUS, "/org/freedesktop/DBus", DBUS, "Hello"))

    def send(self, data: bytes) -> None:
        """Send, and throw away what has come meanwhile: refusals, mostly."""
        self.sock.sendall(data)
        self.sent += 1
        if self.sent % 100 == 0:
            while select.select([self.sock], [], [], 0)[0] and self.sock.recv(1 << 16):
                pass

    def call(self, to: str, path: str, interface: str, member: str, *arguments: str) -> bytes:
        """Call a method with strings; the body of its answer, or of the error."""
        self.serial += 1
        serial = self.serial
        fields: dict[int, str | int] = {
            PATH: path,
            INTERFACE: interface,
            MEMBER: member,
            DESTINATION: to,
        }
        if arguments:
            fields[SIGNATURE] = "s" * len(arguments)
        self.sock.sendall(message(CALL, serial, fields, strings(*arguments)))
        mine = re.compile(re.escape(bytes([REPLY_SERIAL, 1]) + b"u\0" + struct.pack("<I", serial)))
        while True:
            head = self._read(16)
            body, _, size = struct.unpack("<III", head[4:])
            header, data = self._read(size + -size % 8), self._read(body)
            if mine.search(header):
                return data

    def signal(
        self,
        to: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: bytes = b"",
    ) -> None:
        """Send a signal to one connection."""
        self.send(signal(to, path, interface, member, signature, body))

    def connections(self, pid: int) -> list[str]:
        """The unique names of a process's connections; everybody else's if it is 0."""
        bus = (DBUS, "/org/freedesktop/DBus", DBUS)
        names = re.findall(rb":[0-9.]+", self.call(*bus, "ListNames"))
        found = [text for word in names if (text := word.decode()) != self.name]
        owner = "GetConnectionUnixProcessID"
        told = {name: self.call(*bus, owner, name) for name in found if pid}
        return [name for name in found if not pid or told[name] == struct.pack("<I", pid)]

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


def signal(
    to: str, path: str, interface: str, member: str, signature: str = "", body: bytes = b""
) -> bytes:
    """A signal to one connection, or to everybody if `to` is empty."""
    fields: dict[int, str | int] = {PATH: path, INTERFACE: interface, MEMBER: member}
    if to:
        fields[DESTINATION] = to
    if signature:
        fields[SIGNATURE] = signature
    return message(SIGNAL, 1, fields, body)


def lies(to: str) -> list[bytes]:
    """Signals that are not true, and what the bus itself refuses to hand on: it logs each."""
    gone = strings(FIREWALLD, ":1.1", "")
    ended = struct.pack("<I", 7) + strings(f"{SYSTEMD_PATH}/job/7", "podwatch-inspect.service")
    ended = padded(ended, 4) + string("done")
    call: dict[int, str | int] = {PATH: "/", INTERFACE: DBUS, MEMBER: "Ping", DESTINATION: to}
    wrong: dict[int, str | int] = {ERROR_NAME: "a.b", REPLY_SERIAL: 7, DESTINATION: to}
    return [
        signal(to, FIREWALLD_PATH, FIREWALLD, "Reloaded"),
        signal("", FIREWALLD_PATH, FIREWALLD, "Reloaded"),
        signal(to, "/org/freedesktop/DBus", DBUS, "NameOwnerChanged", "sss", gone),
        signal("", "/org/freedesktop/DBus", DBUS, "NameOwnerChanged", "sss", gone),
        signal(to, SYSTEMD_PATH, f"{SYSTEMD}.Manager", "JobRemoved", "uoss", ended),
        message(CALL, 1, call),
        message(ERROR, 1, wrong),
        message(RETURN, 1, {REPLY_SERIAL: 7, DESTINATION: to}),
    ]


def reloaded(stranger: Stranger, to: list[str], _seconds: float) -> None:
    """Say that firewalld has reloaded, and that it has gone."""
    for name in to:
        for lie in lies(name):
            stranger.send(lie)
    stranger.call(DBUS, "/org/freedesktop/DBus", DBUS, "GetId")  # all of it is on its way


def jobs(stranger: Stranger, to: list[str], seconds: float) -> None:
    """Say of each job that podwatch waits for that it has ended well."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        listed = stranger.call(SYSTEMD, SYSTEMD_PATH, f"{SYSTEMD}.Manager", "ListJobs")
        for unit, job in re.findall(rb"(podwatch-\S+?\.service)\0.*?(/\S+/job/[0-9]+)\0", listed):
            said = struct.pack("<I", 7) + strings(job.decode(), unit.decode(), "done")
            for name in to:
                told = (SYSTEMD_PATH, f"{SYSTEMD}.Manager", "JobRemoved", "uoss", said)
                stranger.send(signal(name, *told))
        time.sleep(0.02)


def large(stranger: Stranger, to: list[str], _seconds: float) -> None:
    """Send each connection two signals of 31 MB."""
    body = large_body()
    for name in to:
        for _ in range(2):
            stranger.send(signal(name, "/x", "org.x", "X", "av", body))
    stranger.call(DBUS, "/org/freedesktop/DBus", DBUS, "GetId")


def flood(stranger: Stranger, to: list[str], seconds: float) -> None:
    """Send small signals at 10,000 a second, and a large one every two seconds."""
    _flood(stranger, to, seconds, large_every_s=2.0)


def small(stranger: Stranger, to: list[str], seconds: float) -> None:
    """Send small signals at 10,000 a second."""
    _flood(stranger, to, seconds, large_every_s=seconds + 1)


def _flood(stranger: Stranger, to: list[str], seconds: float, large_every_s: float) -> None:
    begun = time.monotonic()
    next_large, body, some = begun + large_every_s, large_body(), _over_and_over(to)
    while (now := time.monotonic()) < begun + seconds:
        if now >= next_large:
            next_large += large_every_s
            stranger.send(signal(to[int(now) % len(to)], "/x", "org.x", "X", "av", body))
        if stranger.sent < (now - begun) * A_SECOND:
            for _ in range(100):
                stranger.send(next(some))
        else:
            time.sleep(0.002)


def _over_and_over(to: list[str]) -> Iterator[bytes]:
    several = [lie for name in to for lie in lies(name)[:SIGNALS]]
    while True:
        yield from several


def _first_string(body: bytes) -> str:
    (size,) = struct.unpack_from("<I", body)
    return body[4 : 4 + size].decode()


DEEDS: dict[str, Callable[[Stranger, list[str], float], None]] = {
    "reloaded": reloaded,
    "jobs": jobs,
    "large": large,
    "small": small,
    "flood": flood,
}


def main() -> None:
    """Do what the arguments say."""
    what, seconds, pid = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    stranger = Stranger()
    to = stranger.connections(pid)
    print(f"{what}: to {' '.join(to)}", flush=True)
    DEEDS[what](stranger, to, seconds)
    print(f"{stranger.sent} messages", flush=True)


if __name__ == "__main__":
    main()
