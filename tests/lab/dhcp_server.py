# SPDX-License-Identifier: Apache-2.0
"""A real DHCP server on the LAN of a lab host: dnsmasq in the client's namespace, 2-minute leases.

What it was asked is read from its log: that is the LAN's view of who holds which address.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.client import Client
from tests.lab.errors import LabError
from tests.lab.machine import until

FIRST, LAST, LEASE_S = "192.0.2.70", "192.0.2.90", 120

_ACK = re.compile(r"DHCPACK\(\S+\) (\S+) ([0-9a-f:]{17})")


class DhcpServer:
    """dnsmasq, which can be stopped and started; leases and log outlive a stop."""

    def __init__(self, client: Client, directory: Path) -> None:
        """Take a client's namespace and a directory for log and leases; nothing runs yet."""
        self._client = client
        self._log = directory / "log"
        self._leases = directory / "leases"
        self._process: subprocess.Popen[str] | None = None
        self._log.touch()

    def start(self) -> None:
        """Start the server and wait until it serves.

        Raises:
            LabError: it ended at once; the message is its log.
        """
        position = len(self.log())
        options = {
            "conf-file": "/dev/null",
            "port": "0",
            "interface": "eth0",
            "dhcp-range": f"{FIRST},{LAST},{LEASE_S}s",
            "dhcp-leasefile": self._leases,
            "pid-file": "",
            "user": "root",
            "log-facility": "-",
        }
        argv = ["dnsmasq", "--keep-in-foreground", "--bind-interfaces", "--no-ping"]
        argv += ["--dhcp-authoritative", "--log-dhcp"]
        argv += [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]
        with self._log.open("a", encoding="utf-8") as log:
            process = self._process = self._client.popen(argv, stderr=log)
        started = until(
            lambda: process.poll() is not None or "DHCP, IP range" in self.log()[position:], 10
        )
        if not started or process.poll() is not None:
            raise LabError(f"dnsmasq did not start:\n{self.log()[-1000:]}")

    def stop(self) -> None:
        """End the server: from now on nobody answers. Harmless when repeated."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """Everything it has logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def acknowledged(self, position: int = 0) -> list[str]:
        """The addresses it has given or renewed, in order, in the log after this position."""
        return [address for address, _ in _ACK.findall(self.log()[position:])]


@contextmanager
def dhcp_server(client: Client) -> Iterator[DhcpServer]:
    """A running DHCP server on the LAN, for the block."""
    with tempfile.TemporaryDirectory() as directory:
        server = DhcpServer(client, Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()
