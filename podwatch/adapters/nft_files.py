# SPDX-License-Identifier: Apache-2.0
"""The files that nftables.service loads: whether a saved guard is in one of them.

Which these are says its unit, and whatever drop-in it has.

Who saves the whole ruleset there (nft list ruleset > /etc/nftables.conf) saves the guard with it,
and as long as a guard of that name is podwatch's own, the file is refused as a whole.
"""

import os
import re
from collections.abc import Iterator
from glob import iglob
from itertools import islice
from pathlib import Path

from podwatch.adapters.files import read_whole
from podwatch.words.errors import Unreadable
from podwatch.words.guard import PREFIX

_UNIT = "nftables.service"
FILES = (
    Path("/etc/nftables.conf"),  # Debian's
    Path("/etc/sysconfig/nftables.conf"),  # Fedora's
    *(
        Path(directory, name)
        for directory in ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
        for name in (_UNIT, f"{_UNIT}.d/*.conf")
    ),
)

_INCLUDE = re.compile(
    r'(?:^|;)\s*include\s+"([^"]+)"|^\s*Exec\w+\s*=.*?\s(?:-f|--file)[\s=]*([^\s;"\']+)',
    re.MULTILINE,
)
"""What nft includes, and what a unit has nft load."""

_NAME = re.compile(re.escape(PREFIX) + "[0-9a-f]+")
_LIMIT_BYTES = 32 * 1024 * 1024
_MAX_FILES = 64


class NftFiles:
    """The files, and what they include; each is read again when it is another one."""

    def __init__(self, files: tuple[Path, ...] = FILES) -> None:
        self._files = files
        self._known: dict[Path, tuple[object, frozenset[str], tuple[str, ...]]] = {}

    def names(self) -> dict[str, Path]:
        """The guards that are saved there: each name with a file that has it."""
        found: dict[str, Path] = {}
        known: dict[Path, tuple[object, frozenset[str], tuple[str, ...]]] = {}
        queue = [path for file in self._files for path in _included(str(file))]
        for path in map(Path, map(os.path.realpath, queue)):
            if path in known or (stamp := _stamp(path)) is None or len(known) == _MAX_FILES:
                continue
            before = self._known.get(path)
            known[path] = before if before and before[0] == stamp else (stamp, *_read(path))
            _, names, includes = known[path]
            found.update(dict.fromkeys(names - found.keys(), path))
            queue += (other for pattern in includes for other in _included(pattern))
        self._known = known
        return found

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where they are: where something changes when one of them does."""
        patterns = [*map(str, self._files)]
        patterns += (pattern for known in self._known.values() for pattern in known[2])
        return tuple(sorted({*(path.parent for path in self._known), *map(_directory, patterns)}))


def _stamp(path: Path) -> object:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


def _read(path: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """The guards that a file has, and what it includes."""
    try:
        text = read_whole(path, limit_bytes=_LIMIT_BYTES) or ""
    except Unreadable:
        return frozenset(), ()
    includes = tuple(one or other for one, other in _INCLUDE.findall(text)[:_MAX_FILES])
    return frozenset(_NAME.findall(text)), includes


def _included(pattern: str) -> Iterator[Path]:
    """The files of an include, which nft(8) looks for below /etc."""
    yield from map(Path, islice(iglob(os.path.join("/etc", pattern)), _MAX_FILES))


def _directory(pattern: str) -> Path:
    return Path(os.path.join("/etc", pattern)).parent
