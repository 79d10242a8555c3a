# SPDX-License-Identifier: Apache-2.0
"""The neighbour of a lab host: another network namespace, from which published ports are asked.

The namespace has no name and no owner but the responder process (``responder.py``) that runs in it,
so it ends with that process and leaves nothing behind. Its only link is one veth pair, made inside
it, whose other end is handed to the host as ``eth0``; this machine's own network never sees it.
Its answers are the user's view of the host: whole exchanges, never a bare connect, because conmon
(podman up to 5) itself listens on the published TCP ports, so that a connect succeeds while nobody
answers.
"""

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.errors import LabError
from tests.lab.watch import Watch

HOST_V4, HOST_V6 = "192.0.2.1", "2001:db8::1"
CLIENT_V4, CLIENT_V6 = "192.0.2.2", "2001:db8::2"
FAR_V4 = "203.0.113.1"
"""The client's, too, but no neighbour of the host: only the default route leads there."""
HOST_LINK = "eth0"
RESPONDER_PORT = 7000
"""Where the client greets (TCP) or answers (UDP) with the address it sees its caller under."""

CLIENT_LINK = "eth0"
_TIED_TO_US = ("setpriv", "--pdeathsig", "KILL")
_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


class Client:
    """A network namespace beside one host, with 192.0.2.2/24 and 2001:db8::2/64."""

    def __init__(self) -> None:
        """Make the namespace and start the responder in it.

        Raises:
            LabError: the responder did not come up.
        """
        responder = Path(__file__).with_name("responder.py")
        self._responder = subprocess.Popen(
            [*_TIED_TO_US, "unshare", "--net", _PYTHON, "-I", responder, str(RESPONDER_PORT)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._responder.stdout is not None
        assert self._responder.stderr is not None
        if self._responder.stdout.readline() != "ready\n":
            said = self._responder.stderr.read()
            self.close()
            raise LabError(f"the responder in the client's namespace did not start:\n{said}")
        self._namespace = os.open(f"/proc/{self._responder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def attach(self, leader: int) -> None:
        """Connect the client to the host whose PID 1 is ``leader``, and give both their addresses.

        The host's default routes go to the client, so that what containers send out arrives here.

        Args:
            leader: process id of the host's PID 1, as this machine counts.
        """
        # After a reboot the kernel may still be taking the former pair down.
        self.run(["sh", "-c", f"ip link delete {CLIENT_LINK} 2>/dev/null || true"])
        self.run(["ip", "link", "set", "lo", "up"])
        self.run(["ip", "address", "replace", f"{FAR_V4}/32", "dev", "lo"])
        ends = ["name", HOST_LINK, "netns", str(leader)]
        self.run(["ip", "link", "add", CLIENT_LINK, "type", "veth", "peer", *ends])
        host = ["nsenter", "--target", str(leader), "--net"]
        for enter, link, v4, v6 in (
            (self.enter, CLIENT_LINK, CLIENT_V4, CLIENT_V6),
            (host, HOST_LINK, HOST_V4, HOST_V6),
        ):
            # nodad: an address under duplicate detection cannot be used for its first second.
            script = (
                f"address add {v4}/24 dev {link}\naddress add {v6}/64 dev {link} nodad\n"
                f"link set {link} up\n"
            )
            _check([*enter, "ip", "-batch", "-"], script)
        _check(
            [*host, "ip", "-batch", "-"],
            f"route replace default via {CLIENT_V4}\nroute replace default via {CLIENT_V6}\n",
        )

    def run(self, argv: Sequence[str]) -> str:
        """Run a program of this machine in the client's namespace and return what it printed.

        Raises:
            LabError: it failed; the message holds what it said.
        """
        return _check([*self.enter, *argv])

    def popen(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a program of this machine in the client's namespace; it ends with this process.

        Args:
            argv: the program and its arguments.
            options: further arguments of subprocess.Popen.
        """
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True}
        process: subprocess.Popen[str]
        process = subprocess.Popen([*_TIED_TO_US, *self.enter, *argv], **settings | options)
        return process

    def http(
        self, port: int, host: str = HOST_V4, timeout: float = 1.0, path: str = "/"
    ) -> str | None:
        """Do one whole HTTP exchange.

        Args:
            port: TCP port on the host.
            host: address to ask, IPv4 or IPv6.
            timeout: seconds for the whole exchange.
            path: what to ask for.

        Returns:
            The body of the answer without surrounding white space, or None if there was none: no
            connection, no answer in time, or a status other than 200.
        """
        return http_from(self._namespace, port, host, timeout, path)

    def udp(
        self, port: int, host: str = HOST_V4, payload: bytes = b"podwatch", timeout: float = 1.0
    ) -> bytes | None:
        """Send one datagram from a new port and return the answer, or None if none came.

        Args:
            port: UDP port on the host.
            host: address to ask, IPv4 or IPv6.
            payload: what to send.
            timeout: seconds to wait for the answer.
        """
        with self.socket(socket.SOCK_DGRAM, host) as datagrams:
            datagrams.settimeout(timeout)
            try:
                datagrams.connect((host, port))
                datagrams.send(payload)
                return datagrams.recv(65536)
            except OSError:  # port unreachable or out of time: no answer
                return None

    def until_http(
        self, port: int, host: str = HOST_V4, *, limit_s: float = 10.0, answers: bool = True
    ) -> float:
        """Ask again and again until the port answers, or no longer does.

        Args:
            port: TCP port on the host.
            host: address to ask.
            limit_s: the longest wait in seconds.
            answers: False to wait for the silence instead.

        Returns:
            How many seconds it took.

        Raises:
            LabError: the limit passed.
        """
        start = time.monotonic()
        while (self.http(port, host, timeout=0.25) is not None) != answers:
            if time.monotonic() - start > limit_s:
                what = "no answer" if answers else "still an answer"
                raise LabError(f"{what} from {host} port {port} after {limit_s} s")
        return time.monotonic() - start

    def watch(self, ports: Iterable[int], host: str = HOST_V4, interval_s: float = 0.01) -> Watch:
        """Return a Watch of TCP ports on the host, to be used in a ``with`` statement."""
        return Watch(self.enter, [(host, port) for port in ports], interval_s)

    def socket(self, kind: socket.SocketKind, address: str) -> socket.socket:
        """Return a new socket that lives in the client's namespace.

        A socket stays in the namespace it was made in, whoever uses it later.

        Args:
            kind: SOCK_STREAM or SOCK_DGRAM.
            address: an address of the family the socket is to have.
        """
        return socket_in(self._namespace, kind, address)

    def close(self) -> None:
        """End the responder and with it the namespace; harmless when repeated."""
        self._responder.kill()
        self._responder.wait()
        for stream in (self._responder.stdout, self._responder.stderr):
            if stream is not None:
                stream.close()
        if getattr(self, "_namespace", -1) >= 0:
            os.close(self._namespace)
            self._namespace = -1

    @property
    def enter(self) -> list[str]:
        """What runs a command of this machine in the client's namespace."""
        return ["nsenter", "--target", str(self._responder.pid), "--net"]


def _check(argv: Sequence[str], given: str = "") -> str:
    result = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"{' '.join(argv)} failed with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def socket_in(
    namespace: int, kind: socket.SocketKind, address: str, protocol: int = 0
) -> socket.socket:
    """Return a new socket that lives in a network namespace, given as an open descriptor of it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with _network_namespace(namespace):
        return socket.socket(family, kind, protocol)


def http_from(
    namespace: int, port: int, address: str, timeout: float = 1.0, path: str = "/"
) -> str | None:
    """Do one whole HTTP exchange from a network namespace, given as an open descriptor of it.

    Args:
        namespace: where to ask from.
        port: TCP port to ask.
        address: address to ask, IPv4 or IPv6.
        timeout: seconds for the whole exchange.
        path: what to ask for.

    Returns:
        As :meth:`Client.http`.
    """
    deadline = time.monotonic() + timeout
    received = b""
    with socket_in(namespace, socket.SOCK_STREAM, address) as connection:
        try:
            connection.settimeout(timeout)
            connection.connect((address, port))
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n".encode())
            while True:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
        except OSError:  # refused, reset, unreachable or out of time: no answer
            return None
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator or b" 200 " not in head.splitlines()[0]:
        return None
    return body.decode(errors="replace").strip()


def greeted_as(namespace: int, address: str, timeout: float = 2.0) -> str | None:
    """Call the responder from a network namespace; the address it sees its caller under, or None.

    Args:
        namespace: an open descriptor of the namespace.
        address: the client's, IPv4 or IPv6.
        timeout: seconds for each step.
    """
    received = b""
    with socket_in(namespace, socket.SOCK_STREAM, address) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect((address, RESPONDER_PORT))
            while chunk := connection.recv(65536):
                received += chunk
        except OSError:  # refused, unreachable or out of time: no greeting
            return None
    return received.decode(errors="replace").strip() or None


@contextmanager
def _network_namespace(there: int) -> Iterator[None]:
    """Put the calling thread into the network namespace ``there`` for the time of the block.

    os.setns is new in Python 3.12, so libc's is called.
    """
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        try:
            yield
        finally:
            _setns(here)
    finally:
        os.close(here)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
