# SPDX-License-Identifier: Apache-2.0
"""What firewalld tells of itself."""

from enum import StrEnum


class FirewalldEvent(StrEnum):
    """What can happen to firewalld, in words a person understands."""

    RELOADED = "firewalld reloaded"
    STARTED = "firewalld started"
    STOPPED = "firewalld stopped"
    PANIC = "firewalld's panic mode changed"
    SOURCES = "the sources of a firewalld zone changed"
    POLICY = "a firewalld policy was changed"
    DIRECT = "a direct rule was added to firewalld"
    ZONE = "a firewalld zone was changed"
    PERMANENT = "firewalld's permanent configuration was changed"
    BUS_LOST = "the system bus went away"
    BUS_BACK = "the system bus is there"
