# SPDX-License-Identifier: Apache-2.0
"""The service manager that started podwatch, told of its state by sd_notify(3), through pystemd."""

import os
import sys
from importlib import import_module
from types import ModuleType


def _load_pystemd() -> None:
    """Import pystemd, and lxml, which all of it loads (0.11 to 0.15), only where it is already."""
    stand_in = ModuleType("lxml")
    stand_in.etree = None  # type: ignore[attr-defined]
    had = sys.modules.setdefault("lxml", stand_in)
    try:
        import_module("pystemd.dbuslib")
    finally:
        if had is stand_in:
            del sys.modules["lxml"]


def notify(**state: str | int) -> None:
    """Tell the service manager: ready=1, watchdog=1, status="…"; nothing without NOTIFY_SOCKET.

    The environment is left alone: pystemd's default would make later keep-alives vanish.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return
    _load_pystemd()
    import pystemd.daemon

    pystemd.daemon.notify(False, **state)  # noqa: FBT003 - pystemd's signature
