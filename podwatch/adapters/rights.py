# SPDX-License-Identifier: Apache-2.0
"""What this process may do, and as whom it runs."""

import os
import pwd
import re

from podwatch.adapters.files import read_proc

_CAP_NET_ADMIN = 12  # linux/capability.h


def may_change_networks() -> bool:
    """Whether it has CAP_NET_ADMIN over the namespaces that are made on this host."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", read_proc("/proc/self/status").decode(), re.M)
    return found is not None and bool(int(found[1], 16) >> _CAP_NET_ADMIN & 1)


def is_root() -> bool:
    """Whether systemd, firewalld and podman's files take it for root."""
    return os.geteuid() == 0


def sees_processes() -> bool:
    """Whether /proc shows whoever runs here, and not this user's own processes alone (hidepid=)."""
    try:
        return bool(read_proc("/proc/1/stat"))
    except OSError:
        return False


def user(uid: int | None = None) -> str:
    """A user's name, else the number; of the one as whom it runs, if none is given."""
    if uid is None:
        uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
