# SPDX-License-Identifier: Apache-2.0
"""The kernel's network settings: read, written, and heard of where the kernel tells.

/proc/sys sends no events, but for forwarding and rp_filter the kernel tells whoever listens to
rtnetlink's netconf groups (Linux net/ipv4/devinet.c, inet_netconf_notify_devconf).
"""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from podwatch.adapters import namespace
from podwatch.adapters.files import read_whole
from podwatch.adapters.rtnetlink import Notifications
from podwatch.drivers.sysctls import parse_configured
from podwatch.formats.route_messages import tells_of_a_setting
from podwatch.words.errors import RestoreFailed, StateUnreadable

ROOT = Path("/proc/sys")
CONFIGURED = Path("/run/sysctl.d")
_FILE_BYTES = 65536
_VALUE_BYTES = 4096

_GROUPS = 1 << (24 - 1) | 1 << (25 - 1)  # RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF


def read(paths: Iterable[str]) -> dict[str, str]:
    """The values of these settings (paths below /proc/sys); without those that are not there."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            text = namespace.networks().read(f"{ROOT}/{path}", _VALUE_BYTES)
            found[path] = text.decode("utf-8", "replace").strip()
    return found


def read_configured(bridge: str, directory: Path = CONFIGURED) -> dict[str, str]:
    """What netavark says it set for a bridge, by path; nothing before 1.16, which says nothing.

    netavark src/network/sysctl.rs: a file of sysctl.d(5), so that what it set is set again.
    """
    try:
        path = directory / f"10-netavark-{bridge}.conf"
        return parse_configured(read_whole(path, limit_bytes=_FILE_BYTES, of_root=True) or "")
    except StateUnreadable:
        return {}


def write(path: str, value: str) -> None:
    """Set one of them. Raises RestoreFailed when the kernel, or the sandbox, refuses."""
    try:
        namespace.networks().write(f"{ROOT}/{path}", value)
    except OSError as exc:
        raise RestoreFailed(
            f"cannot write {ROOT / path}: {exc.strerror}", hint=f"sysctl -w {path}={value}"
        ) from exc


class SysctlWatch:
    """Calls `on_change` when forwarding or rp_filter of anything was set, on the loop."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        # Where messages were lost, anything may have been set.
        self._told = Notifications(_GROUPS, "changes of sysctls", self._take, on_change)
        self.attach = self._told.attach
        self.close = self._told.close
        self.describe = self._told.describe

    def _take(self, data: memoryview) -> None:
        if tells_of_a_setting(data):
            self._on_change()
