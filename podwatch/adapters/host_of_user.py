# SPDX-License-Identifier: Apache-2.0
"""What the host has for one of its users: sessions that linger, low ports, firewalld, addresses."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

from podwatch.adapters.files import read_proc
from podwatch.adapters.namespace import Own
from podwatch.adapters.rtnetlink import Notifications

_GROUPS = 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_IPV4_IFADDR, _IPV4_ROUTE, and IPv6's
_LINGER = Path("/var/lib/systemd/linger")
_SYSTEMD = Path("/run/systemd/system")
_FIREWALLD = Path("/sys/fs/cgroup/system.slice/firewalld.service/cgroup.procs")
_FIRST_PORT = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def ends_for() -> str:
    """The name of the user podwatch runs as, where all of theirs ends with their last session.

    "" where it does not (loginctl enable-linger), or where no systemd runs the host.
    """
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
    return "" if not _SYSTEMD.is_dir() or (_LINGER / name).exists() else name


def first_port() -> int:
    """The first port on which any user may listen; 0 where that cannot be read."""
    try:
        return int(read_proc(_FIRST_PORT))
    except (OSError, ValueError):
        return 0


def has_firewalld() -> bool:
    """Whether firewalld.service runs on the host."""
    try:
        return bool(read_proc(_FIREWALLD).strip())
    except OSError:
        return False


class HostWatch:
    """Calls `on_change` when an address or a route of the host was changed, on the loop."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        what = "changes of the host's addresses"
        self._told = Notifications(
            _GROUPS, what, lambda _: on_change(), on_change, opened=Own().netlink
        )
        self.attach = self._told.attach
        self.close = self._told.close
        self.describe = self._told.describe
