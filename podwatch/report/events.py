# SPDX-License-Identifier: Apache-2.0
"""The kinds of events podwatch logs, each with the id of its entry in podwatch.catalog."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: its MESSAGE_ID, and its level as structlog names it."""

    message_id: str
    level: str


class Event(Enum):
    """Every kind of event; packaging/podwatch.catalog explains each for `journalctl -x`."""

    STARTED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a01", "info")
    STOPPED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a02", "info")
    LOSS_FOUND = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a03", "warning")
    RESTORED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a04", "warning")
    RESTORE_FAILED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a05", "error")
    BLOCKED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a06", "warning")
    UNKNOWN = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a07", "warning")
    CONFIG_RELOADED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a08", "info")
    CONFIG_REFUSED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a09", "error")
    COMPLAINT = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a0a", "warning")
    PROGRESS = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a0b", "info")
    WATCHER_LOST = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a0c", "warning")
    FLAPPING = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a20", "error")
    DHCP_DOWN = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a30", "warning")
    DHCP_WELL = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a31", "warning")
    DHCP_BLOCKED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a32", "warning")
    DHCP_LEASES_LOST = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a33", "warning")
    DHCP_RENEWED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a34", "warning")
    DHCP_FAILED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a35", "error")
    ODD = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a0e", "warning")
    WATCHER_BACK = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a0d", "info")
    RESUMED = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a21", "info")
    GUARD = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a23", "info")
    PERMANENT = Kind("c52ec24bcd0d4e5e8b7c5d3c07bd1a22", "info")
