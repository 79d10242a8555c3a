# SPDX-License-Identifier: Apache-2.0
"""What the lab needs of the machine it runs on, and how to say that something is missing."""

import os
import shutil
from pathlib import Path

from tests.lab.errors import LabError

PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "chromium": "chromium",
}
"""Each program the lab runs on this machine, and the Debian package that brings it."""

DEVICES = (Path("/dev/net/tun"), Path("/dev/fuse"))


def missing_needs() -> list[str]:
    """Return a sentence for each thing this machine lacks; none if the lab can work here."""
    problems = []
    if os.geteuid() != 0:
        problems.append("the lab boots systemd-nspawn hosts and must run as root")
    packages = {package for tool, package in PACKAGES.items() if shutil.which(tool) is None}
    if packages:
        problems.append(f"programs are missing: apt-get install {' '.join(sorted(packages))}")
    problems += [f"the device {device} is missing" for device in DEVICES if not device.exists()]
    if "\toverlay\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        problems.append("the kernel has no overlayfs: modprobe overlay")
    return problems


def require_needs() -> None:
    """Raise LabError, naming everything this machine lacks, if it lacks anything."""
    problems = missing_needs()
    if problems:
        raise LabError("this machine cannot run the lab: " + "; ".join(problems))
