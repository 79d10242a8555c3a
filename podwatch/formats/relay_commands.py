# SPDX-License-Identifier: Apache-2.0
"""How podman started a relay, by /proc/PID: command lines and namespaces in, words out. Pure.

A command line is kept exactly as it is, as it is started again; one that cannot be shown is not.
podman 4.3 to 5.8 builds them in libpod/networking_slirp4netns.go and libnetwork/pasta and
libnetwork/slirp4netns of containers/common.
"""

import re
from itertools import pairwise

from podwatch.words.relays import RelayKind

MAX_WORDS = 200
END_FD = 3
"""The descriptor on which one that is started again hears of its container's end."""

READY_FD = 4
"""The descriptor on which it says that it is ready."""

_NETNS = "--netns"
_READY, _END = "-r", "-e"  # of slirp4netns
_NUMBER = re.compile("[0-9]{1,6}")


def parse_argv(data: bytes) -> tuple[str, ...]:
    """The arguments of /proc/PID/cmdline, exactly; none where one is no text that can be shown."""
    if not data.endswith(b"\0"):
        return ()  # longer than what was read of it, or written over by its process
    try:
        words = data[:-1].decode().split("\0")
    except UnicodeDecodeError:
        return ()
    if len(words) > MAX_WORDS or not all(word.isprintable() for word in words):
        return ()
    return tuple(words)


def parse_inode(link: str) -> int:
    """The inode of a namespace or pipe by its link in /proc, as "net:[4026531840]"; 0 for none."""
    found = re.fullmatch(r"[a-z]{1,20}:\[([0-9]{1,20})\]", link)
    return int(found[1]) if found else 0


def parse_depth(status: str) -> tuple[int, ...]:
    """The numbers of a process in each pid namespace, by its /proc/PID/status (NSpid)."""
    found = re.search(r"^NSpid:([\s\d]*?)$", status, re.MULTILINE)
    return () if found is None else tuple(int(word) for word in found[1].split()[:32])


def is_relay(kind: RelayKind, numbers: tuple[int, ...]) -> bool:
    """Whether a process with these numbers can be a relay, and is none in a container.

    pasta alone makes a pid namespace for itself, and is the first one there.
    """
    if kind is RelayKind.PASTA and len(numbers) == 2:
        return numbers[1] == 1
    return len(numbers) == 1


def given_file(kind: RelayKind, argv: tuple[str, ...]) -> str:
    """The network namespace that it was given by a path; "" where it was not."""
    if kind is RelayKind.PASTA:
        for word, after in pairwise((*argv, "")):
            if word == _NETNS or word.startswith(f"{_NETNS}="):
                return after if word == _NETNS else word.partition("=")[2]
    if kind is RelayKind.SLIRP and len(argv) > 3 and "--netns-type=path" in argv[:-2]:
        return argv[-2]
    return ""


def end_descriptor(kind: RelayKind, argv: tuple[str, ...]) -> int:
    """On which of its descriptors it hears that its container has ended; -1 for none."""
    if kind is RelayKind.PORTS:
        return END_FD
    said = argv[argv.index(_END) + 1 :][:1] if kind is RelayKind.SLIRP and _END in argv else ()
    return int(said[0]) if said and _NUMBER.fullmatch(said[0]) else -1


def to_start(kind: RelayKind, argv: tuple[str, ...]) -> tuple[str, ...]:
    """Its arguments, without the program, for starting it again.

    What it inherited from podman, it inherits from podwatch on END_FD and READY_FD.
    """
    if kind is not RelayKind.SLIRP:
        return argv[1:]
    found: list[str] = []
    rest = list(argv[1:])
    while rest:
        word = rest.pop(0)
        if word in (_READY, _END):
            rest[:1] = []
            if word == _READY:
                continue
            found += [_END, str(END_FD)]
        else:
            found.append(word)
    return (_READY, str(READY_FD), *found)
