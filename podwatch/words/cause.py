# SPDX-License-Identifier: Apache-2.0
"""Who did it: the process that committed a transaction, and the cause an incident is told with.

A cause is known as far as it is known. The kernel always names the writer of a transaction; the
rest comes from /proc, and only if the process was still there to be asked.
"""

from dataclasses import dataclass
from enum import StrEnum

COMMAND_MOST = 100
"""Characters of a command line that are kept: who wants more has the journal."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc showed it; what could not be read is empty.

    `unit` is a systemd unit, or `session` a login session's number. `user` is who logged in (the
    audit login), or else whom the process runs as, unless that is root. `parent` is the first
    ancestor that is more than a wrapper; only told of short-lived firewall tools.
    """

    name: str
    pid: int
    command: str = ""
    unit: str = ""
    session: str = ""
    user: str = ""
    parent: "Process | None" = None

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who committed an nftables transaction, by name and pid as the first namespace counts.

    `process` is what /proc told of it; None when it was not asked, or gone.
    """

    name: str
    pid: int
    process: Process | None = None

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


class CauseKind(StrEnum):
    """What kind of thing a cause is."""

    TRANSACTION = "transaction"
    FIREWALLD = "firewalld"
    ABSENT = "absent"
    OTHER = "other"
    UNKNOWN = "unknown"


_TOOLS = ("nft", "firewalld", "iptables", "ip6tables", "ebtables", "arptables")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a look was taken, and, when the look finds a loss, who is to blame for it.

    `short` is the same each time the same party does it again from another process of that name.
    """

    kind: CauseKind = CauseKind.UNKNOWN
    text: str = ""
    short: str = ""
    writer: Writer | None = None

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return bool(self.text)

    @property
    def facts(self) -> dict[str, str | int]:
        """What is known of the writer, for programs; nothing where there was none."""
        if self.writer is None:
            return {}
        facts: dict[str, str | int] = {"name": self.writer.name, "pid": self.writer.pid}
        if process := self.writer.process:
            facts |= {
                "command": process.command,
                "unit": process.unit,
                "session": process.session,
                "user": process.user,
            }
            if process.parent is not None:
                parent = process.parent
                facts |= {"parent": parent.command or parent.name, "parent_pid": parent.pid}
        return facts

    @property
    def label(self) -> str:
        """One word of a small set, for counting: a tool's name, or the kind."""
        if self.writer is None:
            return str(self.kind)
        names = (name for name in _TOOLS if self.writer.name.startswith(name))
        return next(names, "other")


NO_CAUSE = Cause()
WHILE_ABSENT = Cause(CauseKind.ABSENT, "while podwatch was not running")


def by_writer(writer: Writer) -> Cause:
    """The cause that is a transaction: the writer, and all that is known of it in one sentence."""
    return Cause(CauseKind.TRANSACTION, _about(writer), str(writer), writer)


def by_firewalld(told: str) -> Cause:
    """The cause that is one of firewalld's events."""
    return Cause(CauseKind.FIREWALLD, told, told)


def other(told: str) -> Cause:
    """A cause that is nobody's transaction."""
    return Cause(CauseKind.OTHER, told, told)


def _about(writer: Writer) -> str:
    process = writer.process
    if process is None:
        return f"{writer}, ended before it could be asked"
    parts = [str(writer)]
    if process.command and process.command != process.name:
        parts.append(f"“{process.command}”")
    if process.parent is not None:
        parent = process.parent
        command = f"“{parent.command}”" if parent.command else parent.name
        parts.append(f"run by {command} (pid {parent.pid})")
    if process.session:
        parts.append(f"session {process.session}")
    elif process.unit:
        parts.append(f"unit {process.unit}")
    if process.user:
        parts.append(f"user {process.user}")
    return ", ".join(parts)
