# SPDX-License-Identifier: Apache-2.0
"""Who did it: the process that committed a transaction, and the cause an incident is told with.

A cause is known as far as it is known. The kernel always names the writer of a transaction; the
rest comes from /proc, and only if the process was still there to be asked.

A command line may hold a secret. What everybody may read (the status, the journal, which groups of
users read) names programs, units and users; command lines are for root's history alone.
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
    LINK = "link"
    ABSENT = "absent"
    OTHER = "other"
    UNKNOWN = "unknown"


_TOOLS = ("nft", "firewalld", "iptables", "ip6tables", "ebtables", "arptables")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a look was taken, and, when the look finds a loss, who is to blame for it.

    `text` is for everybody. `short` is the same each time the same party does it again from another
    process of that name. One that `yields` lacks the name of who did it: whoever is named for the
    same says more.
    """

    kind: CauseKind = CauseKind.UNKNOWN
    text: str = ""
    short: str = ""
    writer: Writer | None = None
    yields: bool = False

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return bool(self.text)

    @property
    def for_root(self) -> str:
        """The sentence with command lines, for who may read those of root's processes."""
        return self.text if self.writer is None else _about(self.writer, with_commands=True)

    @property
    def facts(self) -> dict[str, str | int]:
        """What everybody may know of the writer, for programs; nothing where there was none."""
        return self._facts(with_commands=False)

    @property
    def facts_for_root(self) -> dict[str, str | int]:
        """The same with the command lines of the writer and its parent."""
        return self._facts(with_commands=True)

    def _facts(self, *, with_commands: bool) -> dict[str, str | int]:
        if self.writer is None:
            return {}
        facts: dict[str, str | int] = {"name": self.writer.name, "pid": self.writer.pid}
        if process := self.writer.process:
            facts |= {
                "command": process.command if with_commands else "",
                "unit": process.unit,
                "session": process.session,
                "user": process.user,
            }
            if parent := process.parent:
                told = parent.command if with_commands else ""
                facts |= {"parent": told or parent.name, "parent_pid": parent.pid}
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


def why_looked(told: str) -> Cause:
    """What made podwatch look: nobody's doing, and no cause of what it finds."""
    return Cause(CauseKind.UNKNOWN, short=told)


def by_writer(writer: Writer) -> Cause:
    """The cause that is a transaction: the writer, and what is known of it in one sentence."""
    return Cause(CauseKind.TRANSACTION, _about(writer), str(writer), writer)


def by_firewalld(told: str) -> Cause:
    """The cause that is one of firewalld's events."""
    return Cause(CauseKind.FIREWALLD, told, told)


def by_link(told: str, asker: Writer | None, *, yields: bool = False) -> Cause:
    """The cause that is a change of a link; `asker` is who asked the kernel for it, if it says.

    It names who deletes an IPv4 address, and nobody who deletes one of IPv6 (inet6_ifa_notify,
    net/ipv6/addrconf.c): the latter `yields` to the former.
    """
    if asker is None:
        return Cause(CauseKind.LINK, told, told, yields=yields)
    return Cause(CauseKind.LINK, f"{told}, by {_about(asker)}", f"{told}, by {asker.name}")


def other(told: str) -> Cause:
    """A cause that is nobody's transaction."""
    return Cause(CauseKind.OTHER, told, told)


def _about(writer: Writer, *, with_commands: bool = False) -> str:
    process = writer.process
    if process is None:
        return f"{writer}, ended before it could be asked"
    parts = [str(writer)]
    if with_commands and process.command and process.command != process.name:
        parts.append(f"“{process.command}”")
    if parent := process.parent:
        command = f"“{parent.command}”" if with_commands and parent.command else parent.name
        parts.append(f"run by {command} (pid {parent.pid})")
    if process.session:
        parts.append(f"session {process.session}")
    elif process.unit:
        parts.append(f"unit {process.unit}")
    if process.user:
        parts.append(f"user {process.user}")
    return ", ".join(parts)
