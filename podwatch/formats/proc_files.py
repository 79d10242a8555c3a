# SPDX-License-Identifier: Apache-2.0
"""The files of /proc/PID that say whose a process is: texts in, words out. Pure.

Formats are those of proc(5). A process writes its own name and arguments, so that nothing in them
is believed or obeyed; what makes no sense is left empty.
"""

import re
from dataclasses import dataclass

from podwatch.words.cause import COMMAND_MOST
from podwatch.words.text import clean

_STAT = re.compile(r"(\d+) \((.*)\) \S (-?\d{1,10}) ", re.DOTALL)
_SESSION = re.compile(r"session-(\w+)\.scope")
_UNIT = re.compile(r"[\w:.\\@-]+\.(?:service|scope|socket|mount|swap)")
_NOBODY = 2**32 - 1  # loginuid of what nobody who logged in has started

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"})
_WRAPPERS = frozenset({"sudo", "doas", "su", "env", "timeout", "nice", "xargs", "flock", "setsid"})
_TOOLS = ("nft", "iptables", "ip6tables", "ebtables", "arptables", "xtables")


@dataclass(frozen=True, slots=True)
class Stat:
    """A process' name and parent."""

    name: str
    parent: int


def parse_stat(text: str) -> Stat | None:
    """What /proc/PID/stat says; None if it says nothing. A name may hold parentheses."""
    found = _STAT.match(text)
    return None if found is None else Stat(clean(found[2]), int(found[3]))


def parse_start(text: bytes) -> int | None:
    """When a process started, by its /proc/PID/stat; None for one that has ended.

    Field 22 of proc(5), counted behind the name, which may hold anything.
    """
    fields = text.rpartition(b")")[2].split()
    if len(fields) < 20 or not fields[19].isdigit():
        return None
    return int(fields[19])


def parse_command(data: bytes) -> tuple[str, ...]:
    """The arguments of /proc/PID/cmdline; none for a kernel thread or a process that has ended."""
    if not data.strip(b"\0"):
        return ()
    words = data.rstrip(b"\0").decode("utf-8", "replace").split("\0")
    return tuple(clean(" ".join(word.split())) for word in words)


def command_line(arguments: tuple[str, ...]) -> str:
    """The arguments as one line of a bounded length."""
    line = " ".join(arguments)
    return line if len(line) <= COMMAND_MOST else line[: COMMAND_MOST - 1] + "…"


def parse_cgroup(text: str) -> tuple[str, str]:
    """(unit, session) out of /proc/PID/cgroup, one of them or both empty.

    The unit nearest to the process counts. A path from outside of the reader's own cgroup
    namespace ("/../..") says nothing here.
    """
    path = ""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, found = rest.partition(":")
        if number == "0" or controllers == "name=systemd":
            path = found
    parts = path.split("/")
    if ".." in parts:
        return "", ""
    for part in reversed(parts):
        if session := _SESSION.fullmatch(part):
            return "", session[1]
        if _UNIT.fullmatch(part):
            return part, ""
    return "", ""


def parse_login(text: str) -> int | None:
    """The user id of /proc/PID/loginuid; None when nobody logged in."""
    number = text.strip()
    if len(number) > 10 or not number.isdecimal() or int(number) == _NOBODY:
        return None
    return int(number)


def parse_uid(status: str) -> int | None:
    """The real user id in /proc/PID/status."""
    found = re.search(r"^Uid:\s*(\d{1,10})\b", status, re.MULTILINE)
    return int(found[1]) if found else None


def is_of_this_host(status: str) -> bool:
    """Whether a process is in the reader's own pid namespace, by its /proc/PID/status.

    One in a container has a number of its own there, behind the one it has here (NSpid).
    """
    found = re.search(r"^NSpid:([\s\d]*?)$", status, re.MULTILINE)
    return found is not None and len(found[1].split()) == 1


def user_name(passwd: str, uid: int) -> str:
    """The name of a user id in the text of passwd(5); "uid 1000" when it has none there."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if fields[2:3] == [str(uid)]:
            return clean(fields[0])
    return f"uid {uid}"


def is_tool(name: str) -> bool:
    """Whether a program of this name only does what another one told it to."""
    return name.startswith(_TOOLS)


def is_wrapper(name: str, arguments: tuple[str, ...]) -> bool:
    """Whether a process merely runs another: sudo, env, or a shell with its command on the line."""
    if name in _SHELLS:
        return len(arguments) > 1 and re.fullmatch("-[a-z]*c[a-z]*", arguments[1]) is not None
    return is_tool(name) or name in _WRAPPERS
