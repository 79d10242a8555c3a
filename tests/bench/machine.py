# SPDX-License-Identifier: Apache-2.0
"""What it was measured on."""

import os
import re
from pathlib import Path

from tests.lab.host import Host


def described(host: Host) -> str:
    """What it was measured on, in one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = {
        "podman": "podman --version",
        "netavark": "/usr/lib/podman/netavark --version | head -n 1",
        "nftables": "nft --version",
        "firewalld": "firewall-cmd --version",
    }
    told = [
        f"{name} {found[0]}"
        for name, command in versions.items()
        if (found := re.search(r"\d+(\.\d+)+", host.shell(command, check=False).stdout))
    ]
    return (
        f"{cpu[1] if cpu else os.uname().machine}, {os.cpu_count()} cores, "
        f"Linux {os.uname().release}, {host.suite} with {', '.join(told)}"
    )
