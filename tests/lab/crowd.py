# SPDX-License-Identifier: Apache-2.0
"""Many callers of podwatch at once, on the system bus: a script, of the library alone.

    python3 -m tests.lab.crowd CONNECTIONS CALLS BATCHES INTERFACE MEMBER

Each connection makes CALLS calls at once, waits for what comes of all of them, and does so BATCHES
times. How often each came is printed at the end, as JSON: "answer", or the error's name. With
BATCHES 0 the calls are made, "sent" is printed, and no answer is ever read; it ends when its input
does. With CALLS 0 calls that want no answer are made as fast as the bus takes them, by each
connection of one MEMBER of "A,B,C" after the other, until the input ends; their number is printed,
as "silent". Those of "Restore" and its like are dry runs.
"""

import json
import re
import select
import struct
import sys
from collections import Counter

from tests.lab.stranger import (
    CALL,
    DESTINATION,
    ERROR,
    INTERFACE,
    MEMBER,
    PATH,
    RETURN,
    SIGNATURE,
    Stranger,
    message,
)

NAME, OBJECT = "org.podwatch1", "/org/podwatch1"
A_PIECE = 60
NO_REPLY = 1
_CHANGES = ("Restore", "RemoveLeftovers")
_ERROR_NAME = re.compile(rb"\x04\x01s\0....([\w.]+)\0", re.DOTALL)


class Caller(Stranger):
    """A connection that makes calls and counts what comes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent = b""
        self.kept = b""
        self.waiting = 0
        self.came: Counter[str] = Counter()

    def calls(self, number: int, interface: str, member: str) -> None:
        """Make calls, as soon as the bus takes them."""
        fields: dict[int, str | int] = {
            PATH: OBJECT,
            INTERFACE: interface,
            MEMBER: member,
            DESTINATION: NAME,
        }
        for _ in range(number):
            self.serial += 1
            self.unsent += message(CALL, self.serial, fields)
        self.waiting += number

    def write(self) -> None:
        """Send what the bus takes."""
        self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def shout(self, piece: bytes) -> None:
        """Send this, and throw away what has come."""
        self.sock.settimeout(10)
        self.sock.sendall(piece)
        self.sock.settimeout(0)
        try:
            while self.sock.recv(1 << 16):
                pass
        except BlockingIOError:
            pass

    def read(self) -> None:
        """Count what has come."""
        piece = self.sock.recv(1 << 20)
        if not piece:
            raise EOFError
        data, at = self.kept + piece, 0
        while len(data) - at >= 16:
            body, _, fields = struct.unpack_from("<III", data, at + 4)
            end = at + 16 + fields + -fields % 8 + body
            if end > len(data):
                break
            self._count(data[at + 1], data[at:end][: 16 + fields])
            at = end
        self.kept = data[at:]

    def _count(self, kind: int, header: bytes) -> None:
        if kind == RETURN:
            self.came["answer"] += 1
        elif kind == ERROR:
            found = _ERROR_NAME.search(header)
            self.came[found[1].decode() if found else "?"] += 1
        self.waiting -= kind in (RETURN, ERROR)


def shouted(callers: list[Caller], interface: str, members: list[str]) -> int:
    """Make calls that want no answer until the input ends; how many those were."""
    piece, made = b"", 0
    for number in range(A_PIECE):
        member = members[number % len(members)]
        fields: dict[int, str | int] = {
            PATH: OBJECT,
            INTERFACE: interface,
            MEMBER: member,
            DESTINATION: NAME,
        }
        if member in _CHANGES:
            fields[SIGNATURE] = "b"
        one = bytearray(message(CALL, 7, fields, b"\1\0\0\0" if member in _CHANGES else b""))
        one[2] = NO_REPLY
        piece += one
    while not select.select([sys.stdin], [], [], 0)[0]:
        for each in callers:
            each.shout(piece)
            made += A_PIECE
    return made


def main() -> None:
    """Call as the arguments say."""
    connections, calls, batches = map(int, sys.argv[1:4])
    interface, member = sys.argv[4:]
    callers = [Caller() for _ in range(connections)]
    if not calls:
        print(json.dumps({"silent": shouted(callers, interface, member.split(","))}))
        return
    for each in callers:
        each.sock.settimeout(0)
    for _ in range(batches or 1):
        for each in callers:
            each.calls(calls, interface, member)
        while at_work := [each for each in callers if each.unsent or (each.waiting and batches)]:
            by_socket = {each.sock: each for each in at_work}
            writers = [each.sock for each in at_work if each.unsent]
            readable, writable, _ = select.select(by_socket if batches else [], writers, [], 60)
            if not readable and not writable:
                break  # what is still waiting for is printed as missing
            for sock in readable:
                by_socket[sock].read()
            for sock in writable:
                by_socket[sock].write()
    if not batches:
        print("sent", flush=True)
        sys.stdin.read()
        return
    came: Counter[str] = Counter()
    for each in callers:
        came += each.came
    print(json.dumps(came))


if __name__ == "__main__":
    main()
